# SPDX-License-Identifier: MIT
"""Weights that a file keeps as the parts they are computed from, for find.py: torch's weight norm,
spectral norm and pruning, and the raw weights of weight drop (fastai, AWD-LSTM). W is the weight.

    weight norm    W = g v / |v|        W_g, W_v; parametrizations.W.original0 (g), original1 (v)
    spectral norm  W = O / (u . O v)    W_orig, W_u, W_v; parametrizations.W.original, .0._u, .0._v
    pruning        W = O * mask         W_orig, W_mask
    weight drop    W = raw              W_raw, or beside a submodule `module` that has the others

These are what the modules compute in evaluation, by torch.nn.utils (weight_norm, spectral_norm,
parametrizations, prune); |v| is taken along all dimensions but the one in which g is not 1. Every
other set of parts is refused by its names. What a layer is, is not known here.
"""

import re

import numpy as np

from .source import show

_WEIGHT = r"(?:weight|bias)_(?:ih|hh|hr)(?:_l[0-9]{1,4}(?:_reverse)?)?"
_OLD = re.compile(rf"(|.*[./_])({_WEIGHT})_(g|v|u|orig|mask|raw)", re.DOTALL)
_NEW = re.compile(rf"(|.*[./_])parametrizations\.({_WEIGHT})\.(.+)", re.DOTALL)
_BLOCK = 1 << 18  # elements folded at a time: 2 MiB of float64 besides the result


class NotFolded(Exception):
    """Why a weight cannot be computed from its parts, in words."""


def part_of(name):
    """(prefix, weight's name, which part) of the name of a part; None of any other name."""
    match = _OLD.fullmatch(name) or _NEW.fullmatch(name)
    return match and match.groups()


def _blocks(rows, columns):
    """Slices of at most _BLOCK elements, but one row at least."""
    step = max(1, _BLOCK // max(1, columns))
    return (slice(at, min(at + step, rows)) for at in range(0, rows, step))


def _matrix(v):
    return v.reshape(len(v), -1) if v.ndim else v.reshape(1, 1)


def _weight_norm(g, v):
    """g v / |v|. g is a scalar, or (rows, 1) or (1, columns), the norms of rows or columns."""
    shapes = [(len(v), *[1] * (v.ndim - 1)), (1, v.shape[-1])][: v.ndim]
    axes = [n for n, shape in enumerate(shapes) if shape == g.shape]
    if v.ndim > 2 or (g.ndim and not axes):
        raise NotFolded(f"its g has the shape {g.shape}, which fits no weight of {v.shape}")
    whole, matrix = np.empty(v.shape, np.float32), _matrix(v)
    out = whole.reshape(matrix.shape)
    blocks = list(_blocks(*matrix.shape))
    by_row = bool(axes) and axes[0] == 0
    if not by_row:  # |v| of each column, or of all
        squares = sum(np.square(matrix[rows], dtype=np.float64).sum(0) for rows in blocks)
        norm = np.sqrt(squares if axes else squares.sum())
    for rows in blocks:
        if by_row:
            norm = np.sqrt(np.square(matrix[rows], dtype=np.float64).sum(1))[:, None]
            out[rows] = matrix[rows] * (g.reshape(-1, 1)[rows] / norm)
        else:
            out[rows] = matrix[rows] * (g.reshape(1, -1) / norm)
    return whole


def _spectral_norm(original, u, v):
    """O / (u . O v), O as a matrix."""
    matrix = _matrix(original)
    if u.shape != matrix.shape[:1] or v.shape != matrix.shape[1:]:
        raise NotFolded(f"its u {u.shape} and v {v.shape} do not fit the weight, {original.shape}")
    blocks = list(_blocks(*matrix.shape))
    sigma = sum(np.dot(np.float64(u[n]), np.float64(matrix[n]) @ np.float64(v)) for n in blocks)
    whole = np.empty(original.shape, np.float32)
    for rows in blocks:
        whole.reshape(matrix.shape)[rows] = matrix[rows] / sigma
    return whole


def _pruned(original, mask):
    if mask.shape != original.shape:
        raise NotFolded(f"its mask has the shape {mask.shape}, {original.shape} is due")
    return original * mask.astype(original.dtype)


_FORMS = {
    frozenset(parts): (parts, function)
    for parts, function in (
        (("g", "v"), _weight_norm),
        (("original0", "original1"), _weight_norm),
        (("orig", "u", "v"), _spectral_norm),
        (("original", "0._u", "0._v"), _spectral_norm),
        (("orig", "mask"), _pruned),
        (("raw",), lambda raw: raw),
    )
}


def is_known(parts):
    """Whether a weight may be computed from parts of these names."""
    return frozenset(parts) in _FORMS


def fold(weight, parts):
    """The weight of `parts`, {which part: array}. NotFolded if that is not known, or they do not
    fit together. weight: its name, for the text."""
    if not is_known(parts):
        names = ", ".join(show(each) for each in list(parts)[:6])
        raise NotFolded(
            f"{weight} is computed from parts ({names}) by a parametrization that fastlstm does "
            f"not know; where it was made, call torch.nn.utils.parametrize."
            f"remove_parametrizations(module, {weight!r}), or prune.remove and the like for old "
            "hooks, and save again"
        )
    order, function = _FORMS[frozenset(parts)]
    arrays = [parts[each] for each in order]
    wrong = [each for each, array in zip(order, arrays, strict=True) if array.dtype.kind != "f"]
    if wrong and not (wrong == ["mask"] and parts["mask"].dtype.kind in "biu"):
        raise NotFolded(f"{weight}: its part {wrong[0]!r} is {parts[wrong[0]].dtype}, not a float")
    if not arrays[-1].ndim or any(0 in array.shape for array in arrays):
        raise NotFolded(f"{weight}: a part of it is empty, or a scalar")
    with np.errstate(all="ignore"):
        try:
            return function(*arrays)
        except NotFolded as problem:
            raise NotFolded(f"{weight}: {problem}") from None
