# SPDX-License-Identifier: MIT
"""The cases: the kinds there are, which shapes each suite has, what the targets ask of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from . import forward, kernels, models, probes, special, training, whole
from .rows import Aim
from .shapes import Shape, parse


@dataclass(frozen=True)
class Kind:
    """A kind of case: how it is measured, and which cases there can be."""

    name: str  # of --only, and in a run's JSON
    rows: Callable  # (case, context), a generator: see forward.py
    lstm_only: bool = False
    threads: tuple[int, int] = (1, 10**6)  # the fewest and the most that make sense


STEP = Kind("step", forward.step_rows)
STREAM = Kind("stream", forward.step_rows)
SEQUENCE = Kind("sequence", forward.dense_rows)
BATCH = Kind("batch", forward.dense_rows)
STACK = Kind("stack", forward.dense_rows)
TRAIN = Kind("train", training.train_rows)
RAGGED = Kind("ragged", special.ragged_rows, lstm_only=True)
SUBNORMAL = Kind("subnormal", special.subnormal_rows, lstm_only=True)
# One thread is contended by nobody while there is another core.
CONTENDED = Kind("contended", special.contended_rows, threads=(2, 10**6))
KERNEL = Kind("kernel", kernels.kernel_rows, lstm_only=True, threads=(1, 1))
SHARE = Kind("share", kernels.share_rows, lstm_only=True, threads=(1, 1))
MEMORY = Kind("memory", probes.memory_rows)
IMPORT = Kind("import", probes.import_rows, lstm_only=True, threads=(1, 1))
WHEEL = Kind("wheel", probes.wheel_rows, lstm_only=True, threads=(1, 1))

MODEL = Kind("model", whole.model_rows, lstm_only=True)


@dataclass(frozen=True)
class Case:
    """One thing to measure, and what it should reach."""

    name: str
    kind: Kind
    shape: Shape | None = None
    threads: int = 1
    aims: tuple[Aim, ...] = ()
    carry: bool = False  # the state goes from call to call
    lengths: Callable | None = None  # of a ragged case: (shape) -> (B,) steps of each row
    subnormal: Callable | None = None  # of a subnormal case: see special.tiny_input
    than: Shape | None = None  # the other shape, where growth is measured
    whole: whole.Whole | None = None  # of a whole model

    @property
    def cell(self) -> str:
        return self.shape.cell if self.shape else "lstm"


def at_least(bound: float, *whats: str) -> tuple[Aim, ...]:
    return tuple(Aim(what, ">=", bound) for what in whats)


def at_most(bound: float, *whats: str) -> tuple[Aim, ...]:
    return tuple(Aim(what, "<=", bound) for what in whats)


def dense(shape: Shape, threads: int = 1, aims=()) -> Case:
    """A case of the dense call, named by what it is."""
    if shape.L > 1 or shape.D > 1:
        kind = STACK
    elif shape.B > 1:
        kind = BATCH
    else:
        kind = STEP if shape.T == 1 else SEQUENCE
    return Case(kind.name, kind, shape, threads, tuple(aims))


def stream(shape: Shape) -> Case:
    return Case("stream", STREAM, shape, carry=True)


def step(width: int, carry: bool, aims=()) -> Case:
    name = "step, carried" if carry else "step"
    return Case(name, STEP, Shape(1, 1, width, width), 1, tuple(aims), carry)


def shapes(text: str) -> list[Shape]:
    return [shape for each in text.split() for shape in parse(each)]


SEQUENCES = shapes("1000,1,1,16..64 1000,1,80,128 100,1,=,128..1024")
BATCHES = shapes(
    "100,4,=,64..512 100,8,=,128..512 100,16,=,64/256 100,24,=,256 100,32,=,128..512 100,64,=,100 "
    "50,128,=,256/512 50,32,=,1024"
)
STACKS = shapes("100,1/32,=,128,2 100,1/32,=,128,1,2 100,8,=,256,2,2")
STREAMS = shapes("1,1,1,32 1,8,64,64 10/160,1,80,128")
TRAININGS = shapes("100,1,=,128 100,16,=,64 100,32,=,128/256 50,64,=,512")
RAGGED_CASES = [
    Case(f"ragged, {name}", RAGGED, shape, lengths=lengths)
    for shape in (Shape(100, 32, 128, 128), Shape(100, 32, 256, 256), Shape(96, 8, 64, 64))
    for name, lengths in (("eighths", special.eighths), ("spread", special.spread))
]
CONTENDED_BOUNDS = [
    (Shape(100, 32, 256, 256), 0.7),
    (Shape(100, 1, 256, 256, L=2), 0.7),
    (Shape(100, 1, 256, 256), 0.55),
]


def contended() -> list[Case]:
    return [Case("contended", CONTENDED, shape, threads=2) for shape, _ in CONTENDED_BOUNDS]


def train() -> list[Case]:
    return [Case("train", TRAIN, shape) for shape in TRAININGS]


# The targets


def named(what: str, shape: Shape, sizes: str = "BH") -> str:
    """'batch, B=32 H=128 x2': no two cases of the targets have one name."""
    tail = f" x{shape.L}" * (shape.L > 1) + " bi" * shape.bidirectional
    return f"{what}, " + " ".join(f"{size}={getattr(shape, size)}" for size in sizes) + tail


def _steps() -> list[Case]:
    bounds = {64: 4.5, 128: 3.0, 256: 1.6}
    cases = []
    for width, bound in bounds.items():
        aims = at_least(bound, "over onnxruntime bound", "over onnxruntime run")
        aims += at_least(40, "over torch")
        cases.append(replace(step(width, True, aims), name=f"one step, H={width}"))
    for width in (16, 64, 128):
        aims = at_most(1, "us of Python, call out", "us of Python, stream out")
        aims += at_most(2, "us of Python, call", "us of Python, stream")
        name = f"Python's share, H={width}"
        cases.append(Case(name, SHARE, Shape(1, 1, width, width), aims=aims))
    for width in (16, 32, 64):
        aims = at_most(0.75, "of RTNeural's time")
        cases.append(Case(f"C step, I=1 H={width}", KERNEL, Shape(1, 1, 1, width), aims=aims))
    return cases


def _one_thread() -> list[Case]:
    cases = []
    for shape in SEQUENCES + [shape for shape in STACKS if shape.B == 1]:
        if shape.H <= 128:
            aims = at_least(1.3, "over the best peer")
        else:
            aims = at_least(1.15, "over the best peer") + at_least(0.9, "of the limit")
        cases.append(replace(dense(shape, aims=aims), name=named("one row", shape, "TH")))
    for shape in BATCHES + [shape for shape in STACKS if shape.B > 1]:
        aims = at_least(1.15 if shape.B <= 16 else 1.05, "over the best peer")
        if shape.B >= 24 and shape.H >= 256:
            aims += at_least(0.94, "of the FMA peak")
        cases.append(replace(dense(shape, aims=aims), name=named("batch", shape)))
    return cases


def _two_threads() -> list[Case]:
    one_row = shapes("100,1,=,192/256/512")
    many = shapes(
        "100,8,=,512 100,32,=,256 50,128,=,256 100,1,=,256,2 100,1,=,128,1,2 100,32,=,128,2"
    )
    cases = []
    for shape in one_row + many:
        aims = at_least(1.7, "over one thread")
        if shape in one_row:
            aims += at_least(1.4, "over the best peer")
        case = dense(shape, 2, aims)
        cases.append(replace(case, name=named("two threads", shape)))
    for shape, bound in CONTENDED_BOUNDS:
        aims = at_least(bound, "of quiet speed")
        cases.append(Case(named("one core busy", shape), CONTENDED, shape, 2, aims))
    return cases


def _others() -> list[Case]:
    cases = []
    for shape in TRAININGS:
        ways = ("arrays", "arrays, new weights", "module, new weights")
        bound = 1.5 if shape.B <= 16 else 1.2
        aims = at_least(bound, *(f"over torch, {way}" for way in ways))
        aims += at_most(2.2, "backward over forward")
        cases.append(Case(named("train", shape), TRAIN, shape, aims=aims))
    aims = at_most(1.05, "of the same rows, dense")
    cases += [replace(case, name=named(case.name, case.shape), aims=aims) for case in RAGGED_CASES]
    for shape in (Shape(100, 1, 128, 128), Shape(100, 32, 128, 128)):
        for what, subnormal in (("input", special.tiny_input), ("state", special.tiny_state)):
            name, aims = named(f"subnormal {what}", shape), at_most(1.2, "of normal")
            cases.append(Case(name, SUBNORMAL, shape, aims=aims, subnormal=subnormal))
    for shape in (Shape(100, 1, 512, 512), Shape(100, 32, 512, 512), Shape(1000, 32, 128, 128)):
        cases.append(Case(named("memory", shape, "TBH"), MEMORY, shape, aims=at_most(4, "MiB")))
    for layers in (1, 2):
        short, long = (Shape(T, 8, 128, 128, layers) for T in (100, 1600))
        aims = at_most(0.25, "MiB")
        cases.append(Case(named("memory, 16 x T", long), MEMORY, long, aims=aims, than=short))
    cases.append(Case("import", IMPORT, aims=at_most(1.3, "of import numpy")))
    cases.append(Case("wheel", WHEEL, aims=at_most(1.0, "MB")))
    return cases


def targets() -> list[Case]:
    """Every row of the table of targets, as cases that carry their aims."""
    return _steps() + _one_thread() + _two_threads() + _others()


def default() -> list[Case]:
    """A few of everything, on one thread: what `fastlstm bench` does when nothing is said."""
    dense_shapes = shapes(
        "1000,1,1,64 1000,1,80,128 100,1,=,256/512 100,4,=,256 100,8,=,512 100,32,=,128/256 "
        "100,8,=,256,2,2"
    )
    return [
        *(step(width, True) for width in (64, 128, 256)),
        stream(Shape(10, 1, 80, 128)),
        *map(dense, dense_shapes),
        RAGGED_CASES[1],
        Case("train", TRAIN, Shape(100, 16, 64, 64)),
        Case("train", TRAIN, Shape(100, 32, 128, 128)),
    ]


def model(name: str, what: whole.Whole, aims=()) -> Case:
    return Case(name, MODEL, aims=tuple(aims), whole=what)


def of_file(path, sizes: dict, values: dict, dtype: str | None = None) -> list[Case]:
    """The cases of a whole model's file: `sizes` {input: shape}, `values` {input: number}, `dtype`
    of fastlstm's weights."""
    return models.cases_of_file(path, sizes, values, model, dtype)


