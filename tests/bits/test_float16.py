# SPDX-License-Identifier: MIT
"""A Net of float16 has the bits of a float32 Net whose matrices were rounded to float16, on every
backend: every cell and variant, layers, directions, projections, lengths, streams and threads, and
in C every instruction set that runs here.

What rounding is, NumPy says: to the nearest float16, ties to even, past 65520 Inf.
"""

import dataclasses
import importlib
import importlib.util

import numpy as np
import pytest
from conftest import FULL

import fastlstm
from fastlstm.variants import DEFAULTS, USUAL, Activation, Variant

pytestmark = pytest.mark.once  # each run would go through every backend

C = importlib.util.find_spec("fastlstm.engine.c._core") is not None
CELLS = ("lstm", "gru", "gru_before", "rnn_tanh", "rnn_relu")
GATES = {"lstm": 4, "gru": 3, "gru_before": 3, "rnn_tanh": 1, "rnn_relu": 1}
KINDS = {"lstm": "LSTM", "gru": "GRU", "gru_before": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}
BOUNDED = ("sigmoid", "tanh", "softsign", "hard_sigmoid", "scaled_tanh")
DRAWN = 200 if FULL else 60


def engines():
    """(backend, instruction set) of all that can run here."""
    if C:
        backend = importlib.import_module("fastlstm.engine.c._core")
        yield from (("c", name) for name, _, runs in backend.isas() if runs)
    if importlib.util.find_spec("numba"):
        yield "numba", None
    yield "numpy", None


@pytest.fixture(params=list(engines()), ids=lambda engine: engine[1] or engine[0])
def engine(request):
    """(the backend's module, instruction set)"""
    name, isa = request.param
    return importlib.import_module(fastlstm.engine.MODULES[name]), isa


@pytest.fixture(params=[isa for name, isa in engines() if name == "c"])
def c_engine(request):
    """The same of the C core alone."""
    return importlib.import_module(fastlstm.engine.MODULES["c"]), request.param


def rounded(matrix):
    with np.errstate(over="ignore"):
        return matrix.astype(np.float16).astype(np.float32)


