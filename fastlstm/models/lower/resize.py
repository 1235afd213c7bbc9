# SPDX-License-Identifier: MIT
"""Resize."""

import numpy as np

from .builder import lowers

# In the order of csrc/ops/resize.h.
RULES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
MODES = ("nearest", "linear")


def _choice(node, name, default, choices):
    given = node.attrs.get(name, default)
    if given not in choices:
        raise node.error(f"{name} {given!r} is not covered")
    return choices.index(given)


@lowers("Resize")
def resize(b, node):
    attrs, shape = node.attrs, b.shape(node.inputs[0])
    mode = _choice(node, "mode", "nearest", MODES)
    rule = _choice(node, "coordinate_transformation_mode", "half_pixel", RULES)
    rounding = _choice(node, "nearest_mode", "round_prefer_floor", ROUNDINGS)
    _choice(node, "keep_aspect_ratio_policy", "stretch", ("stretch",))
    if attrs.get("antialias") or attrs.get("exclude_outside"):
        raise node.error("antialias and exclude_outside are not covered")
    x, _, _, sizes = [*node.inputs, "", "", ""][:4]
    if sizes and b.known(sizes) is None:
        if attrs.get("axes") is not None or len(shape) not in (3, 4):
            raise node.not_known("computed sizes are covered for all axes of (N, C, S..) alone")
        n = len(shape) - 2
        b.emit(node, "resize", [2, n, mode, rule, rounding, *[0] * n], [0.0] * n,
               inputs=[x, sizes])  # fmt: skip
        return
    axes = [a % len(shape) for a in attrs.get("axes") or range(len(shape))]
    if sizes:
        size = dict(zip(axes, (int(n) for n in b.known(sizes)), strict=True))
        moved = [a for a in axes if size[a] != shape[a]]
        scale = {}
    else:
        given = b.due(node, 2, "the scales").astype(np.float32)
        scale = dict(zip(axes, given.tolist(), strict=True))
        moved = [a for a in axes if scale[a] != 1]
        size = {}
    moved = moved or axes[-1:]
    first, n = min(moved), max(moved) - min(moved) + 1
    if n > 2:
        raise node.error(f"the axes {moved} are resized, one or two neighbours are covered")
    over = range(first, first + n)
    b.emit(
        node, "resize",
        [first, n, mode, rule, rounding, *(size.get(a, 0) for a in over)],
        [scale.get(a, 0.0) for a in over], inputs=[x],
    )  # fmt: skip
