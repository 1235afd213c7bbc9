# SPDX-License-Identifier: MIT
"""The bits of bfloat16 layers do not change: rows of a batch, cuts of time, lengths, threads,
layouts, instruction sets. tests/numbers/test_bfloat16.py says which bits they are."""

import isas
import numpy as np
import pytest
from conftest import FULL
from variant_cases import drawn

import fastlstm

pytestmark = pytest.mark.needs("c")

F = np.float32
ISAS = isas.FLOATS
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
FEW = (2, 3, 4, 5, 7, 8, 13, 24, 33, 65)  # batches, on all instruction sets but the best


def layer_of(name, isa=None):
    """A layer whose weights depend on the name alone."""
    layer = LAYERS[name](isa)
    rng = np.random.default_rng(sum(map(ord, name)))
    bound = 2 / np.sqrt(layer.hidden_size)
    layer.load_state_dict({n: F(rng.uniform(-bound, bound, a.shape))
                           for n, a in layer.state_dict().items()})  # fmt: skip
    return layer.quantize("bfloat16")


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def rows_of(y, state):
    """The bytes of each row of a call, time first."""
    return [
        b"".join(np.ascontiguousarray(a[:, b]).tobytes() for a in (y, *parts(state)))
        for b in range(y.shape[1])
    ]


def start(layer, batch, rng):
    state = tuple(F(rng.uniform(-1.5, 1.5, shape)) for shape in layer.state_shapes(batch))
    return state if len(state) > 1 else state[0]


def cut(state, rows):
    made = tuple(np.ascontiguousarray(part[:, rows]) for part in parts(state))
    return made if len(made) > 1 else made[0]


@pytest.mark.parametrize("isa", ISAS)
def test_any_batch_gives_each_row_its_own_bits(rng, isa):
    for name in LAYERS:
        layer = layer_of(name, isa)
        x, state = F(rng.standard_normal((3, 65, layer.input_size))), start(layer, 65, rng)
        alone = [rows_of(*layer(x[:, b : b + 1], cut(state, [b])))[0] for b in range(65)]
        for batch in range(1, 66) if isa == ISAS[0] or FULL else FEW:
            rows = rng.permutation(65)[:batch] if batch % 2 else np.arange(batch)
            made = rows_of(*layer(np.ascontiguousarray(x[:, rows]), cut(state, rows)))
            assert made == [alone[b] for b in rows], (name, batch)


@pytest.mark.parametrize("isa", ISAS)
def test_every_cut_of_40_steps(rng, isa):
    for name in FORWARD:
        layer = layer_of(name, isa)
        x = F(rng.standard_normal((40, 2, layer.input_size)))
        whole, state = layer(x)
        for at in range(1, 40):
            first, between = layer(x[:at])
            second, end = layer(x[at:], between)
            assert rows_of(np.concatenate([first, second]), end) == rows_of(whole, state)
        stream = layer.stream(batch_size=2)
        assert np.stack([stream.step(row) for row in x]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("isa", ISAS)
def test_lengths_and_threads(rng, isa):
    for name in LAYERS:
        layer = layer_of(name, isa)
        for batch in (1, 7, 33):
            x, lengths = F(rng.standard_normal((20, batch, layer.input_size))), None
            whole = rows_of(*layer(x, num_threads=1))
            lengths = rng.integers(0, 21, batch)
            ragged = rows_of(*layer(x, lengths=lengths, num_threads=1))
            for threads in (2, 3, 16):
                assert rows_of(*layer(x, num_threads=threads)) == whole
                assert rows_of(*layer(x, lengths=lengths, num_threads=threads)) == ragged
            for b in np.flatnonzero(lengths):
                y, state = layer(x[: lengths[b], b : b + 1])
                y = np.concatenate([y, np.zeros((20 - lengths[b], 1, y.shape[2]), F)])
                assert rows_of(y, state)[0] == ragged[b]


@pytest.mark.parametrize("hidden", [200, 260])
def test_units_split_among_threads(rng, hidden):
    """Layers large enough that threads share the units of one row."""
    for cls in (fastlstm.LSTM, fastlstm.GRU):
        layer, x = cls(60, hidden).quantize("bfloat16"), F(rng.standard_normal((40, 1, 60)))
        due = rows_of(*layer(x, num_threads=1))
        for threads in (2, 4):
            assert rows_of(*layer(x, num_threads=threads)) == due


def test_every_instruction_set_gives_the_same_bits(rng):
    """Plain C without fused multiply-add too: products are exact, and gates differ from fused ones
    only where a sum in double precision lies exactly between two floats."""
    assert len(ISAS) >= 2
    for name in LAYERS:
        layers = [layer_of(name, isa) for isa in ISAS]
        for batch, scale in ((1, 1), (5, 1e-6), (24, 300), (7, 2.0**-56)):
            x = F(scale * rng.standard_normal((9, batch, layers[0].input_size)))
            due = rows_of(*layers[0](x))
            assert all(rows_of(*other(x)) == due for other in layers[1:]), (name, batch)
    for seed in range(200 if FULL else 40):  # variants
        case = drawn(seed)
        options = {"state": case.given(), "lengths": case.lengths}
        made = [case.layer(isa).quantize("bfloat16")(case.x, **options) for isa in ISAS]
        due = [a.tobytes() for a in (made[0][0], *parts(made[0][1]))]
        for y, state in made[1:]:
            assert [a.tobytes() for a in (y, *parts(state))] == due, seed


def test_layouts_alignments_and_last_state(rng):
    for name in LAYERS:
        layer = layer_of(name)
        x = F(rng.standard_normal((6, 5, layer.input_size)))
        y, state = layer(x)
        due = rows_of(y, state)
        swapped, last = layer.copy_with(batch_first=True)(np.ascontiguousarray(x.swapaxes(0, 1)))
        assert rows_of(swapped.swapaxes(0, 1), last) == due
        for shift in range(1, 4):
            memory = np.zeros(x.size + 16, F)
            moved = memory[shift : shift + x.size].reshape(x.shape)
            moved[...] = x
            assert rows_of(*layer(moved)) == due
        final, _ = layer(x, return_sequences=False)
        h = parts(state)[0][-layer.num_directions :]
        assert final.tobytes() == np.ascontiguousarray(h.swapaxes(0, 1)).tobytes()
