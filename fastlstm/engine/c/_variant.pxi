# SPDX-License-Identifier: MIT
# Part of _core.pyx: a fastlstm.variants.Variant as C has it.

cdef dict FUNCTIONS = {  # name: (C's function, alpha, beta); None: the Activation's own
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
}
cdef dict PLAIN = {  # what a cell's own kernels compute
    "lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"),
    "gru_before": ("sigmoid", "tanh"), "rnn_tanh": ("tanh",), "rnn_relu": ("relu",),
}


cdef fl_activation activation_of(activation) except *:
    cdef fl_activation to
    function, alpha, beta = FUNCTIONS[activation.name]
    to.function = function
    to.alpha = activation.alpha if alpha is None else alpha
    to.beta = activation.beta if beta is None else beta
    return to


cdef int read_variant(fl_config *config, str cell, variant) except -1:
    cdef fl_variant *to = &config.variant
    cdef size_t d, g
    if len(variant.activations) != config.dirs or (variant.reverse and config.dirs != 1):
        raise ValueError("a variant for other directions")
    for d in range(config.dirs):
        if len(variant.activations[d]) != len(PLAIN[cell]):
            raise ValueError(f"{len(variant.activations[d])} activations for {cell!r}")
        for g in range(<size_t>len(PLAIN[cell])):
            to.activation[d][g] = activation_of(variant.activations[d][g])
            if variant.activations[d][g].name != PLAIN[cell][g]:
                to.differs = 1
    to.clip = float("inf") if variant.clip is None else variant.clip
    to.input_forget = variant.input_forget
    to.peepholes = variant.peepholes
    if (to.input_forget or to.peepholes) and cell != "lstm":
        raise ValueError(f"{cell!r} has no peepholes and no forget gate")
    to.differs = to.differs or variant.clip is not None or to.input_forget or to.peepholes
    config.reverse = variant.reverse
    return 0


def activate(activation, const float[::1] x, isa=None):
    """f(x) and f'(x) of a fastlstm.variants.Activation over a float32 vector, for tests."""
    cdef const fl_table *k = table_of(isa)
    cdef fl_activation f = activation_of(activation)
    y, slope = _empty(x.shape[0], _float32), _empty(x.shape[0], _float32)
    cdef float[::1] y_ = y
    cdef float[::1] slope_ = slope
    if x.shape[0]:
        with nogil:
            k.activate(&f, &y_[0], &slope_[0], &x[0], x.shape[0])
    return y, slope
