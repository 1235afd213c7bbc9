# SPDX-License-Identifier: MIT
"""The shapes that convolutions and pools make; shapes.py has the rules of other operators."""


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


def conv(node, facts, last=False, transposed=False):
    x, w = facts[node.inputs[0]].shape, facts[node.inputs[1]].shape
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
