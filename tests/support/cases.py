# SPDX-License-Identifier: MIT
"""Drawn configurations: sizes, options and the shapes an array can come in.

Hypothesis draws a Case (small integers and words, so that it shrinks to something readable); every
array of the Case follows from its seed.
"""

import copy
import dataclasses

import numpy as np
from hypothesis import strategies as st

import fastlstm

# Boundaries +-1 of the lanes (4, 8, 16), of two and more panels, and of the register tile's rows.
LANES = (4, 8, 16)
ROWS = (*range(1, 9), 24, 48, 64)
SIZES = sorted({n + d for n in (*LANES, 32, 48, 64, 128) for d in (-1, 0, 1)} | {1, 2, 6, 130})
BATCHES = sorted({n + d for n in (*ROWS, 16, 32, 128, 192) for d in (-1, 0, 1)} - {0})

X_FORMS = (
    "plain", "float64", "float16", "int8", "fortran", "strided", "negative", "broadcast 0",
    "broadcast 1", "broadcast -1", "last axis strided", "read-only", "byte-swapped", "odd address",
)  # fmt: skip
OUT_FORMS = ("none", "plain", "padded", "negative", "swapped")
CONSTANT_STEPS = 4  # the most steps of an x that does not change in time, see test_parity.py
WORK = 4e6  # multiply-adds of one call; longer draws get fewer steps, then fewer rows


CELLS = ("lstm", "gru", "gru_before", "rnn_tanh", "rnn_relu")  # as the C core calls them
OTHERS = CELLS[1:]
GATES = {"lstm": 4, "gru": 3, "gru_before": 3, "rnn_tanh": 1, "rnn_relu": 1}
MAKERS = {
    "lstm": (fastlstm.LSTM, {}),
    "gru": (fastlstm.GRU, {}),
    "gru_before": (fastlstm.GRU, {"reset_after": False}),
    "rnn_tanh": (fastlstm.RNN, {}),
    "rnn_relu": (fastlstm.RNN, {"nonlinearity": "relu"}),
}


class Paired:
    """A GRU or RNN, or a stream of one, used as an LSTM is: its c is an array of no features. So
    that one test serves all cells; test_cells.py has the true interface."""

    def __init__(self, layer):
        self.__dict__["layer"] = layer

    def __getattr__(self, name):
        value = getattr(self.layer, name)
        return self._pair(value) if name == "state" else value

    def __setattr__(self, name, value):
        setattr(self.layer, name, self._alone(value) if name == "state" else value)

    def __deepcopy__(self, memo):
        return Paired(copy.deepcopy(self.layer, memo))

    @staticmethod
    def _pair(h):
        return h, np.zeros((*h.shape[:-1], 0), h.dtype)

    @staticmethod
    def _alone(state):
        return state[0] if isinstance(state, (tuple, list)) and len(state) == 2 else state

    def __call__(self, x, *args, **options):
        if args or "state" in options:
            options["state"] = self._alone(args[0] if args else options["state"])
        done = self.layer(x, **options)
        return (done[0], self._pair(done[1])) if isinstance(done, tuple) else done  # a stream's y

    def forward_train(self, x, state=None, **options):
        y, h, tape = self.layer.forward_train(x, self._alone(state), **options)
        return y, self._pair(h), tape

    def backward(self, tape, dy=None, dstate=None, **options):
        grads = self.layer.backward(tape, dy, self._alone(dstate), **options)
        return grads._replace(state=self._pair(grads.state))

    def stream(self, *args, **options):
        return Paired(self.layer.stream(*args, **options))


def parameter_shapes(I, H, L, D, P, bias, gates=4):
    """{torch's name: shape}, in torch's order."""
    R = P or H
    shapes = {}
    for layer in range(L):
        for d in range(D):
            s = f"_l{layer}" + ("_reverse" if d else "")
            shapes["weight_ih" + s] = (gates * H, I if layer == 0 else D * R)
            shapes["weight_hh" + s] = (gates * H, R)
            if bias:
                shapes["bias_ih" + s] = shapes["bias_hh" + s] = (gates * H,)
            if P:
                shapes["weight_hr" + s] = (P, H)
    return shapes


