# SPDX-License-Identifier: MIT
"""The bits of a layer's outputs and states, compared: of rows of a batch, cuts of time, lengths,
threads, instruction sets, layouts. What is called of_... compares, and gives how many rows of calls
it has compared; one row is its y and its state as bytes."""

import numpy as np
from variant_cases import drawn

import fastlstm

F = np.float32
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


def layer_of(name, isa, *quantized):
    """A layer whose weights depend on the name alone. quantized: the arguments of `quantize`."""
    layer = LAYERS[name](isa)
    rng = np.random.default_rng(sum(map(ord, name)))
    bound = 2 / np.sqrt(layer.hidden_size)
    layer.load_state_dict({n: F(rng.uniform(-bound, bound, a.shape))
                           for n, a in layer.state_dict().items()})  # fmt: skip
    return layer.quantize(*quantized)


def _parts(state):
    return state if isinstance(state, tuple) else (state,)


def _like_given(parts):
    return parts if len(parts) > 1 else parts[0]


def bytes_of_rows(y, state):
    """The bytes of each row of a call, time first."""
    return [
        b"".join(np.ascontiguousarray(a[:, b]).tobytes() for a in (y, *_parts(state)))
        for b in range(y.shape[1])
    ]


def _start(layer, batch, rng):
    """A state beyond 1, as c may be anyway and h may be if the caller says so."""
    return tuple(F(rng.uniform(-1.5, 1.5, shape)) for shape in layer.state_shapes(batch))


def _cut(state, rows):
    return _like_given(tuple(np.ascontiguousarray(part[:, rows]) for part in state))


def _same(ours, theirs):
    """How many rows were compared."""
    assert len(ours) == len(theirs)
    for row, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one == other, row
    return len(ours)


def of_batches(layer, batches, rng):
    """Rows alone and among others, as they come or, of an odd batch, in any order."""
    x, count = F(rng.standard_normal((3, 65, layer.input_size))), 0
    x[:, 5] *= 1e4  # its scale is its own
    state = _start(layer, 65, rng)
    alone = [bytes_of_rows(*layer(x[:, b : b + 1], _cut(state, [b])))[0] for b in range(65)]
    for batch in batches:
        rows = rng.permutation(65)[:batch] if batch % 2 else np.arange(batch)
        made = bytes_of_rows(*layer(np.ascontiguousarray(x[:, rows]), _cut(state, rows)))
        count += _same(made, [alone[b] for b in rows])
    return count


def of_cuts(layer, rng):
    """40 steps, cut at every step, and one by one in a stream."""
    x, count = F(rng.standard_normal((40, 2, layer.input_size))), 0
    whole, state = layer(x)
    for at in range(1, 40):
        first, between = layer(x[:at])
        second, end = layer(x[at:], between)
        count += _same(
            bytes_of_rows(np.concatenate([first, second]), end), bytes_of_rows(whole, state)
        )
    stream = layer.stream(batch_size=2)
    assert np.stack([stream.step(row) for row in x]).tobytes() == whole.tobytes()
    return count


def of_lengths_and_threads(layer, rng):
    count = 0
    for batch in (1, 7, 33):
        x = F(rng.standard_normal((20, batch, layer.input_size)))
        lengths = rng.integers(0, 21, batch)
        whole = bytes_of_rows(*layer(x, num_threads=1))
        ragged = bytes_of_rows(*layer(x, lengths=lengths, num_threads=1))
        for threads in (2, 3, 16):
            count += _same(bytes_of_rows(*layer(x, num_threads=threads)), whole)
            count += _same(bytes_of_rows(*layer(x, lengths=lengths, num_threads=threads)), ragged)
        for b in np.flatnonzero(lengths):
            y, state = layer(x[: lengths[b], b : b + 1])
            y = np.concatenate([y, np.zeros((20 - lengths[b], 1, y.shape[2]), F)])
            count += _same(bytes_of_rows(y, state), ragged[b : b + 1])
    return count


def of_shared_units(layer, rng):
    """Of a layer so large that threads share the units of one row."""
    x = F(rng.standard_normal((40, 1, layer.input_size)))
    due = bytes_of_rows(*layer(x, num_threads=1))
    return sum(_same(bytes_of_rows(*layer(x, num_threads=threads)), due) for threads in (2, 4))


def of_instruction_sets(layers, cases, rng):
    """Of one layer on several sets. cases: (rows of a batch, scale of the inputs)."""
    count = 0
    for batch, scale in cases:
        x = F(scale * rng.standard_normal((9, batch, layers[0].input_size)))
        due = bytes_of_rows(*layers[0](x))
        count += sum(_same(bytes_of_rows(*other(x)), due) for other in layers[1:])
    return count


def of_variant(seed, dtype, sets):
    """Of a drawn layer of any variant, on several sets."""
    case, made = drawn(seed), []
    for isa in sets:
        layer = case.layer(isa).quantize(dtype)
        y, state = layer(case.x, state=case.given(), lengths=case.lengths)
        made.append(bytes_of_rows(y.swapaxes(0, 1) if case.batch_first else y, state))
    return sum(_same(other, made[0]) for other in made[1:])


def of_layouts(layer, rng):
    """The batch first, memory that is not aligned, and the last step alone."""
    x = F(rng.standard_normal((6, 5, layer.input_size)))
    y, state = layer(x)
    due = bytes_of_rows(y, state)
    swapped, last = layer.copy_with(batch_first=True)(np.ascontiguousarray(x.swapaxes(0, 1)))
    count = _same(bytes_of_rows(swapped.swapaxes(0, 1), last), due)
    for shift in range(1, 4):
        memory = np.zeros(x.size + 16, F)
        moved = memory[shift : shift + x.size].reshape(x.shape)
        moved[...] = x
        count += _same(bytes_of_rows(*layer(moved)), due)
    final, _ = layer(x, return_sequences=False)
    h = _parts(state)[0][-layer.num_directions :]
    assert final.tobytes() == np.ascontiguousarray(h.swapaxes(0, 1)).tobytes()
    return count


def not_finite(layer, rng, nans):
    """(x, y) of a layer of 9 inputs for 6 steps of 5 rows, a NaN and an infinity in one row each:
    the other rows, and the steps before, are as they were. nans: the row with a NaN has NaNs from
    there on. (In a relu cell max(0, NaN) is what the float32 cell says it is.)"""
    x = np.float32(rng.standard_normal((6, 5, 9)))
    due = layer(x)[0]
    x[2, 1, 3], x[3, 3, 0] = np.nan, -np.inf
    y = layer(x)[0]
    assert y[:, [0, 2, 4]].tobytes() == due[:, [0, 2, 4]].tobytes()
    assert y[:2, 1].tobytes() == due[:2, 1].tobytes()
    assert y[:3, 3].tobytes() == due[:3, 3].tobytes()
    assert not nans or np.isnan(y[2:, 1]).all()
    return x, y
