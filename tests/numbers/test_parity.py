# SPDX-License-Identifier: MIT
"""The same numbers as torch.nn and as the float64 oracle, for drawn configurations of every cell.

The figures: error <= 1e-6 at T <= 256 and <= 5e-6 at T = 10,000. A float32 sum of n products cannot
be nearer to the truth than a few 2^-24 times the size of its terms, and torch's initial weights,
U(-1, 1) / sqrt(H), do not shrink with I: at I = 130, H = 1 and normal x, torch itself is 3.8e-6
away. So the flat figures are asserted for I <= 8 H and |x| <= 1, and everything outside (I up to
130 H, weights four times larger) by `test_every_step_within_its_forward_error_bound`, against a
bound derived in bounds.py. y and h are compared absolutely; c, which has no bound of its own,
relative to max(1, |c|), and so is all of an RNN with relu. An x that never changes is the worst
case: c' = f c + i g is then rounded the same way at every step, and the errors add up to
2^-24 |c| / (1 - f), past 1e-6 from f = 0.95 on, for torch as for anyone who keeps c in float32. (48
inputs, 6 units, 8 such steps: torch 2.7e-6, ours 0.9e-6, 1.5e-6 without fused multiply-add.) It is
drawn with few steps only.
"""

import dataclasses
import functools
import warnings

import bounds
import isas
import numpy as np
import oracle
import pytest
import torch
from cases import BATCHES, CELLS, OTHERS, SIZES, Case, cases
from cases import torch_module as module_of
from conftest import FULL, fewer
from hypothesis import given, settings

import fastlstm

ISAS = isas.FLOATS
TORCH, ORACLE, STEPS = (5000, 5000, 5000) if FULL else map(fewer, (300, 500, 300))
SHORT, LONG, TWO_SYSTEMS = 1e-6, 5e-6, 2e-6


def torch_module(case, params=None):
    module = module_of(case)
    params = case.params() if params is None else params
    module.load_state_dict({n: torch.from_numpy(p) for n, p in params.items()})
    return module


@functools.lru_cache(maxsize=512)
def torch_run(case):
    """torch's y, h, c for the Case, through a PackedSequence when it has lengths."""
    x, state, lengths = case.as_seen()
    module, hx = torch_module(case), None
    if state is not None:
        hx = tuple(torch.from_numpy(s) for s in state)
        hx = hx if case.cell == "lstm" else hx[0]
    x = torch.from_numpy(x.copy())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections is not supported")
        if lengths is None:
            y, state = module(x, hx)
        else:
            pack = torch.nn.utils.rnn.pack_padded_sequence
            unpack = torch.nn.utils.rnn.pad_packed_sequence
            packed = pack(x, torch.from_numpy(lengths), case.batch_first, enforce_sorted=False)
            y, state = module(packed, hx)
            y, _ = unpack(y, case.batch_first, total_length=case.T)
    h, c = state if case.cell == "lstm" else (state, state[..., :0])
    y, h, c = y.numpy(), h.numpy(), c.numpy()
    return (oracle.last(h, case.D) if case.last else y), h, c


@functools.lru_cache(maxsize=8)
def oracle_run(case):
    x, state, lengths = case.as_seen()
    y, h, c = oracle.network(
        case.params(), x, state, cell=case.cell, batch_first=case.batch_first, lengths=lengths
    )
    return (oracle.last(h, case.D) if case.last else y), h, c


def assert_close(ours, theirs, tolerance, case, isa):
    for name, a, b in zip("yhc", ours, theirs, strict=True):
        assert a.shape == b.shape, (name, a.shape, b.shape)
        error = np.abs(a.astype(np.float64) - b)
        if name == "c" or case.cell == "rnn_relu":
            error /= np.maximum(1.0, np.abs(b))
        error = error.max(initial=0.0)
        assert error <= tolerance, f"{name} is {error:.3g} away on {isa}: {case}"


def number(cell, n):
    """Configurations of a cell to draw where an LSTM gets n."""
    return n if cell == "lstm" else n // 4


