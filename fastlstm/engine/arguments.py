# SPDX-License-Identifier: MIT
"""Arguments made canonical, or refused in words.

A canonical array is float32 of the machine's byte order, aligned, of the right shape and with unit
stride in its last axis. Every refusal is a ValueError or TypeError that says both what was expected
and what was given, raised before any output exists.
"""

import operator

import numpy as np


def size(name, value, least=1, most=2**40):
    """`value` as an int in least..most; else a TypeError or ValueError in torch's words."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} should be of type int, got: bool")
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} should be of type int, got: {type(value).__name__}") from None
    if value < least:
        what = "greater than zero" if least == 1 else f"at least {least}"
        raise ValueError(f"{name} must be {what}, got {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")
    return value


def real(name, value):
    """An array of real numbers (or torch tensor) as an ndarray, its dtype and layout as they are;
    anything else is a TypeError. Nothing of an array's size is allocated, so that its shape can be
    looked at first, but for a tensor of another floating dtype than float32, which becomes that, or
    of another device."""
    if hasattr(value, "detach"):  # a torch tensor, perhaps one that requires grad
        value = value.detach().cpu()
        value = value.float().numpy() if value.is_floating_point() else value.numpy()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as e:
        raise TypeError(f"{name} is not an array of numbers: {e}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array


def rows(array):
    """float32, aligned, with unit stride in the last axis; a copy only where needed."""
    if array.dtype != np.float32 or array.dtype.byteorder != "=":  # a spelled out "<" too
        with np.errstate(over="ignore"):
            return array.astype(np.float32, order="C")
    last = array.strides[-1] if array.ndim and array.shape[-1] > 1 else 4
    if last != 4 or any(s % 4 for s in array.strides):
        array = np.ascontiguousarray(array)
    return array if array.flags.aligned else array.copy()


def contiguous(array):
    """float32, aligned and contiguous; a copy only where needed."""
    return np.ascontiguousarray(rows(array))


def sequence(layer, value, rows_expected=None):
    """(x as a canonical (T, B, I) or (B, T, I) array, was it batched, T, B) for a call of `layer`,
    which has input_size, batch_first and kind. B must be `rows_expected` where that is given."""
    input_size, batch_first = layer.input_size, layer.batch_first
    x = real("input", value)
    if x.ndim not in (2, 3):
        raise ValueError(
            f"{layer.kind}: Expected input to be 2D or 3D, got {x.ndim}D instead: shape {x.shape}"
        )
    batched = x.ndim == 3
    if x.shape[-1] != input_size:
        raise ValueError(
            f"input.size(-1) must be equal to input_size. Expected {input_size}, "
            f"got {x.shape[-1]}: input has shape {x.shape}"
        )
    if not batched:
        x = x[None] if batch_first else x[:, None]
    steps, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    if steps == 0:
        raise ValueError(
            f"Expected sequence length to be larger than 0 in {layer.kind}: "
            f"input has shape {x.shape}"
        )
    if rows_expected is not None and batch != rows_expected:
        raise ValueError(
            f"this stream has {rows_expected} rows, input of shape {x.shape} has {batch}"
        )
    return (rows(x) if x.size else x), batched, steps, batch


def states(value, shapes, batched, tracks=True):
    """(h0, c0) or (h0,) as contiguous arrays of `shapes`, each (L D, B, n), or None. `value` comes
    without the axis B if not `batched`, without L D if not `tracks`."""
    if value is None:
        return None
    if len(shapes) == 1:
        return (_state("state", "hidden", value, shapes[0], (tracks, batched, True)),)
    return tuple(
        _state(f"state[{i}]", f"hidden[{i}]", part, shape, (tracks, batched, True))
        for i, (part, shape) in enumerate(zip(pair("state", value), shapes, strict=True))
    )


def pair(name, value):
    """(h0, c0) as given, a tuple or list of two; a TypeError for anything else."""
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return value
    got = type(value).__name__
    got += f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    raise TypeError(f"{name} must be a pair (h0, c0), got {got}")


def _state(name, torchs_name, value, shape, axes):
    array = real(name, value)
    want = tuple(n for n, there in zip(shape, axes, strict=True) if there)
    if array.shape != want:
        raise ValueError(f"Expected {torchs_name} size {want}, got {array.shape}")
    return contiguous(array).reshape(shape)


def lengths(value, steps, batch):
    """(B,) int64, contiguous, each in 0..T; or None. A copy: another thread may
    write to the caller's array during the call, after it was checked."""
    if value is None:
        return None
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as e:
        raise TypeError(f"lengths is not an array of integers: {e}") from None
    if array.size == 0 and array.dtype.kind == "f":  # [], of which NumPy makes floats
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"lengths must hold integers, got dtype {array.dtype}")
    if array.shape != (batch,):
        raise ValueError(f"Expected lengths of shape ({batch},), got {array.shape}")
    array = np.array(array)
    if batch and not (int(array.min()) >= 0 and int(array.max()) <= steps):
        raise ValueError(
            f"lengths must be in 0..{steps}, the input's steps; got {int(array.min())} to "
            f"{int(array.max())}"
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def seed(value):
    """An int in 0..2**64-1; None: a random one."""
    if value is None:
        return int(np.random.default_rng().integers(2**64, dtype=np.uint64))
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("seed must be an int, got bool")
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"seed must be an int, got {type(value).__name__}") from None
    if not 0 <= value < 2**64:
        raise ValueError(f"seed must be in 0..2**64-1, got {value}")
    return value


def output(out, shape, inputs):
    """Refuse an `out` that cannot take a result of `shape`, or that overlaps one of the arrays
    among `inputs`."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy array, got {type(out).__name__}")
    if out.dtype != np.float32 or not out.dtype.isnative:
        raise TypeError(f"out must be float32, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"Expected out of shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"out of shape {out.shape} is read-only")
    if not out.size:
        return
    if out.shape[-1] > 1 and out.strides[-1] != 4:
        raise ValueError(
            f"out must have unit stride in its last axis: shape {out.shape}, strides {out.strides}"
        )
    if not out.flags.aligned or any(s % 4 for s in out.strides):
        raise ValueError(f"out must be aligned to its items: strides {out.strides}")
    for array in inputs:
        if isinstance(array, np.ndarray) and np.may_share_memory(out, array):
            raise ValueError(
                f"out of shape {out.shape} overlaps an input of shape {array.shape} in memory"
            )
    low = sorted((abs(s), n) for s, n in zip(out.strides, out.shape, strict=True) if n > 1)
    reach = 4
    for stride, n in low:
        if stride < reach:
            raise ValueError(
                f"out's elements overlap one another: shape {out.shape}, strides {out.strides}"
            )
        reach += (n - 1) * stride
