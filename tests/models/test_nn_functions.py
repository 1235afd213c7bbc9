# SPDX-License-Identifier: MIT
"""Functions of fastlstm.nn.functional and fastlstm.nn.tensor, and a Tensor's methods, against
PyTorch's of the same names."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from nn_pairs import arrays, call, check, error_of, tensors  # noqa: E402

import fastlstm.nn as nn  # noqa: E402
import fastlstm.nn.functional as F  # noqa: E402
from fastlstm.nn import tensor as our_torch  # noqa: E402

rng = np.random.default_rng(3)
X = rng.normal(0, 1.5, (2, 3, 4)).astype(np.float32)
Y = rng.normal(0, 1.5, (3, 4)).astype(np.float32)
P = np.abs(X) + np.float32(0.1)
N = rng.integers(-4, 5, (2, 3, 4))
I = rng.integers(0, 3, (2, 5))
B = X > 0
M = rng.normal(0, 1, (2, 4, 5)).astype(np.float32)
W = rng.normal(0, 1, (5, 4)).astype(np.float32)
V = rng.normal(0, 1, 4).astype(np.float32)
K = rng.normal(0, 1, (6, 3, 2)).astype(np.float32)
S = np.float32(rng.normal())
AWAY = np.array([[True, False, True], [False] * 3, [True] * 3])  # a row that goes nowhere
NOT_FINITE = np.float32([[np.inf, -np.inf, np.nan, 0.0]])

ONLY_WHERE = ("where", (B,), {})  # as a method it takes more

TORCH = [  # (function, arguments, keyword arguments)
    *[(name, (X,), {}) for name in (
        "exp", "sin", "cos", "erf", "sigmoid", "tanh", "square", "reciprocal", "abs", "neg", "sign",
        "floor", "ceil", "round", "trunc", "isnan", "isinf", "isfinite", "logical_not", "expm1",
        "relu", "selu", "celu", "numel", "is_floating_point", "clone", "absolute", "negative")],
    *[(name, (P,), {}) for name in ("log", "sqrt", "rsqrt", "log2", "log10", "log1p")],
    *[(name, (N,), {}) for name in ("exp", "abs", "neg", "sign", "square", "sigmoid", "relu")],
    *[(name, (NOT_FINITE,), {}) for name in ("exp", "abs", "isnan", "isinf", "relu", "tanh")],
    ("pow", (X, 2), {}), ("pow", (P, 0.5), {}), ("pow", (P, 1.7), {}), ("pow", (X, 3), {}),
    ("pow", (P, Y), {}), ("pow", (N, 2), {}), ("pow", (N, 3), {}),
    ("clamp", (X, -0.5, 0.5), {}), ("clamp", (X,), {"min": 0.1}), ("clamp", (N,), {"max": 1}),
    ("clamp", (X,), {}),
    *[(name, (X, Y), {}) for name in (
        "add", "sub", "mul", "div", "eq", "ne", "gt", "ge", "lt", "le", "maximum", "minimum",
        "remainder", "logical_and", "logical_or", "logical_xor")],
    *[(name, (N, N[:1] * 2 + 1), {}) for name in ("add", "mul", "div", "eq", "gt", "maximum")],
    ("add", (X, Y), {"alpha": 2}), ("sub", (X, 1.5), {}), ("mul", (N, 2), {}), ("div", (N, 2), {}),
    ("div", (X, 2), {"rounding_mode": "floor"}), ("div", (N, 3), {"rounding_mode": "trunc"}),
    ("equal", (X, X), {}), ("equal", (X, Y), {}), ("allclose", (X, X + 1e-9), {}),
    ("where", (B, X, X * 2), {}), ("where", (B, X, 0.0), {}), ONLY_WHERE,
    ("masked_fill", (X, B, -1.0), {}), ("masked_fill", (X, B, float("-inf")), {}),
    *[(name, (X,), options) for name in ("sum", "mean", "amax", "amin")
      for options in ({}, {"dim": 1}, {"dim": -1, "keepdim": True}, {"dim": (0, 2)})],
    *[(name, (X,), {}) for name in ("prod", "max", "min", "argmax", "argmin", "std", "var", "norm",
                                    "any", "all")],
    *[(name, (X, 1), {}) for name in ("sum", "prod", "max", "min", "argmax", "argmin", "std", "var",
                                      "any", "all", "cumsum", "logsumexp", "sort", "argsort")],
    *[(name, (X, -1), {"keepdim": True}) for name in ("max", "min", "argmax", "std", "logsumexp")],
    ("sum", (N, 0), {}), ("sum", (B, 1), {}), ("sum", (B,), {}), ("max", (N, 2), {}),
    ("mean", (N,), {}), ("cumsum", (N, 2), {}), ("std", (X, 1, False), {}),
    ("var", (X, 0), {"correction": 0}), ("norm", (X, 1, 1), {}), ("norm", (X,), {"p": 2, "dim": 2}),
    ("max", (X, X * 0.5), {}), ("min", (X, Y), {}), ("topk", (X, 2), {}),
    ("topk", (X, 1, 0, False), {}), ("topk", (X, 9), {}), ("sort", (X, 0, True), {}),
    *[(name, (X, dim), {}) for name in ("softmax", "log_softmax") for dim in (0, 1, -1, 3)],
    ("cat", ([X, X * 2],), {}), ("cat", ([X, X[:, :1]], 1), {}), ("cat", ((X, X), -1), {}),
    ("cat", ([X, N],), {}), ("cat", ([X, X[:, :1]], 0), {}), ("cat", ([X, Y],), {}),
    ("cat", ([X, X], 3), {}), ("stack", ([X, X * 2],), {}), ("stack", ([X, X], -1), {}),
    ("stack", ([X, Y],), {}), ("hstack", ([X, X],), {}), ("vstack", ([Y, Y],), {}),
    ("split", (X, 2, 2), {}), ("split", (X, 3, -1), {}), ("split", (X, [1, 3], 2), {}),
    ("split", (X, [1, 1], 2), {}), ("chunk", (X, 2, -1), {}), ("chunk", (X, 3, 2), {}),
    ("chunk", (X, 0), {}), ("unbind", (X,), {}), ("unbind", (X, -1), {}),
    ("reshape", (X, (6, 4)), {}), ("reshape", (X, (-1, 3)), {}), ("reshape", (X, (5, -1)), {}),
    ("flatten", (X,), {}), ("flatten", (X, 1), {}), ("flatten", (X, 0, 1), {}),
    ("flatten", (X, 2, 1), {}), ("unflatten", (X, 2, (2, 2)), {}),
    ("permute", (X, (2, 0, 1)), {}), ("permute", (X, (0, 0, 1)), {}), ("transpose", (X, 0, -1), {}),
    ("transpose", (X, 0, 3), {}), ("t", (Y,), {}), ("t", (X,), {}), ("movedim", (X, 0, 2), {}),
    ("squeeze", (X[:1],), {}), ("squeeze", (X[:1, :1], 1), {}), ("squeeze", (X, 0), {}),
    ("squeeze", (X, 4), {}), ("unsqueeze", (X, 0), {}), ("unsqueeze", (X, -1), {}),
    ("unsqueeze", (X, 5), {}), ("narrow", (X, 2, 1, 2), {}), ("narrow", (X, 2, 3, 2), {}),
    ("select", (X, 1, 2), {}), ("broadcast_to", (Y, (2, 3, 4)), {}), ("tile", (Y, (2, 1)), {}),
    ("repeat_interleave", (X, 2, 1), {}), ("flip", (X, (0, 2)), {}), ("roll", (X, 1, 1), {}),
    ("tril", (Y,), {}), ("triu", (Y, 1), {}), ("index_select", (X, 1, np.array([2, 0])), {}),
    ("gather", (Y, 1, np.array([[0, 3], [1, 1]])), {}), ("masked_select", (X, B), {}),
    ("gather", (Y, 1, np.array([[0, 4]])), {}), ("nonzero", (B,), {}),
    ("matmul", (X, M), {}), ("matmul", (X, V), {}), ("matmul", (V, V), {}),
    ("matmul", (V, W.T), {}),
    ("matmul", (X, W.T), {}), ("matmul", (Y, Y), {}), ("matmul", (Y, V[:3]), {}),
    ("matmul", (V, V[:3]), {}), ("matmul", (X, N), {}), ("bmm", (X, M), {}), ("bmm", (X, X), {}),
    ("mm", (Y, W.T), {}), ("mv", (Y, V), {}), ("dot", (V, V), {}),
    ("zeros", (2, 3), {}), ("zeros", ((2, 3),), {}), ("ones", (2,), {}),
    ("full", ((2, 2), 3.5), {}),
    ("full", ((2, 2), 3), {}), ("zeros_like", (X,), {}), ("ones_like", (N,), {}),
    ("full_like", (X, 2), {}), ("arange", (5,), {}), ("arange", (1, 6, 2), {}),
    ("arange", (0, 1, 0.25), {}), ("arange", (3.0,), {}), ("linspace", (0, 1, 5), {}),
    ("eye", (3,), {}), ("tensor", ([1, 2],), {}), ("tensor", ([1.5, 2],), {}),
    ("tensor", ([True],), {}), ("tensor", (3,), {}),
]  # fmt: skip


def name_of(case):
    name, args, kwargs = case
    shown = [a.shape if isinstance(a, np.ndarray) else type(a).__name__ for a in args]
    return f"{name}-{shown}-{sorted(kwargs)}"


def compared(theirs, mine, args, kwargs):
    """Both results, or both errors in the same words."""
    due = error_of(theirs, *tensors(args), **kwargs)
    if due is None:
        found = mine(*args, **kwargs)
        first = found[0] if isinstance(found, tuple) and found else found
        assert not isinstance(first, np.ndarray) or type(first) is nn.Tensor
        check(arrays(found), call(theirs, *args, **kwargs))
    else:
        assert error_of(mine, *args, **kwargs) == due


@pytest.mark.parametrize("case", TORCH, ids=map(name_of, TORCH))
def test_function_of_torch(case):
    name, args, kwargs = case
    compared(getattr(torch, name), getattr(our_torch, name), args, kwargs)
    if isinstance(args[0], np.ndarray) and hasattr(torch.Tensor, name) and case is not ONLY_WHERE:

        def method(module):
            return lambda x, *rest: getattr(x, name)(*rest, **kwargs)

        mine = lambda x, *rest: getattr(our_torch.tensor(x), name)(*rest, **kwargs)  # noqa: E731
        compared(method(torch), mine, args, {})


FUNCTIONAL = [
    *[(name, (X,), {}) for name in (
        "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid",
        "tanh", "softplus", "softsign", "hardtanh", "hardsigmoid", "hardswish", "logsigmoid",
        "tanhshrink", "hardshrink", "softshrink", "glu")],
    ("gelu", (X,), {"approximate": "tanh"}), ("gelu", (X,), {"approximate": "x"}),
    ("softplus", (X * 9, 2.0, 3.0), {}), ("threshold", (X, 0.2, -3.0), {}), ("glu", (X, 1), {}),
    ("softmax", (X,), {"dim": 1}), ("log_softmax", (X,), {"dim": 2}), ("softmin", (X, 0), {}),
    ("prelu", (X, np.float32([0.2])), {}), ("prelu", (X, np.float32([0.2, 0.1, 0])), {}),
    ("prelu", (X, np.float32([0.2, 0.1])), {}), ("dropout", (X, 0.5, False), {}),
    ("dropout", (X, 1.5, False), {}),
    ("linear", (X, W), {}), ("linear", (X, W, W[:, 0]), {}), ("linear", (V, W), {}),
    ("linear", (Y, W[:, :3]), {}), ("linear", (X, V), {}),
    ("bilinear", (Y, Y[:, :2], rng.normal(0, 1, (5, 4, 2)).astype(np.float32)), {}),
    ("embedding", (I, W), {}), ("embedding", (I + 4, W), {}), ("embedding", (I - 1, W), {}),
    ("embedding", (X, W), {}),
    *[("embedding_bag", (I, W), {"mode": mode}) for mode in ("sum", "mean", "max")],
    *[("embedding_bag", (I[0], W, np.array([0, 2, 2])), {"mode": mode})
      for mode in ("sum", "mean", "max")],
    ("embedding_bag", (I[0], W), {}), ("embedding_bag", (X, W), {}),
    ("one_hot", (I,), {}), ("one_hot", (I, 7), {}), ("one_hot", (I, 2), {}), ("one_hot", (X,), {}),
    ("conv1d", (X, K), {}), ("conv1d", (X[0], K, K[:, 0, 0], 2, 1), {}),
    ("conv1d", (X, K[:, :1], None, 1, "same", 1, 3), {}), ("conv1d", (X[:, :2], K), {}),
    ("conv1d", (X, K, None, 2, "same"), {}), ("conv1d", (X[..., :1], K), {}),
    ("conv2d", (X[None], K[:, :2, :, None]), {}), ("conv_transpose1d", (X, K[:3]), {}),
    ("conv_transpose2d", (X[None], K[:2, :, :, None], None, 2, 0, 1), {}),
    ("pad", (X, (1, 2)), {}), ("pad", (X, (1, -2, 0, 3)), {"value": 2.5}), ("pad", (N, (1, 0)), {}),
    ("pad", (X, (2, 1)), {"mode": "reflect"}), ("pad", (X, (4, 1)), {"mode": "reflect"}),
    ("pad", (X, (2, 5)), {"mode": "replicate"}), ("pad", (X, (2, 1)), {"mode": "circular"}),
    ("pad", (X, (1,)), {}), ("pad", (X, (-3, -2)), {}),
    ("layer_norm", (X, (4,)), {}), ("layer_norm", (X, (3, 4), Y, Y), {}),
    ("layer_norm", (X, (3,)), {}), ("rms_norm", (X, (4,), V), {}), ("group_norm", (X, 3), {}),
    ("group_norm", (X, 2), {}), ("instance_norm", (X,), {}),
    ("batch_norm", (X, V[:3], np.abs(V[:3])), {}), ("batch_norm", (X, V, np.abs(V)), {}),
    ("max_pool1d", (X, 2), {}), ("max_pool2d", (X, (2, 2), 1), {}),
    ("avg_pool1d", (X, 2, 1, 1), {}),
    ("avg_pool2d", (X, 2), {}), ("max_pool1d", (X, [2], [1]), {}), ("max_pool1d", (X, 2, 1, 2), {}),
    ("adaptive_avg_pool1d", (X, 3), {}), ("adaptive_max_pool1d", (X, 2), {}),
    ("adaptive_avg_pool2d", (X, 1), {}), ("normalize", (X,), {}), ("normalize", (X, 1, 2), {}),
    ("cosine_similarity", (X, X * 2 + 1), {}), ("interpolate", (X, 7), {}),
    ("interpolate", (X,), {"scale_factor": 1.5}),
    *[("interpolate", (X[None],), {"scale_factor": s}) for s in ((2, 0.5), [1.5, 3.0], (2,), 0.1)],
    ("interpolate", (X,), {"size": 7, "recompute_scale_factor": True}),
    *[("interpolate", (a,), {"size": 0}) for a in (X, X[None], X[None, None])],
    ("scaled_dot_product_attention", (X, X * 0.5, X), {}),
    ("scaled_dot_product_attention", (X, X, X, None, 0.0, True), {}),
    *[("scaled_dot_product_attention", (a, a, a, mask), {}) for a in (X, X[None])
      for mask in (AWAY, np.where(AWAY, 0, -np.inf).astype(np.float32))],
]  # fmt: skip


@pytest.mark.parametrize("case", FUNCTIONAL, ids=map(name_of, FUNCTIONAL))
def test_function_of_functional(case):
    name, args, kwargs = case
    compared(getattr(torch.nn.functional, name), getattr(F, name), args, kwargs)


def test_functions_with_parameters_pack_once():
    """What a convolution packs is kept with its Parameter, which is then read-only."""
    weight, bias = nn.Parameter(K), nn.Parameter(K[:, 0, 0])
    due = call(torch.nn.functional.conv1d, X, K, K[:, 0, 0].copy())
    check(F.conv1d(X, weight, bias), due)
    check(F.conv1d(X, weight, bias), due)
    check(
        F.conv1d(X, weight, bias, 2), call(torch.nn.functional.conv1d, X, K, K[:, 0, 0].copy(), 2)
    )
    assert len(weight._plans) == 2
    with pytest.raises(RuntimeError, match="this array is packed for a layer's calls"):
        weight[0] = 1
    other = nn.Parameter(K * 2)
    check(F.conv1d(X, other), call(torch.nn.functional.conv1d, X, K * 2))


def test_nothing_is_kept_for_weights_that_are_no_parameters():
    """They are new at each call, or may be written to."""
    weight, bias, w = nn.Parameter(K), nn.Parameter(K[:, 0, 0]), nn.Parameter(W)
    offset = nn.tensor.zeros(len(W))
    for i in range(3):
        offset[:] = i
        due = call(torch.nn.functional.conv1d, X, K, i * K[:, 0, 0])
        check(F.conv1d(X, weight, bias * float(i)), due)
        check(
            F.linear(Y, w, offset), call(torch.nn.functional.linear, Y, W, np.full(len(W), i, "f"))
        )
    assert not weight.__dict__.get("_plans") and not w.__dict__.get("_plans")


def test_nearest_of_all_sizes():
    """Of 1 to 40 to as many, and by factors: the step is float32, as torch's."""
    for n in range(1, 41):
        x = np.arange(n, dtype=np.float32).reshape(1, 1, n)
        for kwargs in (
            *({"size": size} for size in range(1, 41)),
            *({"scale_factor": s, "recompute_scale_factor": again}
              for s in (0.3, 0.7, 1.25, 1.7, 2, 3.1) for again in (None, True) if n * s >= 1),
        ):  # fmt: skip
            due = call(torch.nn.functional.interpolate, x, **kwargs)
            check(F.interpolate(x, **kwargs), due, 0)


