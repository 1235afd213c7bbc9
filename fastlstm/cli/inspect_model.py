# SPDX-License-Identifier: MIT
"""What `fastlstm inspect` says of a whole model: inputs, outputs, operators and whether they are
covered, and for inputs of given sizes the plan: multiply-adds, memory, state; and its picture."""

import contextlib

import numpy as np

from ..errors import LoadError
from ..files.read import opened
from ..layers.weights import PRECISIONS
from ..models.arguments import Input
from ..models.describe import describe, flat_graph
from ..models.drawing import svg
from ..models.half import DTYPES
from ..models.load import kind_of, load_model

KINDS = {"fastlstm": "saved by fastlstm", "onnx": "ONNX", "keras": "Keras"}


def shown(name):
    """A name out of a file as it may be printed: quoted if it is empty or has control characters,
    which could write to the terminal."""
    return name if name.isprintable() and name else repr(name)


def add_arguments(parser):
    parser.add_argument(
        "--shape", action="append", default=[], metavar="NAME=1,576",
        help="a whole model's input has this shape (free sizes are 1 without it)",
    )  # fmt: skip
    parser.add_argument(
        "--value", action="append", default=[], metavar="NAME=16000",
        help="an input is this number, such as a sample rate (0 without it)",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of the weights: which operators compute in it, and how"
    )
    parser.add_argument("--precision", choices=PRECISIONS, help="of products of float32 weights")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the model's graph")


def is_model(path):
    """Whether the file is of a kind that may hold a whole model."""
    with opened(path) as source:
        return kind_of(source) is not None


def kind(path):
    with opened(path) as source:
        return KINDS[kind_of(source)]


def pairs(texts, option):
    """{name: text} of the options NAME=TEXT."""
    found = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or not name or name in found:
            raise ValueError(f"{option} {text}: NAME=... is due, each name once")
        found[name] = value
    return found


def number(text, option):
    """The int or float that a text is."""
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        raise ValueError(f"{option}: {text!r} is no number") from None


def numbers(texts, option):
    """{name: number} of the options NAME=NUMBER."""
    return {name: number(text, f"{option} {name}") for name, text in pairs(texts, option).items()}


def given_inputs(model, shapes, values):
    """{name: array} for the options --shape and --value: zeros, but for values that are given."""
    shapes, values = pairs(shapes, "--shape"), pairs(values, "--value")
    names = [value.name for value in model.inputs]
    for name in (*shapes, *values):
        if name not in names:
            raise ValueError(f"there is no input {name!r}; there are {', '.join(names)}")
    given = {}
    for value in model.inputs:
        each = Input(value)
        array = each.zeros(1)
        if value.name in shapes:
            sizes = [s for s in shapes[value.name].split(",") if s.strip()]
            shape = tuple(number(s, f"--shape {value.name}") for s in sizes)
            if not all(isinstance(n, int) and n >= 0 for n in shape):
                raise ValueError(f"--shape {value.name}: whole numbers are due, not {sizes}")
            each.check(shape)
            array = np.lib.stride_tricks.as_strided(
                np.zeros(1, each.dtype), shape, [0] * len(shape)
            )
        if value.name in values:
            filled = number(values[value.name], f"--value {value.name}")
            array = np.full(array.shape, filled, each.dtype)
        given[value.name] = array
    return given


def _value(value):
    return {
        "name": value.name,
        "dtype": str(value.dtype),
        "shape": None if value.shape is None else list(value.shape),
    }


