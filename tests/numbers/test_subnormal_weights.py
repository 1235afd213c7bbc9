# SPDX-License-Identifier: MIT
"""Subnormal weights count as zeros, each of them: as factors they would cost a slow path of the CPU
at every use."""

import numpy as np
import pytest

import fastlstm

pytestmark = pytest.mark.once  # packed weights are the C core's


@pytest.mark.parametrize("I, H", [(1, 3), (5, 17), (70, 66)])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_forward_and_backward_take_them_for_zeros(kind, I, H, isa, rng):
    """x of 1e38 and gradients of 1e30 would make numbers of them that outputs show."""
    layer, zeros = (getattr(fastlstm, kind)(I, H, isa=isa) for _ in range(2))
    weights = {
        name: np.full_like(array, 1e-40 if "weight" in name else 0.1)
        for name, array in layer.state_dict().items()
    }
    weights["weight_ih_l0"][::2] *= -1
    layer.load_state_dict(weights)
    zeros.load_state_dict({n: a * ("bias" in n) for n, a in weights.items()})
    x = np.full((3, 2, I), 1e38, np.float32)
    dy = rng.standard_normal((3, 2, H)).astype(np.float32) * np.float32(1e30)
    (y, *_, tape), (want, *_) = layer.forward_train(x), zeros.forward_train(x)
    assert y.tobytes() == want.tobytes() == layer(x)[0].tobytes()
    assert not layer.backward(tape, dy).x.any()
