# SPDX-License-Identifier: MIT
"""Makers of wrong calls, continued from invalid_calls.py: constructor, streams, state dicts."""

import numpy as np
from invalid_calls import (
    NOT_ARRAYS,
    Bad,
    another_shape,
    any_array_of,
    array_of,
    ones,
    pick,
    with_dtype,
)

import fastlstm

# The constructor


def constructor_sizes(rng, subject):
    name = pick(rng, ("input_size", "hidden_size", "num_layers"))
    wrong = pick(
        rng,
        (
            0,
            -1,
            -7,
            -(2**31),
            -(2**63),
            1.5,
            3.0,
            "3",
            None,
            float("nan"),
            [3],
            2j,
            (3,),
            b"3",
            ones(2),
        ),
    )
    options = {"input_size": 3, "hidden_size": 4, "num_layers": 1, name: wrong}
    return Bad(lambda: fastlstm.LSTM(**options), f"{name}={wrong!r}")


def constructor_options(rng, subject):
    name, wrong = pick(
        rng,
        (
            ("proj_size", 4), ("proj_size", 5), ("proj_size", -1), ("proj_size", 1.5),
            ("proj_size", "1"), ("proj_size", 2**63), ("dropout", 1.5), ("dropout", -0.1),
            ("dropout", float("nan")), ("dropout", "a"), ("dropout", None), ("dropout", True),
            ("dropout", float("inf")), ("isa", "sse9"), ("isa", ""), ("isa", 3), ("isa", b"avx2"),
            ("isa", "avx2\0"), ("isa", ["avx2"]), ("num_threads", 0), ("num_threads", -1),
            ("num_threads", 1.5), ("num_threads", "two"), ("num_threads", 2**63),
            ("batch_first", "yes"), ("bidirectional", "no"), ("bias", "x"), ("bias", None),
            ("nonsense", 1), ("bias", [1, 2]),
        ),
    )  # fmt: skip
    return Bad(lambda: fastlstm.LSTM(3, 4, **{name: wrong}), f"LSTM(3, 4, {name}={wrong!r})")


def constructor_giants(rng, subject):
    """Products past memory, 2^31, 2^32, 2^63 and 2^64: must be refused at once, not tried."""
    giant = (
        2**29,
        2**30,
        2**31 - 1,
        2**31,
        2**32,
        2**33,
        2**40,
        2**60,
        2**61,
        2**62,
        2**63 - 1,
        2**63,
        2**64,
    )
    sizes = [pick(rng, giant), pick(rng, (1, 2, *giant)), pick(rng, (1, 1, 2, 2**31))]
    if rng.random() < 0.5:
        sizes[:2] = sizes[1::-1]
    if rng.random() < 0.2:
        sizes = [1, 1, pick(rng, giant)]
    bidirectional = bool(rng.integers(2))
    return Bad(
        lambda: fastlstm.LSTM(*sizes, bidirectional=bidirectional),
        f"LSTM{tuple(sizes)} {bidirectional}",
    )


# Streams. `subject.stream` is None for the bidirectional subject, whose stream() must be refused.


def stream_open(rng, subject):
    if subject.stream is None:
        return Bad(lambda: subject.layer.stream(), "stream() of a bidirectional layer")
    size = pick(
        rng, (-1, -(2**63), 1.5, "1", [1], 2**40, 2**62, 2**63, 2**64, float("nan"), 2j, (2,))
    )
    return Bad(lambda: subject.layer.stream(batch_size=size), f"stream(batch_size={size!r})")


def on_stream(maker):
    """A maker that needs a stream; where there is none, it opens one, which must be refused."""

    def make(rng, subject):
        return stream_open(rng, subject) if subject.stream is None else maker(rng, subject)

    make.__name__ = maker.__name__
    return make


@on_stream
def stream_chunk(rng, subject):
    case, shape = subject.case, subject.x.shape
    time = 1 if case.batch_first else 0
    new = another_shape(rng, shape, fixed=(time,))
    x = any_array_of(rng, new)
    want = None
    if len(new) == len(shape):
        want = case.I if new[-1] != case.I else case.B
    return Bad(lambda: subject.stream(x), f"stream chunk {new}", new, want)


@on_stream
def stream_kind(rng, subject):
    x = pick(rng, NOT_ARRAYS) if rng.random() < 0.5 else with_dtype(rng, subject.x.shape)
    return Bad(lambda: subject.stream(x), f"stream chunk {type(x).__name__}")


@on_stream
def stream_out(rng, subject):
    new = another_shape(rng, subject.y_shape)
    out = array_of(new)
    return Bad(
        lambda: subject.stream(subject.x, out=out), f"stream out {new}", new, subject.y_shape
    )


@on_stream
def step_shape(rng, subject):
    good = (subject.case.B, subject.case.I)
    new = another_shape(rng, good)
    x = any_array_of(rng, new)
    return Bad(lambda: subject.stream.step(x), f"step x {new}", new, good)


@on_stream
def step_kind(rng, subject):
    good = (subject.case.B, subject.case.I)
    x = pick(rng, NOT_ARRAYS) if rng.random() < 0.5 else with_dtype(rng, good)
    return Bad(lambda: subject.stream.step(x), f"step x {type(x).__name__}")


