# SPDX-License-Identifier: MIT
"""torch.nn.functional for inference: the functions that forwards use, under torch's names."""

from ..elementwise import clamp as clamp
from ..reduce import log_softmax as log_softmax
from ..reduce import softmax as softmax
from ..reduce import softmin as softmin
from .activation import (  # noqa: F401
    alpha_dropout,
    celu,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    elu,
    feature_alpha_dropout,
    gelu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    rrelu,
    selu,
    sigmoid,
    silu,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)
from .conv import (  # noqa: F401
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    interpolate,
    pad,
    pixel_shuffle,
    unfold,
)
from .linear import (  # noqa: F401
    bilinear,
    cosine_similarity,
    embedding,
    embedding_bag,
    linear,
    normalize,
    one_hot,
    scaled_dot_product_attention,
)
from .norm import (  # noqa: F401
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from .pool import (  # noqa: F401
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)