def in_form(values, form, rng):
    """An array that equals float32 `values` once converted to float32, but comes as `form` says."""
    if form == "plain":
        return values
    if form == "float64":
        return values.astype(np.float64) * (1 + rng.uniform(-1, 1, values.shape) * 2.0**-26)
    if form == "float16":
        return values.astype(np.float16)
    if form == "int8":
        return np.rint(values).astype(np.int8)
    if form == "fortran":
        return np.asfortranarray(values)
    if form == "strided":
        big = np.full([2 * n + 1 for n in values.shape], np.nan, np.float32)
        view = big[tuple(slice(1, None, 2) for _ in values.shape)]
        view[...] = values
        return view
    if form == "negative":
        return np.ascontiguousarray(values[::-1, ..., ::-1])[::-1, ..., ::-1]
    if form.startswith("broadcast"):
        axis = int(form.split()[1])
        return np.broadcast_to(np.take(values, [0], axis), values.shape)
    if form == "last axis strided":
        return np.repeat(values, 3, axis=-1)[..., ::3]
    if form == "read-only":
        values = values.copy()
        values.flags.writeable = False
        return values
    if form == "byte-swapped":
        return values.astype(values.dtype.newbyteorder())
    if form == "odd address":
        raw = np.empty(values.nbytes + 1, np.uint8)
        view = raw[1:].view(np.float32).reshape(values.shape)
        view[...] = values
        return view
    raise AssertionError(form)


def empty_out(shape, form):
    """An `out` of the given shape: unit stride in the last axis, the rest as `form` says."""
    if form == "none":
        return None
    if form == "plain":
        return np.full(shape, np.nan, np.float32)
    if form == "padded":
        return np.full([n + 2 for n in shape], np.nan, np.float32)[
            tuple(slice(1, n + 1) for n in shape)
        ]
    if form == "negative":
        return np.full(shape, np.nan, np.float32)[::-1]
    if form == "swapped":
        if len(shape) < 3:
            return np.full((2, *shape), np.nan, np.float32)[1]
        return np.full((shape[1], shape[0], shape[2]), np.nan, np.float32).swapaxes(0, 1)
    raise AssertionError(form)


@dataclasses.dataclass(frozen=True)
class Case:
    I: int
    H: int
    L: int = 1
    D: int = 1
    P: int = 0
    T: int = 3
    B: int | None = 2  # None: unbatched
    bias: bool = True
    batch_first: bool = False
    state: bool = False
    lengths: str = "none"  # "none", "some" (1..T) or "zeros too" (0..T)
    x_form: str = "plain"
    state_form: str = "plain"
    out: str = "none"
    last: bool = False
    scale: float = 1.0  # weights are U(-scale, scale) / sqrt(H); torch begins with scale 1
    seed: int = 0
    cell: str = "lstm"

    @property
    def C(self):
        """Features of c."""
        return self.H if self.cell == "lstm" else 0

    def name(self):
        """For a test's id."""
        flags = "".join(n for n in ("bias", "batch_first", "state", "last") if getattr(self, n))
        return (
            f"{self.cell}-I{self.I}H{self.H}L{self.L}D{self.D}P{self.P}T{self.T}B{self.B}-{flags}"
        )

    def rng(self, what):
        return np.random.default_rng([self.seed, *what.encode()])

    def params(self):
        rng, k = self.rng("params"), self.scale / np.sqrt(self.H)
        gates = GATES[self.cell]
        shapes = parameter_shapes(self.I, self.H, self.L, self.D, self.P, self.bias, gates)
        return {n: rng.uniform(-k, k, s).astype(np.float32) for n, s in shapes.items()}

    def options(self):
        options = {
            "num_layers": self.L, "bias": self.bias, "batch_first": self.batch_first,
            "bidirectional": self.D == 2,
        }  # fmt: skip
        return options | ({"proj_size": self.P} if self.cell == "lstm" else {})

    def layer(self, isa=None, **more):
        maker, own = MAKERS[self.cell]
        layer = maker(self.I, self.H, **self.options(), **own, isa=isa, **more)
        assert layer.load_state_dict(self.params()) == ([], [])
        return layer if self.cell == "lstm" else Paired(layer)

    def x_shape(self):
        if self.B is None:
            return self.T, self.I
        return (self.B, self.T, self.I) if self.batch_first else (self.T, self.B, self.I)

    def y_shape(self):
        return *self.x_shape()[:-1], self.D * (self.P or self.H)

    def call_arrays(self):
        """x, state, lengths as they are passed."""
        rng = self.rng("call")
        x = in_form(rng.uniform(-1, 1, self.x_shape()).astype(np.float32), self.x_form, rng)
        state = None
        if self.state:
            rows = () if self.B is None else (self.B,)
            h = rng.uniform(-1, 1, (self.L * self.D, *rows, self.P or self.H)).astype(np.float32)
            c = rng.uniform(-2, 2, (self.L * self.D, *rows, self.C)).astype(np.float32)
            state = in_form(h, self.state_form, rng), in_form(c, self.state_form, rng)
        lengths = None
        if self.lengths != "none" and self.B is not None:
            lengths = rng.integers(0 if self.lengths == "zeros too" else 1, self.T + 1, self.B)
        return x, state, lengths

    def as_seen(self):
        """x, state, lengths as contiguous float32: what the engine must work on."""
        x, state, lengths = self.call_arrays()
        if state is not None:
            state = tuple(np.ascontiguousarray(s, dtype=np.float32) for s in state)
        return np.ascontiguousarray(x, dtype=np.float32), state, lengths

    def run(self, layer):
        """One call as the Case says; returns y, h, c and checks what holds for every call."""
        x, state, lengths = self.call_arrays()
        before = [a.tobytes() for a in (x, *(state or ()))]
        out, options = None, {}
        if self.last:
            options["return_sequences"] = False
        else:
            out = empty_out(self.y_shape(), self.out)
        if lengths is not None:
            options["lengths"] = lengths
        if out is not None:
            options["out"] = out
        y, (h, c) = layer(x, state, **options)
        if out is not None:
            assert y is out
        assert before == [a.tobytes() for a in (x, *(state or ()))]
        assert y.dtype == h.dtype == c.dtype == np.float32
        return y, h, c


