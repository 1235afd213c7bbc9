# SPDX-License-Identifier: MIT
"""engine/variants.py's Activation and Variant in C's terms."""

from .csrc cimport *


cdef inline fl_activation activation_of(object activation) except *:
    """C's number, alpha and beta of an Activation. None below: the Activation's own."""
    cdef fl_activation to
    function, alpha, beta = {
        "sigmoid": (FL_SIGMOID, 0, 0),
        "tanh": (FL_SCALED_TANH, 1, 1),
        "relu": (FL_THRESHOLDED_RELU, 0, 0),
        "affine": (FL_AFFINE, None, None),
        "leaky_relu": (FL_LEAKY_RELU, None, 0),
        "thresholded_relu": (FL_THRESHOLDED_RELU, None, 0),
        "scaled_tanh": (FL_SCALED_TANH, None, None),
        "hard_sigmoid": (FL_HARD_SIGMOID, None, None),
        "elu": (FL_ELU, None, 1),
        "selu": (FL_ELU, 1.6732632423543772, 1.0507009873554805),  # Klambauer et al. 2017
        "softsign": (FL_SOFTSIGN, 0, 0),
        "softplus": (FL_SOFTPLUS, 0, 0),
        "silu": (FL_SILU, 0, 0),
        "gelu": (FL_GELU, 0, 0),
        "exponential": (FL_EXPONENTIAL, 0, 0),
    }[activation.name]
    to.function = function
    to.alpha = activation.alpha if alpha is None else alpha
    to.beta = activation.beta if beta is None else beta
    return to


cdef inline int read_variant(fl_config *config, str cell, object variant) except -1:
    """Fills config.variant and config.reverse from a Variant of a cell whose directions are set.
    `differs` stays 0 of one that is torch's cell after all, which has faster kernels."""
    cdef fl_variant *to = &config.variant
    cdef size_t d, g
    cdef tuple usual = {
        "lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"),
        "gru_before": ("sigmoid", "tanh"), "rnn_tanh": ("tanh",), "rnn_relu": ("relu",),
    }[cell]
    if <size_t>len(variant.activations) != config.dirs or (variant.reverse and config.dirs != 1):
        raise ValueError("a variant for other directions")
    for d in range(config.dirs):
        if len(variant.activations[d]) != len(usual):
            raise ValueError(f"{len(variant.activations[d])} activations for {cell!r}")
        for g in range(<size_t>len(usual)):
            to.activation[d][g] = activation_of(variant.activations[d][g])
            if variant.activations[d][g].name != usual[g]:
                to.differs = 1
    to.clip = float("inf") if variant.clip is None else variant.clip
    to.input_forget = variant.input_forget
    to.peepholes = variant.peepholes
    if (to.input_forget or to.peepholes) and cell != "lstm":
        raise ValueError(f"{cell!r} has no peepholes and no forget gate")
    to.differs = to.differs or variant.clip is not None or to.input_forget or to.peepholes
    config.reverse = variant.reverse
    return 0
