# SPDX-License-Identifier: MIT
"""Drawn programs of the C executor, against NumPy."""

import numpy as np
import pytest
from conftest import FULL
from hypothesis import given, settings
from hypothesis import strategies as st
from test_program import F, linear, numbers, pointwise

from fastlstm.engine import backend as core

pytestmark = [pytest.mark.needs("c"), pytest.mark.once]


UNARY = {
    "neg": np.negative, "abs": np.abs, "relu": lambda x: np.maximum(x, 0), "floor": np.floor,
    "sign": np.sign,
}  # fmt: skip
BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum}


class Drawn:
    """A program while it is drawn: the same in NumPy beside it. Numbers are whole and small, so
    that NumPy has the same bits whatever the order of its sums."""

    def __init__(self, draw):
        self.draw, self.p = draw, core.Program()
        self.inputs, self.values = [], []  # values: (place, array)
        for _ in range(draw(st.integers(1, 2))):
            shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
            self.inputs.append(self.array(shape))
            self.values.append((self.p.input(F, len(shape)), self.inputs[-1]))

    def array(self, shape):
        seed = self.draw(st.integers(0, 2**16))
        return np.random.default_rng(seed).integers(-3, 4, shape).astype(F)

    def pick(self, fewest=0):
        fit = [v for v in self.values if v[1].ndim >= fewest]
        return self.draw(st.sampled_from(fit)) if fit else None

    def add(self, op, places, *arrays):
        made = self.p.step(op, places, len(arrays))
        self.values += zip(made, arrays, strict=True)

    def view(self):
        place, x = self.pick()
        if x.ndim < 7:
            axis = self.draw(st.integers(0, x.ndim))
            self.add(core.Operator("unsqueeze", [axis]), [place], np.expand_dims(x, axis))

    def flat(self):
        place, x = self.pick()
        target = self.p.constant(numbers(x.size))
        self.add(core.Operator("reshape", [1]), [place, target], x.reshape(-1))

    def transpose(self):
        place, x = self.pick(1)
        perm = self.draw(st.permutations(range(x.ndim)))
        self.add(core.Operator("transpose", perm), [place], x.transpose(perm))

    def slice(self):
        place, x = self.pick(1)
        axis, step = self.draw(st.integers(0, x.ndim - 1)), self.draw(st.sampled_from([1, 2, -1]))
        start, end = (self.draw(st.integers(-5, 5)) for _ in range(2))
        if step < 0 and (start < -x.shape[axis] or x.shape[axis] == 0):
            return  # NumPy and ONNX start elsewhere
        cut = [slice(None)] * x.ndim
        n = x.shape[axis]
        cut[axis] = slice(start, end if step > 0 or end >= -n else None, step)
        places = [self.p.constant(numbers(v)) for v in (start, end, axis, step)]
        self.add(core.Operator("slice"), [place, *places], np.ascontiguousarray(x[tuple(cut)]))

    def concat(self):
        place, x = self.pick(1)
        axis = self.draw(st.integers(0, x.ndim - 1))
        self.add(core.Operator("concat", [axis]), [place, place], np.concatenate([x, x], axis))

    def split(self):
        place, x = self.pick(1)
        axis = self.draw(st.integers(0, x.ndim - 1))
        first = self.draw(st.integers(0, x.shape[axis]))
        sizes = self.p.constant(numbers(first, x.shape[axis] - first))
        self.add(core.Operator("split", [axis]), [place, sizes], *np.split(x, [first], axis))

    def unary(self):
        place, x = self.pick()
        name = self.draw(st.sampled_from(sorted(UNARY)))
        self.add(pointwise([(name, 0)]), [place], UNARY[name](x))

    def binary(self):
        (one, x), (other, y) = self.pick(), self.pick()
        name = self.draw(st.sampled_from(sorted(BINARY)))
        try:
            made = BINARY[name](x, y)
        except ValueError:  # shapes that do not fit: the program's to find out, and drawn no more
            return
        if made.size <= 4096 and np.abs(made).max(initial=0) < 2**20:
            self.add(pointwise([(name, 0, 1)], 2), [one, other], made)

    def linear(self):
        place, x = self.pick(1)
        if x.shape[-1] and np.abs(x).max(initial=0) < 2**10 and np.array_equal(x, np.round(x)):
            w = self.array((self.draw(st.integers(1, 5)), x.shape[-1]))
            self.add(linear(w, w[:, 0].copy()), [place], x @ w.T + w[:, 0])


STEPS = ("view", "flat", "transpose", "slice", "concat", "split", "unary", "binary", "linear")


@settings(max_examples=2000 if FULL else 200)
@given(st.data())
def test_drawn_programs_give_numpys_numbers(data):
    drawn = Drawn(data.draw)
    for _ in range(data.draw(st.integers(1, 12))):
        step = data.draw(st.sampled_from(STEPS))
        if step in ("view", "flat", "unary", "binary") or drawn.pick(1) is not None:
            getattr(drawn, step)()
    wanted = data.draw(st.lists(st.sampled_from(range(len(drawn.values))), min_size=1, max_size=6))
    for i in wanted:
        drawn.p.output(drawn.values[i][0])
    for _ in range(2):  # the second run finds the first one's arena, full of its values
        found = drawn.p.run([x.copy() for x in drawn.inputs])
        for i, y in zip(wanted, found, strict=True):
            due = drawn.values[i][1]
            assert y.shape == due.shape and np.array_equal(y, due)
