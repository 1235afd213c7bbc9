# SPDX-License-Identifier: MIT
"""Drawn configurations: sizes, options and the shapes an array can come in.

Hypothesis draws a Case (small integers and words, so that it shrinks to something readable); every
array of the Case follows from its seed.
"""

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
CONSTANT_STEPS = 8  # the most steps of an x that does not change in time, see test_parity.py
WORK = 4e6  # multiply-adds of one call; longer draws get fewer steps, then fewer rows


def parameter_shapes(I, H, L, D, P, bias):
    """{torch's name: shape}, in torch's order."""
    R = P or H
    shapes = {}
    for layer in range(L):
        for d in range(D):
            s = f"_l{layer}" + ("_reverse" if d else "")
            shapes["weight_ih" + s] = (4 * H, I if layer == 0 else D * R)
            shapes["weight_hh" + s] = (4 * H, R)
            if bias:
                shapes["bias_ih" + s] = shapes["bias_hh" + s] = (4 * H,)
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

    def name(self):
        """For a test's id."""
        flags = "".join(n for n in ("bias", "batch_first", "state", "last") if getattr(self, n))
        return f"I{self.I}H{self.H}L{self.L}D{self.D}P{self.P}T{self.T}B{self.B}-{flags}"

    def rng(self, what):
        return np.random.default_rng([self.seed, *what.encode()])

    def params(self):
        rng, k = self.rng("params"), self.scale / np.sqrt(self.H)
        shapes = parameter_shapes(self.I, self.H, self.L, self.D, self.P, self.bias)
        return {n: rng.uniform(-k, k, s).astype(np.float32) for n, s in shapes.items()}

    def options(self):
        return {
            "num_layers": self.L, "bias": self.bias, "batch_first": self.batch_first,
            "bidirectional": self.D == 2, "proj_size": self.P,
        }  # fmt: skip

    def layer(self, isa=None, **more):
        layer = fastlstm.LSTM(self.I, self.H, **self.options(), isa=isa, **more)
        assert layer.load_state_dict(self.params()) == ([], [])
        return layer

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
            c = rng.uniform(-2, 2, (self.L * self.D, *rows, self.H)).astype(np.float32)
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


@st.composite
def cases(draw, *, lengths=("none", "some"), scales=(1.0,), wide=8, last=True):
    """A Case of any shape. `wide`: the largest I / H (see test_parity.py for why there is one)."""
    size = st.one_of(st.sampled_from(SIZES[:10]), st.sampled_from(SIZES), st.integers(1, 130))
    H = draw(st.one_of(st.sampled_from(SIZES[:10]), size))
    I = min(draw(st.one_of(st.sampled_from(SIZES[:10]), size)), wide * H)
    L, D = draw(st.sampled_from((1, 1, 2, 3, 4))), draw(st.sampled_from((1, 2)))
    P = draw(st.sampled_from((0, 0, 1, H - 1, (H + 1) // 2))) if H > 1 else 0
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
    )  # fmt: skip
