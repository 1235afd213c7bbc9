# SPDX-License-Identifier: MIT
"""Convolutions over one and two axes, and padding, torch.nn.functional's."""

import numpy as np

from ...models.graph import Node
from ..array import axis_of, float32, plain, wrap
from ..compute import Packed
from ..elementwise import float_of, tensor_of
from ..packing import kept

# What torch calls a way of padding, and what a Pad node does.
PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def each(value, axes):
    """One number for each axis; one alone counts for all."""
    if isinstance(value, (int, np.integer)):
        return (int(value),) * axes
    value = tuple(int(n) for n in value)
    return value * axes if len(value) == 1 else value


def pads_of(padding, kernel, dilation):
    """ONNX's pads, those before and those behind, of torch's padding: numbers, "same", "valid"."""
    if padding == "valid":
        return [0] * (2 * len(kernel))
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return [n // 2 for n in total] + [n - n // 2 for n in total]
    return [*padding, *padding]


def described(shape):
    return f"[{', '.join(map(str, shape))}]"


def check_conv(shape, weight_shape, padding, groups, name, dilation=(1,)):
    """RuntimeError in torch's words unless an x of this shape, of any axes, fits the weights."""
    axes = len(weight_shape) - 2
    if len(shape) not in (axes + 1, axes + 2):
        raise RuntimeError(
            f"Expected {axes + 1}D (unbatched) or {axes + 2}D (batched) input to {name}, but got "
            f"input of size: {described(shape)}"
        )
    shape = list(shape) if len(shape) == axes + 2 else [1, *shape]
    pads = pads_of(padding, weight_shape[2:], dilation)
    if padding == "same":  # what is more behind than before is added to x first
        shape[2:] = [n + pads[axes + i] - pads[i] for i, n in enumerate(shape[2:])]
        pads[axes:] = pads[:axes]
    transposed = "transpose" in name
    due = weight_shape[0] if transposed else weight_shape[1] * groups
    if shape[1] != due:
        raise RuntimeError(
            f"Given {'transposed=1' if transposed else f'groups={groups}'}, weight of size "
            f"{described(weight_shape)}, expected input{described(shape)} to have {due} channels"
            f", but got {shape[1]} channels instead"
        )
    if transposed:
        return
    padded = [n + pads[i] + pads[axes + i] for i, n in enumerate(shape[2:])]
    extent = [d * (k - 1) + 1 for k, d in zip(weight_shape[2:], dilation)]
    if any(n < k for n, k in zip(padded, extent)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel "
            f"size: ({' x '.join(map(str, extent))}). Kernel size can't be greater than actual "
            "input size"
        )


def check_transposed(shape, kernel, stride, padding, output_padding, dilation):
    """RuntimeError in torch's words where a transposed convolution has no output."""
    one = [1] * (len(kernel) == 1)  # torch computes one axis as two

    def two(name, numbers, first=1):
        height, width = [first] * len(one) + list(numbers)
        return f"{name}_height: {height} {name}_width: {width}"

    if any(e >= s and e >= d for e, s, d in zip(output_padding, stride, dilation)):
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got "
            f"{two('output_padding', output_padding, 0)} {two('stride', stride)} "
            f"{two('dilation', dilation)}"
        )
    sizes = shape[len(shape) - len(kernel) :]
    out = [
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, k, s, p, e, d in zip(sizes, kernel, stride, padding, output_padding, dilation)
    ]
    if min(out) < 1:
        texts = (" x ".join(map(str, [*one, *each_size])) for each_size in (sizes, out))
        raise RuntimeError(
            f"Given input size per channel: ({next(texts)}). Calculated output size per channel: "
            f"({next(texts)}). Output size is too small"
        )


def pack_conv(weight, bias, stride, padding, dilation, groups, pad_mode="constant", **few):
    """The Packed of a convolution of x with a batch axis."""
    weight = plain(weight)
    kernel = weight.shape[2:]
    pads = pads_of(padding, kernel, dilation)
    constants, nodes, source = {"w": weight}, [], "x0"
    if pad_mode != "constant" and any(pads):
        axes = len(kernel)
        constants["pads"] = np.array([0, 0, *pads[:axes], 0, 0, *pads[axes:]], np.int64)
        nodes.append(Node("Pad", ["x0", "pads"], ["padded"], {"mode": PAD_MODES[pad_mode]}))
        source, pads = "padded", [0] * len(pads)
    inputs = [source, "w"]
    if bias is not None:
        constants["b"] = plain(bias)
        inputs.append("b")
    attrs = {"kernel_shape": list(kernel), "strides": list(stride), "dilations": list(dilation),
             "pads": pads, "group": groups}  # fmt: skip
    nodes.append(Node("Conv", inputs, ["y"], attrs))
    return Packed(nodes, constants, [(float32, weight.ndim)], **few)