@dataclasses.dataclass
class Case:
    """Sizes, weights and inputs. I input, H hidden, P projection, L layers, D directions, T steps,
    B rows."""

    cell: str
    sizes: tuple  # I, H, P, L, D
    variant: Variant | None
    weights: list  # for each layer and direction Net.set's arrays
    x: np.ndarray
    state: object
    lengths: np.ndarray | None

    def net(self, engine, dtype, change=lambda matrix: matrix):
        """A Net of these weights, its matrices changed."""
        backend, isa = engine
        net = backend.Net(self.cell, *self.sizes, isa, variant=self.variant, dtype=dtype)
        assert net.dtype == dtype
        dirs = self.sizes[4]
        for i, arrays in enumerate(self.weights):
            arrays = [change(a) if a is not None and a.ndim == 2 else a for a in arrays]
            net.set(i // dirs, i % dirs, *arrays)
        return net

    def pair(self, engine):
        """The float16 Net and the float32 Net of rounded matrices."""
        return self.net(engine, "float16"), self.net(engine, "float32", rounded)


def draw(n, sizes=None, steps=None, batch=None, cell=None, plain=False):
    """Case number n; odd ones are variants."""
    rng = np.random.default_rng(n)
    cell = cell or CELLS[n // 2 % len(CELLS)]
    G, lstm = GATES[cell], cell == "lstm"
    if sizes is None:
        H, L, D = (int(rng.integers(1, most)) for most in (70, 4, 3))
        P = int(rng.integers(1, H)) if lstm and H > 1 and n % 3 == 0 else 0
        sizes = int(rng.integers(1, 40)), H, P, L, D
    I, H, P, L, D = sizes
    T, B = steps or int(rng.integers(1, 12)), batch or int(rng.integers(1, 30))
    K = P or H

    def some(*shape, scale=1.0):
        return (scale * rng.uniform(-1, 1, shape)).astype(np.float32)

    variant = None
    if n % 2 and not plain:
        acts = tuple(tuple(bounded(rng) for _ in USUAL[KINDS[cell]]) for _ in range(D))
        variant = Variant(
            acts, clip=float(rng.uniform(0.5, 2)) if rng.integers(2) else None,
            input_forget=lstm and bool(rng.integers(2)), peepholes=lstm and bool(rng.integers(2)),
            reverse=D == 1 and bool(rng.integers(2)),
        )  # fmt: skip
    weights = []
    for i in range(L * D):
        wide = I if i < D else D * K
        matrices = [some(G * H, wide, scale=H**-0.5), some(G * H, K, scale=H**-0.5)]
        hr = some(P, H, scale=H**-0.5) if P else None
        for matrix in [*matrices, *([hr] if P else [])]:  # subnormal in float16, and below it
            matrix[rng.random(matrix.shape) < 0.05] *= np.float32(2.0**-16)
            matrix[rng.random(matrix.shape) < 0.02] *= np.float32(2.0**-120)
        biases = [some(G * H), some(G * H)] if n % 5 else [None, None]
        peephole = some(3 * H) if variant is not None and variant.peepholes else None
        weights.append([*matrices, *biases, hr, peephole])
    state = None
    if n % 4:
        h, c = some(L * D, B, K), some(L * D, B, H)
        state = (h, c) if lstm else h
    lengths = rng.integers(0, T + 1, B) if n % 3 == 1 else None
    return Case(cell, sizes, variant, weights, some(T, B, I), state, lengths)


def bounded(rng):
    name = BOUNDED[rng.integers(len(BOUNDED))]
    numbers = [None if d is None else float(rng.uniform(0.2, 0.9)) for d in DEFAULTS[name]]
    return Activation(name, *numbers)


def raw(result):
    """The bytes of y and of the final state."""
    y, state = result
    return [a.tobytes() for a in (y, *(state if isinstance(state, tuple) else (state,)))]


def same(case, engine, threads=(1,)):
    half, full = case.pair(engine)
    for sequences in (True, False):
        want = raw(full.forward(case.x, case.state, None, case.lengths, sequences, False, 1))
        for n in threads:
            got = half.forward(case.x, case.state, None, case.lengths, sequences, False, n)
            assert raw(got) == want, (case.cell, case.sizes, case.variant, n)
    rows_first = np.ascontiguousarray(case.x.swapaxes(0, 1))
    want = full.forward(rows_first, case.state, None, case.lengths, True, True, 1)
    got = half.forward(rows_first, case.state, None, case.lengths, True, True, 1)
    assert raw(got) == raw(want)
    return half, full


def same_stream(case, engine, half, full):
    """Steps one by one and in pieces, without lengths and from a set state."""
    backend, _ = engine
    states = [backend.State(net, case.x.shape[1], False) for net in (half, full)]
    if case.state is not None:
        for state in states:
            state.set(*(case.state if isinstance(case.state, tuple) else (case.state,)))
    x = np.concatenate([case.x, case.x])
    for piece in (x[:1], x[1:], x[:3]):
        got, want = (state.advance(piece, None, False, 1) for state in states)
        assert got.tobytes() == want.tobytes()
        got, want = (state.advance(piece[0], None, True, 1) for state in states)
        assert got.tobytes() == want.tobytes()
    got, want = (raw((got, state.get())) for state in states)
    assert got == want


@pytest.mark.parametrize("part", range(4))
def test_bits_of_rounded_matrices(engine, part):
    most = DRAWN if engine[1] else DRAWN // 2
    streams = 0
    for n in range(part, most, 4):
        case = draw(n)
        half, full = same(case, engine, threads=(1, 2))
        if case.sizes[4] == 1 and not (case.variant and case.variant.reverse):
            same_stream(case, engine, half, full)
            streams += 1
    assert streams


# I, H, P, L, D, steps, rows: what threads share of a call, rows, layers, directions and units
SHARED = [
    (24, 70, 0, 1, 1, 8, 64), (24, 50, 20, 3, 1, 40, 6), (24, 50, 0, 2, 2, 16, 12),
    (30, 260, 0, 1, 1, 16, 2), (20, 330, 0, 2, 1, 10, 1), (20, 768, 0, 1, 1, 8, 1),
]  # fmt: skip


@pytest.mark.parametrize("shared", SHARED, ids=lambda s: "-".join(map(str, s)))
def test_bits_do_not_depend_on_threads(c_engine, shared):
    *sizes, steps, batch = shared
    for i, cell in enumerate(CELLS):
        if sizes[1] > 400 and cell not in ("rnn_tanh", "rnn_relu"):
            continue
        own = (*sizes[:2], sizes[2] if cell == "lstm" else 0, *sizes[3:])
        same(draw(2 * i, own, steps, batch, cell, plain=True), c_engine, threads=(1, 2, 3, 4))


def near_halves():
    """Positive float32s: every finite float16, its neighbours, the ties between two, and theirs."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (halves[1:] + halves[:-1]) / 2
    last = np.float32(65519.996)  # the largest that is rounded to 65504
    ends = np.float32(np.inf), np.float32(0)
    found = [np.nextafter(a, end) for a in (halves, ties) for end in ends]
    return np.minimum(np.concatenate([halves, ties, *found]), last)


def test_every_rounding(engine):
    """An RNN of max(0, w x) returns its weights, x being a unit vector at each step."""
    backend, isa = engine
    I, H = 512, 64
    values = near_halves()
    values = np.resize(values, -(-values.size // (I * H)) * I * H).reshape(-1, H, I)
    if isa is None:
        values = values[::3]
    x, zeros = np.eye(I, dtype=np.float32)[:, None], np.zeros((H, H), np.float32)
    for sign in (1, -1):
        for w_ih in values:
            net = backend.Net("rnn_relu", I, H, 0, 1, 1, isa, dtype="float16")
            net.set(0, 0, np.float32(sign) * w_ih, zeros, None, None, None)
            y, _ = net.forward(np.float32(sign) * x, None, None, None, True, False, 1)
            assert np.array_equal(y[:, 0].T, rounded(w_ih))


def test_what_is_past_float16_becomes_infinite(engine):
    backend, isa = engine
    for w, want in ((65519.996, 65504), (65520, np.inf), (1e30, np.inf), (np.inf, np.inf)):
        net = backend.Net("rnn_relu", 1, 1, 0, 1, 1, isa, dtype="float16")
        one = np.ones((1, 1), np.float32)
        net.set(0, 0, np.float32(w) * one, 0 * one, None, None, None)
        y, _ = net.forward(one[None], None, None, None, True, False, 1)
        assert y[0, 0, 0] == want


@pytest.mark.parametrize("cell", CELLS)
def test_half_the_memory(c_engine, cell):
    half, full = draw(0, (256, 512, 0, 2, 2), 1, 1, cell, plain=True).pair(c_engine)
    assert 0.49 * full.nbytes < half.nbytes < 0.51 * full.nbytes


def test_training_is_refused(engine):
    backend, _ = engine
    case = draw(0, (3, 4, 0, 1, 1), 2, 2, "lstm", plain=True)
    half = case.net(engine, "float16")
    half.weights = {}
    with pytest.raises(TypeError, match="float16 network is for inference"):
        backend.forward_train(half, case.x, None, None, 0.0, 0, False, 1)
    with pytest.raises(TypeError, match="float16 network is for inference"):
        backend.BackwardWeights(half)


def test_dtypes_that_there_are_not(engine):
    backend, isa = engine
    for dtype in ("float64", "bfloat", "", "Float16"):
        with pytest.raises(ValueError, match="is not one of float32, float16"):
            backend.Net("lstm", 1, 1, 0, 1, 1, isa, dtype=dtype)
    assert backend.Net("lstm", 1, 1, 0, 1, 1, isa).dtype == "float32"
