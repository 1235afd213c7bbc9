# SPDX-License-Identifier: MIT
"""`fastlstm run` on a whole model: once on whole arrays, or with --chunk in pieces along an axis,
the state kept from piece to piece; audio may come from stdin as it is recorded."""

import contextlib
import functools
import itertools
import json
import sys

import numpy as np

from ..files.read import read_state_dict
from ..models.graph import ModelError
from ..models.load import load_model
from .arrays import Progress, array_of, check_new, whole_files
from .inspect_model import numbers

PCM = {"int16": ("<i2", 1 / 32768), "float32": ("<f4", 1.0)}  # samples: type, scale to -1..1


def add_arguments(parser):
    whole = parser.add_argument_group("whole models (ONNX, Keras, saved by fastlstm)")
    whole.add_argument("--value", action="append", default=[], metavar="NAME=16000",
                       help="an input that is this number")  # fmt: skip
    whole.add_argument("--chunk", "--frame", type=int, metavar="N",
                       help="run N steps or samples at a time and keep the state; a last piece of "
                       "samples that is shorter ends with zeros")  # fmt: skip
    whole.add_argument("--context", type=int, default=0, metavar="N",
                       help="begin each piece with the last N of the piece before")  # fmt: skip
    whole.add_argument("--axis", type=int, help="along which --chunk cuts (default: the first free "
                       "axis; of a row of samples the last)")  # fmt: skip
    whole.add_argument("--pcm", choices=list(PCM), default="int16",
                       help="what --input - reads: raw little-endian samples")  # fmt: skip


# ---- inputs


def _named(texts, names, what):
    """{name: file} of --input or --output: NAME=FILE, or a FILE for the only name."""
    found = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not equals or name not in names:
            name, file = None, text
        if name in found:
            raise ValueError(f"{what} {text}: each name once, as NAME=FILE")
        found[name] = file
    if None in found:
        left = [name for name in names if name not in found]
        if len(left) != 1:
            raise ValueError(f"{what} {found[None]}: for which of {', '.join(names)}? NAME=FILE")
        found[left[0]] = found.pop(None)
    return found


def _stdin_pieces(count, pcm, stream):
    """Arrays (count,) float32 of samples from a binary stream, the last filled up with zeros."""
    dtype, scale = PCM[pcm]
    size = count * np.dtype(dtype).itemsize
    while True:
        raw = b""
        while len(raw) < size:
            more = stream.read(size - len(raw))
            if not more:
                break
            raw += more
        if not raw:
            return
        raw = raw[: len(raw) - len(raw) % np.dtype(dtype).itemsize]
        samples = np.zeros(count, np.float32)
        given = np.frombuffer(raw, dtype)
        samples[: len(given)] = given.astype(np.float32) * np.float32(scale)
        yield samples


class _Cut:
    """How the streamed input is cut. value: the graph.Value; axis: of the model's input; flat: the
    file is a row of samples, which becomes the last axis; rows: the size of the batch."""

    def __init__(self, value, shape, axis):
        ndim = len(shape) if value.shape is None else len(value.shape)
        self.flat = shape is None or (len(shape) == 1 and ndim > 1)
        free = [i for i, n in enumerate(value.shape or (None,) * ndim) if not isinstance(n, int)]
        self.axis = (ndim - 1 if self.flat else next(iter(free), 0)) if axis is None else axis
        if not -ndim <= self.axis < ndim:
            raise ValueError(f"--axis {axis}: {value} has {ndim} axes")
        self.axis %= ndim
        self.insert = None
        if self.flat:
            self.shape = (1,) * (ndim - 1) + (-1,)
        elif len(shape) == ndim - 1:  # without the batch's axis
            self.insert = 0 if self.axis else 1
        elif len(shape) != ndim:
            raise ValueError(f"an array of the shape {shape} is no input {value}")
        others = [i for i in free if i != self.axis]
        at = others[0] if others else None
        self.rows = 1 if self.flat or self.insert is not None or at is None else shape[at]

    def whole(self, array):
        """The file's array with the model's axes."""
        if self.flat:
            return np.moveaxis(array.reshape(self.shape), -1, self.axis)
        return array if self.insert is None else np.expand_dims(array, self.insert)

    def pieces(self, array, count):
        """The array in pieces; a row of samples is filled up with zeros."""
        array = self.whole(array)
        steps = array.shape[self.axis]
        index = [slice(None)] * array.ndim
        for begin in range(0, steps, count):
            index[self.axis] = slice(begin, begin + count)
            piece = array[tuple(index)]
            missing = count - piece.shape[self.axis]
            if self.flat and missing:
                pad = [(0, 0)] * array.ndim
                pad[self.axis] = (0, missing)
                piece = np.pad(piece, pad)
            yield piece