@pytest.mark.parametrize("cell", [c for c in CELLS if c != "gru_before"])  # torch has none
def test_drawn_configurations_against_torch(cell):
    seen = set()

    @settings(max_examples=number(cell, TORCH + TORCH // 8))
    @given(case=cases(cell=cell))
    def check(case):
        theirs = torch_run(case)
        for isa in ISAS:
            assert_close(case.run(case.layer(isa)), theirs, TWO_SYSTEMS, case, isa)
        seen.add(case)

    check()
    assert len(seen) >= number(cell, TORCH)


@pytest.mark.parametrize("cell", CELLS)
def test_drawn_configurations_against_the_oracle(cell):
    seen = set()

    @settings(max_examples=number(cell, ORACLE + ORACLE // 8))
    @given(case=cases(lengths=("none", "some", "zeros too"), cell=cell))
    def check(case):
        theirs = oracle_run(case)
        for isa in ISAS:
            assert_close(case.run(case.layer(isa)), theirs, SHORT, case, isa)
        seen.add(case)

    check()
    assert len(seen) >= number(cell, ORACLE)


@pytest.mark.parametrize("cell", CELLS)
def test_every_step_within_its_forward_error_bound(cell):
    """Any I, weights up to 4 times torch's: each step, from the engine's own float32 state.

    A step's error is bounded whatever the sizes; over many steps errors may grow without a useful
    bound (a large network can be chaotic). test_bits.py shows that a long call is these steps, bit
    for bit.
    """

    @settings(max_examples=number(cell, STEPS))
    @given(case=cases(lengths=("none",), scales=(1.0, 4.0, 4.0), wide=130, last=False, cell=cell))
    def check(case):
        B = case.B or 1
        case = dataclasses.replace(
            case,
            B=B,
            T=3,
            batch_first=False,
            x_form="plain",
            out="none",
            state=True,
            state_form="plain",
        )
        x, (h0, c0), _ = case.call_arrays()
        x, c0 = x * 2, c0 * 8
        params = case.params()
        for isa in ISAS:
            layer, h, c = case.layer(isa), h0, c0
            for t in range(case.T):
                exact = bounds.step(
                    params, *(a.astype(np.float64) for a in (x[t], h, c)), isa != "generic", cell
                )
                y, (h, c) = layer(x[t : t + 1], (h, c))
                for name, a, (b, bound) in zip("yhc", (y[0], h, c), exact, strict=True):
                    excess = (np.abs(a - b) - bound).max(initial=-np.inf)
                    assert excess <= 0, (
                        f"{name} is {excess:.3g} past its bound on {isa}, t={t}: {case}"
                    )

    check()


@pytest.mark.parametrize("H", SIZES)
def test_every_size_against_torch(H, isa):
    """H and I at every boundary +-1 of lanes and panels."""
    for n, I in enumerate(SIZES):
        if I <= 8 * H:
            case = Case(I=I, H=H, T=3, B=1 + n % 9, D=1 + n % 2, seed=n, state=True)
            assert_close(case.run(case.layer(isa)), torch_run(case), TWO_SYSTEMS, case, isa)


@pytest.mark.parametrize("cell", OTHERS)
def test_every_size_of_the_other_cells(cell, isa):
    """The same, with one I for each H: panels of I are the same for all cells of as many gates."""
    for n, H in enumerate(SIZES):
        case = Case(I=1 + n % 7, H=H, T=3, B=1 + n % 9, D=1 + n % 2, seed=n, state=True, cell=cell)
        assert_close(case.run(case.layer(isa)), oracle_run(case), SHORT, case, isa)


@pytest.mark.parametrize("B", BATCHES)
def test_every_batch_against_torch(B, isa):
    """B x T rows at every boundary +-1 of the register tile."""
    for n, (I, H) in enumerate(((1, 1), (5, 7), (16, 16), (33, 20))):
        for T in (1, 2, 3, 5):
            case = Case(I=I, H=H, T=T, B=B, batch_first=n % 2 == 1, seed=n, state=True)
            assert_close(case.run(case.layer(isa)), torch_run(case), TWO_SYSTEMS, case, isa)


@pytest.mark.parametrize(
    "I, H, D, P, B, cell",
    [
        (700, 1500, 1, 0, 1, "lstm"), (300, 1100, 2, 500, 9, "lstm"), (700, 1500, 1, 0, 9, "gru"),
        (300, 1500, 1, 0, 2, "gru_before"), (100, 1024, 1, 0, 60, "rnn_tanh"),
    ],
)  # fmt: skip
def test_large_sizes(I, H, D, P, B, cell, isa):
    """Weights past the caches: a call's panels are no longer handed to the kernels all at once."""
    case = Case(I=I, H=H, D=D, P=P, T=2, B=B, state=True, seed=I, cell=cell)
    if cell == "rnn_tanh":  # no gate damps the error of its long sums, of torch's as of ours
        assert_close(case.run(case.layer(isa)), torch_run(case), TWO_SYSTEMS, case, isa)
    else:
        assert_close(case.run(case.layer(isa)), oracle_run(case), SHORT, case, isa)


def test_results_are_new_and_apart(isa):
    """y, h and c share memory with nothing; inputs may share memory with one another."""
    case = Case(I=5, H=5, L=2, T=3, B=4)
    layer = case.layer(isa)
    block = np.random.default_rng(0).uniform(-1, 1, (3, 4, 5)).astype(np.float32)
    x, state = block, (block[:2], block[:2])
    apart = block.copy(), (block[:2].copy(), block[1::-1][::-1].copy())
    y, (h, c) = layer(x, state)
    y2, (h2, c2) = layer(*apart)
    for a, b in ((y, y2), (h, h2), (c, c2)):
        assert a.tobytes() == b.tobytes()
        assert a.flags.c_contiguous and a.flags.writeable
    arrays = [block, y, h, c, y2, h2, c2]
    for n, a in enumerate(arrays):
        assert not any(np.shares_memory(a, b) for b in arrays[n + 1 :])


@pytest.mark.parametrize(
    "I, H, D, P, cell",
    [
        (3, 8, 1, 0, "lstm"), (16, 32, 2, 0, "lstm"), (1, 17, 1, 5, "lstm"),
        *((3, 17, 1, 0, cell) for cell in OTHERS),
    ],
)  # fmt: skip
def test_ten_thousand_steps(I, H, D, P, cell, isa):
    case = Case(I=I, H=H, D=D, P=P, T=10_000, B=2, state=True, seed=10_000, cell=cell)
    assert_close(case.run(case.layer(isa)), oracle_run(case), LONG, case, isa)


# T = 0 and B = 0, as torch 2.13 has it: no step is an error, no row gives empty arrays.


def empties(cell="lstm"):
    for D in (1, 2):
        for P in (0, 2) if cell == "lstm" else (0,):
            for L in (1, 2):
                for batch_first in (False, True):
                    for T, B in ((0, 2), (2, 0), (0, 0), (0, None)):
                        for state in (False, True):
                            yield Case(
                                I=3,
                                H=4,
                                D=D,
                                P=P,
                                L=L,
                                batch_first=batch_first,
                                T=T,
                                B=B,
                                state=state,
                                cell=cell,
                            )


@pytest.mark.parametrize("case", [*empties(), *empties("gru"), *empties("rnn_relu")], ids=Case.name)
def test_nothing_to_do_as_torch_has_it(case):
    layer = case.layer()
    try:
        theirs = torch_run(case)
    except RuntimeError as e:
        assert "sequence length to be larger than 0" in str(e)
        with pytest.raises(ValueError):
            case.run(layer)
    else:
        ours = case.run(layer)
        assert [a.shape for a in ours] == [a.shape for a in theirs]
        last = dataclasses.replace(case, last=True)
        assert [a.shape for a in last.run(layer)] == [a.shape for a in torch_run(last)]


def test_float64_past_the_float32_range_is_infinite_without_a_warning(isa):
    """1e300 becomes Inf, as a conversion to float32 has it; 1e-300 becomes 0."""
    case = Case(I=3, H=5, T=2, B=2)
    layer = case.layer(isa)
    x = np.full(case.x_shape(), 1e-300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zero = layer(x)[0]
        x[1, 0, 1] = 1e300
        y = layer(x)[0]
    with np.errstate(over="ignore"):
        infinite = x.astype(np.float32)
    assert zero.tobytes() == layer(np.zeros(case.x_shape()))[0].tobytes()
    assert y[:, 1].tobytes() == zero[:, 1].tobytes()
    assert np.isinf(infinite[1, 0, 1])
    assert y.tobytes() == layer(infinite)[0].tobytes()


def test_no_check_is_vacuous():
    """Both checks fail when the engine is wrong by little: one weight moved by 1e-3."""
    case = Case(I=5, H=6, T=8, B=3, seed=1, state=True)
    params = case.params()
    params["weight_hh_l0"][15, 2] += 1e-3
    layer = fastlstm.LSTM(5, 6)
    layer.load_state_dict(params)
    with pytest.raises(AssertionError, match="away"):
        assert_close(case.run(layer), oracle_run(case), SHORT, case, "default")
    x, (h, c), _ = case.as_seen()
    exact = bounds.step(case.params(), *(a.astype(np.float64) for a in (x[0], h, c)))
    _, state = layer(x[:1], (h, c))
    for ours, (value, bound) in zip(state, exact[1:], strict=True):
        assert bound.max() < 1e-5
        assert (np.abs(ours - value) > bound).any()
