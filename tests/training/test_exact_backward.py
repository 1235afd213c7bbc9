# SPDX-License-Identifier: MIT
"""The float64 backward that gradients at given states are taken from
(tests/support/exact_backward.py) is PyTorch's autograd in float64 where the states are exact ones,
and sees the states it is given."""

import exact_backward
import gradients
import numpy as np
import pytest
from cases import CELLS, Case

import fastlstm

pytestmark = pytest.mark.once


def exact(case, up, **options):
    x, state, lengths = case.as_seen()
    state = gradients.zeros_for(case, x) if state is None else state
    return exact_backward.gradients(
        case.cell, case.params(), x, state, lengths, up, **options
    )  # fmt: skip


@pytest.mark.parametrize("lengths", ["none", "some"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_autograd(cell, bias, lengths):
    for L, D, P in ((1, 1, 0), (3, 1, 3), (2, 2, 0)):
        P = P if cell == "lstm" else 0
        case = Case(I=5, H=7, L=L, D=D, P=P, T=6, B=3, bias=bias, lengths=lengths, cell=cell)
        x, state, within = case.as_seen()
        _, up, _ = gradients.train(case.layer(), case)
        want = gradients.torch_gradients(case, x, state, within, up)
        found = exact(case, up)
        assert found.keys() == want.keys()
        for name, error in gradients.relative_errors(found, want).items():
            assert error < 1e-12, name


@pytest.mark.parametrize("cell", CELLS)
def test_given_states_are_used(cell):
    """The exact states, given, change nothing; moved ones move every gradient, of a relu RNN, whose
    slopes are 0 and 1, that of weight_hh alone."""
    case = Case(I=4, H=6, T=5, B=2, cell=cell, state=True)
    x, state, _ = case.as_seen()
    _, up, _ = gradients.train(case.layer(), case)
    w = {name[:-3]: np.asarray(a, np.float64) for name, a in case.params().items()}
    h0, c0 = (np.asarray(s[0], np.float64) for s in state)
    h, c = exact_backward.states(np.asarray(x, np.float64), h0, c0, w, np.full(2, 5), cell)
    plain = exact(case, up)
    same = exact(case, up, given=[(h, c)])
    moved = exact(case, up, given=[(h * 1.01, c * 1.01)])
    for name in plain:
        assert same[name].tobytes() == plain[name].tobytes(), name
        moves = plain[name].size and (cell != "rnn_relu" or name == "weight_hh_l0")
        assert (moved[name] != plain[name]).any() == bool(moves), name


def test_dropout():
    layer = fastlstm.GRU(3, 4, num_layers=2)
    rng = np.random.default_rng(0)
    params = {k: rng.uniform(-1, 1, v.shape) for k, v in layer.state_dict().items()}
    x, state = rng.uniform(-1, 1, (5, 2, 3)), (rng.uniform(-1, 1, (2, 2, 4)), np.zeros((2, 2, 0)))
    up = rng.uniform(-1, 1, (5, 2, 4)), np.zeros((2, 2, 4)), np.zeros((2, 2, 0))
    mask = np.where(rng.integers(0, 2, (5, 2, 4)), 1.5, 0)

    def gradients_of(mask):
        return exact_backward.gradients("gru", params, x, state, None, up, masks=[mask])

    blocked = gradients_of(np.zeros_like(mask))
    assert not blocked["x"].any() and not blocked["weight_ih_l1"].any()
    # a layer that reads 1.5 times its input is one whose matrix is 1.5 times as large
    scaled = gradients_of(np.full_like(mask, 1.5))
    params["weight_ih_l1"] = 1.5 * params["weight_ih_l1"]
    np.testing.assert_allclose(scaled["x"], gradients_of(np.ones_like(mask))["x"], rtol=1e-12)
