# SPDX-License-Identifier: MIT
"""Where a whole model's time goes: each step of its program alone, on one thread and on several.

    python benchmarks/operators.py FILE [--size INPUT=SHAPE] [--value INPUT=NUMBER] [--threads 2]
    python benchmarks/operators.py nano_ocr.onnx --size x=1,1,32,128

A step is one operator with its weights (csrc/ops). It runs in a program of its own, on the values
that it gets in the model, again and again: so its inputs are in caches, and some 1 us of each time
is the call. Printed are medians, longest first; the last line is the model's own run. Numbers of
threads alternate. Inputs are drawn as `fastlstm bench --model` draws them.
"""

import argparse
import statistics
import time
from types import SimpleNamespace

import fastlstm
from fastlstm.bench.whole import Whole, inputs_of
from fastlstm.engine import backend
from fastlstm.models import lower

VIEWS = {"reshape", "squeeze", "unsqueeze"}  # nothing is done in a run


class Steps:
    """Stands for the Program that a plan is lowered to, and runs every step when it is added.

    values   [array] of each place            steps    [(name, Program, its inputs)]
    """

    def __init__(self, given):
        self.given, self.values, self.fixed, self.steps = list(given), [], set(), []

    def input(self, dtype, ndim):
        self.values.append(self.given.pop(0))
        return len(self.values) - 1

    def constant(self, array):
        self.fixed.add(len(self.values))
        self.values.append(array)
        return len(self.values) - 1

    def step(self, operator, inputs, outputs=1, early=False, wanted=None):
        program, given, places, name = backend.Program(), [], [], operator.name
        for place in inputs:
            if place is None or place in self.fixed:
                places.append(None)
                continue
            array = self.values[place]
            places.append(program.input(array.dtype, array.ndim))
            given.append(array)
        for i, place in enumerate(inputs):
            if place in self.fixed:
                places[i] = program.constant(self.values[place])
        made = program.step(operator, places, outputs, early, wanted)
        for place in made:
            if place is not None:
                program.output(place)
        if not early and name not in VIEWS:
            self.steps.append((name, program, given))
        results = iter(program.run(given, 1))
        numbers = []
        for place in made:
            numbers.append(None if place is None else len(self.values))
            if place is not None:
                if early:
                    self.fixed.add(len(self.values))
                self.values.append(next(results))
        return numbers

    def output(self, place):
        pass


def steps_of(model, given):
    """Steps.steps of the model's plan for these inputs."""
    plan = model.planned_exactly(given)
    names = [model.inputs[i].name for i in plan.inputs]
    core = SimpleNamespace(
        Program=lambda: Steps(given[name] for name in names),
        Operator=backend.Operator,
        recurrent=backend.recurrent,
    )
    builder = lower.Builder(core, plan.facts, model.isa)
    for name in names:
        builder.input(name, plan.facts[name])
    for node in plan.graph.nodes:
        lower.TABLE[node.op](builder, node)
    return builder.program.steps


def seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def medians(call, rounds, counts):
    """The median seconds of call(threads) for each number of threads."""
    taken = {n: [] for n in counts}
    for _ in range(rounds):
        for n in counts:
            call(n)  # the team is awake, and the step's memory is its own
            taken[n].append(min(seconds(lambda n=n: call(n)) for _ in range(3)))
    return [statistics.median(taken[n]) for n in counts]


def line(title, one, more):
    print(f"{title:44}{1e6 * one:10.1f}{1e6 * more:10.1f}{one / more:8.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--size", action="append", default=[], metavar="INPUT=1,576")
    parser.add_argument("--value", action="append", default=[], metavar="INPUT=16000")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    asked = parser.parse_args()
    sizes = {n: tuple(map(int, s.split(","))) for n, s in (each.split("=") for each in asked.size)}
    values = {n: float(v) for n, v in (each.split("=") for each in asked.value)}
    model = fastlstm.load_model(asked.file)
    given = inputs_of(model, Whole(None, sizes, values))
    plan = model.planned_exactly(given)
    arrays = [given[value.name] for value in model.inputs]
    counts, rows = (1, asked.threads), []
    for number, (name, program, inputs) in enumerate(steps_of(model, given)):
        shapes = " ".join("x".join(map(str, a.shape)) or "1" for a in inputs)
        times = medians(lambda n, p=program, x=inputs: p.run(x, n), asked.rounds, counts)
        rows.append((f"{number} {name} {shapes}"[:43], *times))
    print(f"{asked.file}{'':10}us on 1 thread, on {asked.threads}, ratio")
    for row in sorted(rows, key=lambda row: -row[1]):
        line(*row)
    line("all of them", sum(row[1] for row in rows), sum(row[2] for row in rows))
    line("the model", *medians(lambda n: plan.run(arrays, n), asked.rounds, counts))


if __name__ == "__main__":
    main()
