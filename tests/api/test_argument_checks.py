# SPDX-License-Identifier: MIT
"""What engine/arguments.py makes of single arguments, right and wrong: every branch of it."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastlstm.engine import arguments as checks

pytestmark = pytest.mark.once

LAYER = SimpleNamespace(kind="LSTM", input_size=3, batch_first=False)
FIRST = SimpleNamespace(kind="LSTM", input_size=3, batch_first=True)
X = np.zeros((4, 2, 3), np.float32)
SHAPES = ((1, 2, 5), (1, 2, 6))
H, C = (np.zeros(shape, np.float32) for shape in SHAPES)
NO_ARRAY = [[1, 2], [3]]
HUGE = np.array([1, 2**64 - 1], np.uint64)


class Unreadable:
    def __array__(self, *args, **kwargs):
        raise RuntimeError("not today")


class Tensor:
    """What checks.real sees of a torch tensor."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    cpu = detach

    def is_floating_point(self):
        return self.array.dtype.kind == "f"

    def float(self):
        return Tensor(self.array.astype(np.float32))

    def numpy(self):
        return self.array


def strided(shape, strides):
    return np.lib.stride_tricks.as_strided(np.zeros(4000, np.float32), shape, strides)


def unaligned(shape, dtype=np.float32):
    array = np.zeros(int(np.prod(shape)) * 4 + 1, np.uint8)[1:].view(dtype).reshape(shape)
    assert not array.flags.aligned
    return array


def read_only(shape):
    array = np.zeros(shape, np.float32)
    array.flags.writeable = False
    return array


WRONG = [
    (TypeError, "got: bool", checks.size, "n", True),
    (TypeError, "got: str", checks.size, "n", "3"),
    (ValueError, "greater than zero, got 0", checks.size, "n", 0),
    (ValueError, "at least 5, got 4", checks.size, "n", 4, 5),
    (ValueError, "at most 9, got 10", checks.size, "n", 10, 1, 9),
    (TypeError, "not an array of numbers", checks.real, "x", NO_ARRAY),
    (TypeError, "not today", checks.real, "x", Unreadable()),
    (TypeError, "complex128", checks.real, "x", [1j]),
    (ValueError, r"got 1D instead: shape \(3,\)", checks.sequence, LAYER, X[0, 0]),
    (ValueError, r"Expected 3, got 2: .* \(4, 2, 2\)", checks.sequence, LAYER, X[..., 1:]),
    (ValueError, r"larger than 0.*\(0, 2, 3\)", checks.sequence, LAYER, X[:0]),
    (ValueError, r"larger than 0.*\(2, 0, 3\)", checks.sequence, FIRST, X[:2, :0]),
    (ValueError, r"has 7 rows, input of shape \(4, 2, 3\) has 2", checks.sequence, LAYER, X, 7),
    (TypeError, "pair .h0, c0., got ndarray", checks.states, H, SHAPES, True),
    (TypeError, "got tuple of 3", checks.states, (H, C, C), SHAPES, True),
    (TypeError, "got int", checks.states, 3, SHAPES, True),
    (ValueError, r"\[1\] size \(1, 2, 6\), got \(1, 2, 5\)", checks.states, (H, H), SHAPES, True),
    (ValueError, r"size \(2, 5\), got \(1, 2, 5\)", checks.states, H, SHAPES[:1], True, False),
    (TypeError, "not an array of integers", checks.lengths, NO_ARRAY, 4, 2),
    (TypeError, "not today", checks.lengths, Unreadable(), 4, 2),
    (TypeError, "dtype float64", checks.lengths, [1.0, 2.0], 4, 2),
    (ValueError, r"shape \(2,\), got \(0,\)", checks.lengths, [], 4, 2),
    (ValueError, r"shape \(2,\), got \(3,\)", checks.lengths, [1, 2, 3], 4, 2),
    (ValueError, r"0\.\.4.*got -1 to 3", checks.lengths, [-1, 3], 4, 2),
    (ValueError, r"0\.\.4.*got 1 to 5", checks.lengths, [5, 1], 4, 2),
    (ValueError, "got 1 to 18446744073709551615", checks.lengths, HUGE, 4, 2),
    (TypeError, "got bool", checks.seed, True),
    (TypeError, "got float", checks.seed, 1.5),
    (ValueError, "got -1", checks.seed, -1),
    (ValueError, "got 18446744073709551616", checks.seed, 2**64),
    (TypeError, "got list", checks.output, [1], (1,), ()),
    (TypeError, "got float64", checks.output, np.zeros(2), (2,), ()),
    (TypeError, "got >f4", checks.output, np.zeros(2, ">f4"), (2,), ()),
    (ValueError, r"shape \(2,\), got \(3,\)", checks.output, np.zeros(3, np.float32), (2,), ()),
    (ValueError, "read-only", checks.output, read_only((2,)), (2,), ()),
    (ValueError, "unit stride", checks.output, strided((2, 2), (16, 8)), (2, 2), ()),
    (ValueError, "aligned", checks.output, unaligned((2, 2)), (2, 2), ()),
    (ValueError, "aligned", checks.output, strided((2, 2), (10, 4)), (2, 2), ()),
    (ValueError, "overlaps an input", checks.output, X, X.shape, (None, X[1:])),
    (ValueError, "overlap one another", checks.output, strided((2, 3), (8, 4)), (2, 3), ()),
]  # fmt: skip