def pack_conv_transpose(weight, bias, stride, padding, output_padding, groups, dilation, **few):
    weight = plain(weight)
    constants = {"w": weight} if bias is None else {"w": weight, "b": plain(bias)}
    attrs = {"kernel_shape": list(weight.shape[2:]), "strides": list(stride), "group": groups,
             "dilations": list(dilation), "pads": [*padding, *padding],
             "output_padding": list(output_padding)}  # fmt: skip
    node = Node("ConvTranspose", ["x0", *constants], ["y"], attrs)
    return Packed([node], constants, [(float32, weight.ndim)], **few)


def _conv(axes, name):
    def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        x, w = float_of(input), weight
        stride, dilation = each(stride, axes), each(dilation, axes)
        padding = padding if isinstance(padding, str) else each(padding, axes)
        if padding == "same" and any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        check_conv(x.shape, w.shape, padding, groups, name, dilation)
        others = () if bias is None else (bias,)
        run = kept(w, (name, stride, padding, dilation, groups), others,
                   lambda: pack_conv(w, bias, stride, padding, dilation, groups))  # fmt: skip
        return run(x) if x.ndim == axes + 2 else run(x.unsqueeze(0)).squeeze(0)

    conv.__name__ = name
    return conv


conv1d, conv2d = _conv(1, "conv1d"), _conv(2, "conv2d")


def _conv_transpose(axes, name):
    def conv(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        x, w = float_of(input), weight
        numbers = [each(n, axes) for n in (stride, padding, output_padding, dilation)]
        check_conv(x.shape, w.shape, numbers[1], groups, name)
        stride, padding, output_padding, dilation = numbers
        check_transposed(x.shape, w.shape[2:], stride, padding, output_padding, dilation)
        others = () if bias is None else (bias,)
        run = kept(
            w, (name, *numbers, groups), others,
            lambda: pack_conv_transpose(w, bias, stride, padding, output_padding, groups, dilation),
        )  # fmt: skip
        return run(x) if x.ndim == axes + 2 else run(x.unsqueeze(0)).squeeze(0)

    conv.__name__ = name
    return conv


conv_transpose1d = _conv_transpose(1, "conv_transpose1d")
conv_transpose2d = _conv_transpose(2, "conv_transpose2d")


def padded_shape(shape, pads, mode):
    """(the shape after padding, [(before, behind)] of each axis), or torch's errors."""
    if mode not in PAD_MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if len(pads) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    axes, count = len(shape), len(pads) // 2
    if count > axes:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(pads)} and input of dimension {axes}"
        )
    if mode != "constant" and axes not in (count + 1, count + 2):
        raise NotImplementedError(
            f"Padding size {len(pads)} is not supported for {axes}D input tensor.\n"
            "Supported combinations for non-constant padding:\n"
            "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
            "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
            "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"
        )
    sides = [(0, 0)] * (axes - count)
    sides += [(pads[i], pads[i + 1]) for i in range(0, len(pads), 2)][::-1]
    for i in range(axes)[::-1]:
        n, (before, behind) = shape[i], sides[i]
        if mode == "reflect" and max(before, behind) >= n and (before or behind):
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, "
                f"but got: padding ({before}, {behind}) at dimension {i} of input "
                f"{described(shape)}"
            )
        if mode == "circular" and max(before, behind) > n:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if n + min(before, 0) + min(behind, 0) < 0:
            raise RuntimeError("narrow(): length must be non-negative.")
        if mode != "constant" and n == 0 and i:
            raise RuntimeError(f"{mode}: there is nothing to repeat in {described(shape)}")
    return [n + b + e for n, (b, e) in zip(shape, sides)], sides


