# SPDX-License-Identifier: MIT
"""Makers of wrong calls of a layer. Each takes (rng, subject) and returns a Bad, to be refused.

A maker draws its sizes from rng, so that one maker gives many different calls. `subject` is a built
layer with its Case and, where it has one, its stream.
"""

import dataclasses
import re
from collections.abc import Callable

import numpy as np
from cases import Case
from numpy.lib.stride_tricks import as_strided


@dataclasses.dataclass
class Bad:
    call: Callable[[], object]
    what: str
    got: object = (
        None  # for a mistake of shape or size: what was given; must stand in the error's text
    )
    want: object = None  # and what was wanted: a shape, or a size
    untouched: tuple = ()  # arrays whose bytes must not change


class Subject:
    """One layer with valid arguments for it, and the stream of a one-directional one."""

    def __init__(self, case):
        self.case = case
        self.layer = case.layer()
        self.x, self.state, _ = case.call_arrays()
        self.y_shape = case.y_shape()
        self.reference = self.run()
        self.stream = None
        if case.D == 1:
            self.stream = self.layer.stream(batch_size=case.B)
            self.stream(self.x)
        self.before = self.fingerprint()

    def run(self):
        y, (h, c) = self.layer(self.x, self.state)
        return y.tobytes(), h.tobytes(), c.tobytes()

    def fingerprint(self):
        """Everything a refused call must leave as it was."""
        prints = [a.tobytes() for a in (self.x, *self.state, *self.layer.state_dict().values())]
        if self.stream is not None:
            prints += [a.tobytes() for a in self.stream.state]
        return prints

    def unharmed(self):
        return self.fingerprint() == self.before and self.run() == self.reference


def subjects():
    return [
        Subject(Case(I=3, H=5, T=4, B=2, state=True)),
        Subject(Case(I=7, H=17, L=2, T=3, B=6, batch_first=True, state=True)),
        Subject(Case(I=4, H=9, L=2, D=2, P=3, T=5, B=3, state=True)),
        Subject(Case(I=6, H=8, P=2, T=3, B=4, state=True, bias=False)),
    ]


GIANTS = (2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40)
NOT_ARRAYS = (None, "abc", b"abc", object(), {"x": 1}, {1, 2}, lambda: 0, [[1, 2], [3]], ...)
BAD_DTYPES = (
    "O", "U4", "S4", "c8", "c16", "M8[s]", "m8[s]", [("a", "f4")], [("a", "f4"), ("b", "i4")], "V4",
)  # fmt: skip


def pick(rng, options):
    return options[int(rng.integers(len(options)))]


def plain(text):
    """An error's text with torch.Size([2, 3]) written as (2, 3)."""

    def shape(match):
        return str(tuple(int(n) for n in re.findall(r"\d+", match[1])))

    return re.sub(r"torch\.Size\(\[([\d, ]*)\]\)", shape, text)


def ones(shape):
    return np.ones(shape, np.float32)


def another_shape(rng, shape, fixed=()):
    """A shape unlike `shape`: an axis changed, dropped, added, swapped; sometimes a giant."""
    while True:
        new = list(shape)
        kind = int(rng.integers(6))
        axis = pick(rng, [a for a in range(len(shape)) if a not in fixed])
        if kind == 0:
            new[axis] += int(pick(rng, (-1, 1, 2, 16, 100)))
        elif kind == 1:
            new[axis] = pick(rng, GIANTS)
        elif kind == 2:
            new[axis] = 0
        elif kind == 3 and len(set(new)) > 1 and not fixed:
            new = [new[a] for a in rng.permutation(len(new))]
        elif kind == 4:
            new.insert(int(rng.integers(len(new) + 1)), pick(rng, (1, 1, 2, 3)))
            new.insert(0, 1)
        else:
            new = new[: int(rng.integers(len(new)))]
        if tuple(new) != tuple(shape) and min(new, default=0) >= 0:
            return tuple(new)


def array_of(shape, dtype=np.float32):
    """Ones of any shape and any real dtype, writable: a giant has all its elements in one place."""
    size = 1
    for n in shape:
        size *= n
    return (
        np.ones(shape, dtype)
        if size < 10**6
        else as_strided(np.ones(1, dtype), shape, (0,) * len(shape))
    )


def any_array_of(rng, shape):
    return array_of(
        shape, pick(rng, (np.float32, np.float32, np.float64, np.float16, np.int32, ">f4"))
    )


def with_dtype(rng, shape, dtype=None):
    return np.zeros(shape, pick(rng, BAD_DTYPES) if dtype is None else dtype)


# The call


def x_shape(rng, subject):
    case, shape = subject.case, subject.x.shape
    new = another_shape(rng, shape)
    while len(new) in (2, 3) and new[-1] == case.I:  # then only T or B differ: not wrong by itself
        new = another_shape(rng, shape)
    x = any_array_of(rng, new)
    want = case.I if len(new) in (2, 3) else None
    return Bad(lambda: subject.layer(x), f"x {new}", new, want)