def odd() -> list[Case]:
    """60 shapes of sizes that divide nothing, drawn with a fixed seed: steps, one row, batches,
    training, at most 4 GFLOP each."""
    draw = random.Random(21)
    sizes = [n for n in range(17, 1100) if n % 16]
    batches = [n for n in range(2, 100) if n % 8]
    cases = []
    for number in range(60):
        kind = ("step", "sequence", "batch", "train")[number % 4]
        hidden = draw.choice(sizes if kind in ("step", "sequence") else sizes[:600])
        inputs = draw.choice((hidden, draw.choice(sizes), draw.choice((1, 5, 13, 40, 80))))
        rows = draw.choice(batches) if kind in ("batch", "train") else 1
        each = Shape(1, rows, inputs, hidden).flops() * (3 if kind == "train" else 1)
        steps = 1 if kind == "step" else min(100, max(3, round(4e9 / each)))
        shape = Shape(steps, rows, inputs, hidden)
        cases.append(Case("train", TRAIN, shape) if kind == "train" else dense(shape))
    return cases


# Networks whose shapes were published: DeepBench's LSTMs (one of a size), GNMT's layers, MLPerf's
# RNN-T (its encoder before and after time is halved, and its prediction network).
PUBLISHED = shapes(
    "25,16/64,=,512 25,32,=,1024 25,32,=,2048 25,16,=,1536 1/20,1,=,1024 20,32,2048,1024 "
    "20,1,240,1024,2 20,1,2048,1024,3 1/10,1,=,320,2"
)

