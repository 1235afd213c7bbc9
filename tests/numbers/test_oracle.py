# SPDX-License-Identifier: MIT
"""The oracle itself, against torch.nn.LSTM in float64, to 1e-12."""

import itertools

import numpy as np
import oracle
import pytest
import torch

pytestmark = pytest.mark.once

TOLERANCE = 1e-12
GRID = list(
    itertools.product((1, 2, 3), (False, True), (True, False), (False, True), (False, True))
)


def reference(L, bidirectional, bias, project, batch_first, rng):
    I, H = (int(n) for n in rng.integers(1, 20, 2))
    H += project
    P = int(rng.integers(1, H)) if project else 0
    torch.manual_seed(int(rng.integers(2**31)))
    return torch.nn.LSTM(
        I, H, L, bias, batch_first, bidirectional=bidirectional, proj_size=P, dtype=torch.float64
    )


def numpy_of(module):
    return {name: p.numpy() for name, p in module.state_dict().items()}


def close(ours, theirs):
    ours, theirs = np.asarray(ours), theirs.numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max(initial=0.0) <= TOLERANCE


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
@pytest.mark.parametrize("given", [False, True], ids=["zero", "given"])
@pytest.mark.parametrize("L, bidirectional, bias, project, batch_first", GRID)
def test_oracle_is_torch_in_float64(L, bidirectional, bias, project, batch_first, given):
    seed = [L, bidirectional, bias, project, batch_first, given]
    rng = np.random.default_rng(seed)
    m = reference(L, bidirectional, bias, project, batch_first, rng)
    D, P = 1 + bidirectional, m.proj_size or m.hidden_size
    params = numpy_of(m)
    T, B = int(rng.integers(1, 12)), int(rng.integers(1, 6))
    x = rng.standard_normal((B, T, m.input_size) if batch_first else (T, B, m.input_size))
    state = None
    if given:
        state = rng.standard_normal((L * D, B, P)), rng.standard_normal((L * D, B, m.hidden_size))
    hx = None if state is None else tuple(map(torch.from_numpy, state))

    with torch.no_grad():
        y, (h, c) = m(torch.from_numpy(x), hx)
    for ours, theirs in zip(
        oracle.network(params, x, state, batch_first=batch_first), (y, h, c), strict=True
    ):
        close(ours, theirs)

    # variable lengths, in any order
    lengths = rng.integers(1, T + 1, B)
    lengths[rng.integers(B)] = T
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.from_numpy(x), torch.from_numpy(lengths), batch_first, enforce_sorted=False
    )
    with torch.no_grad():
        y, (h, c) = m(packed, hx)
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first)
    ours = oracle.network(params, x, state, batch_first=batch_first, lengths=lengths)
    for a, b in zip(ours, (y, h, c), strict=True):
        close(a, b)
    # the final hidden state of the last layer is also what the outputs hold at each row's end
    final = oracle.last(ours[1], D)
    rows = ours[0] if batch_first else ours[0].swapaxes(0, 1)
    assert np.array_equal(final[:, :P], rows[np.arange(B), lengths - 1, :P])
    if bidirectional:
        assert np.array_equal(final[:, P:], rows[:, 0, P:])

    # unbatched
    x1 = x[0] if batch_first else x[:, 0]
    s1 = None if state is None else tuple(s[:, 0] for s in state)
    with torch.no_grad():
        y, (h, c) = m(
            torch.from_numpy(np.ascontiguousarray(x1)),
            None if s1 is None else tuple(torch.from_numpy(np.ascontiguousarray(s)) for s in s1),
        )
    for ours, theirs in zip(
        oracle.network(params, x1, s1, batch_first=batch_first), (y, h, c), strict=True
    ):
        close(ours, theirs)


def test_a_row_of_length_zero_keeps_its_state():
    m = reference(2, True, True, False, False, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 2, m.input_size))
    h0, c0 = rng.standard_normal((2, 4, 2, m.hidden_size))
    y, h, c = oracle.network(numpy_of(m), x, (h0, c0), lengths=[0, 4])
    assert not y[:, 0].any()
    assert np.array_equal(h[:, 0], h0[:, 0])
    assert np.array_equal(c[:, 0], c0[:, 0])
    alone = oracle.network(numpy_of(m), x[:, 1:], (h0[:, 1:], c0[:, 1:]))
    assert np.abs(y[:, 1:] - alone[0]).max() <= TOLERANCE


@pytest.mark.parametrize("gate", range(4))
def test_a_wrong_gate_order_would_be_seen(gate):
    """The check can fail: swapping two gates' rows moves the outputs far past the tolerance."""
    m = reference(1, False, True, False, False, np.random.default_rng(2))
    params = numpy_of(m)
    x = np.random.default_rng(3).standard_normal((5, 2, m.input_size))
    good = oracle.network(params, x)[0]
    order = np.arange(4)
    other = (gate + 1) % 4
    order[[gate, other]] = order[[other, gate]]
    for name in params:
        params[name] = np.concatenate([np.split(params[name], 4)[g] for g in order])
    assert np.abs(oracle.network(params, x)[0] - good).max() > 1e-4
