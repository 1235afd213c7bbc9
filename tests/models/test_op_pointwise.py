# SPDX-License-Identifier: MIT
"""The C operator "pointwise": every instruction against NumPy in float64 (support/pointwise.py),
programs of several against NumPy's steps, broadcasting, special values, what is refused."""

import re
from pathlib import Path

import numpy as np
import pointwise as p
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlstm
from fastlstm.engine.c import _core as core
from fastlstm.models import elementwise

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]

ROOT = Path(__file__).parents[2]
FUSED = [isa for isa in fastlstm.runnable_isas() if isa != "generic"]
SPECIAL = np.array(
    [0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 2, 3, -3, np.inf, -np.inf, np.nan, 1e-45, -1e-45,
     1e-38, 3e38, -3e38, 88.72283, 88.72284, -87.4, -103.9, -104, 2**23, 2**23 - 0.5, 2**24 + 2,
     2**25, -(2**26), 1e10, 7e37, 2**63, -(2**63), 2**62, 0.99999994, 1.0000001],
    np.float32,
)  # fmt: skip
WHOLE = np.array(
    [0, 1, -1, 2, -2, 3, 7, -7, 63, 10**9, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1]
)


def pairs(values):
    a, b = np.meshgrid(values, values)
    return a.reshape(-1), b.reshape(-1)


