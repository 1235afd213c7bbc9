# SPDX-License-Identifier: MIT
"""torch's name of the initial state, hx, beside `state`."""

import numpy as np
import pytest
import torch

import fastlstm
import fastlstm.torch


@pytest.mark.parametrize("kind", [fastlstm.LSTM, fastlstm.GRU, fastlstm.RNN])
def test_hx_is_the_state(kind, rng):
    layer = kind(3, 4, 2)
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    h, c = rng.standard_normal((2, 2, 2, 4)).astype(np.float32)
    given = (h, c) if kind is fastlstm.LSTM else h
    y, final = layer(x, given)
    for run in (layer, layer.forward_train):
        named = run(x, hx=given)
        assert named[0].tobytes() == y.tobytes()
        for a, b in zip(layer.state_parts(named[1]), layer.state_parts(final), strict=True):
            assert a.tobytes() == b.tobytes()
        assert run(x, hx=None)[0].tobytes() == layer(x)[0].tobytes()
        with pytest.raises(TypeError, match="state and hx are two names of one argument"):
            run(x, given, hx=given)
        with pytest.raises(ValueError, match=r"Expected hidden(\[0\])? size \(2, 2, 4\), got"):
            run(x, hx=(h[:1], c) if kind is fastlstm.LSTM else h[:1])

    module = getattr(fastlstm.torch, kind.__name__)(3, 4, 2)
    hx = tuple(map(torch.from_numpy, (h, c)))
    hx = hx if kind is fastlstm.LSTM else hx[0]
    x = torch.from_numpy(x)
    assert torch.equal(module(x, hx=hx)[0], module(x, hx)[0])
    assert torch.equal(module(input=x, hx=hx)[0], module(x, hx)[0])
