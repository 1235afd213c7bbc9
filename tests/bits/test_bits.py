# SPDX-License-Identifier: MIT
"""The bits do not change: batch, split of time, lengths, alignment, layout, threads, isa.

Every comparison is of bytes, so that -0.0 is not 0.0 and a NaN equals itself. One comparison is one
row of one call (its y, h and c together). LEAST says how many each test makes at least.
"""

import inspect
import itertools

import isas
import numpy as np
import pytest
from cases import CELLS, OTHERS, Case, empty_out
from conftest import FULL

pytestmark = pytest.mark.needs("bits")

ISAS = isas.FLOATS
FUSED = [name for name in ISAS if name != "generic"]  # plain generic has no fused multiply-add
SHAPES = [  # I, H, L, D, P
    (1, 1, 1, 1, 0), (3, 5, 1, 2, 0), (16, 16, 2, 1, 0), (17, 33, 1, 1, 0), (5, 24, 2, 2, 7),
    (40, 65, 1, 1, 0), (9, 31, 3, 1, 30), (64, 130, 1, 1, 0),
]  # fmt: skip
# of each of the other cells: one, a panel or more, and a bidirectional stack
SHAPES += [(*s, cell) for cell in OTHERS for s in ((17, 33, 1, 1, 0), (5, 24, 2, 2, 0))]
SHAPES += [
    (20, 130, 2, 1, 0, "gru"),
    (20, 65, 1, 1, 0, "gru_before"),
    (9, 130, 1, 1, 0, "rnn_tanh"),
]
FORWARD = [s for s in SHAPES if s[3] == 1]
LEAST = {  # comparisons that one run of a test (of one instruction set, of one size) must make
    "test_any_batch_gives_each_row_its_own_bits": 2145 * len(SHAPES),
    "test_every_cut_of_up_to_40_steps": 780 * len(FORWARD),
    "test_partitions_of_many_steps_streams_and_single_steps": 15 * len(FORWARD),
    "test_lengths_give_each_row_the_bits_of_its_own_call": 9 * len(SHAPES),
    "test_alignment_of_every_array": 64 * 7,
    "test_layouts_views_and_last_state": 6 * len(SHAPES),
    "test_any_number_of_threads": 6 * len(SHAPES),
    "test_every_fused_instruction_set_gives_the_same_bits": 80,
    "test_tiny_values_keep_the_promise": 100,
}


def test_the_minimums_reach_the_promised_count():
    """10,000 comparisons in a run of the file. Each test fails where it makes fewer than its share;
    this one, where a test that counts has no share, or the shares are too small."""
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    counting = {n for n, test in tests.items() if "counted" in inspect.signature(test).parameters}
    assert set(LEAST) == counting
    assert sum(LEAST.values()) >= 10_000


@pytest.fixture
def counted(request):
    """A Bits whose test must compare as often as LEAST says."""
    bits = Bits()
    yield bits
    least = LEAST[request.node.originalname]
    assert bits.count >= least, f"{bits.count} comparisons where {least} are promised"


class Bits:
    """Compares bytes and counts what it compared."""

    def __init__(self):
        self.count = 0

    def equal(self, ours, theirs, what, rows=1):
        for name, a, b in zip("yhc", ours, theirs, strict=True):
            assert a.dtype == b.dtype == np.float32 and a.shape == b.shape, (what, name)
            if a.tobytes() != b.tobytes():
                n = np.count_nonzero(a.view(np.uint32) != b.view(np.uint32))
                raise AssertionError(f"{name}: {n} of {a.size} elements differ: {what}")
        self.count += rows


def built(shape, isa, *, seed=0, **more):
    return case_of(shape, seed=seed).layer(isa, **more)


def case_of(shape, **more):
    """A Case of I, H, L, D, P and, where it is no LSTM, the cell."""
    return Case(*shape[:5], cell=shape[5] if len(shape) > 5 else "lstm", **more)


def arrays(shape, T, B, rng, size=1.0):
    I, H, L, D, P = shape[:5]
    x = rng.standard_normal((T, B, I)) * size
    h = rng.uniform(-1, 1, (L * D, B, P or H)) * size
    c = rng.uniform(-2, 2, (L * D, B, case_of(shape).C)) * size
    return tuple(np.ascontiguousarray(a, np.float32) for a in (x, h, c))