METHODS = [
    lambda x: x.view(4, 6), lambda x: x.view(-1), lambda x: x.view(x.size(0), -1),
    lambda x: x.permute(2, 0, 1).contiguous().view(4, -1), lambda x: x.transpose(1, 2),
    lambda x: x.size(), lambda x: x.size(-1), lambda x: x.dim(), lambda x: x.shape,
    lambda x: x.unsqueeze(1).expand(-1, 5, -1, -1), lambda x: x.expand(7, 2, 3, 4),
    lambda x: x.expand(5, 3, 4), lambda x: x.repeat(2, 1, 3), lambda x: x.repeat(1, 2),
    lambda x: x[0], lambda x: x[0, 1, 2], lambda x: x[:, -1], lambda x: x[..., None],
    lambda x: x[x > 0], lambda x: x[[0, 1], [1, 2]], lambda x: list(x[0, 0]),
    lambda x: x.mean(dim=1, keepdim=True), lambda x: x.sum(-1), lambda x: x.max(1)[0],
    lambda x: x.max(dim=2).indices, lambda x: x.max(), lambda x: x.argmax(1).tolist(),
    lambda x: x.float(), lambda x: x.long(), lambda x: x.bool(), lambda x: x.type_as(x.long()),
    lambda x: x.detach().cpu().numpy(), lambda x: x.sum().item(), lambda x: float(x[0, 0, 0]),
    lambda x: x.softmax(-1), lambda x: x.log_softmax(dim=1), lambda x: x.sigmoid() * x.tanh(),
    lambda x: x ** 2 + x.pow(3) - 1, lambda x: 2 ** x, lambda x: 1 - x / 2, lambda x: 3 / (x + 9),
    lambda x: x // 1, lambda x: x % 1, lambda x: -x, lambda x: abs(x), lambda x: x @ x[0].t(),
    lambda x: x.long() / 2, lambda x: x.long() * 0.5, lambda x: x.long() + 1,
    lambda x: (x > 0).float().sum(), lambda x: (x > 0) & (x < 1), lambda x: ~(x > 0),
    lambda x: x.masked_fill(x > 0, 0), lambda x: x.clone().zero_(), lambda x: x.clone().fill_(2),
    lambda x: x.clone().add_(1).mul_(2), lambda x: x.clone().clamp_(0, 1), lambda x: x.chunk(2, -1),
    lambda x: x.split([1, 2], 1), lambda x: x.unbind(0), lambda x: x.flatten(1),
    lambda x: x.unfold(2, 2, 1), lambda x: x.new_zeros(2, 3), lambda x: x.new_ones((2,)),
    lambda x: x.numel(), lambda x: len(x), lambda x: x.T.shape[0] if x.dim() == 2 else x.mT,
    lambda x: x.view(5, 5), lambda x: x.permute(0, 1), lambda x: x.squeeze(3), lambda x: x.item(),
    lambda x: bool(x), lambda x: bool(x[0, 0, 0] > 9), lambda x: x.is_contiguous(),
    lambda x: x.transpose(0, 1).is_contiguous(), lambda x: x.stride(), lambda x: x.to(x.dtype),
    lambda x: x.to("cpu").device.type, lambda x: x.abs().sqrt().log().exp(), lambda x: x.std(0),
    lambda x: x.reshape((3, 8)), lambda x: x.reshape(7, 2), lambda x: x.t(),
    lambda x: x.select(1, 0),
    lambda x: x.narrow(1, 0, 2), lambda x: x.index_select(1, x[0, 0, :2].long() * 0),
    lambda x: x.ne(0),
    lambda x: x.all(), lambda x: x.any(1), lambda x: x.cumsum(1), lambda x: x.topk(2).values,
    lambda x: x.sort(1).indices, lambda x: x.flip(0), lambda x: x.flip([0, 1]), lambda x: x.norm(),
    lambda x: x.matmul(x.transpose(1, 2)), lambda x: x.bmm(x.transpose(1, 2)),
    lambda x: f"{x.sum():.2f}",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(METHODS)))
