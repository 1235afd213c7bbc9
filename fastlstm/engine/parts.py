# SPDX-License-Identifier: MIT
"""Which products are made of bfloat16 parts (csrc/kernels/bfloat16.h) where a precision asks for
it, and which are float32's all the same.

A sum of k products has, of two parts, an error of some 2^-18.5 of a product times the root of k,
which comes from the bits that two parts leave; a float32 sum rounds k times to 2^-24 of itself,
which grows with k. So parts lose 80 times float32's error over 8 products, 20 times over 128 and
10 times over 512. And a small matrix does not pay: its rows take longer to split than to multiply.
Below the bounds here float32 is both faster and more exact.

The choice hangs on the sizes of the weights alone, never on a batch, so that the bits do not.
"""

BITS = {"bfloat16": 16, "bfloat16x3": 32, "bfloat16x6": 48}  # of a number's parts
# Of a matrix: numbers of a sum, sums of a row, and all of them.
FEWEST_PRODUCTS, FEWEST_SUMS, FEWEST_WEIGHTS = 128, 128, 3 << 14
FEWEST_UNITS = 160  # of a recurrent layer, in two or three parts


def matrix_in_parts(precision, products, sums):
    """Is a matrix multiplied in parts, of which a row has `sums` sums of so many products?"""
    if precision not in ("bfloat16x3", "bfloat16x6"):
        return False
    return (
        products >= FEWEST_PRODUCTS
        and sums >= FEWEST_SUMS
        and products * sums >= FEWEST_WEIGHTS
    )


def layer_in_parts(precision, hidden_size):
    """Are the products of a recurrent layer of so many units made of parts? One part is not for
    exactness: it is, whatever the size."""
    return precision == "bfloat16" or (precision in BITS and hidden_size >= FEWEST_UNITS)