def flat(result):
    y, (h, c) = result
    return y, h, c


def test_any_batch_gives_each_row_its_own_bits(isa, rng, counted):
    for shape in SHAPES:
        layer = built(shape, isa)
        x, h, c = arrays(shape, 4, 65, rng)
        alone = [
            flat(layer(x[:, b : b + 1], (h[:, b : b + 1], c[:, b : b + 1]))) for b in range(65)
        ]
        alone = [np.concatenate(parts, axis=1) for parts in zip(*alone, strict=True)]
        for B in range(1, 66):
            start = int(rng.integers(0, 66 - B))
            rows = slice(start, start + B)
            ours = flat(layer(x[:, rows], (h[:, rows], c[:, rows])))
            counted.equal(ours, [a[:, rows] for a in alone], (isa, shape, "rows", rows), B)
        for B in (97, 128, 129, 193, 320):  # more rows than any block of them
            rows = rng.integers(65, size=B)
            ours = flat(layer(x[:, rows], (h[:, rows], c[:, rows])))
            counted.equal(ours, [a[:, rows] for a in alone], (isa, shape, "drawn rows", B), B)
        order = rng.permutation(65)
        ours = flat(layer(x[:, order], (h[:, order], c[:, order])))
        counted.equal(ours, [a[:, order] for a in alone], (isa, shape, "permuted"), 65)
        unbatched = flat(layer(x[:, 0], (h[:, 0], c[:, 0])))
        counted.equal(unbatched, [a[:, 0] for a in alone], (isa, shape, "unbatched"))


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_before", "rnn_tanh"])
def test_rows_and_cuts_of_a_large_layer(cell, isa, rng):
    """H past a thousand: the kernels get their panels in several parts."""
    bits = Bits()
    shape = (120, 1200, 1, 1, 0, cell)
    layer = built(shape, isa)
    B = 9 if isa.startswith("generic") else 50  # the plain C kernels take seconds for 50
    x, h, c = arrays(shape, 2, B, rng)
    want = flat(layer(x, (h, c)))
    for b in (0, B // 2, B - 1):
        row = slice(b, b + 1)
        ours = flat(layer(x[:, row], (h[:, row], c[:, row])))
        bits.equal(ours, [a[:, row] for a in want], (isa, shape, "row", b))
    y, state = layer(x[:1], (h, c))
    rest = flat(layer(x[1:], state))
    bits.equal((np.concatenate([y, rest[0]]), *rest[1:]), want, (isa, shape, "cut"))
    # Lone steps of one row take panels of both matrices by turns, up and down.
    stream = layer.stream()
    stream.state = h[:, :1], c[:, :1]
    y = np.stack([stream.step(x[t, :1]) for t in range(2)])
    bits.equal((y, *stream.state), [a[:, :1] for a in want], (isa, shape, "steps"))
    other = flat(built(shape, FUSED[0])(x, (h, c)))
    if isa in FUSED:
        bits.equal(other, want, (isa, shape, "instruction set"))


def test_every_cut_of_up_to_40_steps(isa, rng, counted):
    for shape in FORWARD:
        layer = built(shape, isa)
        B = 1 + FORWARD.index(shape) % 3
        x, h, c = arrays(shape, 40, B, rng)
        whole = {T: flat(layer(x[:T], (h, c))) for T in range(1, 41)}
        for T, cut in itertools.combinations(range(40, 0, -1), 2):
            y, state_h, state_c = whole[cut]
            rest = flat(layer(x[cut:T], (state_h, state_c)))
            joined = np.concatenate([y, rest[0]]), rest[1], rest[2]
            counted.equal(joined, whole[T], (isa, shape, f"{cut} + {T - cut} steps"))


def pieces(T, rng):
    cuts = np.flatnonzero(rng.random(T - 1) < rng.choice([0.01, 0.1, 0.5])) + 1
    return list(itertools.pairwise([0, *cuts, T]))


def test_partitions_of_many_steps_streams_and_single_steps(isa, rng, counted):
    T = 3000 if FULL else 600
    for shape in FORWARD:
        layer = built(shape, isa)
        for B in (1, 2, 7):
            x, h, c = arrays(shape, T, B, rng)
            whole = flat(layer(x, (h, c)))
            for _ in range(20 if FULL else 2):
                parts, state = [], (h, c)
                for t0, t1 in pieces(T, rng):
                    y, state = layer(x[t0:t1], state)
                    parts.append(y)
                counted.equal((np.concatenate(parts), *state), whole, (isa, shape, B, "calls"))

                stream = layer.stream(batch_size=B)
                stream.state = h, c
                y = np.concatenate([stream(x[t0:t1]) for t0, t1 in pieces(T, rng)])
                counted.equal((y, *stream.state), whole, (isa, shape, B, "stream"))

            stream = layer.stream(batch_size=B)
            stream.state = h, c
            out = np.empty((T, *whole[0].shape[1:]), np.float32)
            for t in range(T):
                if t % 2:
                    assert stream.step(x[t], out=out[t]) is not None
                else:
                    out[t] = stream.step(x[t])
            counted.equal((out, *stream.state), whole, (isa, shape, B, "steps"))


def test_lengths_give_each_row_the_bits_of_its_own_call(isa, rng, counted):
    for shape in SHAPES:
        layer = built(shape, isa)
        for T, B in ((12, 9), (70, 25)):
            x, h, c = arrays(shape, T, B, rng)
            lengths = rng.integers(1, T + 1, B)
            lengths[:2] = T, 1
            lengths[2] = 0
            x[np.arange(T)[:, None] >= lengths] = np.nan  # padding must not matter
            y, h_end, c_end = flat(layer(x, (h, c), lengths=lengths))
            for b, n in enumerate(lengths):
                assert not y[n:, b].view(np.uint32).any(), "past its end a row is +0.0"
                row = slice(b, b + 1)
                got = y[:n, row], h_end[:, row], c_end[:, row]
                if n:
                    want = flat(layer(x[:n, row], (h[:, row], c[:, row])))
                else:
                    want = y[:0, row], h[:, row], c[:, row]
                counted.equal(got, want, (isa, shape, T, B, "length", n))
            last, _ = layer(x, (h, c), lengths=lengths, return_sequences=False)
            D = shape[3]
            want = np.concatenate(list(h_end[-D:]), axis=-1)
            counted.equal((last, h_end, c_end), (want, h_end, c_end), (isa, shape, "last"))


def at_offset(values, offset):
    """A copy of `values` whose first byte lies `offset` bytes past a 64-byte boundary."""
    raw = np.empty(values.nbytes + 128, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    view = raw[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    view[...] = values
    assert view.ctypes.data % 64 == offset or not view.size
    return view


def test_alignment_of_every_array(isa, rng, counted):
    others = [(3, 9, 1, 2, 0, cell) for cell in OTHERS]
    for shape in ((3, 5, 1, 1, 0), (17, 33, 2, 2, 0), (16, 64, 1, 1, 9), *others):
        layer = built(shape, isa)
        x, h, c = arrays(shape, 9, 3, rng)
        want = flat(layer(x, (h, c)))
        for offset in range(64):
            other = (offset * 7 + 5) % 64
            moved = at_offset(x, offset), (at_offset(h, other), at_offset(c, 63 - other))
            out = at_offset(np.full_like(want[0], np.nan), offset)
            try:
                ours = flat(layer(*moved, out=out))
            except ValueError:
                assert offset % 4, "an out aligned to its floats must be taken"
                ours = flat(layer(*moved))
            else:
                assert ours[0] is out
            counted.equal(ours, want, (isa, shape, offset, other))


def test_layouts_views_and_last_state(isa, rng, counted):
    for shape in SHAPES:
        D = shape[3]
        layer, first = built(shape, isa), case_of(shape, batch_first=True).layer(isa)
        x, h, c = arrays(shape, 11, 6, rng)
        want = flat(layer(x, (h, c)))
        rows = np.ascontiguousarray(x.swapaxes(0, 1))
        for name, given in (("contiguous", rows), ("view", x.swapaxes(0, 1))):
            y, *state = flat(first(given, (h, c)))
            counted.equal((y.swapaxes(0, 1), *state), want, (isa, shape, "batch_first", name))
        for axis in range(3):
            wide = np.full(
                [2 * n if a == axis else n for a, n in enumerate(x.shape)], np.nan, np.float32
            )
            view = wide[tuple(slice(None, None, 2 if a == axis else None) for a in range(3))]
            view[...] = x
            counted.equal(
                flat(layer(view, (h, c))), want, (isa, shape, "every second of axis", axis)
            )
            back = np.flip(np.flip(x, axis).copy(), axis)
            counted.equal(
                flat(layer(back, (h, c))), want, (isa, shape, "negative stride of axis", axis)
            )
        counted.equal(flat(layer(np.asfortranarray(x), (h, c))), want, (isa, shape, "Fortran"))
        for dtype in (np.float64, np.float16, np.int8, ">f4"):
            other = (x.astype(np.float64) * (1 + 2.0**-26)).astype(dtype)
            ours, theirs = (flat(layer(a, (h, c))) for a in (other, other.astype(np.float32)))
            counted.equal(ours, theirs, (isa, shape, dtype, "is converted to nearest"))
        for form in ("padded", "negative", "swapped"):
            out = empty_out(want[0].shape, form)
            counted.equal(flat(layer(x, (h, c), out=out)), want, (isa, shape, "out", form))
        last = np.concatenate(list(want[1][-D:]), axis=-1)
        for given, one in ((x, layer), (rows, first)):
            ours = flat(one(given, (h, c), return_sequences=False))
            counted.equal(ours, (last, *want[1:]), (isa, shape, "return_sequences=False"))
        zero = flat(layer(x, (np.zeros_like(h), np.zeros_like(c))))
        counted.equal(flat(layer(x)), zero, (isa, shape, "no state is a zero state"))
        again = built(shape, isa)
        again.load_state_dict(layer.state_dict())
        counted.equal(flat(again(x, (h, c))), want, (isa, shape, "a copy through its state_dict"))


def test_any_number_of_threads(isa, rng, counted):
    for shape in SHAPES:
        for T, B in ((30, 1), (7, 33)):
            x, h, c = arrays(shape, T, B, rng)
            lengths = rng.integers(1, T + 1, B)
            one = built(shape, isa, num_threads=1)
            want, ragged = flat(one(x, (h, c))), flat(one(x, (h, c), lengths=lengths))
            for n in (2, 3, 4, 8, 16):
                many = built(shape, isa, num_threads=n)
                counted.equal(flat(many(x, (h, c))), want, (isa, shape, n, "threads"))
                counted.equal(flat(many(x, (h, c), lengths=lengths)), ragged, (isa, shape, n))


@pytest.mark.parametrize(
    "shape, T, B",
    [
        ((64, 130, 3, 1, 0), 150, 33),
        ((40, 65, 2, 2, 9), 120, 130),
        ((32, 256, 1, 1, 0), 300, 1),
        ((40, 130, 2, 2, 0, "gru"), 90, 33),
        ((32, 300, 1, 1, 0, "gru"), 300, 1),
        ((40, 130, 2, 1, 0, "gru_before"), 90, 33),
        ((16, 800, 1, 1, 0, "rnn_relu"), 100, 1),
    ],
)
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_with_work_to_share(shape, T, B, threads, rng):
    """Enough layers, rows and steps for every thread, again and again: the order they take it in
    is another one each time."""
    bits = Bits()
    x, h, c = arrays(shape, T, B, rng)
    lengths = rng.integers(0, T + 1, B)
    one, many = built(shape, None, num_threads=1), built(shape, None, num_threads=threads)
    want, ragged = flat(one(x, (h, c))), flat(one(x, (h, c), lengths=lengths))
    for n in range(40 if FULL else 6):
        bits.equal(flat(many(x, (h, c))), want, (shape, threads, n))
        bits.equal(flat(many(x, (h, c), lengths=lengths)), ragged, (shape, threads, n, "ragged"))


@pytest.mark.skipif(len(FUSED) < 2, reason="one instruction set with fused multiply-add runs here")
def test_every_fused_instruction_set_gives_the_same_bits(rng, counted):
    for n in range(400 if FULL else 80):
        I, H = (int(v) for v in rng.integers(1, 131, 2))
        cell = CELLS[n % 5]
        P = H // 2 if cell == "lstm" and n % 2 else 0
        shape = SHAPES[n] if n < len(SHAPES) else (I, H, 1 + n % 3, 1 + n % 2, P, cell)
        T, B = int(rng.integers(1, 25)), int(rng.integers(1, 12))
        x, h, c = arrays(shape, T, B, rng, size=float(rng.choice([0.1, 1, 10])))
        lengths = rng.integers(0, T + 1, B)
        want = flat(built(shape, FUSED[0])(x, (h, c), lengths=lengths))
        for isa in FUSED[1:]:
            counted.equal(flat(built(shape, isa)(x, (h, c), lengths=lengths)), want, (isa, shape))
        if "generic" in ISAS:  # two roundings where the others have one: close, no more is promised
            near = flat(built(shape, "generic")(x[:1], (h, c)))
            for a, b in zip(near, flat(built(shape, FUSED[0])(x[:1], (h, c))), strict=True):
                assert np.abs(a - b).max(initial=0.0) <= 1e-4


TINY = [1e-18, 1e-20, 1e-22, 1e-24, 1e-26, 1e-28, 1e-29, 1e-30, 2.0**-96, 1e-37, 1.2e-38]
TINY += [1e-38, 1e-40, 1e-42, 1.5e-45]


def that_keeps_what_is_tiny(shape, isa):
    """A layer without biases but for the forget gates, or the GRU's z, which are open: nothing
    decays."""
    layer = built(shape, isa)
    params = layer.state_dict()
    for name in params:
        if "bias" in name:
            params[name][:] = 0.0
            if len(params[name]) >= 3 * shape[1]:
                params[name][shape[1] : 2 * shape[1]] = 15.0
    layer.load_state_dict(params)
    return layer


@pytest.mark.parametrize("size", TINY)
def test_tiny_values_keep_the_promise(size, rng, counted):
    """Down to the smallest float: equal bits however work is cut, and no NaN."""
    for shape in (*SHAPES[:5], *((5, 24, 2, 2, 0, cell) for cell in OTHERS)):
        x, h, c = arrays(shape, 12, 5, rng, size=size)
        x[::3] = 0.0
        x[1::4] *= -1
        results = []
        for isa in FUSED:
            layer = that_keeps_what_is_tiny(shape, isa)
            want = flat(layer(x, (h, c)))
            assert not any(np.isnan(a).any() for a in want)
            gone = not want[2 if case_of(shape).C else 1].any()
            assert not gone or size < 1e-18, "what is tested has gone"
            results.append([want, flat(layer(x[:1], (h, c))), flat(layer(x[:2], (h, c)))])
            for b in range(5):
                row = slice(b, b + 1)
                ours = flat(layer(x[:, row], (h[:, row], c[:, row])))
                counted.equal(ours, [a[:, row] for a in want], (isa, shape, size, "row", b))
            if shape[3] == 1:
                for cut in (1, 5, 11):
                    y, state = layer(x[:cut], (h, c))
                    rest = flat(layer(x[cut:], state))
                    ours = np.concatenate([y, rest[0]]), *rest[1:]
                    counted.equal(ours, want, (isa, shape, size, "cut", cut))
                stream = layer.stream(batch_size=5)
                stream.state = h, c
                y = np.stack([stream.step(step) for step in x])
                counted.equal((y, *stream.state), want, (isa, shape, size, "steps"))
            lengths = np.array([12, 1, 7, 3, 12])
            y, h_end, c_end = flat(layer(x, (h, c), lengths=lengths))
            for b, n in enumerate(lengths):
                row = slice(b, b + 1)
                ours = y[:n, row], h_end[:, row], c_end[:, row]
                alone = flat(layer(x[:n, row], (h[:, row], c[:, row])))
                counted.equal(ours, alone, (isa, shape, size, "length", n))
        for isa, others in zip(FUSED[1:], results[1:], strict=True):
            for ours, theirs in zip(others, results[0], strict=True):
                counted.equal(ours, theirs, (isa, shape, size, "instruction set"))


def test_a_difference_of_one_bit_is_seen():
    a = np.zeros(3, np.float32)
    for b in (np.float32(-0.0), np.nextafter(np.float32(0), np.float32(1))):
        other = a.copy()
        other[1] = b
        with pytest.raises(AssertionError, match="1 of 3 elements differ"):
            Bits().equal((a,) * 3, (other, a, a), "made to differ")
