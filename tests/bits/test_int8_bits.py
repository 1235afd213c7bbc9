# SPDX-License-Identifier: MIT
"""The bits of int8 layers do not change: rows of a batch, cuts of time, lengths, threads, layouts,
instruction sets, with or without fused multiply-add. One comparison is one row of one call, its y
and its state as bytes."""

import collections
import inspect
import sys

import isas
import numpy as np
import pytest
from conftest import FULL
from variant_cases import drawn

import fastlstm

pytestmark = pytest.mark.needs("c")

F = np.float32
ISAS = isas.EVERY
LAYERS = {
    "lstm": lambda isa: fastlstm.LSTM(17, 33, isa=isa),
    "stack": lambda isa: fastlstm.LSTM(5, 24, 2, bidirectional=True, proj_size=7, isa=isa),
    "wide": lambda isa: fastlstm.LSTM(40, 65, 2, isa=isa),
    "gru": lambda isa: fastlstm.GRU(9, 31, 2, isa=isa),
    "gru before": lambda isa: fastlstm.GRU(16, 16, reset_after=False, isa=isa),
    "rnn": lambda isa: fastlstm.RNN(3, 70, bidirectional=True, isa=isa),
    "relu": lambda isa: fastlstm.RNN(4, 9, nonlinearity="relu", isa=isa),
}
FORWARD = [name for name in LAYERS if name not in ("stack", "rnn")]
FEW = (1, 2, 3, 5, 8, 17, 33, 64, 65)  # batches, on all instruction sets but the best
LEAST = {  # comparisons that a test makes at least, over all layers and the best instruction set
    "test_any_batch_gives_each_row_its_own_bits": 2145 * len(LAYERS),
    "test_every_cut_of_40_steps": 2 * 39 * len(FORWARD),
    "test_lengths_and_threads": 100 * len(LAYERS),
    "test_every_instruction_set_gives_the_same_bits": 500,
}


def layer_of(name, isa=None, inputs="int16"):
    """A layer whose weights depend on the name alone."""
    layer = LAYERS[name](isa)
    rng = np.random.default_rng(sum(map(ord, name)))
    bound = 2 / np.sqrt(layer.hidden_size)
    layer.load_state_dict({n: F(rng.uniform(-bound, bound, a.shape))
                           for n, a in layer.state_dict().items()})  # fmt: skip
    return layer.quantize("int8", inputs)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def rows_of(y, state, axis=1):
    """The bytes of each row of a call."""
    return [
        b"".join(np.ascontiguousarray(np.take(a, b, axis)).tobytes() for a in (y, *parts(state)))
        for b in range(y.shape[axis])
    ]


def start(layer, batch, rng):
    """A state beyond 1, as c may be anyway and h may be if the caller says so."""
    state = tuple(F(rng.uniform(-1.5, 1.5, shape)) for shape in layer.state_shapes(batch))
    return state if len(state) > 1 else state[0]


def cut(state, rows):
    made = tuple(np.ascontiguousarray(part[:, rows]) for part in parts(state))
    return made if len(made) > 1 else made[0]


COUNTED = collections.Counter()


def caller(depth=1):
    """The name of the function that calls, or of the one that called it."""
    return sys._getframe(depth).f_code.co_name


def compare(ours, theirs):
    """Counts what it compares for the test that calls it."""
    assert len(ours) == len(theirs)
    for row, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one == other, row
    COUNTED[caller(2)] += len(ours)


@pytest.mark.parametrize("isa", ISAS)
def test_any_batch_gives_each_row_its_own_bits(rng, isa):
    before = COUNTED[caller()]
    for name in LAYERS:
        layer = layer_of(name, isa)
        x = F(rng.standard_normal((3, 65, layer.input_size)))
        x[:, 5] *= 1e4  # its scale is its own
        state = start(layer, 65, rng)
        alone = [rows_of(*layer(x[:, b : b + 1], cut(state, [b])))[0] for b in range(65)]
        for batch in range(1, 66) if isa == ISAS[0] or FULL else FEW:
            rows = rng.permutation(65)[:batch] if batch % 2 else np.arange(batch)
            made = rows_of(*layer(np.ascontiguousarray(x[:, rows]), cut(state, rows)))
            compare(made, [alone[b] for b in rows])
    least = LEAST[caller()] if isa == ISAS[0] else sum(FEW) * len(LAYERS)
    assert COUNTED[caller()] - before >= least


