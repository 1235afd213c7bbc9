# SPDX-License-Identifier: MIT
"""fastlstm.nn beside torch.nn: the same module twice, outputs and errors compared."""

import numpy as np
import torch

import fastlstm.nn as ours

TOLERANCE = 1e-5  # of the largest element


def pair(name, *args, seed=0, **kwargs):
    """(torch's module, ours) of one class with the same arguments and weights, in inference."""
    torch.manual_seed(seed)
    theirs = getattr(torch.nn, name)(*args, **kwargs).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # weights of norms and running statistics are not all ones
        for key, value in theirs.state_dict().items():
            if value.is_floating_point():
                draw = torch.rand(value.shape, generator=generator) + 0.5
                value.copy_(draw if key.endswith("_var") else value * 0.7 + 0.1 * draw)
    mine = getattr(ours, name)(*args, **kwargs).eval()
    found = mine.load_state_dict(theirs.state_dict())
    assert found.missing_keys == [] and found.unexpected_keys == []
    return theirs, mine


def call(module, *args, **kwargs):
    """What torch's module or function answers to NumPy arrays, as NumPy arrays."""
    with torch.inference_mode():
        return arrays(module(*tensors(args), **{k: tensors(v) for k, v in kwargs.items()}))


def tensors(value):
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    return type(value)(map(tensors, value)) if type(value) in (tuple, list) else value


def arrays(value):
    if isinstance(value, torch.Tensor):
        return value.detach().numpy()
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if isinstance(value, (tuple, list)):
        return tuple(map(arrays, value))
    return value


def check(found, due, tolerance=TOLERANCE):
    """The same structure, shapes and types, numbers within `tolerance` of the largest."""
    if isinstance(due, tuple):
        assert isinstance(found, (tuple, list)) and len(found) == len(due)
        for one, other in zip(found, due, strict=True):
            check(one, other, tolerance)
        return
    if not isinstance(due, np.ndarray):
        assert found == due and type(found) is type(due)
        return
    found = np.asarray(found)
    assert found.shape == due.shape
    assert found.dtype == due.dtype
    if due.dtype.kind != "f":
        assert np.array_equal(found, due)
        return
    assert np.array_equal(np.isnan(found), np.isnan(due))
    finite = np.isfinite(due)
    assert np.array_equal(found[~finite & ~np.isnan(due)], due[~finite & ~np.isnan(due)])
    scale = max(1e-3, np.abs(due[finite]).max(initial=0))
    assert np.abs(found[finite] - due[finite]).max(initial=0) <= tolerance * scale


def error_of(function, *args, **kwargs):
    """(type, text) of the error that a call raises; None without one."""
    try:
        function(*args, **kwargs)
    except Exception as error:
        return type(error), str(error)
    return None
