# SPDX-License-Identifier: MIT
"""Keras' masks: rows (B, T, ...) of which some steps count, by mask (B, T)."""

import numpy as np

from .call import operator


def _checked(call, x, mask):
    call.kind(mask, "b", "mask")
    call.ndim(mask, 2, "mask")
    if x.shape[:2] != mask.shape:
        raise call.error(f"a mask of the shape {mask.shape} for {x.shape}")


def _wide(array, x):
    """(B, T) with an axis for each of x's others."""
    return array.reshape(*array.shape, *[1] * (x.ndim - 2))


@operator("MaskPack", 2)
def mask_pack(call, x, mask):
    """The steps of each row that count, moved to its front, zeros behind; and how many they are."""
    _checked(call, x, mask)
    lengths = mask.sum(1, dtype=np.int64)
    order = np.argsort(~mask, 1, "stable")
    y = np.take_along_axis(x, _wide(order, x), 1)
    kept = np.arange(mask.shape[1]) < lengths[:, None]
    return np.where(_wide(kept, x), y, np.zeros((), x.dtype)), lengths


@operator("MaskUnpack", 2)
def mask_unpack(call, y, mask):
    """The outputs of the packed steps, back where those stood. A step that does not count repeats
    the last one that did before it (with reverse=1, behind it), and is 0 where there is none, or
    everywhere with zeros=1."""
    _checked(call, y, mask)
    if call.attr("reverse", 0):
        place = mask.sum(1, keepdims=True) - np.cumsum(mask[:, ::-1], 1)[:, ::-1]
        known = place < mask.sum(1, keepdims=True)
    else:
        place = np.cumsum(mask, 1) - 1
        known = place >= 0
    if call.attr("zeros", 0):
        known = mask
    if not y.shape[1]:
        return y
    place = np.clip(place, 0, y.shape[1] - 1)
    found = np.take_along_axis(y, _wide(place, y), 1)
    return np.where(_wide(known, y), found, np.zeros((), y.dtype))