@pytest.mark.parametrize("isa", ISAS)
def test_every_cut_of_40_steps(rng, isa):
    before = COUNTED[caller()]
    for name in FORWARD:
        layer = layer_of(name, isa)
        x = F(rng.standard_normal((40, 2, layer.input_size)))
        whole, state = layer(x)
        for at in range(1, 40):
            first, between = layer(x[:at])
            second, end = layer(x[at:], between)
            compare(rows_of(np.concatenate([first, second]), end), rows_of(whole, state))
        stream = layer.stream(batch_size=2)
        assert np.stack([stream.step(row) for row in x]).tobytes() == whole.tobytes()
    assert COUNTED[caller()] - before >= LEAST[caller()]


@pytest.mark.parametrize("isa", ISAS)
def test_lengths_and_threads(rng, isa):
    before = COUNTED[caller()]
    for name in LAYERS:
        layer = layer_of(name, isa)
        for batch in (1, 7, 33):
            x = F(rng.standard_normal((20, batch, layer.input_size)))
            lengths = rng.integers(0, 21, batch)
            whole = rows_of(*layer(x, num_threads=1))
            ragged = rows_of(*layer(x, lengths=lengths, num_threads=1))
            for threads in (2, 3, 16):
                compare(rows_of(*layer(x, num_threads=threads)), whole)
                compare(rows_of(*layer(x, lengths=lengths, num_threads=threads)), ragged)
            for b in range(batch):
                n = lengths[b]
                if n:
                    y, state = layer(x[:n, b : b + 1])
                    y = np.concatenate([y, np.zeros((20 - n, 1, y.shape[2]), F)])
                    compare(rows_of(y, state), ragged[b : b + 1])
    assert COUNTED[caller()] - before >= LEAST[caller()]


@pytest.mark.parametrize("hidden", [200, 260])
def test_units_split_among_threads(rng, hidden):
    """Layers large enough that threads share the units of one row."""
    for cls in (fastlstm.LSTM, fastlstm.GRU):
        layer = cls(60, hidden).quantize("int8")
        x = F(rng.standard_normal((40, 1, 60)))
        due = rows_of(*layer(x, num_threads=1))
        for threads in (2, 4):
            assert rows_of(*layer(x, num_threads=threads)) == due


def test_every_instruction_set_gives_the_same_bits(rng):
    """Plain C without fused multiply-add too: sums of integers are exact."""
    before = COUNTED[caller()]
    assert len(ISAS) >= 2
    for name in LAYERS:
        for inputs in ("int16", "int8"):
            layers = [layer_of(name, isa, inputs) for isa in ISAS]
            for batch, scale in ((1, 1), (5, 1e-6), (24, 300)):
                x = F(scale * rng.standard_normal((9, batch, layers[0].input_size)))
                due = rows_of(*layers[0](x))
                for other in layers[1:]:
                    compare(rows_of(*other(x)), due)
    for seed in range(200 if FULL else 40):  # variants
        case = drawn(seed)
        options = {"state": case.given(), "lengths": case.lengths}
        axis = 0 if case.batch_first else 1
        made = [case.layer(isa).quantize("int8")(case.x, **options) for isa in ISAS]
        due = [np.moveaxis(made[0][0], axis, 1), made[0][1]]
        for y, state in made[1:]:
            compare(rows_of(np.moveaxis(y, axis, 1), state), rows_of(*due))
    assert COUNTED[caller()] - before >= LEAST[caller()]


def test_the_minimums_reach_the_promised_count():
    """10,000 comparisons in a run of the file."""
    assert sum(LEAST.values()) >= 10_000
    assert all(f"def {name}(" in inspect.getsource(inspect.getmodule(layer_of)) for name in LEAST)


def test_layouts_alignments_and_last_state(rng):
    for name in LAYERS:
        layer = layer_of(name)
        batch_first = layer.copy_with(batch_first=True)
        x = F(rng.standard_normal((6, 5, layer.input_size)))
        y, state = layer(x)
        due = rows_of(y, state)
        swapped, last = batch_first(np.ascontiguousarray(x.swapaxes(0, 1)))
        assert rows_of(swapped.swapaxes(0, 1), last) == due
        for shift in range(1, 4):
            memory = np.zeros(x.size + 16, F)
            moved = memory[shift : shift + x.size].reshape(x.shape)
            moved[...] = x
            assert rows_of(*layer(moved)) == due
        final, _ = layer(x, return_sequences=False)
        n = layer.num_directions
        h = parts(state)[0][-n:]
        assert final.tobytes() == np.ascontiguousarray(h.swapaxes(0, 1)).tobytes()