def _with_context(pieces, axis, context):
    last = None
    for piece in pieces:
        piece = np.ascontiguousarray(piece, np.float32)
        if context:
            if last is None:
                shape = list(piece.shape)
                shape[axis] = context
                last = np.zeros(shape, np.float32)
            piece = np.concatenate([last, piece], axis)
            last = piece.take(range(piece.shape[axis] - context, piece.shape[axis]), axis)
        yield piece


# ---- outputs


class _Rows:
    """A .npy file that grows along the first axis: the header is written again at the end."""

    def __init__(self, path):
        self.file, self.like, self.count = open(path, "w+b"), None, 0  # noqa: SIM115 (closed later)

    def header(self):
        shape, dtype = self.like
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(
            self.file,
            {"descr": dtype.str, "fortran_order": False, "shape": (self.count, *shape)},
        )

    def add(self, array):
        like = array.shape[1:], array.dtype
        if self.like is None:
            self.like = like
            self.header()
        if like != self.like:
            raise ValueError(f"outputs of the shapes {self.like[0]} and {like[0]} in turn")
        self.count += len(array)
        self.file.write(np.ascontiguousarray(array).tobytes())

    def close(self):
        if self.like is None:
            self.like = (), np.dtype(np.float32)
        end = self.file.seek(0, 2)
        self.header()  # numpy leaves space for any size of the first axis
        self.file.seek(max(end, self.file.tell()))
        self.file.close()


class _Arrays:
    """Files of whole arrays: .npy for each output, or one .npz of all."""

    def __init__(self, paths, axis):
        self.paths, self.axis, self.parts = paths, axis, {}
        self.rows = {
            name: _Rows(path) for name, path in paths.items() if name is not None and axis == 0
        }

    def add(self, outputs):
        for name, array in outputs.items():
            array = array if array.ndim else array[None]
            if name in self.rows:
                self.rows[name].add(array)
            elif name in self.paths or None in self.paths:
                self.parts.setdefault(name, []).append(array)

    def close(self):
        for rows in self.rows.values():
            rows.close()
        whole = {
            name: np.concatenate(parts, self.axis if parts[0].ndim > self.axis else 0)
            for name, parts in self.parts.items()
        }
        for name, path in self.paths.items():
            if name in self.rows:
                continue
            with open(path, "wb") as file:
                if name is None:
                    np.savez(file, **whole)
                else:
                    np.save(file, whole.get(name, np.zeros(0, np.float32)))


class _Lines:
    """JSON lines: an object of lists for each piece, written as soon as it is there."""

    def __init__(self, file):
        self.file, self.number = file, 0

    def add(self, outputs):
        line = {"piece": self.number} | {name: a.tolist() for name, a in outputs.items()}
        print(json.dumps(line), file=self.file, flush=True)
        self.number += 1

    def close(self):
        if self.file is not sys.stdout:
            self.file.close()


def _targets(texts, names):
    """{name of an output or None for all: file}; ValueError if it is not clear."""
    if texts == ["-"] or (len(texts) == 1 and texts[0].endswith((".npz", ".jsonl"))):
        return {None: texts[0]}
    return _named(texts, names, "--output")


# ---- the run