@pytest.mark.parametrize("error, text, check, arguments", [(*w[:3], w[3:]) for w in WRONG])
def test_wrong(error, text, check, arguments):
    with pytest.raises(error, match=text):
        check(*arguments)


def test_sizes_and_seeds():
    assert checks.size("n", np.int8(3)) == 3
    assert checks.size("n", 0, least=0) == 0
    assert checks.seed(2**64 - 1) == 2**64 - 1
    assert len({checks.seed(None) for _ in range(10)}) == 10
    assert all(0 <= checks.seed(None) < 2**64 for _ in range(100))


def test_arrays_are_read_in_place_where_they_can_be():
    for given in (X, X[::-2, 1:], X[:, :, :1]):
        assert checks.rows(given) is given
    for given in (Tensor(X), Tensor(np.zeros((4, 2, 3), int)), Tensor(X.astype(np.float16))):
        assert checks.real("x", given).shape == X.shape
    scalar = np.zeros((), np.float32)
    assert checks.rows(scalar).shape == ()
    for given in (X.astype(float), X.astype(">f4"), X.transpose(2, 1, 0), strided((2, 3), (10, 4)),
                  unaligned((2, 3)), X.astype(bool)):  # fmt: skip
        made = checks.rows(given)
        assert made is not given and np.array_equal(made, given)
        assert made.dtype == np.float32 and made.dtype.isnative and made.flags.aligned
        assert made.strides[-1] == 4 and checks.contiguous(given).flags.c_contiguous
    with np.errstate(all="raise"):
        assert checks.rows(np.array([1e300]))[0] == np.inf


def test_sequences():
    for layer, T, B in ((LAYER, 4, 2), (FIRST, 2, 4)):
        x, batched, steps, batch = checks.sequence(layer, X)
        assert (x is X, batched, steps, batch) == (True, True, T, B)
        x, batched, steps, batch = checks.sequence(layer, X[:, 0], 1)
        assert (x.ndim, batched, steps, batch) == (3, False, 4, 1)
    assert checks.sequence(LAYER, X[:, :0])[3] == 0


def test_states_and_lengths():
    assert checks.states(None, SHAPES, True) is None
    h, c = checks.states([H, C.astype(float)], SHAPES, True)
    assert (h.shape, c.shape) == SHAPES
    h, c = checks.states((H[:, 0], C[:, 0]), ((1, 1, 5), (1, 1, 6)), False)
    assert (h.shape, c.shape) == ((1, 1, 5), (1, 1, 6))
    assert checks.lengths(None, 4, 2) is None
    for given in (np.array([0, 4], np.uint8), np.array([0, 4], np.int64)):
        made = checks.lengths(given, 4, 2)
        given[:] = 200
        assert made.tolist() == [0, 4] and made.dtype == np.int64
    for given in ([], np.zeros(0, int), np.zeros(0)):
        made = checks.lengths(given, 4, 0)
        assert made.shape == (0,) and made.dtype == np.int64


def test_outputs():
    apart = np.zeros((9, 2, 3), np.float32)
    for out in (apart[:4], apart[::-1][:4], apart[:8:2], np.zeros((4, 2, 0), np.float32),
                np.zeros((1, 1, 1), np.float32)):  # fmt: skip
        checks.output(out, out.shape, (X, None, [1]))


def test_every_branch_is_taken(tmp_path):
    """By the tests above, as coverage.py sees it."""
    coverage = [sys.executable, "-m", "coverage"]
    data = ["--data-file", tmp_path / "data"]
    run = [*coverage, "run", *data, "--branch", "--include", checks.__file__, "-m", "pytest"]
    run += ["-q", "-p", "no:cacheprovider", Path(__file__), "-k", "not every_branch"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    report = [*coverage, "report", *data, "--show-missing", "--fail-under", "100"]
    done = subprocess.run(report, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
