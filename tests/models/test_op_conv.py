# SPDX-License-Identifier: MIT
"""The C operators "conv" and "conv_transposed" against float64 sums (support/windows.py) and
torch."""

import numpy as np
import pytest
import windows
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fastlstm
from fastlstm.engine.c import _core as core

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]

FUSED = [isa for isa in fastlstm.runnable_isas() if isa != "generic"]
RELU, SIGMOID, TANH, LEAKY, CLIP, HARD_SWISH = 3, 0, 1, 4, 12, 13
ACTIVATIONS = {
    -1: lambda y: y,
    SIGMOID: lambda y: 1 / (1 + np.exp(-y)),
    TANH: np.tanh,
    RELU: lambda y: np.maximum(y, 0),
    LEAKY: lambda y: np.where(y < 0, 0.1 * y, y),
    CLIP: lambda y: np.clip(y, -0.5, 0.75),
    HARD_SWISH: lambda y: y * np.clip(y * 0.2 + 0.4, 0, 1),
}
FLOATS = {TANH: (1, 1), RELU: (0, 0), LEAKY: (0.1, 0), CLIP: (-0.5, 0.75),
          HARD_SWISH: (0.2, 0.4)}  # fmt: skip


def ints(case, transposed=False):
    w = case["windows"]
    more = [*case["padding"], *(case["output"] or [0] * w.axes)] if transposed else []
    rule = windows.PAD_RULES.index(w.auto_pad)
    return [case["format"], w.axes, case["c"], case["m"], case["groups"], rule,
            case["activation"], *w.ints, *more]  # fmt: skip


def drawn(case, transposed=False):
    """x, w and b of a case."""
    rng = np.random.default_rng(case["seed"])
    groups, w = case["groups"], case["windows"]
    first, second = (case["c"], case["m"]) if transposed else (case["m"], case["c"])
    x = rng.standard_normal((case["n"], *case["in"], case["c"])).astype(np.float32)
    weights = rng.standard_normal((first, second // groups, *w.size)) / 4
    weights = weights.astype(np.float16 if case["format"] else np.float32).astype(np.float32)
    return x, weights, rng.standard_normal(case["m"]).astype(np.float32) if case["bias"] else None


def made(case, w, b, isa=None, transposed=False):
    name = "conv_transposed" if transposed else "conv"
    op = core.Operator(name, ints(case, transposed), FLOATS.get(case["activation"], ()), isa)
    op.pack(w, b)
    return op


def close(y, want):
    assert y.shape == want.shape and y.dtype == np.float32
    if y.size:
        assert np.abs(y - want).max() <= 1e-5 * max(1, np.abs(want).max())


def same_bits(case, x, w, b, y, transposed=False):
    """Every fused instruction set, numbers of threads, and images alone give the bits of y."""
    for isa in FUSED:
        op = made(case, w, b, isa, transposed)
        for threads in (1, 2, 4):
            assert np.array_equal(op.run([x], threads=threads)[0], y), (isa, threads)
        for n in range(len(x)):
            assert np.array_equal(op.run([x[n : n + 1]])[0], y[n : n + 1]), isa


@st.composite
def cases(draw, transposed=False):
    axes = draw(st.integers(1, 2))
    each = st.tuples(*[st.integers(1, 4)] * axes)
    pads = st.tuples(*[st.integers(0, 3)] * axes)
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 8]))
    smallest = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    large = draw(st.sampled_from([0, 0, 40, 70]))
    rule = draw(st.sampled_from(["NOTSET"] * 4 + ["SAME_UPPER", "SAME_LOWER", "VALID"]))
    return {
        "windows": windows.Windows(
            draw(each), draw(each), draw(each), draw(pads), draw(pads), rule
        ),
        "n": draw(st.integers(0, 3)),
        "in": draw(st.tuples(*[st.integers(0, 12)] * axes)),
        "c": smallest[0] + large * (groups == 1),
        "m": smallest[1] + large * (groups == 1),
        "groups": groups,
        "bias": draw(st.booleans()),
        "format": draw(st.integers(0, 1)),
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "padding": draw(st.tuples(*[st.integers(0, 2)] * axes)),
        "output": draw(st.sampled_from([None, None, None, (9,) * axes])) if transposed else None,
        "seed": draw(st.integers(0, 99)),
    }