def x_against_state(rng, subject):
    """x and state of different batches, or one of them unbatched."""
    case = subject.case
    B = pick(rng, (1, case.B - 1, case.B + 1, 2 * case.B, 65))
    B = B if B != case.B else B + 1
    shape = (B, case.T, case.I) if case.batch_first else (case.T, B, case.I)
    want = (case.L * case.D, B, case.P or case.H)
    if rng.random() < 0.3:
        shape, want = (case.T, case.I), (case.L * case.D, case.P or case.H)
    x = ones(shape)
    return Bad(lambda: subject.layer(x, subject.state), f"x {shape}", subject.state[0].shape, want)


def x_dtype(rng, subject):
    x = with_dtype(rng, subject.x.shape)
    return Bad(lambda: subject.layer(x), f"x of {x.dtype}")


def x_no_array(rng, subject):
    x = pick(rng, NOT_ARRAYS)
    return Bad(lambda: subject.layer(x), f"x = {x!r}")


def giant_call(rng, subject):
    """A well-formed call whose outputs no memory can hold."""
    case = subject.case
    T, B = pick(
        rng,
        ((2**40, 2**16), (2**16, 2**40), (2**30, 2**28), (2**32, 2**20), (2**50, 1), (2**42, 3)),
    )
    shape = (B, T, case.I) if case.batch_first else (T, B, case.I)
    x = as_strided(np.zeros(1, np.float32), shape, (0, 0, 0))
    last = B > 2**31
    return Bad(lambda: subject.layer(x, return_sequences=not last), f"x {shape}, last={last}")


def no_step(rng, subject):
    case = subject.case
    B = pick(rng, (0, 1, case.B))
    shape = (B, 0, case.I) if case.batch_first else (0, B, case.I)
    if rng.random() < 0.3:
        shape = (0, case.I)
    return Bad(lambda: subject.layer(ones(shape)), f"x {shape}")


def state_shape(rng, subject):
    which = int(rng.integers(2))
    good = subject.state[which].shape
    new = another_shape(rng, good)
    state = list(subject.state)
    state[which] = any_array_of(rng, new)
    return Bad(lambda: subject.layer(subject.x, tuple(state)), f"state[{which}] {new}", new, good)


def state_dtype(rng, subject):
    which = int(rng.integers(2))
    state = list(subject.state)
    state[which] = with_dtype(rng, state[which].shape)
    return Bad(lambda: subject.layer(subject.x, tuple(state)), f"state of {state[which].dtype}")


def state_structure(rng, subject):
    h, c = subject.state
    state = pick(
        rng,
        (
            (), (h,), (h, c, c), (h, None), (None, c), (None, None), h, h[0], 3, "hc", object(),
            {"h": h, "c": c}, ((h, c),), (h, "c"), (h, [[1.0], [1.0, 2.0]]), ((h, h), (c, c)),
            True, 0.5, (h, object()),
        ),
    )  # fmt: skip
    return Bad(lambda: subject.layer(subject.x, state), f"state = {type(state).__name__}")


def lengths_shape(rng, subject):
    B = subject.case.B
    new = pick(
        rng,
        ((), (0,), (B - 1,), (B + 1,), (1, B), (B, 1), (2 * B,), (B, B), *((n,) for n in GIANTS)),
    )
    lengths = np.broadcast_to(np.int64(1), new)
    return Bad(lambda: subject.layer(subject.x, lengths=lengths), f"lengths {new}", new, (B,))


def lengths_values(rng, subject):
    B, T = subject.case.B, subject.case.T
    dtype = pick(rng, (np.int64, np.int32, np.int16, np.int8, np.uint8, np.uint64, np.uint32))
    info = np.iinfo(dtype)
    wrong = pick(
        rng,
        (
            -1,
            -T,
            T + 1,
            T + 2,
            100,
            info.min,
            info.max,
            info.max - 1,
            2**31,
            2**32,
            2**63,
            2**64 - 1,
        ),
    )
    if not info.min <= wrong <= info.max or 0 <= wrong <= T:
        wrong = T + 1
    lengths = np.full(B, T, dtype)
    lengths[rng.integers(B)] = wrong
    given = lengths.tolist() if rng.random() < 0.2 else lengths
    return Bad(lambda: subject.layer(subject.x, lengths=given), f"lengths {lengths!r}")


def lengths_dtype(rng, subject):
    B, T = subject.case.B, subject.case.T
    lengths = pick(
        rng,
        (
            np.full(B, float(T)), np.full(B, np.nan), np.full(B, np.inf), np.full(B, T, np.float32),
            np.full(B, 1.5), [1.0] * B, [None] * B, ["1"] * B, [2**70] * B, "ab", 3, object(),
            *(np.zeros(B, d) for d in BAD_DTYPES),
        ),
    )  # fmt: skip
    return Bad(lambda: subject.layer(subject.x, lengths=lengths), f"lengths = {lengths!r}")


