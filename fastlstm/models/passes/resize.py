# SPDX-License-Identifier: MIT
"""Resize where the C operator does not have it: cubic, antialiased, with regions of interest, of
several axes, of whole numbers. Each axis becomes a product with a constant matrix of weights, or a
Gather of the nearest elements; so the axis' sizes have to be known."""

import numpy as np

from ..reference.call import DTYPES, MAX_BYTES, Call
from ..reference.resize import Step, steps
from .put import made_of_others

# What the C operator has; lower/resize.py.
_MODES = ("nearest", "linear")
_RULES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")


def _covered(put, node):
    get, fact = node.attrs.get, put.edit.facts[node.inputs[0]]
    axes = len(fact.shape)
    moved = [a % axes for a in get("axes") or range(axes)]
    given = [put.value(n) if n else None for n in [*node.inputs, "", ""][2:4]]
    if given[0] is not None and given[0].size == len(moved):
        moved = [a for a, scale in zip(moved, given[0], strict=True) if scale != 1]
    elif given[1] is not None and given[1].size == len(moved):
        moved = [a for a, n in zip(moved, given[1], strict=True) if n != fact.shape[a]]
    elif axes in (3, 4) and get("axes") is None:
        moved = range(2, axes)
    return (
        get("mode", "nearest") in _MODES
        and get("coordinate_transformation_mode", "half_pixel") in _RULES
        and get("keep_aspect_ratio_policy", "stretch") == "stretch"
        and not get("antialias")
        and not get("exclude_outside")
        and (get("mode", "nearest") == "nearest" or fact.dtype.kind == "f")
        and max(moved, default=0) - min(moved, default=0) < 2
    )


@made_of_others("Resize")
def resize(put, node):
    if _covered(put, node):
        return False
    x, fact = node.inputs[0], put.edit.facts[node.inputs[0]]
    roi, scales, sizes = (
        put.due(i, f"the {what}") for i, what in ((1, "roi"), (2, "scales"), (3, "sizes"))
    )
    axes = len(fact.shape)
    named = [a % axes for a in node.attrs.get("axes") or range(axes)]
    shape = [n or 1 if n is None and a not in named else n for a, n in enumerate(fact.shape)]
    if None in shape:
        raise node.not_known(f"the sizes of x, {fact.shape}, have to be known before")
    whole, made = steps(Call(node, MAX_BYTES), shape, roi, scales, sizes)
    if 0 in whole:  # any element will do
        made = [Step(a, np.zeros(whole[a], np.int64), None, None) for a in named if shape[a]]
    rounds = fact.dtype.kind != "f" and any(step.matrix is not None for step in made)
    if rounds:
        (x,) = put("Cast", [x], to=1)
    for step in made:
        if step.index is not None:
            index = put.constant(step.index, np.int64)
            (x,) = put("Gather", [x, index], axis=step.axis)
            continue
        last = [*[a for a in range(axes) if a != step.axis], step.axis]
        (x,) = put("Transpose", [x], perm=last)
        (x,) = put("Linear", [x, put.constant(step.matrix)])
        (x,) = put("Transpose", [x], perm=np.argsort(last).tolist())
    for step in made:
        if step.outside is not None and step.outside.any():
            column = step.outside.reshape(-1, *[1] * (axes - 1 - step.axis))
            value = put.constant(node.attrs.get("extrapolation_value", 0.0))
            (x,) = put("Where", [put.constant(column, bool), value, x])
    if rounds:
        info = np.iinfo(fact.narrow or fact.dtype)
        (x,) = put("Clip", [x, put.constant(info.min), put.constant(info.max)])
        code = next(c for c, name in DTYPES.items() if name == info.dtype.name)
        put("Cast", [x], last=True, to=code)
    else:
        put("Identity", [x], last=True)
    return True