def floats(rng, n):
    """Floats of every size, ordinary ones, and the special ones."""
    bits = rng.integers(0, 2**32, n, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return np.concatenate([bits, rng.normal(0, 5, n).astype(np.float32), SPECIAL])


def same(y, want):
    assert y.dtype == want.dtype and y.shape == want.shape
    np.testing.assert_array_equal(y, want)


def test_the_names_of_instructions_are_those_of_c():
    if not (ROOT / "csrc").exists():
        pytest.skip("the sources are not beside the tests")
    header = (ROOT / "csrc/ops/opcodes.h").read_text()
    names = re.findall(r"^    FL_OP_(\w+),", header, re.M)
    assert [name.lower() for name in names] == list(elementwise.OPCODES)
    rows = re.findall(
        r"\[FL_OP_(\w+)\] = \{(\d), (\d), (\w+),", (ROOT / "csrc/ops/opcodes.c").read_text()
    )
    types = {"SAME": "", "FL_BOOL": "b", "FL_F32": "f", "FL_I64": "i"}
    table = {name.lower(): (int(n), int(c), types[result]) for name, n, c, result in rows}
    assert table == elementwise.OPCODES
    limits = re.search(
        r"MOST_INS = (\d+), MOST_CODE = (\d+), MOST_FLOATS = (\d+)",
        (ROOT / "csrc/ops/pointwise.c").read_text(),
    ).groups()
    assert tuple(map(int, limits)) == (
        elementwise.MOST_INPUTS, elementwise.MOST_INSTRUCTIONS, elementwise.MOST_CONSTANTS,
    )  # fmt: skip


def test_every_instruction_is_tested_here():
    tested = {*p.EXACT, *p.ROUNDED, *p.NEAR, *p.WHOLE, *p.COMPARISONS, *p.LOGIC, *p.TESTS}
    casts = {"where", "cast_float", "cast_int", "cast_bool"}
    assert tested | casts == set(elementwise.OPCODES)


@pytest.mark.parametrize("name", p.EXACT)
@np.errstate(all="ignore")
def test_arithmetic_is_rounded_once(name, rng):
    operands = elementwise.OPCODES[name][0]
    arrays = [rng.permutation(floats(rng, 3000)) for _ in range(operands)]
    if operands == 2:
        arrays = [np.concatenate(both) for both in zip(arrays, pairs(SPECIAL), strict=True)]
    if name == "clip":
        arrays[1], arrays[2] = np.minimum(*arrays[1:]), np.maximum(*arrays[1:])
    want = p.EXACT[name](*(a.astype(np.float64) for a in arrays)).astype(np.float32)
    y = p.single(name, arrays)
    same(y, want)
    ordered = name in ("min", "max", "clip", "relu", "sign", "thresholded_relu")  # which 0: free
    if not ordered:
        numbers = ~np.isnan(want)
        assert np.array_equal(np.signbit(y)[numbers], np.signbit(want)[numbers])


@pytest.mark.parametrize("name", p.ROUNDED)
@np.errstate(all="ignore")
def test_functions_are_within_half_an_ulp_and_a_hundredth(name, rng):
    arrays = [floats(rng, 100_000)]
    if name == "pow":
        small = rng.uniform(-40, 40, arrays[0].size).astype(np.float32)
        whole = np.rint(small[:1000])
        bases = np.concatenate([arrays[0], np.abs(arrays[0]), arrays[0][-1000:]])
        arrays = [bases, np.concatenate([small, small, whole])]
        arrays = [np.concatenate(both) for both in zip(arrays, pairs(SPECIAL), strict=True)]
    want = p.ROUNDED[name](*(a.astype(np.float64) for a in arrays))
    y = p.single(name, arrays)
    assert p.ulps(y, want) <= 0.51
    zero = y == 0
    assert np.array_equal(np.signbit(y)[zero], np.signbit(want.astype(np.float32))[zero])


CONSTANTS = {
    "elu": [0.75],
    "selu": [1.67326, 1.0507],
    "celu": [1.25],
    "hard_sigmoid": [0.25, 0.5],
}


@pytest.mark.parametrize("isa", fastlstm.runnable_isas())
@pytest.mark.parametrize("name", p.NEAR)
@np.errstate(all="ignore")
def test_activations(name, isa, rng):
    x = np.concatenate([rng.normal(0, 4, 3000), np.linspace(-1e4, 1e4, 999)]).astype(np.float32)
    constants = np.float32(CONSTANTS.get(name, [])).tolist()
    want = p.NEAR[name](x.astype(np.float64), *constants)
    y = p.single(name, [x], constants, isa=isa)
    assert (np.abs(y - want) <= 1e-6 * np.maximum(1, np.abs(want))).all()
    assert np.isnan(p.single(name, [np.full(3, np.nan, np.float32)], constants, isa=isa)).all()
    if name in ("sigmoid", "tanh"):
        kernel = p.single(name, [np.float32([-np.inf, np.inf])], isa=isa)
        assert kernel.tolist() == [0 if name == "sigmoid" else -1, 1]


@pytest.mark.parametrize("name", p.WHOLE)
@np.errstate(all="ignore")
def test_integers_wrap_around(name, rng):
    operands = elementwise.OPCODES[name][0]
    any_size = [rng.integers(-(2**63), 2**63, 500) for _ in range(operands)]
    small = [rng.integers(-9, 9, 500) for _ in range(operands)]
    edges = [WHOLE, *pairs(WHOLE), np.full(WHOLE.size**2, 5)]
    chosen = edges[:1] if operands == 1 else edges[1 : 1 + operands]
    arrays = [np.concatenate(parts) for parts in zip(any_size, small, chosen, strict=True)]
    if name == "clip":
        arrays[1], arrays[2] = np.minimum(*arrays[1:]), np.maximum(*arrays[1:])
    if name in ("div", "mod", "fmod"):
        arrays[1][arrays[1] == 0] = 3
    if name == "pow":
        arrays[1][arrays[0] == 0] = 3
    same(p.single(name, arrays), p.WHOLE[name](*arrays))


@pytest.mark.parametrize("name", ["div", "mod", "fmod", "pow"])
def test_integers_without_a_result_are_refused(name):
    zero = np.zeros(700, np.int64)
    values = [np.ones(700, np.int64), zero] if name != "pow" else [zero, zero - 1]
    with pytest.raises(core.OperatorError, match="pointwise: an index or length is out of range"):
        p.single(name, values)


@np.errstate(invalid="ignore")
def test_bool_results_and_casts(rng):
    a, b = pairs(SPECIAL)
    i, j = pairs(WHOLE)
    t, u = pairs(np.array([False, True]))
    for name, f in p.COMPARISONS.items():
        same(p.single(name, [a, b]), f(a, b))
        same(p.single(name, [i, j]), f(i, j))
    for name, f in p.LOGIC.items():
        arrays = [t, u][: elementwise.OPCODES[name][0]]
        same(p.single(name, arrays), f(*arrays))
    for name, f in p.TESTS.items():
        same(p.single(name, [a]), f(a))
    for values in ([a, b], [i, j], [np.tile(t, 9), np.tile(u, 9)]):
        choice = rng.integers(0, 2, values[0].size).astype(bool)
        same(p.single("where", [choice, *values]), np.where(choice, *values))
        same(p.single("cast_float", values[:1]), values[0].astype(np.float32))
        same(p.single("cast_bool", values[:1]), values[0].astype(bool))
    same(p.single("cast_int", [i]), i)
    same(p.single("cast_int", [t]), t.astype(np.int64))
    cut = [0 if np.isnan(x) else min(max(int(x), -(2**63)), 2**63 - 1) for x in np.nan_to_num(
        SPECIAL, nan=np.nan, posinf=1e30, neginf=-1e30)]  # fmt: skip
    same(p.single("cast_int", [SPECIAL]), np.array(cut))


# ---- broadcasting, programs of several instructions ----


@st.composite
def shapes(draw, count):
    """Shapes that broadcast: of up to 5 axes, some missing, some 1, some 0."""
    full = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 8, 130, 200]), max_size=5))
    while np.prod([max(n, 1) for n in full]) > 60_000:
        full.pop()
    found = []
    for _ in range(count):
        kept = draw(st.lists(st.booleans(), min_size=len(full), max_size=len(full)))
        one = [n if keep else 1 for n, keep in zip(full, kept, strict=True)]
        found.append(tuple(one[draw(st.integers(0, len(full))) if draw(st.booleans()) else 0 :]))
    return found