@on_stream
def step_out(rng, subject):
    x, good = ones((subject.case.B, subject.case.I)), (subject.case.B, subject.y_shape[-1])
    kind = int(rng.integers(4))
    if kind == 0:
        new = another_shape(rng, good)
        out = array_of(new)
        return Bad(lambda: subject.stream.step(x, out=out), f"step out {new}", new, good)
    if kind == 1:
        out = ones(good)
        out.flags.writeable = False
    elif kind == 2:
        out = np.zeros(good, pick(rng, (np.float64, np.int32, ">f4", "O")))
    else:
        pool = ones(max(x.size, int(np.prod(good))))
        x, out = pool[: x.size].reshape(x.shape), pool[: int(np.prod(good))].reshape(good)
    return Bad(lambda: subject.stream.step(x, out=out), f"step out kind {kind}")


@on_stream
def stream_state(rng, subject):
    which = int(rng.integers(2))
    good = subject.state[which].shape
    state = list(subject.state)
    kind = int(rng.integers(3))
    new = None
    if kind == 0:
        new = another_shape(rng, good)
        state[which] = any_array_of(rng, new)
        state = tuple(state)
    elif kind == 1:
        state[which] = with_dtype(rng, good)
        state = tuple(state)
    else:
        state = pick(
            rng,
            ((), (state[0],), (*state, state[0]), state[0], 3, "hc", object(), (None, state[1])),
        )
    return Bad(
        lambda: setattr(subject.stream, "state", state),
        f"stream.state kind {kind}",
        new,
        new and good,
    )


@on_stream
def stream_reset(rng, subject):
    B = subject.case.B
    rows = pick(
        rng,
        (
            [B], [0, B], [-B - 1], [2**31], [2**63], [2**64], 1.5, [0.5], [float("nan")], "0",
            ["0"], [None], object(), [[0], [0, 1]], np.array([B]), np.array([1.0]),
            np.zeros(1, "M8[s]"), np.ones(B + 1, bool), np.zeros(2, complex), {"a": 1}, [2**32],
            [-(2**63)],
        ),
    )  # fmt: skip
    return Bad(lambda: subject.stream.reset(rows=rows), f"reset(rows={rows!r})")


# State dicts


def wrong_value(rng, good):
    """(value, its shape if the shape is what is wrong)."""
    if rng.random() < 0.5:
        new = another_shape(rng, good.shape)
        return any_array_of(rng, new), new
    if rng.random() < 0.5:
        return with_dtype(rng, good.shape), None
    return pick(rng, NOT_ARRAYS), None


def dict_value(rng, subject):
    sd = subject.layer.state_dict()
    key = pick(rng, list(sd))
    good = sd[key]
    sd[key], new = wrong_value(rng, good)
    strict = bool(rng.integers(2))  # a wrong shape is an error with strict=False too
    return Bad(
        lambda: subject.layer.load_state_dict(sd, strict=strict),
        f"{key} = {type(sd[key]).__name__} {new}", new, new and good.shape,
    )  # fmt: skip


def dict_keys(rng, subject):
    sd = subject.layer.state_dict()
    key = pick(rng, list(sd))
    value = sd.pop(key)
    kind = int(rng.integers(6))
    if kind == 1:
        sd["module." + key] = value
    elif kind == 2:
        sd[key.upper()] = value
    elif kind == 3:
        sd[key.replace("_l", "_l-")] = value
    elif kind == 4:
        sd[pick(rng, (0, None, 3.5, (key,), b"weight_ih_l0"))] = value
    elif kind == 5:
        sd = {("lstm." + k): v for k, v in sd.items()}
    return Bad(lambda: subject.layer.load_state_dict(sd), f"keys kind {kind} at {key}")


def dict_structure(rng, subject):
    sd = pick(rng, (None, [], (), 3, "weights", object(), {1, 2}, np.ones(3), [("a", 1)], iter([])))
    return Bad(lambda: subject.layer.load_state_dict(sd), f"state_dict = {type(sd).__name__}")


def made_from(rng, subject):
    """from_state_dict: sizes that do not agree with each other, or names that make no LSTM."""
    sd = subject.layer.state_dict()
    kind = int(rng.integers(8))
    key = pick(rng, list(sd))
    options = {}
    if kind == 0:
        sd[key], _ = wrong_value(rng, sd[key])
        if isinstance(sd[key], np.ndarray) and sd[key].dtype.kind == "f":
            shape = list(subject.layer.state_dict()[key].shape)
            shape[0] += int(pick(rng, (-1, 1, 2, 3, 5)))
            sd[key] = ones(shape)
    elif kind == 1:
        sd = {}
    elif kind == 2:
        del sd["weight_hh_l0"]
    elif kind == 3:
        sd = {k.replace("_l0", "_l5"): v for k, v in sd.items()}
    elif kind == 4:
        options["prefix"] = pick(rng, ("lstm.", "nothing", 3, b"", "weight_ih_l0"))
    elif kind == 5:
        sd = pick(rng, (None, [], 3, "x", object(), {3: ones(3)}))
    elif kind == 6:
        giant = pick(rng, (2**20, 2**24, 2**28))
        sd["weight_hh_l0"] = np.broadcast_to(np.float32(0), (4 * giant, giant))
    else:
        name = pick(rng, ("isa", "num_threads", "batch_first", "nonsense"))
        options[name] = pick(rng, ("sse9", 0.5, [1]))
    return Bad(
        lambda: fastlstm.LSTM.from_state_dict(sd, **options), f"from_state_dict kind {kind} {key}"
    )


CONSTRUCTOR = (constructor_sizes, constructor_options, constructor_giants)
STREAM = (
    stream_open, stream_chunk, stream_chunk, stream_kind, stream_out, step_shape, step_kind,
    step_out, stream_state, stream_state, stream_reset,
)  # fmt: skip
DICTS = (dict_value, dict_value, dict_keys, dict_structure, made_from, made_from)
