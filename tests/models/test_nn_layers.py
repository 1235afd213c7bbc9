# SPDX-License-Identifier: MIT
"""Every layer of fastlstm.nn against torch.nn: outputs, state dicts, texts, with many arguments."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from nn_pairs import call, check, error_of, pair, tensors  # noqa: E402

import fastlstm.nn as nn  # noqa: E402

# (class, arguments, [shapes of inputs])
LAYERS = [
    ("Identity", (3,), {"a": 1}, [(2, 3)]),
    ("Linear", (5, 4), {}, [(5,), (3, 5), (2, 3, 5), (0, 5), (2, 1, 3, 5)]),
    ("Linear", (5, 4, False), {}, [(5,), (3, 5), (2, 3, 5)]),
    ("Linear", (130, 70), {"bias": True}, [(17, 130)]),
    ("Conv1d", (3, 4, 3), {}, [(2, 3, 9), (3, 9), (0, 3, 9)]),
    ("Conv1d", (4, 6, 5), {"stride": 2, "padding": 3, "dilation": 2, "groups": 2}, [(2, 4, 20)]),
    ("Conv1d", (4, 4, 4), {"padding": "same", "dilation": 3, "bias": False}, [(2, 4, 11), (4, 11)]),
    ("Conv1d", (4, 8, 1), {"padding": "valid", "groups": 4}, [(2, 4, 7)]),
    *[
        ("Conv1d", (2, 3, 4), {"padding": p, "padding_mode": mode}, [(2, 2, 9), (2, 9)])
        for mode in ("zeros", "reflect", "replicate", "circular")
        for p in (3, "same")
    ],
    ("Conv2d", (3, 4, 3), {}, [(2, 3, 7, 8), (3, 7, 8)]),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2),
                                "groups": 2}, [(2, 4, 9, 8)]),
    ("Conv2d", (8, 8, 3), {"padding": "same", "groups": 8, "bias": False}, [(1, 8, 6, 5)]),
    *[
        ("Conv2d", (2, 3, (3, 4)), {"padding": p, "padding_mode": mode}, [(2, 2, 6, 7)])
        for mode in ("zeros", "reflect", "replicate", "circular")
        for p in ((1, 2), "same")
    ],
    ("ConvTranspose1d", (3, 4, 4), {}, [(2, 3, 5), (3, 5)]),
    ("ConvTranspose1d", (4, 6, 5), {"stride": 3, "padding": 2, "output_padding": 2, "groups": 2,
                                    "dilation": 2, "bias": False}, [(2, 4, 6)]),
    ("ConvTranspose2d", (3, 4, (2, 3)), {}, [(2, 3, 4, 5), (3, 4, 5)]),
    ("ConvTranspose2d", (4, 2, 3), {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2),
                                    "groups": 2}, [(1, 4, 3, 5)]),
    ("BatchNorm1d", (4,), {}, [(3, 4), (3, 4, 5), (0, 4)]),
    ("BatchNorm1d", (4, 1e-2, 0.3, False), {}, [(3, 4), (3, 4, 5)]),
    ("BatchNorm1d", (4,), {"track_running_stats": False}, [(3, 4), (3, 4, 5)]),
    ("BatchNorm2d", (4,), {"momentum": None}, [(3, 4, 5, 6)]),
    ("BatchNorm2d", (4,), {"track_running_stats": False, "affine": False}, [(3, 4, 5, 6)]),
    ("LayerNorm", (6,), {}, [(6,), (3, 6), (2, 3, 6)]),
    ("LayerNorm", ((3, 6),), {"eps": 1e-3}, [(3, 6), (2, 3, 6), (2, 2, 3, 6)]),
    ("LayerNorm", (6, 1e-5, False), {}, [(3, 6)]),
    ("LayerNorm", (6,), {"bias": False}, [(3, 6)]),
    ("RMSNorm", (6,), {}, [(6,), (3, 6), (2, 3, 6)]),
    ("RMSNorm", ((2, 6), 1e-2, False), {}, [(3, 2, 6)]),
    ("GroupNorm", (2, 6), {}, [(3, 6), (3, 6, 5), (2, 6, 3, 4)]),
    ("GroupNorm", (6, 6, 1e-3, False), {}, [(3, 6, 5)]),
    ("GroupNorm", (1, 6), {}, [(3, 6, 5)]),
    ("InstanceNorm1d", (4,), {}, [(3, 4, 5), (4, 5)]),
    ("InstanceNorm1d", (4,), {"affine": True, "track_running_stats": True}, [(3, 4, 5), (4, 5)]),
    ("InstanceNorm2d", (4, 1e-3, 0.2, True), {}, [(3, 4, 5, 6), (4, 5, 6)]),
    ("MaxPool1d", (3,), {}, [(2, 3, 10), (3, 10)]),
    ("MaxPool1d", (4, 3, 2, 2), {"ceil_mode": True}, [(2, 3, 13)]),
    ("MaxPool1d", (3, 2, 1), {"return_indices": True}, [(2, 3, 10), (3, 10)]),
    ("MaxPool2d", (3,), {}, [(2, 3, 8, 9), (3, 8, 9)]),
    ("MaxPool2d", ((3, 2), (2, 1), (1, 0), (1, 2)), {"ceil_mode": True}, [(2, 3, 8, 9)]),
    ("MaxPool2d", (2, 1), {"return_indices": True}, [(2, 3, 4, 5)]),
    ("AvgPool1d", (3,), {}, [(2, 3, 10), (3, 10)]),
    ("AvgPool1d", (4, 3, 2, True, True), {}, [(2, 3, 12)]),
    ("AvgPool1d", (4, 3, 2), {"count_include_pad": False}, [(2, 3, 12)]),
    ("AvgPool2d", (2,), {}, [(2, 3, 8, 9), (3, 8, 9)]),
    ("AvgPool2d", ((3, 2), (2, 1), (1, 0)), {"ceil_mode": True}, [(2, 3, 8, 9)]),
    ("AvgPool2d", ((3, 2), (2, 1), (1, 1), True, False), {}, [(2, 3, 8, 9)]),
    *[("AdaptiveAvgPool1d", (n,), {}, [(2, 3, 12), (3, 7)]) for n in (1, 3, 5, 12)],
    *[("AdaptiveMaxPool1d", (n,), {}, [(2, 3, 12), (3, 7)]) for n in (1, 3, 5)],
    *[("AdaptiveAvgPool2d", (n,), {}, [(2, 3, 6, 7)]) for n in (1, (3, 2), (None, 4), 5)],
    *[("AdaptiveMaxPool2d", (n,), {}, [(2, 3, 6, 7)]) for n in (1, (3, 2), (2, None))],
    ("Flatten", (), {}, [(2, 3, 4), (5,)][:1]),
    ("Flatten", (0, 1), {}, [(2, 3, 4)]),
    ("Unflatten", (1, (2, 3)), {}, [(4, 6), (4, 6, 2)]),
    ("ConstantPad1d", ((1, 2), 0.5), {}, [(2, 3, 4)]),
    ("ConstantPad2d", (2, -1.0), {}, [(2, 3, 4)]),
    ("ZeroPad1d", (1,), {}, [(2, 3, 4)]),
    ("ZeroPad2d", ((1, -1, 2, 0),), {}, [(2, 3, 4, 5)]),
    ("ReflectionPad1d", ((2, 1),), {}, [(2, 3, 4), (3, 4)]),
    ("ReflectionPad2d", (2,), {}, [(2, 3, 4, 5)]),
    ("ReplicationPad1d", (3,), {}, [(2, 3, 4)]),
    ("ReplicationPad2d", ((1, 2, 3, 0),), {}, [(2, 3, 4, 5)]),
    ("CircularPad1d", ((2, 3),), {}, [(2, 3, 4)]),
    ("CircularPad2d", (1,), {}, [(2, 3, 4, 5)]),
    ("Upsample", (), {"scale_factor": 2}, [(2, 3, 4), (2, 3, 4, 5)]),
    ("Upsample", ((5, 7),), {}, [(2, 3, 4, 5)]),
    ("Upsample", (), {"scale_factor": (2, 1.5)}, [(2, 3, 4, 5)]),
    ("Upsample", (), {"scale_factor": 1.25, "recompute_scale_factor": True}, [(2, 3, 10)]),
    ("PixelShuffle", (2,), {}, [(2, 8, 3, 4)]),
    ("Unfold", ((2, 3),), {"dilation": 2, "padding": 1, "stride": 2}, [(2, 3, 6, 7)]),
    *[(name, (0.3,), {}, [(2, 3)]) for name in (
        "Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout")],
    *[(name, (), {}, [(3, 5), (2, 3, 4), ()]) for name in (
        "ReLU", "LeakyReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Sigmoid", "Tanh",
        "Softplus", "Softsign", "Hardtanh", "ReLU6", "Hardsigmoid", "Hardswish", "LogSigmoid",
        "Tanhshrink", "Hardshrink", "Softshrink", "RReLU")],
    *[(name, (True,), {}, [(3, 5)]) for name in ("ReLU", "SELU", "SiLU", "Mish", "ReLU6")],
    ("LeakyReLU", (0.3, True), {}, [(3, 5)]),
    ("ELU", (0.3,), {"inplace": True}, [(3, 5)]),
    ("CELU", (0.7,), {}, [(3, 5)]),
    ("GELU", ("tanh",), {}, [(3, 5)]),
    ("Softplus", (2.0, 1.5), {}, [(3, 5)]),
    ("Hardtanh", (-0.5, 0.25), {}, [(3, 5)]),
    ("Hardshrink", (0.2,), {}, [(3, 5)]),
    ("Softshrink", (0.2,), {}, [(3, 5)]),
    ("Threshold", (0.1, 20.0), {}, [(3, 5)]),
    ("RReLU", (0.1, 0.4), {}, [(3, 5)]),
    ("PReLU", (), {}, [(3, 5), (5,), ()]),
    ("PReLU", (4, 0.1), {}, [(3, 4), (3, 4, 5)]),
    ("GLU", (), {}, [(3, 6), (6,)]),
    ("GLU", (1,), {}, [(3, 4, 5)]),
    *[(name, (dim,), {}, [(2, 3, 4)]) for name in ("Softmax", "LogSoftmax", "Softmin")
      for dim in (0, 1, -1)],
    ("Softmax2d", (), {}, [(2, 3, 4, 5), (3, 4, 5)]),
]  # fmt: skip


def name_of(case):
    name, args, kwargs, _ = case
    return f"{name}-{args}-{kwargs}"


def inputs(rng, shape):
    return rng.normal(0, 1.5, shape).astype(np.float32)


@pytest.mark.parametrize("case", LAYERS, ids=map(name_of, LAYERS))
def test_layer(case, rng):
    name, args, kwargs, shapes = case
    theirs, mine = pair(name, *args, **kwargs)
    assert repr(mine) == repr(theirs)
    due = theirs.state_dict()
    assert list(mine.state_dict()) == list(due)
    for key, value in mine.state_dict().items():
        assert np.array_equal(value, due[key].numpy()) and value.dtype == due[key].numpy().dtype
    theirs.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in mine.state_dict().items()})
    for shape in shapes:
        x = inputs(rng, shape)
        kept = x.copy()
        y = mine(x)
        check(y, call(theirs, x))
        assert np.array_equal(x, kept)
        assert type(y[0] if isinstance(y, tuple) else y) is np.ndarray
        strided = np.repeat(x, 2, -1)[..., ::2] if x.ndim else x
        check(mine(strided), call(theirs, x))
        check(mine(x.astype(np.float64)), call(theirs, x))
        z = mine(nn.tensor.tensor(x))
        assert type(z[0] if isinstance(z, tuple) else z) is nn.Tensor


@pytest.mark.parametrize("case", LAYERS, ids=map(name_of, LAYERS))
def test_inputs_of_other_shapes(case, rng):
    """Where torch computes, so does the layer; where torch refuses, so does it, in its words."""
    name, args, kwargs, _ = case
    theirs, mine = pair(name, *args, **kwargs)
    for shape in ((2,), (2, 2), (2, 2, 2), (2, 5, 1), (2, 2, 2, 2), (2, 3, 2, 3, 2)):
        x = inputs(rng, shape)
        due = error_of(theirs, tensors(x))
        assert error_of(mine, x) == due, shape
        if due is None:
            check(mine(x), call(theirs, x))


# (class, arguments) that the constructor refuses
WRONG = [
    ("Conv1d", (3, 4, 3), {"groups": 2}),
    ("Conv1d", (4, 3, 3), {"groups": 2}),
    ("Conv1d", (4, 4, 3), {"groups": 0}),
    ("Conv1d", (4, 4, 3), {"padding": "both"}),
    ("Conv1d", (4, 4, 3), {"padding": "same", "stride": 2}),
    ("ConvTranspose1d", (4, 4, 3), {"padding_mode": "reflect"}),
    ("GroupNorm", (4, 6), {}),
    ("Embedding", (4, 6, 4), {}),
    ("Embedding", (4, 6, -5), {}),
    ("Dropout", (1.5,), {}),
    ("Hardtanh", (1.0, 0.5), {}),
    ("MultiheadAttention", (5, 2), {}),
    ("MultiheadAttention", (0, 2), {}),
    ("Bilinear", (0, 2, 3), {}),
    ("ReLU", (1, 2), {}),
    ("Sigmoid", (1,), {}),
]


@pytest.mark.parametrize("name, args, kwargs", WRONG)
def test_constructors_refuse_in_torchs_words(name, args, kwargs):
    due = error_of(getattr(torch.nn, name), *args, **kwargs)
    assert due is not None
    assert error_of(getattr(nn, name), *args, **kwargs) == due


@settings(max_examples=60)
@given(st.data())
def test_convolutions_of_any_numbers(data):
    """Drawn sizes, strides, paddings, dilations and groups of all four convolutions."""
    draw, count = data.draw, st.integers(1, 3)
    axes = draw(st.integers(1, 2))
    transposed = draw(st.booleans())
    groups = draw(count)
    each = st.tuples(*[count] * axes)
    kernel, stride, dilation = draw(each), draw(each), draw(each)
    padding = draw(st.tuples(*[st.integers(0, 2)] * axes))
    kwargs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
              "bias": draw(st.booleans())}  # fmt: skip
    if transposed:
        kwargs["output_padding"] = tuple(draw(st.integers(0, s - 1)) for s in stride)
    name = f"Conv{'Transpose' * transposed}{axes}d"
    args = (groups * draw(count), groups * draw(count), kernel)
    theirs, mine = pair(name, *args, **kwargs)
    shape = (draw(count), args[0], *draw(st.tuples(*[st.integers(1, 9)] * axes)))
    x = np.random.default_rng(draw(st.integers(0, 99))).normal(0, 1, shape).astype(np.float32)
    due = error_of(theirs, tensors(x))
    if due is None and not call(theirs, x).size:  # which torch refuses of one row: always here
        assert "too small" in error_of(mine, x)[1]
    elif due is None:
        check(mine(x), call(theirs, x))
    else:
        assert error_of(mine, x) is not None


@settings(max_examples=60)
@given(st.data())
def test_pools_of_any_numbers(data):
    draw, axes = data.draw, data.draw(st.integers(1, 2))
    each = st.tuples(*[st.integers(1, 4)] * axes)
    kernel, stride = draw(each), draw(each)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    name = draw(st.sampled_from(("MaxPool", "AvgPool"))) + f"{axes}d"
    kwargs = {"ceil_mode": draw(st.booleans())}
    if name.startswith("Max"):
        kwargs["dilation"] = draw(st.tuples(*[st.integers(1, 2)] * axes))
        kwargs["return_indices"] = draw(st.booleans())
    else:
        kwargs["count_include_pad"] = draw(st.booleans())
    theirs, mine = pair(name, kernel, stride, padding, **kwargs)
    shape = (draw(st.integers(1, 2)), 3, *draw(st.tuples(*[st.integers(1, 9)] * axes)))
    x = np.random.default_rng(draw(st.integers(0, 99))).normal(0, 1, shape).astype(np.float32)
    due = error_of(theirs, tensors(x))
    if due is None:
        check(mine(x), call(theirs, x))
    else:
        assert error_of(mine, x) is not None