def run(args):
    """Runs the model as the arguments say."""
    model = load_model(
        args.file,
        dtype=args.dtype,
        precision=args.precision,
        num_threads=args.num_threads,
        external_data=args.external_data,
    )
    values = numbers(args.value, "--value")
    names = [value.name for value in model.inputs if value.name not in values]
    constants = {name: model.array(name, value) for name, value in values.items()}
    start = read_state_dict(args.state) if args.state else None
    outputs = [value.name for value in model.outputs]
    if args.chunk is None:
        files = _named(args.input, [n for n in names if n not in (start or {})], "--input")
        if "-" in files.values():
            raise ValueError("--input - needs --chunk N: how many samples a piece has")
        if args.save_state:
            raise ValueError("--save-state needs --chunk")
        given = constants | (start or {}) | {n: array_of(file) for n, file in files.items()}

        def whole():
            return dict(zip(outputs, model.run(given), strict=True))

        return _write(args, [whole], _targets(args.output, outputs), 0, 1, None)
    if args.chunk < 1 or args.context < 0:
        raise ValueError("--chunk is at least 1, --context at least 0")
    alone = len(args.input) == 1 and args.input[0].partition("=")[0] not in names
    files = _named(args.input, names[:1] if alone else names, "--input")
    first, *rest = files
    constants |= {name: model.array(name, array_of(files[name])) for name in rest}
    value = next(v for v in model.inputs if v.name == first)
    if files[first] == "-":
        cut, total = _Cut(value, (0,), args.axis), None
        pieces = map(cut.whole, _stdin_pieces(args.chunk, args.pcm, sys.stdin.buffer))
    else:
        array = array_of(files[first])
        cut = _Cut(value, array.shape, args.axis)
        pieces = cut.pieces(array, args.chunk)
        total = -(-cut.whole(array).shape[cut.axis] // args.chunk)
    pieces = _with_context(pieces, cut.axis, args.context)
    stream = _stream(model, first, cut.rows, constants)
    if stream is None:
        if start is not None or args.save_state:
            raise ValueError("--state, --save-state: the model keeps no state")
    else:
        pieces = _paired(stream, first, pieces, start)
        outputs = [n for n in outputs if n not in (stream.pairs or {}).values()]

    def call(piece):
        if stream is None:
            made = model.run({**constants, first: piece})
        else:
            made = stream.step(**{first: piece})
            made = made if isinstance(made, tuple) else [made]
        return dict(zip(outputs, made, strict=True))

    targets = _targets(args.output, outputs)
    calls = (functools.partial(call, piece) for piece in pieces)
    return _write(args, calls, targets, 0 if cut.flat else cut.axis, total, stream)


def _stream(model, name, rows, constants):
    """The model's stream; None for a model that keeps no state and needs none."""
    try:
        return model.stream(rows, **constants)
    except ModelError as error:
        missing = {value.name for value in model.inputs} - {name} - set(constants)
        if missing:
            raise ValueError(f"missing inputs: {', '.join(sorted(missing))} ({error})") from None
        return None


def _paired(stream, name, pieces, start):
    """The pieces, after the first of them has shown which inputs are the state."""
    first = next(pieces, None)
    if first is None:
        return iter(())
    if stream.pairs is None:
        stream.find_pairs(**{name: first})
    if start is not None:
        stream.state = start
    return itertools.chain([first], pieces)


def _write(args, calls, targets, axis, total, stream):
    """Makes the calls and writes what they give, and the state after."""
    to_stdout = targets == {None: "-"}
    files = [] if to_stdout else list(targets.values())
    written = [*files, *filter(None, [args.save_state])]
    check_new(written, args.force)
    progress = Progress(total) if total and not to_stdout else None
    with contextlib.ExitStack() as stack:
        paths = stack.enter_context(whole_files(*written))
        if to_stdout:
            sink = _Lines(sys.stdout)
        elif files[0].endswith(".jsonl"):
            sink = _Lines(open(paths[0], "w", encoding="utf-8"))  # noqa: SIM115 (closed in close)
        else:
            sink = _Arrays(dict(zip(targets, paths, strict=False)), axis)
        count = 0
        try:
            for call in calls:
                sink.add(call())
                count += 1
                if progress:
                    progress.add(1)
        finally:
            if progress:
                progress.close()
            sink.close()
        if args.save_state:
            with open(paths[-1], "wb") as file:
                np.savez(file, **stream.state)
    if not to_stdout:
        print(f"wrote {', '.join(files)}: {count} piece{'s' * (count != 1)}")
    return 0