def out_shape(rng, subject):
    new = another_shape(rng, subject.y_shape)
    out = array_of(new)
    return Bad(
        lambda: subject.layer(subject.x, out=out), f"out {new}", new, subject.y_shape,
        untouched=(out,) if out.size < 10**6 else (),
    )  # fmt: skip


def out_kind(rng, subject):
    shape = subject.y_shape
    dtypes = (
        np.float64,
        np.float16,
        np.int32,
        np.uint8,
        np.complex64,
        ">f4",
        "O",
        "V4",
        "M8[s]",
        np.bool_,
    )
    kind = int(rng.integers(5))
    if kind == 0:
        out = np.zeros(shape, pick(rng, dtypes))
    elif kind == 1:
        out = ones(shape)
        out.flags.writeable = False
    elif kind == 2:
        out = np.repeat(ones(shape), 2, axis=-1)[..., ::2]
    elif kind == 3:  # elements that share memory
        row = 4 * shape[2]
        strides = pick(rng, ((0, row), (row, 0), (0, 0), (row, row), (4, row), (row, row - 4)))
        out = as_strided(ones(int(np.prod(shape))), shape, (*strides, 4))
    else:
        bad = (0, 1.5, "out", [1.0], object(), True, (), bytearray(8), memoryview(bytes(8)))
        out = pick(rng, bad)
    arrays = (out,) if isinstance(out, np.ndarray) and out.dtype != object else ()
    return Bad(
        lambda: subject.layer(subject.x, out=out), f"out kind {kind}: {out!r:.80}", untouched=arrays
    )


def out_overlap(rng, subject):
    """out lies over x, h0 or c0, wholly or in part, in any direction."""
    which = int(rng.integers(3))
    inputs = [a.copy() for a in (subject.x, *subject.state)]
    need, n = int(np.prod(subject.y_shape)), inputs[which].size
    pool = ones(need + 2 * n)
    out = pool[n : n + need].reshape(subject.y_shape)
    start = int(rng.integers(1, n + need))
    source, view = inputs[which], pool[start : start + n].reshape(inputs[which].shape)
    view[...] = source
    inputs[which] = view
    x, *state = inputs
    return Bad(
        lambda: subject.layer(x, tuple(state), out=out),
        f"out at {n} over input {which} at {start}",
        untouched=(pool,),
    )  # fmt: skip


def out_over_lengths(rng, subject):
    """lengths as int64 in the memory of out: writing the one would change the other."""
    T, B = subject.case.T, subject.case.B
    pool = ones(int(np.prod(subject.y_shape)) + 4 * B)
    out = pool[2 * B :][: int(np.prod(subject.y_shape))].reshape(subject.y_shape)
    start = 2 * int(rng.integers(1, 2 * B))
    if (pool.ctypes.data + 4 * start) % 8:
        start += 1
    lengths = pool[start : start + 2 * B].view(np.int64)
    lengths[...] = T
    return Bad(
        lambda: subject.layer(subject.x, lengths=lengths, out=out),
        f"out over lengths at {start}",
        untouched=(pool,),
    )


def last_out(rng, subject):
    """With return_sequences=False, out must have the shape of one step's output."""
    B, width = subject.case.B, subject.y_shape[-1]
    if rng.random() < 0.3:
        out = np.zeros((B, width), pick(rng, (np.float64, np.float16, np.int32, ">f4", "O")))
        return Bad(
            lambda: subject.layer(subject.x, out=out, return_sequences=False),
            f"out of {out.dtype} for the last step",
        )
    shape = pick(rng, (subject.y_shape, subject.y_shape[1:2], (*subject.y_shape[1:], 1), (1, 1)))
    out = ones(shape)
    return Bad(
        lambda: subject.layer(subject.x, out=out, return_sequences=False), f"out {shape}", shape,
        (B, width), untouched=(out,),
    )  # fmt: skip


def signature(rng, subject):
    kind = int(rng.integers(4))
    calls = (
        lambda: subject.layer(),
        lambda: subject.layer(subject.x, subject.state, None),
        lambda: subject.layer(subject.x, nonsense=1),
        lambda: subject.layer(subject.x, subject.state, subject.state, None, True),
    )
    return Bad(calls[kind], f"signature {kind}")


CALL = (
    x_shape, x_shape, x_against_state, x_dtype, x_no_array, giant_call, no_step, state_shape,
    state_shape, state_dtype, state_structure, lengths_shape, lengths_values, lengths_dtype,
    out_shape, out_kind, out_overlap, out_over_lengths, last_out, signature,
)  # fmt: skip
