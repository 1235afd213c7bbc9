# SPDX-License-Identifier: MIT
"""Which products a precision makes of bfloat16 parts, and which are too small for it: the bounds of
fastlstm/engine/parts.py, as they are."""

import numpy as np
import pytest
from conftest import BACKEND
from parts import PARTS

import fastlstm
import fastlstm.nn as nn


def in_parts(layer, x):
    """The precisions with which the layer's outputs are not float32's."""
    due = layer(x)
    others = {p: layer.quantize(precision=p)(x) for p in PARTS}
    return [p for p, y in others.items() if not np.array_equal(y, due)]


@pytest.mark.parametrize(
    "layer, shape, kinds",
    [
        (nn.Linear(512, 96), (2, 512), ["bfloat16x3"]),
        (nn.Linear(512, 95), (2, 512), []),
        (nn.Linear(127, 2000), (2, 127), []),
        (nn.Linear(512, 384), (2, 512), list(PARTS)),
        (nn.Conv2d(32, 64, 3), (1, 32, 4, 4), ["bfloat16x3"]),
        (nn.Conv2d(32, 56, 3), (1, 32, 4, 4), []),
        (nn.Conv1d(256, 192, 1), (1, 256, 2), list(PARTS)),
        (nn.Conv2d(128, 128, 3, groups=4), (1, 128, 4, 4), []),
    ],
    ids=repr,
)
def test_small_products_are_float32_s(layer, shape, kinds, rng):
    x = rng.standard_normal(shape).astype(np.float32)
    assert in_parts(layer, x) == (kinds if BACKEND == "c" else [])


@pytest.mark.needs("c")
@pytest.mark.parametrize("H, due", [(181, []), (182, list(PARTS))])
def test_small_layers_are_float32_s(H, due, rng):
    """4 * 181^2 recurrent weights are fewer than 2^17, 4 * 182^2 are not."""
    x = rng.standard_normal((3, 2, 40)).astype(np.float32)
    weights = fastlstm.LSTM(40, H).state_dict()
    weights = {
        name: rng.uniform(-0.1, 0.1, w.shape).astype(np.float32) for name, w in weights.items()
    }

    def outputs(precision):
        layer = fastlstm.LSTM(40, H, precision=precision)
        layer.load_state_dict(weights)
        return layer(x)[0]

    plain = outputs("float32")
    assert [p for p in PARTS if not np.array_equal(outputs(p), plain)] == due