class Report:
    """What is said of one whole model. error: why the file is none, a sentence; then nothing else
    is there.

    refused   whether the model cannot run: it is malformed, or an operator is not covered
    """

    def __init__(self, args):
        self.error, self.args = None, args
        self.kind = kind(args.file)
        try:
            self.model = load_model(
                args.file, dtype=args.dtype, precision=args.precision,
                external_data=args.external_data,
            )  # fmt: skip
        except LoadError as error:
            self.error = str(error).removeprefix(f"{args.file}: ")
            return
        self.given = given_inputs(self.model, args.shape, args.value)
        self.found = describe(self.model, self.given)

    @property
    def refused(self):
        return self.error is not None or bool(self.found.uncovered)

    def as_json(self):
        if self.error is not None:
            return {"kind": self.kind, "error": self.error}
        found = self.found
        return {
            "kind": self.kind,
            "inputs": [_value(value) for value in self.model.inputs],
            "outputs": [_value(value) for value in self.model.outputs],
            "nodes": found.nodes,
            "operators": found.operators,
            "uncovered": found.uncovered,
            "parameters": found.parameters,
            "plan": {
                "inputs": {name: list(array.shape) for name, array in self.given.items()},
                "problem": found.problem,
                "outputs": found.outputs and {n: list(s) for n, s in found.outputs.items()},
                "steps": found.steps,
                "operators": found.planned,
                "products": found.products,
                "multiply_adds": found.multiply_adds,
                "precision": found.precision,
                "notes": found.notes,
                "memory": found.memory,
                "state": found.pairs,
            },
        }

    def lines(self):
        """The report for people. Names out of the file may hold control characters."""
        if self.error is not None:
            yield f"{self.args.file}: no whole model: {shown(self.error)}"
            return
        found = self.found
        yield (
            f"{self.args.file}: {self.kind}, a whole model, {found.nodes} nodes, "
            f"{found.parameters:,} parameters"
        )
        for heading, values in (("inputs", self.model.inputs), ("outputs", self.model.outputs)):
            yield heading
            for value in values:
                yield f"    {shown(str(value))}"
        yield "operators"
        yield from _wrapped(f"{shown(op)} {n}" for op, n in found.operators.items())
        if found.uncovered:
            yield "not covered"
            yield from _wrapped(f"{shown(op)} {n}" for op, n in found.uncovered.items())
        inputs = ", ".join(
            f"{shown(name)} {array.reshape(-1)[0] if array.ndim == 0 else array.shape}"
            for name, array in self.given.items()
        )
        if found.problem is not None:
            yield f"no plan for {inputs}"
            yield f"    {shown(found.problem)}"
            if not found.uncovered:
                yield "    give sizes with --shape NAME=1,576 and numbers with --value NAME=16000"
            return
        yield f"plan for {inputs}"
        outputs = ", ".join(
            f"{shown(name)} ({', '.join('?' if n is None else str(n) for n in shape)})"
            for name, shape in found.outputs.items()
        )
        yield f"    outputs: {outputs}"
        state = ", ".join(f"{shown(one)} <- {shown(to)}" for one, to in found.pairs.items())
        yield f"    state that a stream keeps: {state or 'none'}"
        some = "at least " if None in found.products.values() else ""
        yield (
            f"    {found.steps} steps, {some}{found.multiply_adds:,} multiply-adds, "
            f"{found.memory:,} bytes beside inputs and outputs"
        )
        for op, n in found.planned.items():
            count = found.products.get(op, 0)
            each = "" if count == 0 else f"{count:,}" if count is not None else "not known before"
            kinds = found.precision.get(op, {})
            more = ", ".join(k if len(kinds) == 1 else f"{k} {m}" for k, m in kinds.items())
            yield f"    {n:5}  {shown(op):24}{each:>16}  {more}".rstrip()
        for name, note in found.notes:
            yield f"    {shown(name)}: {note}"

    def plot(self, path):
        """Draws what is planned, or if there is no plan the graph with its branches chosen, or if
        that cannot be had the file's own."""
        graph, facts = self.model.graph, {}
        if self.found.plan is not None:
            graph, facts = self.found.plan.graph, self.found.plan.facts
        else:
            with contextlib.suppress(LoadError):
                graph = flat_graph(self.model, self.given)
        text = svg(graph, facts, shown(self.args.file.replace("\\", "/").rpartition("/")[2]))
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def _wrapped(words, width=92):
    line = ""
    for word in words:
        if line and len(line) + 2 + len(word) > width:
            yield f"    {line},"
            line = word
        else:
            line = f"{line}, {word}" if line else word
    if line:
        yield f"    {line}"
