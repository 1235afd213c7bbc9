# SPDX-License-Identifier: MIT
"""The shapes of images and signals: what convolutions, pools, Resize, blocks of pixels and Fourier
transforms make. shapes.py has the rules of other operators, and says what a rule is."""

import math

from .reference.resize import of_one_ratio


def axis_of(node, axis, axes):
    if not -axes <= axis < axes:
        raise node.error(f"axis {axis} of {axes} axes")
    return axis % axes


def _size(n, kernel, stride, dilation, begin, end, ceil=False):
    """Positions of a window over n elements."""
    if n is None:
        return None
    left = n + begin + end - ((kernel - 1) * dilation + 1)
    out = (-(-left // stride) if ceil else left // stride) + 1
    if ceil and (out - 1) * stride >= n + begin:
        out -= 1  # a window that would begin in the padding behind the end is not counted
    return max(out, 0)


def windows(node, sizes, kernel, transposed=False):
    """The sizes that convolution or pooling makes of `sizes`. kernel: its size along each."""
    n = len(sizes)
    get = node.attrs.get
    strides, dilations = get("strides") or [1] * n, get("dilations") or [1] * n
    pads = get("pads") or [0] * 2 * n
    auto = get("auto_pad", "NOTSET")
    if not len(strides) == len(dilations) == len(kernel) == n or len(pads) != 2 * n:
        raise node.error(f"strides, dilations, pads and kernel_shape do not have {n} axes")
    if min([*strides, *dilations, *kernel], default=1) < 1 or min(pads, default=0) < 0:
        raise node.error("strides, dilations and kernel_shape must be at least 1, and pads 0")
    if auto == "VALID":
        pads = [0] * 2 * n
    out = []
    for i, size in enumerate(sizes):
        if transposed:
            given = get("output_shape")
            extra = (get("output_padding") or [0] * n)[i]
            if given:
                out.append(int(given[-n:][i]))
            elif size is None:
                out.append(None)
            elif auto.startswith("SAME"):
                out.append(size * strides[i])
            else:
                reach = (kernel[i] - 1) * dilations[i] + 1
                made = strides[i] * (size - 1) + extra + reach - pads[i] - pads[n + i]
                out.append(max(made, 0))
        elif auto.startswith("SAME"):
            out.append(None if size is None else -(-size // strides[i]))
        else:
            out.append(
                _size(size, kernel[i], strides[i], dilations[i], pads[i], pads[n + i],
                      bool(get("ceil_mode")))
            )  # fmt: skip
    return out


def conv(node, facts, last=False, transposed=False, weights=1):
    """weights: the number of the input that they are."""
    x, w = facts[node.inputs[0]].shape, facts[node.inputs[weights]].shape
    if len(x) != len(w) or len(x) < 3:
        raise node.error(f"x has the shape {x} and the weights {w}")
    group = node.attrs.get("group", 1)
    out = w[1] * group if transposed and w[1] is not None else w[1 if transposed else 0]
    sizes = windows(node, x[1:-1] if last else x[2:], w[2:], transposed)
    return (x[0], *sizes, out) if last else (x[0], out, *sizes)


def pool(node, facts, last=False):
    x = facts[node.inputs[0]].shape
    kernel = node.attrs.get("kernel_shape")
    if kernel is None or len(kernel) != len(x) - 2:
        raise node.error(f"kernel_shape {kernel} for x of {len(x)} axes")
    sizes = windows(node, x[1:-1] if last else x[2:], kernel)
    return (x[0], *sizes, x[-1]) if last else (*x[:2], *sizes)


def global_pool(node, facts):
    x = facts[node.inputs[0]].shape
    if len(x) < 3:
        raise node.error(f"x has {len(x)} axes, (N, C, S..) is due")
    return (*x[:2], *[1] * (len(x) - 2))


def resize(node, facts):
    x = facts[node.inputs[0]].shape
    axes = node.attrs.get("axes") or list(range(len(x)))
    out = list(x)
    sizes = facts[node.inputs[3]] if len(node.inputs) > 3 and node.inputs[3] else None
    scales = facts[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
    policy = node.attrs.get("keep_aspect_ratio_policy", "stretch")
    if sizes is not None and policy != "stretch":
        old, new = [x[axis] for axis in axes], sizes.elements or [None]
        known = None not in (*old, *new)
        made = of_one_ratio(old, new, policy)[0] if known else [None] * len(axes)
        for axis, size in zip(axes, made):
            out[axis] = size
        return tuple(out)
    for i, axis in enumerate(axes):
        if sizes is not None:
            out[axis] = sizes.elements[i] if sizes.elements else None
        elif scales is not None and scales.constant is not None and out[axis] is not None:
            out[axis] = math.floor(out[axis] * float(scales.constant[i]))
        else:
            out[axis] = None
    return tuple(out)


def blocks(node, facts, to_depth):
    x, block = facts[node.inputs[0]].shape, node.attrs.get("blocksize", 0)
    if len(x) != 4 or block < 1:
        raise node.error(f"blocksize {block} of x of the shape {x}")
    n, c, h, w = x
    if to_depth:
        return (n, c and c * block**2, *(s if s is None else s // block for s in (h, w)))
    return (n, c and c // block**2, *(s if s is None else s * block for s in (h, w)))


def center_crop_pad(node, facts):
    x, sizes = list(facts[node.inputs[0]].shape), facts[node.inputs[1]].elements
    axes = node.attrs.get("axes") or range(len(x))
    for i, axis in enumerate(axes):
        x[axis_of(node, axis, len(x))] = sizes[i] if sizes else None
    return tuple(x)


def _number(node, facts, index):
    """The value of an input of one integer; None if it is not known; "" if it is not given."""
    name = node.inputs[index] if index < len(node.inputs) else ""
    found = facts[name].elements if name else None
    return "" if not name else found[0] if found else None


def dft(node, facts):
    x, axis, n = list(facts[node.inputs[0]].shape), _number(node, facts, 2), _number(node, facts, 1)
    if axis is None:
        raise node.not_known("its axis is computed as the model runs")
    axis = axis_of(node, -2 if axis == "" else axis, len(x))
    onesided, inverse = node.attrs.get("onesided", 0), node.attrs.get("inverse", 0)
    if n == "":
        n = x[axis]
        n = 2 * (n - 1) if n is not None and onesided and inverse else n
    x[-1] = 1 if onesided and inverse else 2
    x[axis] = n // 2 + 1 if n is not None and onesided and not inverse else n
    return tuple(x)


def stft(node, facts):
    x, step, n = facts[node.inputs[0]].shape, _number(node, facts, 1), _number(node, facts, 3)
    if n == "" and len(node.inputs) > 2 and node.inputs[2]:
        n = facts[node.inputs[2]].shape[0]
    if len(x) not in (2, 3) or n == "":
        raise node.error(f"x of the shape {x}, and neither frame_length nor a window")
    frames = None if None in (x[1], step, n) or step < 1 else max((x[1] - n) // step + 1, 0)
    bins = n // 2 + 1 if n is not None and node.attrs.get("onesided", 1) else n
    return (x[0], frames, bins, 2)