def pad(input, pad, mode="constant", value=None):
    """Elements added, or with negative numbers taken away, at the ends of the last axes: (left,
    right) of the last axis, then of the one before it ..."""
    x = tensor_of(input)
    _, sides = padded_shape(x.shape, tuple(int(n) for n in pad), mode)
    array = x.numpy()
    if any(n < 0 for side in sides for n in side):
        cut = tuple(slice(max(0, -b), n + min(0, e)) for n, (b, e) in zip(x.shape, sides))
        array, sides = array[cut], [(max(b, 0), max(e, 0)) for b, e in sides]
    if mode != "constant":
        return wrap(np.pad(array, sides, mode=PAD_MODES[mode]))
    whole = [n + b + e for n, (b, e) in zip(array.shape, sides)]
    y = np.full(whole, 0 if value is None else value, array.dtype)
    y[tuple(slice(b, b + n) for n, (b, _) in zip(array.shape, sides))] = array
    return wrap(y)


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Windows of (N, C, H, W) as columns: (N, C k1 k2, positions)."""
    x = float_of(input)
    if x.ndim not in (3, 4):
        for axis in (1, 2):
            axis_of(axis, x.ndim)
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {described(x.shape)}"
        )
    if x.ndim == 3:
        return unfold(x.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    kernel, dilation, padding, stride = (
        each(n, 2) for n in (kernel_size, dilation, padding, stride)
    )
    array = pad(x, (padding[1], padding[1], padding[0], padding[0])).numpy()
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    sizes = [(n - e) // s + 1 for n, e, s in zip(array.shape[2:], extents, stride)]
    if min(sizes) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(x.shape[2:])}, kernel_size={kernel}, "
            f"dilation={dilation}, padding={padding}, calculated shape of the array of sliding "
            f"blocks as {tuple(sizes)}, but its components must be at least one."
        )
    windows = np.lib.stride_tricks.sliding_window_view(array, extents, (2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    columns = windows.transpose(0, 1, 4, 5, 2, 3)
    n, c = x.shape[:2]
    return wrap(columns.reshape(n, c * kernel[0] * kernel[1], -1))


def interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None,
                recompute_scale_factor=None, antialias=False):  # fmt: skip
    """Nearest neighbours alone: output o is input floor(o step) along each axis, by a product in
    float32, as torch has it. The step is in / out, or 1 / scale_factor."""
    x = float_of(input)
    if mode != "nearest":
        raise NotImplementedError(f"interpolate: mode={mode!r} is not supported; 'nearest' is")
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "either size or scale_factor should be defined"
            if size is None
            else "only one of size or scale_factor should be defined"
        )
    for what, of, sizes, given in (
        ("output", "output size of", "output size in (o1, o2, ...,oK)", size),
        ("scale_factor", "scale_factor of shape", "scale_factor in (s1, s2, ...,sK)", scale_factor),
    ):
        if np.ndim(given) and len(given) != max(x.ndim - 2, 0):
            raise ValueError(
                f"Input and {what} must have the same number of spatial dimensions, but got input "
                f"with spatial dimensions of {described(x.shape[2:])} and {of} {given}. Please "
                f"provide input tensor in (N, C, d1, d2, ...,dK) format and {sizes} format."
            )
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if x.ndim not in (3, 4, 5):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {x.ndim}D) for the "
            "modes: nearest | linear | bilinear | bicubic | trilinear | lanczos | area | "
            f"nearest-exact (got {mode})"
        )
    array, old = x.numpy(), x.shape[2:]
    given = scale_factor if size is None else size
    given = given if np.ndim(given) else [given] * len(old)
    new = [int(np.floor(n * scale)) for n, scale in zip(old, given)] if size is None else given
    if min(*old, *new) < 1:
        sizes = [", ".join(map("{}: {}".format, "DHW"[-len(old) :], n)) for n in (old, new)]
        between = ") and output (" if len(old) == 1 else ") output ("
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input ("
            f"{between.join(sizes)})"
        )
    for i, (n, out) in enumerate(zip(old, new)):
        if size is None and not recompute_scale_factor:
            step = np.float32(1 / given[i])
        else:
            step = np.float32(n) / np.float32(out)
        places = (np.arange(out).astype(float32) * step).astype(np.int64)
        array = array.take(np.minimum(places, n - 1), i + 2)
    return wrap(array)


def pixel_shuffle(input, upscale_factor):
    x, r = float_of(input), upscale_factor
    if x.ndim < 3:
        raise RuntimeError(
            "pixel_shuffle expects input to have at least 3 dimensions, but got input with "
            f"{x.ndim} dimension(s)"
        )
    if x.shape[-3] % r**2:
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={x.shape[-3]} is not divisible by {r**2}"
        )
    *batch, c, h, w = x.shape
    y = x.numpy().reshape(-1, c // r**2, r, r, h, w).transpose(0, 1, 4, 2, 5, 3)
    return wrap(y.reshape(*batch, c // r**2, h * r, w * r))