def torch_module(case, dtype=None):
    """torch's module for a Case, with its own weights. There is none for "gru_before"."""
    import torch

    kind, more = {
        "lstm": (torch.nn.LSTM, {"proj_size": case.P}),
        "gru": (torch.nn.GRU, {}),
        "rnn_tanh": (torch.nn.RNN, {}),
        "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    }[case.cell]
    return kind(
        case.I, case.H, num_layers=case.L, bias=case.bias, batch_first=case.batch_first,
        bidirectional=case.D == 2, dtype=dtype, **more,
    )  # fmt: skip


@st.composite
def cases(draw, *, lengths=("none", "some"), scales=(1.0,), wide=8, last=True, cell="lstm"):
    """A Case of any shape. `wide`: the largest I / H (see test_parity.py for why there is one)."""
    size = st.one_of(st.sampled_from(SIZES[:10]), st.sampled_from(SIZES), st.integers(1, 130))
    H = draw(st.one_of(st.sampled_from(SIZES[:10]), size))
    I = min(draw(st.one_of(st.sampled_from(SIZES[:10]), size)), wide * H)
    L, D = draw(st.sampled_from((1, 1, 2, 3, 4))), draw(st.sampled_from((1, 2)))
    project = H > 1 and cell == "lstm"
    P = draw(st.sampled_from((0, 0, 1, H - 1, (H + 1) // 2))) if project else 0
    B = draw(st.one_of(st.none(), st.integers(1, 8), st.integers(1, 8), st.sampled_from(BATCHES)))
    short, long = st.integers(1, 40), st.sampled_from((63, 64, 65, 100, 255, 256))
    x_form, batch_first = draw(st.sampled_from(X_FORMS)), draw(st.booleans())
    T = draw(st.one_of(short, short, short, long))
    if x_form == f"broadcast {int(batch_first and B is not None)}":  # the axis of time
        T = min(T, CONSTANT_STEPS)
    per_row_step = D * sum(4 * H * (n + (P or H)) for n in [I] + [D * (P or H)] * (L - 1))
    T = int(max(1, min(T, WORK // (per_row_step * (B or 1)))))
    if B is not None:
        B = int(max(1, min(B, 8 * WORK // (per_row_step * T))))
    return Case(
        I=I, H=H, L=L, D=D, P=P, T=T, B=B,
        bias=draw(st.sampled_from((True, True, False))),
        batch_first=batch_first,
        state=draw(st.booleans()),
        lengths="none" if B is None else draw(st.sampled_from(lengths)),
        x_form=x_form,
        state_form=draw(st.sampled_from(("plain", "float64", "strided", "negative", "fortran"))),
        out=draw(st.sampled_from(OUT_FORMS)),
        last=last and draw(st.sampled_from((False, False, True))),
        scale=draw(st.sampled_from(scales)),
        seed=draw(st.integers(0, 2**32 - 1)),
        cell=cell,
    )  # fmt: skip