def refused(case, w):
    """Whether an input has no room for a window."""
    return not w.auto_pad.startswith("SAME") and any(
        case["in"][a] + (w.begin[a] + w.end[a] if w.auto_pad == "NOTSET" else 0)
        < (w.size[a] - 1) * w.dilation[a] + 1
        for a in range(w.axes)
    )


@given(cases())
@settings(max_examples=80)
def test_conv_is_the_sum_over_windows(case):
    x, w, b = drawn(case)
    op = made(case, w, b)
    if refused(case, case["windows"]):
        with pytest.raises(core.OperatorError, match="conv: shapes or types do not fit"):
            op.run([x])
        return
    (y,) = op.run([x])
    close(y, ACTIVATIONS[case["activation"]](
        windows.conv(x, w, b, case["windows"], case["groups"])))  # fmt: skip
    same_bits(case, x, w, b, y)


def torch_conv(x, w, b, wd, groups):
    begin, ends = wd.begin, wd.end
    pads = [n for a in reversed(range(wd.axes)) for n in (begin[a], ends[a])]
    x = torch.nn.functional.pad(torch.from_numpy(np.moveaxis(x, -1, 1).copy()), pads)
    run = torch.nn.functional.conv2d if wd.axes == 2 else torch.nn.functional.conv1d
    y = run(x, torch.from_numpy(w), None if b is None else torch.from_numpy(b), wd.stride, 0,
            wd.dilation, groups)  # fmt: skip
    return np.moveaxis(y.numpy(), 1, -1)