@given(shapes(3), st.integers(0, 2**32 - 1), st.sampled_from("fib"))
@settings(max_examples=300, deadline=None)
def test_inputs_are_broadcast(sizes, seed, kind):
    rng = np.random.default_rng(seed)
    dtype = {"f": p.F, "i": p.I, "b": p.B}[kind]
    a, b = (rng.integers(-9, 9, size).astype(dtype) for size in sizes[1:])
    choice = rng.integers(0, 2, sizes[0]).astype(bool)
    y = p.run([("where", 0, 1, 2)], [choice, a, b])
    same(y, np.where(choice, a, b))


NAMES = [("add", 2), ("mul", 2), ("max", 2), ("sub", 2), ("neg", 1), ("relu", 1), ("abs", 1)]


@given(
    shapes(4),
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 99), st.integers(0, 99)), min_size=1),
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
)
@settings(max_examples=300, deadline=None)
def test_programs_are_their_steps(sizes, drawn, seed, threads):
    """Register after register by NumPy in float32, whose sums and products are the same."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(0, 1, size).astype(np.float32) for size in sizes]
    constants = [0.5, -2.0]
    registers = [*arrays, *np.float32(constants)]
    code = []
    functions = {"relu": p.EXACT["relu"], **p.EXACT}
    for (name, operands), *chosen in drawn:
        operands = [n % len(registers) for n in chosen[:operands]]
        with np.errstate(all="ignore"):
            registers.append(functions[name](*(registers[n] for n in operands)))
        code.append((name, *operands))
    shape = np.broadcast_shapes(*sizes)
    y = p.run(code, arrays, constants, threads=threads)
    same(y, np.broadcast_to(registers[-1].astype(np.float32), shape))


def test_bits_do_not_depend_on_the_instruction_set_or_on_threads(rng):
    x, bias = rng.normal(0, 3, (700, 300)).astype(np.float32), rng.normal(0, 1, 300)
    arrays = [x, bias.astype(np.float32)]
    one = []
    for name in elementwise.OPCODES:
        operands, constants, result = elementwise.OPCODES[name]
        if result or name == "where" or name.startswith(("bit_", "shift_", "wrap_")):
            continue
        code = [("add", 0, 1), (name, *[5, 0, 1][: operands - constants], *[2, 3][:constants])]
        code.append(("mul", 6, 4))
        found = [
            p.run(code, arrays, [0.3, 0.6, 1.5], isa=isa, threads=threads).tobytes()
            for isa in FUSED
            for threads in (1, 2, 5)
        ]
        assert len(set(found)) == 1, name
        one.append(name)
    assert len(one) > 35


def test_an_element_does_not_depend_on_its_neighbours(rng):
    x = rng.normal(0, 3, 1300).astype(np.float32)
    for name in (*p.ROUNDED, *p.NEAR):
        constants = CONSTANTS.get(name, [])
        arrays = [np.abs(x), x] if name == "pow" else [x]
        whole = p.single(name, arrays, constants)
        parts = [
            p.single(name, [a[i : i + 7] for a in arrays], constants) for i in range(0, 1300, 7)
        ]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("shape", [(4, 700), (3, 1), (1,), (5, 0)])
def test_an_output_in_place_of_its_input(shape, rng):
    """A program in which nothing else reads x, so that y takes its memory, also where the second
    input is the same array with other axes."""
    x = rng.normal(0, 1, shape).astype(np.float32)
    program = core.Program()
    given_x = program.input(np.float32, len(shape))
    (copy,) = program.step(p.operator([("neg", 0)], 1), [given_x])
    (flat,) = program.step(core.Operator("unsqueeze", [0]), [copy])
    (y,) = program.step(p.operator([("neg", 0), ("mul", 2, 1), ("add", 3, 1)], 2), [copy, flat])
    program.output(program.step(p.operator([("abs", 0)], 1), [y])[0])
    want = np.abs(x * -x + -x)[None]
    same(program.run([x])[0], want)
    layout = program.layout((x.shape,))
    assert layout.nbytes < 2 * x.nbytes + 40_000  # two arrays of x's size, not three


def test_another_type_is_not_in_place():
    """Two floats for each integer have as many bytes, but not in the same places."""
    x = np.arange(600, dtype=np.int64)[None]
    program = core.Program()
    given_x, given_b = program.input(np.int64, 2), program.input(np.float32, 2)
    (copy,) = program.step(p.operator([("neg", 0)], 1), [given_x])
    (y,) = program.step(p.operator([("cast_float", 0), ("add", 2, 1)], 2), [copy, given_b])
    program.output(program.step(p.operator([("abs", 0)], 1), [y])[0])
    b = np.float32([[0.25], [0.5]])
    same(program.run([x, b])[0], np.abs(-x.astype(np.float32) + b))


# ---- what is refused ----


@pytest.mark.parametrize(
    ("ints", "constants"),
    [
        ([], []),
        ([1], []),
        ([0, 1, 9, 0, -1, -1], []),
        ([33, 1, 9, 0, -1, -1], []),
        ([1, 0], []),
        ([1, 1, 9, 0, -1], []),
        ([1, 1, -1, 0, -1, -1], []),
        ([1, 1, len(elementwise.OPCODES), 0, -1, -1], []),
        ([1, 1, 9, 1, -1, -1], []),
        ([1, 1, 9, -1, -1, -1], []),
        ([1, 1, 9, 0, 0, -1], []),
        ([1, 1, 0, 0, -1, -1], []),
        ([1, 1, 26, 0, 0, -1], [1.0]),
        ([1, 1, 9, 0, -1, -1], [1.0] * 65),
        ([1, 65, *[9, 0, -1, -1] * 65], []),
        ([2**62, 2**62, 9, 0, -1, -1], []),
    ],
)
def test_wrong_numbers_are_refused(ints, constants):
    assert list(elementwise.OPCODES)[9] == "neg" and list(elementwise.OPCODES)[26] == "elu"
    with pytest.raises(core.OperatorError, match="pointwise: shapes or types do not fit"):
        core.Operator("pointwise", ints, constants)


def test_wrong_arrays_are_refused():
    f, i, b = np.ones(3, np.float32), np.ones(3, np.int64), np.ones(3, bool)
    wrong = [
        ("add", [f, i]),
        ("add", [b, b]),
        ("exp", [i]),
        ("not", [f]),
        ("and", [b, i]),
        ("where", [f, f, f]),
        ("where", [b, f, i]),
        ("bit_and", [f, f]),
        ("less", [b, b]),
        ("isnan", [i]),
        ("add", [f, np.ones(4, np.float32)]),
        ("add", [np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)]),
        ("add", [np.ones(0, np.float32), np.ones(4, np.float32)]),
    ]
    for name, arrays in wrong:
        with pytest.raises(core.OperatorError, match="pointwise: shapes or types do not fit"):
            p.single(name, arrays)
    op = p.operator([("add", 0, 1)], 2)
    for arrays in ([f], [f, f, f], [f, None]):
        with pytest.raises(core.OperatorError, match="pointwise: shapes or types do not fit"):
            op.run(arrays)
    with pytest.raises(core.OperatorError, match="pointwise: shapes or types do not fit"):
        p.operator([("neg", 0)], 2).run([f, None])
