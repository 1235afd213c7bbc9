# SPDX-License-Identifier: MIT
"""Which products are made of bfloat16 parts (csrc/kernels/bfloat16.h) where a precision asks for
it, and which are float32's all the same.

The error of a sum in two parts comes from the 16 bits that they keep of each number, and grows with
the root of its length; a float32 sum of k products rounds k times, and its error grows with k. So
two parts lose 80 times float32's error over 8 products, 21 times over 128 and 10 times over 512.
And rows take longer to split than to be multiplied by a small matrix. Below the bounds here float32
is more exact, and in most cases as fast or faster.

Whether a product is made of parts hangs on the sizes of its weights alone, never on a batch: the
same row has the same bits whatever is computed beside it.
"""

BITS = {"bfloat16": 16, "bfloat16x3": 32, "bfloat16x6": 48}  # of a number's parts
FEWEST_PRODUCTS = 128  # of a sum of a matrix or a convolution
# Outputs and weights from which on three and six products are at least about as fast as float32's
# one on an Emerald Rapids' AMX: matrices, of 512 rows; convolutions, 3 x 3 and over one axis; the
# recurrent weights of one layer and direction, of batches of 32. Between 2^16 and 2^17 of these
# three products are 1.0 to 1.5 times as fast, and lose up to 39 times float32's error, not 20.
MATRIX_OUTPUTS, MATRIX_WEIGHTS = 96, {"bfloat16x3": 3 << 14, "bfloat16x6": 3 << 16}
CONV_OUTPUTS, CONV_WEIGHTS = 64, {"bfloat16x3": 1 << 14, "bfloat16x6": 3 << 14}
LAYER_WEIGHTS = {"bfloat16x3": 1 << 17, "bfloat16x6": 1 << 17, "bfloat16": 0}


def _in_parts(precision, products, outputs, fewest_outputs, fewest_weights):
    return (
        precision in fewest_weights
        and products >= FEWEST_PRODUCTS
        and outputs >= fewest_outputs
        and products * outputs >= fewest_weights[precision]
    )


def matrix_in_parts(precision, products, outputs):
    """Are products with a matrix (outputs, products) made of parts?"""
    return _in_parts(precision, products, outputs, MATRIX_OUTPUTS, MATRIX_WEIGHTS)


def conv_in_parts(precision, products, outputs):
    """Are a convolution's, whose groups have so many outputs of windows of so many numbers?"""
    return _in_parts(precision, products, outputs, CONV_OUTPUTS, CONV_WEIGHTS)


def layer_in_parts(precision, weights):
    """Are those of a recurrent layer with so many weights of h in a direction? One part is not for
    exactness, and is taken whatever the size."""
    return weights >= LAYER_WEIGHTS.get(precision, float("inf"))