def test_method(number):
    due = error_of(METHODS[number], tensors(X))
    mine = our_torch.tensor(X)
    if due is None:
        check(arrays(METHODS[number](mine)), arrays(METHODS[number](tensors(X))))
    else:
        assert error_of(METHODS[number], mine) == due


def test_numpys_functions_of_a_tensor():
    """They see an array: size, max and transpose have NumPy's meaning there."""
    x = our_torch.tensor(X)
    assert np.array_equal(np.transpose(x, (2, 0, 1)), X.transpose(2, 0, 1))
    assert np.median(x) == np.median(X) and np.max(x, axis=1).shape == (2, 4)
    assert np.array_equal(np.concatenate([x, X]), np.concatenate([X, X]))
    assert type(np.asarray(x)) is np.ndarray and type(x.numpy()) is np.ndarray
    assert np.shares_memory(x.numpy(), x) and np.shares_memory(our_torch.from_numpy(X), X)
    assert repr(our_torch.tensor([1, 2])) == "tensor([1, 2])"
    assert nn.Tensor(2, 3).shape == (2, 3) and nn.Tensor([1, 2]).dtype == np.float32


def test_a_tensor_is_float32_int64_or_bool():
    for made in (np.float16(2), np.float64(2), np.int8(2), np.uint8(2), True, 2, 2.0):
        assert our_torch.tensor(made).dtype in (np.float32, np.int64, np.bool_)
    x = our_torch.tensor(X)
    for wrong in (lambda: x.double(), lambda: x.half(), lambda: x.to(our_torch.float64),
                  lambda: our_torch.zeros(2, dtype=our_torch.float16)):  # fmt: skip
        with pytest.raises(TypeError, match="Tensors are float32, int64 or bool"):
            wrong()
    with pytest.raises(RuntimeError, match="there is no device 'cuda:0'"):
        x.to("cuda:0")
    with pytest.raises(RuntimeError, match="there is no backward"):
        x.sum().backward()
    with pytest.raises(TypeError, match=r"can't convert np\.ndarray of type"):
        our_torch.tensor(["a"])


@settings(max_examples=80)
@given(st.data())
def test_reductions_of_drawn_shapes(data):
    """Any axes of any shape, empty ones too, of functions whose result torch defines."""
    shape = tuple(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    x = np.random.default_rng(len(shape)).normal(0, 1, shape).astype(np.float32)
    name = data.draw(st.sampled_from(("sum", "mean", "amax", "amin", "prod", "argmax", "softmax")))
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    kwargs = {} if name == "softmax" else {"keepdim": data.draw(st.booleans())}
    compared(getattr(torch, name), getattr(our_torch, name), (x, dim), kwargs)
