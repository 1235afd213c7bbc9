# SPDX-License-Identifier: MIT
"""The C executor of whole models: places, views, memory shared in one arena, early steps, errors,
layouts kept and forgotten, threads, Ctrl-C, allocations that fail."""

import os
import threading

import numpy as np
import pytest
from conftest import not_with_asan
from resident import resident

from fastlstm.engine import backend as core
from fastlstm.models.elementwise import numbers_of

pytestmark = [pytest.mark.needs("c"), pytest.mark.once]
F, I = np.float32, np.int64
EVEN = np.arange(24, dtype=F).reshape(2, 3, 4)


def pointwise(code, inputs=1, constants=()):
    return core.Operator("pointwise", numbers_of(code, inputs), constants)


def linear(w, b=None, isa=None):
    made = core.Operator("linear", [0, w.shape[1], w.shape[0], -1], (), isa)
    made.pack(w, b)
    return made


def numbers(*values):
    return np.array(values, I)


def program(*ndims):
    made = core.Program()
    return made, [made.input(F, n) for n in ndims]


def test_views_and_their_views_are_the_same_memory():
    p, (x,) = program(3)
    (a,) = p.step(core.Operator("reshape", [0]), [x, p.constant(numbers(0, -1))])
    (b,) = p.step(core.Operator("unsqueeze", [0]), [a])
    (c,) = p.step(core.Operator("flatten", [1]), [b])
    (y,) = p.step(pointwise([("relu", 0)]), [c])
    for place in (a, b, c, y, x):
        p.output(place)
    found = p.run([EVEN - 9])
    for one, shape in zip(found, [(2, 12), (1, 2, 12), (1, 24), (1, 24), (2, 3, 4)], strict=True):
        assert one.shape == shape
    assert all(np.array_equal(found[i].ravel(), (EVEN - 9).ravel()) for i in (0, 1, 2, 4))
    assert np.array_equal(found[3].ravel(), np.maximum(EVEN - 9, 0).ravel())
    assert not any(
        np.shares_memory(one, other) for one in found for other in found if one is not other
    )


def test_a_value_that_is_read_later_is_not_overwritten_in_place():
    p, (x,) = program(2)
    (a,) = p.step(pointwise([("neg", 0)]), [x])
    (b,) = p.step(pointwise([("abs", 0)]), [a])  # may not lie in a: the last step reads a
    (c,) = p.step(core.Operator("reshape", [0]), [a, p.constant(numbers(-1))])
    (d,) = p.step(pointwise([("exp", 0)]), [b])
    (e,) = p.step(pointwise([("add", 0, 1)], 2), [d, d])
    (y,) = p.step(core.Operator("concat", [0]), [c, c])
    p.output(y)
    p.output(e)
    x = np.linspace(-2, 2, 12, dtype=F).reshape(3, 4)
    y, e = p.run([x])
    assert np.array_equal(y, np.tile(-x.ravel(), 2))
    np.testing.assert_allclose(e, 2 * np.exp(np.abs(x)), rtol=1e-6)


def test_a_chain_in_place_takes_the_memory_of_one_array():
    p, (x,) = program(1)
    for _ in range(50):
        (x,) = p.step(pointwise([("add", 0, 1)], 1, [1.0]), [x])
    (y,) = p.step(core.Operator("concat", [0]), [x, x])
    p.output(y)
    assert np.array_equal(p.run([np.zeros(1000, F)])[0], np.full(2000, 50, F))
    small, large = (p.layout(((n,),), 1).nbytes for n in (1000, 101_000))
    assert 4 * 100_000 <= large - small < 4 * 2 * 100_000


def test_outputs_that_are_inputs_constants_or_the_same_twice():
    p, (x, other) = program(1, 0)
    held = np.arange(3, dtype=I)
    constant = p.constant(held)
    (view,) = p.step(core.Operator("unsqueeze", [0]), [constant])
    (y,) = p.step(pointwise([("mul", 0, 0)]), [x])
    for place in (x, constant, y, y, view, x, other):
        p.output(place)
    found = p.run([np.arange(4, dtype=F), np.array(7, F)])
    due = [np.arange(4), held, np.arange(4) ** 2, np.arange(4) ** 2, held[None], np.arange(4), 7]
    assert all(np.array_equal(one, want) for one, want in zip(found, due, strict=True))
    found[1][:] = 9  # a copy: the constant stays
    assert np.array_equal(held, [0, 1, 2])


