# SPDX-License-Identifier: MIT
"""The attribute `activation` of Linear and the convolutions, (name, alpha, beta), as C has it.

Names and what alpha and beta are to them are those of engine/variants.py, and two more: "clip"
cuts to alpha .. beta, and "hard_swish" is x times alpha x + beta, which is cut to 0 .. 1. Where a
function has no alpha or beta, or a node no activation, they are not read.
"""

# In the order of csrc/fastlstm.h, and then of csrc/ops/epilogue.h.
FUNCTIONS = ("sigmoid", "scaled_tanh", "affine", "thresholded_relu", "leaky_relu", "hard_sigmoid",
             "elu", "softsign", "softplus", "silu", "gelu", "exponential", "clip",
             "hard_swish")  # fmt: skip

# Names of others with certain numbers.
ALIASES = {
    "tanh": ("scaled_tanh", 1.0, 1.0),
    "relu": ("thresholded_relu", 0.0, 0.0),
    "selu": ("elu", 1.6732632423543772, 1.0507009873554805),
}


def numbers(node):
    """(the function's number, -1 without one; [alpha, beta], or [] without one)."""
    given = node.attrs.get("activation")
    if given is None:
        return -1, []
    name, alpha, beta = ALIASES.get(given[0], given)
    if name not in FUNCTIONS:
        raise node.error(f"there is no activation {name!r}")
    if name == "elu" and beta is None:
        beta = 1.0
    return FUNCTIONS.index(name), [alpha or 0.0, beta or 0.0]
