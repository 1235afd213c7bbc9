# SPDX-License-Identifier: MIT
# The types of fastlstm.nn.functional: torch.nn.functional.
# Results: arrays or Tensors, as what is given.

from collections.abc import Sequence
from typing import Any, TypeAlias

_Size: TypeAlias = int | Sequence[int]

def adaptive_avg_pool1d(input: Any, output_size: _Size, return_indices: bool = False) -> Any: ...
def adaptive_avg_pool2d(input: Any, output_size: _Size, return_indices: bool = False) -> Any: ...
def adaptive_max_pool1d(input: Any, output_size: _Size, return_indices: bool = False) -> Any: ...
def adaptive_max_pool2d(input: Any, output_size: _Size, return_indices: bool = False) -> Any: ...
def alpha_dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any: ...
def avg_pool1d(
    input: Any,
    kernel_size: _Size,
    stride: _Size | None = None,
    padding: _Size | str = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any: ...
def avg_pool2d(
    input: Any,
    kernel_size: _Size,
    stride: _Size | None = None,
    padding: _Size | str = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Any: ...
def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> Any: ...
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any: ...
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any: ...
def clamp(input: Any, min: Any = None, max: Any = None) -> Any: ...
def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: _Size = 1,
    padding: _Size | str = 0,
    dilation: _Size = 1,
    groups: int = 1,
) -> Any: ...
def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: _Size = 1,
    padding: _Size | str = 0,
    dilation: _Size = 1,
    groups: int = 1,
) -> Any: ...
def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: _Size = 1,
    padding: _Size | str = 0,
    output_padding: _Size = 0,
    groups: int = 1,
    dilation: _Size = 1,
) -> Any: ...
def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: _Size = 1,
    padding: _Size | str = 0,
    output_padding: _Size = 0,
    groups: int = 1,
    dilation: _Size = 1,
) -> Any: ...
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-08) -> Any: ...
def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any: ...
def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any: ...
def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any: ...
def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any: ...
def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any: ...
def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any: ...
def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any: ...
def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any: ...
def gelu(input: Any, approximate: str = "none") -> Any: ...
def glu(input: Any, dim: int = -1) -> Any: ...
def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-05
) -> Any: ...
def hardshrink(input: Any, lambd: float = 0.5) -> Any: ...
def hardsigmoid(input: Any, inplace: bool = False) -> Any: ...
def hardswish(input: Any, inplace: bool = False) -> Any: ...
def hardtanh(
    input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Any: ...
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> Any: ...
def interpolate(
    input: Any,
    size: _Size | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
    mode: str = "nearest",
    align_corners: Any = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> Any: ...
def layer_norm(
    input: Any, normalized_shape: _Size, weight: Any = None, bias: Any = None, eps: float = 1e-05
) -> Any: ...
def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any: ...
def linear(input: Any, weight: Any, bias: Any = None) -> Any: ...
def log_softmax(
    input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Any: ...
def logsigmoid(input: Any) -> Any: ...
def max_pool1d(
    input: Any,
    kernel_size: _Size,
    stride: _Size | None = None,
    padding: _Size | str = 0,
    dilation: _Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any: ...
def max_pool2d(
    input: Any,
    kernel_size: _Size,
    stride: _Size | None = None,
    padding: _Size | str = 0,
    dilation: _Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any: ...
def mish(input: Any, inplace: bool = False) -> Any: ...
def normalize(
    input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None
) -> Any: ...
def one_hot(tensor: Any, num_classes: int = -1) -> Any: ...
def pad(input: Any, pad: Any, mode: str = "constant", value: Any | None = None) -> Any: ...
def pixel_shuffle(input: Any, upscale_factor: int) -> Any: ...
def prelu(input: Any, weight: Any) -> Any: ...
def relu(input: Any, inplace: bool = False) -> Any: ...
def relu6(input: Any, inplace: bool = False) -> Any: ...
def rms_norm(
    input: Any, normalized_shape: _Size, weight: Any = None, eps: float | None = None
) -> Any: ...
def rrelu(
    input: Any,
    lower: float = 0.125,
    upper: float = 0.3333333333333333,
    training: bool = False,
    inplace: bool = False,
) -> Any: ...
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Any = None,
    enable_gqa: bool = False,
) -> Any: ...
def selu(input: Any, inplace: bool = False) -> Any: ...
def sigmoid(input: Any) -> Any: ...
def silu(input: Any, inplace: bool = False) -> Any: ...
def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any: ...
def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any: ...
def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any: ...
def softshrink(input: Any, lambd: float = 0.5) -> Any: ...
def softsign(input: Any) -> Any: ...
def tanh(input: Any) -> Any: ...
def tanhshrink(input: Any) -> Any: ...
def threshold(input: Any, threshold: float, value: Any, inplace: bool = False) -> Any: ...
def unfold(
    input: Any, kernel_size: _Size, dilation: _Size = 1, padding: _Size | str = 0, stride: _Size = 1
) -> Any: ...