def test_outputs_that_nobody_reads():
    p, (x,) = program(2)
    parts = p.step(core.Operator("split", [1]), [x, p.constant(numbers(1, 2, 1))], 3, False,
                   [False, True, False])  # fmt: skip
    assert parts[0] is None and parts[2] is None
    p.step(pointwise([("exp", 0)]), [x])
    p.output(parts[1])
    assert np.array_equal(p.run([EVEN[0]])[0], EVEN[0][:, 1:3])


def test_early_steps_make_shapes_of_shapes():
    """x becomes (B, T, 2, rest / 2), whatever B and T are."""
    p, (x,) = program(3)
    (sizes,) = p.step(core.Operator("shape", [0, 2]), [x], 1, True)
    (target,) = p.step(core.Operator("concat", [0]), [sizes, p.constant(numbers(2, -1))], 1, True)
    (y,) = p.step(core.Operator("reshape", [0]), [x, target])
    p.output(y)
    p.output(target)  # an early step's may be an output too
    for shape in ((2, 3, 4), (1, 1, 2), (7, 5, 0)):
        y, target = p.run([np.ones(shape, F)])
        assert y.shape == (*shape[:2], 2, shape[2] // 2)
        assert target.tolist() == [*shape[:2], 2, -1]


def test_a_step_that_is_early_reads_nothing_that_is_late():
    p, (x,) = program(1)
    with pytest.raises(ValueError, match="pointwise: shapes or types do not fit"):
        p.step(pointwise([("neg", 0)]), [x], 1, True)
    (y,) = p.step(pointwise([("neg", 0)]), [x])  # nothing has changed
    p.output(y)
    assert p.run([np.ones(2, F)])[0].tolist() == [-1, -1]


def test_what_an_early_step_makes_is_small():
    """What is larger, and what is made of that, is made by each run instead."""
    p, (x,) = program(1)
    (n,) = p.step(core.Operator("shape", [0, 1]), [x], 1, True)
    (filled,) = p.step(core.Operator("fill", [1, 3], [0]), [n], 1, True)
    (copy,) = p.step(core.Operator("tile"), [filled, p.constant(numbers(1))], 1, True)
    (most,) = p.step(core.Operator("reduce", [8, 1, 0]), [copy], 1, True)
    (row,) = p.step(core.Operator("reshape", [0]), [filled, p.constant(numbers(1, -1))], 1, True)
    for place in (filled, most, row):
        p.output(place)
    for size in (1 << 17, (1 << 17) + 1):
        x = np.zeros(size, F)
        for _ in range(2):
            whole, greatest, row = p.run([x])
            assert (whole.shape, row.shape, greatest.tolist()) == ((size,), (1, size), [3])
            assert (whole == 3).all() and (row == 3).all()
        assert (p.layout(((size,),)).nbytes > size * 8) == (size > 1 << 17)


def test_no_shape_depends_on_what_is_large():
    p, (x,) = program(1)
    (n,) = p.step(core.Operator("shape", [0, 1]), [x], 1, True)
    (filled,) = p.step(core.Operator("fill", [1, 3], [0]), [n], 1, True)
    (most,) = p.step(core.Operator("reduce", [8, 1, 0]), [filled], 1, True)
    p.output(p.step(core.Operator("fill", [0, 0], [1.0]), [most])[0])
    assert p.run([np.zeros(1 << 17, F)])[0].tolist() == [1, 1, 1]
    with pytest.raises(core.OperatorError, match="do not fit") as caught:
        p.run([np.zeros((1 << 17) + 1, F)])
    assert caught.value.step == 3


def test_zero_sizes():
    p, (x,) = program(3)
    (t,) = p.step(core.Operator("transpose", [2, 0, 1]), [x])
    (s,) = p.step(core.Operator("reduce", [0, 0, 0]), [t])
    (y,) = p.step(linear(np.ones((5, 3), F), np.arange(5, dtype=F)), [s])
    (z,) = p.step(core.Operator("concat", [0]), [t, t])
    p.output(y)
    p.output(z)
    for shape in ((0, 3, 4), (2, 3, 0), (0, 3, 0), (1, 3, 1)):
        y, z = p.run([np.ones(shape, F)])
        want = np.ones(shape, F).transpose(2, 0, 1)
        assert np.array_equal(y, want.sum(0) @ np.ones((3, 5), F) + np.arange(5, dtype=F))
        assert z.shape == (2 * shape[2], *shape[:2])


def test_errors_name_the_step_and_change_nothing():
    p, (x, w) = program(2, 2)
    (a,) = p.step(pointwise([("neg", 0)]), [x])
    (b,) = p.step(core.Operator("matmul", [0, 0]), [a, w])
    rows = p.input(I, 1)
    (y,) = p.step(core.Operator("gather", [0]), [b, rows])
    p.output(y)
    good = [np.eye(3, dtype=F), np.ones((3, 2), F), numbers(0, -1)]
    want = p.run(good)[0]
    for index, wrong, step, words in (
        (1, np.ones((4, 2), F), 1, "program: shapes or types do not fit"),
        (2, numbers(3), 2, "program: an index or length is out of range"),
        (0, np.ones(3, F), None, r"input 0 has 2 axes, got \(3,\)"),
        (0, np.ones((3, 3)), None, "input 0 is float64, float32 is due"),
        (2, np.ones(2, F), None, "input 2 is float32, int64 is due"),
    ):
        given = list(good)
        given[index] = wrong
        with pytest.raises(core.OperatorError, match=words) as caught:
            p.run(given)
        assert caught.value.step == step
        assert np.array_equal(p.run(good)[0], want)
    with pytest.raises(core.OperatorError, match="3 inputs are due, got 2"):
        p.run(good[:2])
    with pytest.raises(core.OperatorError, match=r"output 0 must be \(2, 2\)"):
        p.run(good, 1, [np.empty((2, 3), F)])
    with pytest.raises((ValueError, BufferError)):
        p.run([good[0].T[::-1], *good[1:]])  # not contiguous
    for add in (lambda: p.input(F, 1), lambda: p.constant(good[0]), lambda: p.output(99),
                lambda: p.step(pointwise([("neg", 0)]), [x])):  # fmt: skip
        with pytest.raises(ValueError, match="shapes or types do not fit"):
            add()


def test_an_operator_belongs_to_one_program():
    op = pointwise([("neg", 0)])
    one, (x,) = program(1)
    one.step(op, [x])
    other, (x,) = program(1)
    with pytest.raises(core.OperatorError, match="a program has this operator"):
        other.step(op, [x])
    with pytest.raises(core.OperatorError, match="a program has this operator"):
        op.run([np.ones(3, F)])


def test_memory_is_bounded_before_it_is_taken():
    p, (x,) = program(1)
    (y,) = p.step(core.Operator("tile"), [x, p.constant(numbers(1 << 20))])
    (z,) = p.step(core.Operator("reduce", [0, 0, 0]), [y])
    p.output(z)
    p.memory_limit = 1 << 24
    assert p.run([np.ones(2, F)])[0] == 1 << 21
    with pytest.raises(
        MemoryError, match=rf"inputs of \(\(64,\),\) need \d+ bytes, memory_limit is {1 << 24}"
    ):
        p.run([np.ones(64, F)])
    with pytest.raises(core.OperatorError, match="do not fit") as caught:  # more than size_t
        q, (x,) = program(1)
        (y,) = q.step(core.Operator("tile"), [x, q.constant(numbers(1 << 61))])
        q.output(y)
        q.run([np.ones(64, F)])
    assert caught.value.step == 0


def test_an_output_without_elements_that_numpy_cannot_hold():
    """Its memory is nothing, but NumPy counts the other axes."""
    program = core.Program()
    x = program.input(np.float32, 1)
    size = program.constant(np.array([1 << 40, 1 << 40, 0]))
    program.output(*program.step(core.Operator("expand"), [x, size]))
    with pytest.raises(MemoryError, match="larger than NumPy holds"):
        program.run([np.ones(1, np.float32)])
    with pytest.raises(MemoryError, match="larger than NumPy holds"):
        core.Operator("expand").run([np.ones(1, np.float32), np.array([1 << 40, 1 << 40, 0])])


def test_layouts_are_kept_and_the_oldest_forgotten():
    p, (x,) = program(1)
    p.output(p.step(pointwise([("neg", 0)]), [x])[0])
    first = p.layout(((1,),))
    assert p.layout(((1,),)) is first and p.layout(((1,),), 2) is not first
    for n in range(2, 40):
        p.layout(((n,),))
    assert p.layout(((39,),)) is p.layout(((39,),)) and p.layout(((1,),)) is not first
    assert first.shapes == ((1,),) and first.nbytes > 0  # whoever holds it may use it


def long_program(steps):
    p, (x,) = program(1)
    for _ in range(steps):
        (x,) = p.step(pointwise([("add", 0, 1)], 1, [1.0]), [x])
    p.output(x)
    return p


@not_with_asan
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux' /proc")
def test_a_thousand_lengths_leave_memory_flat():
    """A layout of this program takes 40 kB: 1000 of them would be seen."""
    p = long_program(400)
    order = np.random.default_rng(1).permutation(np.arange(1, 1201))
    p.run([np.zeros(2000, F)])
    for n in order[:200]:
        assert p.run([np.zeros(n, F)])[0].size == n
    before = resident()
    for n in order[200:]:
        p.run([np.zeros(n, F)])
    assert resident() - before < 4 << 20


def test_many_threads_run_one_program_at_different_lengths():
    w = np.random.default_rng(2).standard_normal((16, 8)).astype(F)
    p, (x,) = program(2)
    (a,) = p.step(linear(w), [x])
    (b,) = p.step(pointwise([("tanh", 0)]), [a])
    (y,) = p.step(core.Operator("softmax", [-1]), [b])
    p.output(y)
    inputs = [np.random.default_rng(n).standard_normal((n % 23, 8)).astype(F) for n in range(64)]
    want = [p.run([x])[0].tobytes() for x in inputs]
    wrong, count = [], []

    def work(seed):
        order = np.random.default_rng(seed).permutation(len(inputs))
        for i in [*order, *order[::-1]]:
            count.append(1)
            if p.run([inputs[i]], 1 + seed % 3)[0].tobytes() != want[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(count) == 8 * 2 * 64


def test_no_memory_is_an_error_and_leaves_all_as_it_was():
    """Every allocation of building and running fails once."""
    w, x = np.ones((6, 4), F), np.ones((5, 4), F)

    def build():
        p, (a,) = program(2)
        (n,) = p.step(core.Operator("shape", [0, 2]), [a], 1, True)
        (a,) = p.step(linear(w), [a])
        (b,) = p.step(core.Operator("reduce", [1, 1, -1]), [a])
        (c,) = p.step(pointwise([("sub", 0, 1), ("exp", 2)], 2), [a, b])
        (d,) = p.step(core.Operator("transpose", [1, 0]), [c])
        p.output(d)
        p.output(n)
        return p

    kept = build()
    want = kept.run([x])[0].tobytes()
    failed, n = 0, 0
    while True:
        core.fail_allocations(n)
        try:
            made = build().run([x])[0].tobytes()
            kept.run([x[: 1 + n % 5]])  # a new layout, and an arena that may be too small
        except MemoryError as error:
            assert "no memory for" in str(error)
            failed += 1
        else:
            break
        finally:
            core.fail_allocations(-1)
        assert kept.run([x])[0].tobytes() == want
        n += 1
    assert failed == n >= 5 and made == want


@not_with_asan
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux' /proc")
def test_errors_leak_nothing():
    """Programs that are built, refused at some step and thrown away, with 1 MB of weights each."""
    w = np.ones((512, 512), F)

    def one():
        p, (x,) = program(2)
        (a,) = p.step(linear(w), [x])
        (y,) = p.step(linear(w), [a])
        p.output(y)
        for wrong in (np.ones((2, 511), F), np.ones(2, F)):
            with pytest.raises(core.OperatorError):
                p.run([wrong])
        with pytest.raises(ValueError):
            q, (x,) = program(2)
            q.step(linear(w), [x], 1, True)

    for _ in range(5):
        one()
    before = resident()
    for _ in range(40):
        one()
    assert resident() - before < 20 << 20
