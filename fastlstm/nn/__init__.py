# SPDX-License-Identifier: MIT
"""torch.nn for inference on arrays: a model's class runs with only its imports changed.

    import fastlstm.nn as nn                            # for torch.nn
    import fastlstm.nn.functional as F                  # for torch.nn.functional
    from fastlstm.nn import tensor as torch             # for torch

    model = Model()                                     # class Model(nn.Module): ...
    model.load_state_dict(fastlstm.read_state_dict("model.pt"))
    y = model(x)                                        # NumPy arrays in and out

Names, arguments, defaults, shapes, weight names, texts and errors are torch.nn's; the C core
computes, NumPy on the other backends. Files, lowest first: array.py (Tensor, Parameter),
compute.py and packing.py (single operators), elementwise.py, reduce.py, shape.py, device.py,
functional/, init.py, methods.py, tensor.py, state.py and module.py (Module), quantize.py (Modules
of fewer bits), containers.py, layers/, utils/.
"""

from . import functional as functional
from . import init as init
from . import tensor as tensor
from . import utils as utils
from .array import Parameter as Parameter
from .array import Tensor as Tensor
from .containers import (  # noqa: F401
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from .layers.activation import (  # noqa: F401
    CELU,
    ELU,
    GELU,
    GLU,
    SELU,
    AlphaDropout,
    Dropout,
    Dropout1d,
    Dropout2d,
    FeatureAlphaDropout,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    RReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softmax2d,
    Softmin,
    Softplus,
    Softshrink,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)
from .layers.attention import (  # noqa: F401
    MultiheadAttention,
)
from .layers.conv import (  # noqa: F401
    CircularPad1d,
    CircularPad2d,
    ConstantPad1d,
    ConstantPad2d,
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    PixelShuffle,
    ReflectionPad1d,
    ReflectionPad2d,
    ReplicationPad1d,
    ReplicationPad2d,
    Upsample,
    ZeroPad1d,
    ZeroPad2d,
)
from .layers.linear import (  # noqa: F401
    Bilinear,
    CosineSimilarity,
    Embedding,
    EmbeddingBag,
    Flatten,
    Identity,
    Linear,
    Unflatten,
)
from .layers.norm import (  # noqa: F401
    BatchNorm1d,
    BatchNorm2d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    LayerNorm,
    RMSNorm,
)
from .layers.pool import (  # noqa: F401
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    MaxPool1d,
    MaxPool2d,
    Unfold,
)
from .layers.recurrent import (  # noqa: F401
    GRU,
    LSTM,
    RNN,
    GRUCell,
    LSTMCell,
    RNNCell,
)
from .module import (  # noqa: F401
    Module,
)


def _describe(names, torchs):
    """help() of what has no words of its own says what of torch it is."""
    for name, each in names.items():
        ours = str(getattr(each, "__module__", None)).startswith(__name__)
        if ours and callable(each) and not each.__doc__:
            each.__doc__ = f"{torchs}.{name}, for inference."


_describe(vars(functional), "torch.nn.functional")
_describe(vars(init), "torch.nn.init")
_describe(vars(tensor), "torch")
_describe(dict(globals()), "torch.nn")