SUITES = {
    "step": lambda: [step(width, carry) for width in (64, 128, 256) for carry in (False, True)],
    "stream": lambda: [stream(shape) for shape in STREAMS],
    "sequence": lambda: [dense(shape) for shape in SEQUENCES + STACKS if shape.B == 1],
    "batch": lambda: [dense(shape) for shape in BATCHES + STACKS if shape.B > 1],
    "train": train,
    "ragged": lambda: list(RAGGED_CASES),
    "contended": contended,
    "targets": targets,
    "odd": odd,
    "published": lambda: [dense(shape) for shape in PUBLISHED],
    "models": lambda: models.suite(model),
}


def with_threads(cases: list[Case], threads: list[int] | None) -> list[Case]:
    """The cases on each number of threads."""
    if not threads:
        return cases
    found = []
    for count in threads:
        for case in cases:
            fewest, most = case.kind.threads
            if most == 1:  # measured once, whatever is asked
                found += [case] * (count == threads[0])
            elif count >= fewest:
                found.append(replace(case, threads=count))
    return found


def of_suites(names: list[str], cell: str, threads: list[int] | None) -> list[Case]:
    """The cases of the suites, one suite after the other, on each number of threads. Those of the
    targets have numbers of their own, among which `threads` chooses. ValueError for a name that
    is none."""
    if unknown := [name for name in names if name not in SUITES]:
        raise ValueError(f"--suite {','.join(unknown)}: there are {', '.join(SUITES)}")
    found = []
    for name in names:
        suite = with_cell(SUITES[name](), cell)
        if name == "targets":
            found += [case for case in suite if not threads or case.threads in threads]
        else:
            found += with_threads(suite, threads)
    return found


def with_cell(cases: list[Case], cell: str) -> list[Case]:
    """The cases for another cell; kinds that only the LSTM has are left out."""
    if cell == "lstm":
        return cases
    return [
        replace(case, shape=replace(case.shape, cell=cell))
        for case in cases
        if not case.kind.lstm_only and case.than is None
    ]
