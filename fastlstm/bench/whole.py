# SPDX-License-Identifier: MIT
"""Whole models: one file through fastlstm, ONNX Runtime and OpenVINO, in one call or streamed.

Outputs are compared first, ours with ONNX Runtime's, to TOLERANCE of the outputs' scale, or to
OF_CODES where the model's weights are codes, which a remark says. "streamed"
means that the state goes from call to call; every engine then begins each sample at zeros.
forward.py says how model_rows is called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import fastlstm

from . import forward, measure
from .fetch import FetchError
from .measure import Entry
from .peers.runner import Call
from .rows import Row, Target

TOLERANCE = 1e-4  # of the largest absolute output
OF_CODES = 0.05  # the same of a model of fewer bits, whose inputs each engine rounds in its own way
STEPS = 4  # calls before streamed outputs are compared


@dataclass(frozen=True)
class Whole:
    """What a case runs.

    file      () -> path; FetchError, or ImportError where another package would be needed
    sizes     {name of an input: shape}; free sizes that are not here are 1
    values    {name of an input: number}, the same in every call
    streamed  the state is kept
    dtype     of fastlstm's weights; None: as the file has them, as every other engine does
    """

    file: Callable
    sizes: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    streamed: bool = False
    dtype: str | None = None


def inputs_of(model, whole):
    """{name: array}: the case's inputs, floats drawn, states among them zeros."""
    rng, given = np.random.default_rng(5), {}
    for value in model.inputs:
        shape = [n if isinstance(n, int) else 1 for n in value.shape or ()]
        shape = whole.sizes.get(value.name, shape)
        if value.name in whole.values:
            array = np.full(shape, whole.values[value.name])
        elif value.dtype.kind == "f":
            array = rng.standard_normal(shape) / 10
        else:
            array = rng.integers(0, 8, shape)
        given[value.name] = array.astype(value.dtype)
    return given


class Ours(Call):
    """fastlstm: `y = model(...)`, or `y = step(...)` of a stream."""

    def __init__(self, path, whole, threads):
        model = fastlstm.load_model(path, dtype=whole.dtype, num_threads=threads)
        self.dtype = model.dtype
        given, self.pairs = inputs_of(model, whole), {}
        self.names = [value.name for value in model.outputs]
        if not whole.streamed:
            super().__init__("y = model(*given)", {"model": model, "given": list(given.values())})
            return
        stream = model.stream(**{name: given[name] for name in whole.values})
        if stream.pairs is None:
            floats = [v.name for v in model.inputs if v.dtype.kind == "f"]
            stream.find_pairs(given[floats[0]])
        self.pairs = stream.pairs
        left = [x for name, x in given.items() if name not in (*self.pairs, *whole.values)]
        self.names = [name for name in self.names if name not in self.pairs.values()]
        self.setup = "reset()"
        super().__init__(
            "y = step(*given)", {"step": stream.step, "reset": stream.reset, "given": left}
        )

    def outputs(self):
        y = self.namespace["y"]
        return [np.asarray(a) for a in (y if isinstance(y, tuple) else [y])]


class Peer(Call):
    """Another engine: `results = call(feed)`, a list in the order of the model's outputs; of a
    stream the states are put into the feed, and back to zeros before each loop."""

    def __init__(self, call, given, pairs, names):
        self.names = [name for name in names if name not in pairs.values()]
        self.at = [names.index(name) for name in self.names]
        namespace = {"call": call, "feed": dict(given)}
        statement = "y = call(feed)"
        for i, (one, other) in enumerate(pairs.items()):
            statement += f"; feed[{one!r}] = y[{names.index(other)}]"
            namespace[f"zero{i}"] = np.zeros_like(given[one])
        self.setup = "; ".join(
            f"feed[{one!r}] = zero{i}" for i, one in enumerate(pairs)
        ) or "pass"  # fmt: skip
        super().__init__(statement, namespace)

    def outputs(self):
        y = self.namespace["y"]
        return [np.asarray(y[i]) for i in self.at]


