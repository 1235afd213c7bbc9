# SPDX-License-Identifier: MIT
"""Checks of arguments, those that calls of whole layers do not come to."""

import numpy as np
import pytest

from fastlstm import checks


def test_a_bool_is_no_size():
    with pytest.raises(TypeError, match="hidden_size should be of type int, got: bool"):
        checks.size("hidden_size", True)


class Stubborn:
    def __array__(self, *args, **kwargs):
        raise RuntimeError("not now")


def test_lengths_that_cannot_become_an_array():
    with pytest.raises(TypeError, match="lengths is not an array of integers: not now"):
        checks.lengths(Stubborn(), 3, 2)


def test_seeds():
    assert checks.seed(2**64 - 1) == 2**64 - 1 and checks.seed(np.uint8(3)) == 3
    assert 0 <= checks.seed(None) < 2**64
    for wrong, kind in ((True, "bool"), (1.5, "float"), ("1", "str")):
        with pytest.raises(TypeError, match=f"seed must be an int, got {kind}"):
            checks.seed(wrong)
    for wrong in (-1, 2**64):
        with pytest.raises(ValueError, match=f"seed must be in 0..2.*got {wrong}"):
            checks.seed(wrong)


def test_outputs():
    """An empty one; one of another byte order; one whose rows are not whole items apart; plain."""
    checks.output(np.empty((0, 3), np.float32), (0, 3), ())
    checks.output(np.empty(4, np.float32), (4,), (np.ones(4, np.float32), None))
    with pytest.raises(TypeError, match="must be float32"):
        checks.output(np.empty(4, ">f4"), (4,), ())
    raw = np.empty(64, np.uint8)
    askew = np.ndarray((2, 3), np.float32, raw, strides=(14, 4))
    with pytest.raises(ValueError, match="aligned to its items"):
        checks.output(askew, (2, 3), ())