SHAPES = [  # (N, in, C, M, groups, size, stride, dilation, begin, end)
    (1, (640,), 1, 258, 1, (256,), (128,), (1,), (0,), (0,)),
    (1, (4,), 129, 128, 1, (3,), (1,), (1,), (1,), (1,)),
    (2, (272,), 1, 2, 1, (10,), (1,), (1,), (0,), (0,)),
    (2, (20, 60), 1, 64, 1, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    (1, (16, 50), 64, 96, 1, (3, 3), (2, 1), (1, 1), (1, 1), (1, 1)),
    (1, (7, 40), 48, 48, 48, (3, 3), (1, 2), (1, 1), (0, 1), (2, 1)),
    (1, (7, 40), 24, 48, 24, (1, 3), (1, 1), (1, 3), (0, 1), (0, 1)),
    (1, (30,), 64, 64, 4, (5,), (1,), (2,), (4,), (4,)),
    (1, (3, 33), 300, 1200, 1, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    (2, (3, 40), 128, 128, 1, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    (1, (16, 9), 64, 10, 2, (5, 1), (1, 1), (1, 1), (2, 0), (2, 0)),
    (2, (5, 30), 24, 24, 12, (3, 3), (2, 1), (1, 2), (1, 2), (1, 2)),
    # By row; with 8 channels AVX-512 alone computes so, and AVX2 by product.
    (1, (1100,), 1, 8, 1, (5,), (1,), (1,), (2,), (2,)),
    (2, (9, 40), 1, 4, 1, (3, 3), (2, 1), (2, 1), (2, 1), (1, 2)),
    (1, (2, 3), 1, 1, 1, (5, 7), (1, 1), (1, 1), (3, 9), (4, 9)),
]


def case_of(shape, activation=-1, format=0, seed=1):
    n, size, c, m, groups, *numbers = shape
    return {"n": n, "in": size, "c": c, "m": m, "groups": groups, "bias": True, "seed": seed,
            "windows": windows.Windows(*numbers), "activation": activation,
            "format": format}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_conv_of_real_layers_against_torch(shape):
    case = case_of(shape)
    x, w, b = drawn(case)
    w /= np.sqrt(w[0].size)
    (y,) = made(case, w, b).run([x])
    close(y, torch_conv(x, w, b, case["windows"], case["groups"]))
    same_bits(case, x, w, b, y)


@pytest.mark.parametrize("shape", [SHAPES[i] for i in (1, 2, 4, 5, 6)], ids=str)
def test_tiny_inputs_count_as_zero(shape):
    case = case_of(shape)
    x, w, b = drawn(case)
    zeroed = np.where(np.random.default_rng(0).random(x.shape) < 0.3, np.float32(0), x)
    tiny = np.where(zeroed == 0, np.float32(1e-20), x)
    op = made(case, w * np.float32(1e15), b)
    assert np.array_equal(op.run([tiny])[0], op.run([zeroed])[0])


@pytest.mark.parametrize("size", [(3, 9), (2, 30)])
@pytest.mark.parametrize("channels", [(64, 96), (1, 4)])
def test_infinite_weights_meet_the_padding_of_every_image(size, channels):
    """Padding counts as zeros, and zero times infinity is NaN."""
    case = case_of((3, size, *channels, 1, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)))
    x, w, b = drawn(case)
    half = channels[1] // 2
    w[:half, :, 0, 1] = np.inf
    op = made(case, w, b)
    (y,) = op.run([x])
    assert np.isnan(y[:, 0, :, :half]).all() and np.isfinite(y[..., half:]).all()
    for n in range(3):
        assert np.array_equal(op.run([x[n : n + 1]])[0], y[n : n + 1], equal_nan=True)


def test_outputs_are_zero_below_the_bound():
    case = case_of(SHAPES[1])
    x, w, _ = drawn(case)
    (y,) = made(case, w * np.float32(1e-18), None).run([x])
    assert (y == 0).any() and np.abs(y[y != 0]).min() >= 2.0**-62


@given(cases(transposed=True))
@example({**case_of((1, (5,), 4, 4, 1, (2,), (3,), (1,), (0,), (0,))), "padding": (2,),
          "output": None})  # fmt: skip
@settings(max_examples=80)
def test_conv_transposed_adds_every_input_to_what_it_reaches(case):
    x, w, b = drawn(case, transposed=True)
    op = made(case, w, b, transposed=True)
    try:
        want = windows.conv_transposed(
            x, w, b, case["windows"], case["groups"], case["padding"], case["output"]
        )
    except ValueError as error:
        assert "negative dimensions" in str(error)
        with pytest.raises(core.OperatorError, match="shapes or types do not fit"):
            op.run([x])
        return
    (y,) = op.run([x])
    close(y, ACTIVATIONS[case["activation"]](want))
    same_bits(case, x, w, b, y, transposed=True)


@pytest.mark.parametrize("groups", [1, 2, 16])
@pytest.mark.parametrize("axes", [1, 2])
def test_conv_transposed_against_torch(axes, groups):
    wd = windows.Windows((4,) * axes, (3, 2)[:axes], (1, 3)[:axes], (1,) * axes, (1,) * axes)
    case = {"windows": wd, "n": 2, "in": (9, 11)[:axes], "c": 16, "m": 48, "groups": groups,
            "bias": True, "format": 0, "activation": -1, "padding": (1,) * axes, "output": None,
            "seed": 3}  # fmt: skip
    x, w, b = drawn(case, transposed=True)
    (y,) = made(case, w, b, transposed=True).run([x])
    run = (
        torch.nn.functional.conv_transpose2d if axes == 2 else torch.nn.functional.conv_transpose1d
    )
    want = run(torch.from_numpy(np.moveaxis(x, -1, 1).copy()), torch.from_numpy(w),
               torch.from_numpy(b), wd.stride, wd.begin, case["padding"], groups,
               wd.dilation)  # fmt: skip
    close(y, np.moveaxis(want.numpy(), 1, -1))


@pytest.mark.parametrize("transposed", [False, True])
@given(st.data())
@settings(max_examples=60)
def test_weights_may_be_inputs(transposed, data):
    case = data.draw(cases(transposed))
    x, w, b = drawn(case, transposed)
    op = made(case, w, b, transposed=transposed)
    try:
        (want,) = op.run([x])
    except core.OperatorError:
        return
    fresh = made(case, np.zeros_like(w), None, transposed=transposed)
    for threads in (1, 3):
        assert np.array_equal(fresh.run([x, w, b], threads=threads)[0], want)
    if b is None:
        assert np.array_equal(fresh.run([x, w])[0], want)
    for wrong in ([x, w[:-1], b], [x, w, np.zeros(case["m"] + 1, np.float32)], [x, None, b],
                  [x, w, b, b]):  # fmt: skip
        with pytest.raises(core.OperatorError, match="shapes or types do not fit"):
            fresh.run(wrong)


BASE = [0, 1, 4, 6, 2, 0, -1, 3, 1, 1, 0, 0]
HUGE = 2**31


@pytest.mark.parametrize(
    "where, value",
    [(0, 2), (0, -1), (1, 0), (1, 3), (2, 0), (2, 5), (3, 0), (3, 5), (4, 0), (4, 3), (4, -2),
     (5, 4), (5, -1), (6, 14), (6, -2), (7, 0), (7, HUGE), (8, 0), (8, HUGE), (8, -1), (9, 0),
     (9, HUGE), (10, -1), (10, HUGE), (11, -1), (11, 2**62), (2, 2**62), (3, 2**62)],
)  # fmt: skip
def test_numbers_that_make_no_conv_are_refused(where, value):
    core.Operator("conv", BASE)
    numbers = [*BASE[:where], value, *BASE[where + 1 :]]
    with pytest.raises(core.OperatorError, match="conv: shapes or types do not fit"):
        core.Operator("conv", numbers)
    with pytest.raises(core.OperatorError, match="conv_transposed: shapes or types do not fit"):
        core.Operator("conv_transposed", [*numbers, 0, 0])


def test_counts_of_numbers_and_hostile_sizes_are_refused():
    for numbers, floats in ((BASE[:-1], ()), ([*BASE, 0], ()), (BASE, (1,)), ([], ())):
        with pytest.raises(core.OperatorError, match="conv: shapes or types do not fit"):
            core.Operator("conv", numbers, floats)
    with pytest.raises(core.OperatorError, match="shapes or types do not fit"):
        core.Operator("conv_transposed", [*BASE[:7], HUGE - 1, HUGE - 1, 1, 0, 0, 0, 0])
    with pytest.raises(MemoryError):  # a window of 2^31 taps by 2^31 channels
        core.Operator("conv", [0, 1, HUGE - 2, 6, 2, 0, -1, HUGE - 1, 1, 1, 0, 0])
    wide = core.Operator("conv", [0, 2, 1, 9, 1, 0, -1, *[1] * 6, *[HUGE - 1] * 4])
    with pytest.raises(core.OperatorError, match="shapes or types do not fit"):
        wide.run([np.zeros((1, 1, 1, 1), np.float32)])  # more bytes than a size_t counts


def test_hostile_strides_and_pads_are_exact():
    numbers = [0, 1, 1, 1, 1, 0, -1, 2, HUGE - 1, HUGE - 2, HUGE - 2, 1]
    op = core.Operator("conv", numbers)
    op.pack(np.array([[[2, 3]]], np.float32), None)
    (y,) = op.run([np.array([[[5], [7]]], np.float32)])
    assert y.tolist() == [[[15.0]]]
    op = core.Operator("conv_transposed", [0, 1, 1, 1, 1, 0, -1, 2, 5, HUGE - 1, 0, HUGE - 5, 0, 0])
    op.pack(np.array([[[2, 3]]], np.float32), np.array([1], np.float32))
    assert op.run([np.array([[[5]]], np.float32)])[0].tolist() == [[[11.0], [1], [1], [1], [1]]]


def test_wrong_arrays_are_refused():
    op = core.Operator("conv", BASE)
    w, b = np.zeros((6, 2, 3), np.float32), np.zeros(6, np.float32)
    for weights in ((w,), (w[:5], b), (w[..., :2], b), (w, b[:5]), (None, b), (w[..., None], b)):
        with pytest.raises(core.OperatorError, match="conv: shapes or types do not fit"):
            op.pack(*(a if a is None else np.ascontiguousarray(a) for a in weights))
    op.pack(w, None)
    for shape in ((5, 4), (1, 5, 3), (1, 5, 5, 4), (4,), (), (1, 2, 4)):
        with pytest.raises(core.OperatorError, match="conv: shapes or types do not fit"):
            op.run([np.zeros(shape, np.float32)])
    with pytest.raises(core.OperatorError, match="conv: shapes or types do not fit"):
        op.run([np.zeros((1, 5, 4), np.int64)])
    assert op.run([np.zeros((0, 5, 4), np.float32)])[0].shape == (0, 3, 6)