def onnxruntime_call(path, threads, names, ours=False):
    """f(feed) -> [arrays]. ours: with this package's recurrent operators in it."""
    import onnxruntime as ort

    from ..onnxruntime import register

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if ours:
        register(options)
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    run = session.run
    return lambda feed: run(names, feed)


def openvino_call(path, threads, names):
    """f(feed) -> [arrays]"""
    import openvino as ov
    import openvino.properties as props
    from openvino.properties import hint

    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(str(path)),
        "CPU",
        {
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            hint.inference_precision: ov.Type.f32,
            props.streams.num: 1,
            props.inference_num_threads: threads,
        },
    )
    request = compiled.create_infer_request()
    ports = [compiled.output(name) for name in names]

    def call(feed):
        made = request.infer(feed, share_inputs=True)
        return [made[port] for port in ports]

    return call


PEERS = {
    "onnxruntime": onnxruntime_call,
    "openvino": openvino_call,
    "onnxruntime+fastlstm": functools.partial(onnxruntime_call, ours=True),
}


def _failed(case, error) -> Row:
    """The row of a case that cannot be measured: why; its targets are not measured."""
    row = Row(case.name, case.kind.name, "fastlstm", threads=case.threads)
    row.notes.append(" ".join(str(error).split())[:300])
    row.targets = [Target(each.what, each.sign, each.bound, None) for each in case.aims]
    return row


def _differs(runner, reference):
    """How far the outputs are from the reference's, as a share of its largest."""
    worst = 0.0
    for ours, theirs in zip(runner.outputs(), reference.outputs(), strict=True):
        if ours.shape != theirs.shape:
            return np.inf
        scale = np.abs(theirs).max(initial=0.0) or 1.0
        worst = max(worst, float(np.abs(ours - theirs).max(initial=0.0) / scale))
    return worst


def model_rows(case, ctx):
    """Rows of one whole model: fastlstm, and each other engine that is there and reads the file."""
    whole, threads = case.whole, case.threads
    try:
        path = whole.file()
        ours = Ours(path, whole, threads)
        given = inputs_of(fastlstm.load_model(path), whole)
        ours.once(STEPS)
    except (FetchError, ImportError, ValueError, MemoryError, OSError) as error:
        yield []
        return [_failed(case, error)]
    names, notes = [v.name for v in fastlstm.load_model(path).outputs], []
    entries = [Entry("fastlstm", lambda: Ours(path, whole, threads))]
    for name, make in PEERS.items():
        if name not in ctx.peers:
            continue
        try:
            call = make(path, threads, names)

            def build(call=call):
                return Peer(call, given, ours.pairs, names)

            build().once()
        except Exception as error:  # another program's: whatever it raises it cannot run the file
            notes.append(f"{name}: {' '.join(str(error).split())[:120]}")
            continue
        entries.append(Entry(name, build))
    for entry in entries:
        entry.runner.once(STEPS)
    if whole.dtype is not None:
        notes.append(f"weights of fastlstm alone are {whole.dtype}")
    _compare(entries, notes, ours.dtype)
    for entry in entries:
        entry.calibrate(ctx.rounds)
    peak = yield entries
    del peak
    rows = [forward.to_row(case, entry) for entry in entries]
    forward.add_ratios(rows, entries)
    rows[0].notes += notes
    rows[0].measured = {
        f"over {entry.who}": measure.ratio(entry, entries[0], "").median
        for entry in entries[1:]
        if not entries[0].wrong and not entry.wrong
    }
    forward.doubt(rows)
    return rows


def _compare(entries, notes, dtype):
    """Marks what differs from ONNX Runtime, or if that is not there from OpenVINO. dtype: of the
    model's weights."""
    tolerance = TOLERANCE
    if dtype in ("int8", "bfloat16"):
        tolerance = OF_CODES
        what = "codes" if dtype == "int8" else dtype
        notes.append(f"weights are {what}: outputs may differ by {OF_CODES} of the largest")
    reference = next((e for e in entries if e.who in PEERS), None)
    if reference is None:
        notes.append("no other engine reads it here: not compared")
        return
    for entry in entries:
        if entry is not reference:
            entry.error = _differs(entry.runner, reference.runner)
            entry.wrong = not entry.error <= tolerance
