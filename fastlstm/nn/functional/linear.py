# SPDX-License-Identifier: MIT
"""Products with weights, embeddings and attention, torch.nn.functional's."""

import itertools
import math

import numpy as np

from ...models.graph import Node
from ..array import Parameter, Tensor, axis_of, float32, int64, plain, wrap
from ..compute import Packed, apply
from ..elementwise import float_of, tensor_of, where
from ..packing import kept
from ..reduce import softmax

_view = np.ndarray.view


def matmul(input, other):
    a, b = tensor_of(input), tensor_of(other)
    _check_matmul(a, b)
    return apply("MatMul", [a, b])


def _check_matmul(a, b):
    if not a.ndim or not b.ndim:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {a.ndim}D and {b.ndim}D"
        )
    if min(a.ndim, b.ndim) > 1 and max(a.ndim, b.ndim) > 2 and a.shape[-1] != b.shape[-2]:
        batch = math.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{batch}, {a.shape[-1]}] but got: [{batch}, {b.shape[-2]}]."
        )
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0] and max(a.ndim, b.ndim) <= 2:
        if (a.ndim, b.ndim) == (2, 2):
            raise RuntimeError(
                f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and "
                f"{b.shape[0]}x{b.shape[1]})"
            )
        if b.ndim == 1 and a.ndim == 2:
            raise RuntimeError(
                f"size mismatch, got input ({a.shape[0]}), mat ({a.shape[0]}x{a.shape[1]}), vec "
                f"({b.shape[0]})"
            )
        if a.ndim == 2 or b.ndim == 2:
            raise RuntimeError(
                f"mat1 and mat2 shapes cannot be multiplied (1x{a.shape[0]} and "
                f"{b.shape[0]}x{b.shape[1]})"
            )
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.shape[0]}] and src [{b.shape[0]}] to "
            f"have the same number of elements, but got {a.shape[0]} and {b.shape[0]} elements "
            "respectively"
        )
    if a.dtype != b.dtype:
        names = {"f": "float", "i": "long int", "b": "bool"}
        raise RuntimeError(
            "expected m1 and m2 to have the same dtype, but got: "
            f"{names[a.dtype.kind]} != {names[b.dtype.kind]}"
        )


def _of_axes(name, first, second):
    def function(input, other):
        a, b = tensor_of(input), tensor_of(other)
        if a.ndim != first or b.ndim != second:
            raise RuntimeError(f"{name}: arrays of {first} and {second} axes are due, got "
                               f"{a.ndim} and {b.ndim}")  # fmt: skip
        if first == 3 and (a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]):
            raise RuntimeError(
                "Expected size for first two dimensions of batch2 tensor to be: "
                f"[{a.shape[0]}, {a.shape[2]}] but got: [{b.shape[0]}, {b.shape[1]}]."
            )
        return matmul(a, b)

    function.__name__ = name
    return function


mm, bmm = _of_axes("mm", 2, 2), _of_axes("bmm", 3, 3)
mv, dot = _of_axes("mv", 2, 1), _of_axes("dot", 1, 1)


def pack_linear(weight, bias, ndim, **few):
    """The Packed of x W^T + b for x of `ndim` axes."""
    constants = {"w": plain(weight)}
    if bias is not None:
        constants["b"] = plain(bias)
    node = Node("Linear", ["x0", *constants], ["y"])
    return Packed([node], constants, [(float32, ndim)], **few)


def check_linear(x, weight):
    """RuntimeError in torch's words unless x (.., I) fits the weight (O, I)."""
    outputs, inputs = weight.shape
    if x.ndim and x.shape[-1] == inputs:
        return
    if x.ndim == 0:
        raise RuntimeError(
            "both arguments to matmul need to be at least 1D, but they are 0D and 2D"
        )
    rows = math.prod(x.shape[:-1])
    raise RuntimeError(
        f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and {inputs}x{outputs})"
    )


def linear(input, weight, bias=None):
    x, w = float_of(input), weight if isinstance(weight, np.ndarray) else tensor_of(weight)
    if w.ndim == 1:  # the weights of one output, which has no axis
        y = matmul(x, w)
        return y if bias is None else y + bias
    check_linear(x, w)
    if w.size if type(w) is np.ndarray else w.numel():

        def make():
            return pack_linear(w, bias, x.ndim)

        others = () if bias is None else (bias,)
        if all(type(array) is Parameter for array in (w, *others)):
            return kept(w, ("linear", x.ndim), others, make)(x)
        return apply("Linear", [x, float_of(w), *map(float_of, others)])
    y = np.zeros((*x.shape[:-1], w.shape[0]), float32)
    return wrap(y) if bias is None else wrap(y) + bias


def bilinear(input1, input2, weight, bias=None):
    """y[.., o] = sum over i, j of x1[.., i] W[o, i, j] x2[.., j] + b[o]."""
    a, b, w = float_of(input1), float_of(input2), float_of(weight)
    if a.shape[:-1] != b.shape[:-1]:
        i = next((i for i, (n, m) in enumerate(zip(a.shape, b.shape)) if n != m), a.ndim)
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match at dim {i}: got "
            f"{a.shape[i]} and {b.shape[i]}"
        )
    for x, i in ((a, 1), (b, 2)):
        if x.shape[-1] != w.shape[i]:
            raise RuntimeError(
                f"bilinear(): input{i} size does not match weight size: got {x.shape[-1]} but "
                f"expected {w.shape[i]}"
            )
    outputs, first, second = w.shape
    rows = matmul(a.reshape(-1, first), w.permute(1, 0, 2).reshape(first, outputs * second))
    y = matmul(rows.reshape(-1, outputs, second), b.reshape(-1, second, 1))
    y = y.reshape(*a.shape[:-1], outputs)
    return y if bias is None else y + bias


def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0,
              scale_grad_by_freq=False, sparse=False):  # fmt: skip
    if max_norm is not None:
        raise NotImplementedError(
            "embedding: max_norm, which changes the weights, is not supported"
        )
    return _view(_rows(input, weight), Tensor)


def _rows(input, weight):
    i = input if type(input) is Tensor else plain(input)
    w = weight if isinstance(weight, Tensor) else tensor_of(weight)
    if i.dtype != int64:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            "Long, Int; but got torch."
            f"{'FloatTensor' if i.dtype.kind == 'f' else 'BoolTensor'} instead (while checking "
            "arguments for embedding)"
        )
    try:
        if np.minimum.reduce(i, None, initial=0) < 0:
            raise IndexError
        return w.numpy().take(i, 0)
    except IndexError:
        raise IndexError("index out of range in self") from None


def embedding_bag(input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False,
                  mode="mean", sparse=False, per_sample_weights=None, include_last_offset=False,
                  padding_idx=None):  # fmt: skip
    """Sums, means or maxima of bags of rows: the rows of a matrix of indices, or parts of a vector
    of indices that begin at `offsets`."""
    if max_norm is not None:
        raise NotImplementedError(
            "embedding_bag: max_norm, which changes the weights, is not supported"
        )
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    x = plain(input)
    weights = None if per_sample_weights is None else plain(per_sample_weights)
    if weights is not None:
        if weights.shape != x.shape:
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({weights.shape}) is not None, then it must "
                f"have the same shape as the input ({x.shape})"
            )
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only "
                f"supported for mode='sum' (got mode='{mode}'). Please open a feature request on "
                "GitHub."
            )
    if x.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                "of fixed length sequences. However, found offsets of type "
                f"{type(offsets)}"
            )
        starts = [i * x.shape[1] for i in range(x.shape[0] + 1)]
        x, weights = x.reshape(-1), None if weights is None else weights.reshape(-1)
    elif x.ndim == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        starts = plain(offsets)
        if starts.ndim != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        starts = [int(n) for n in starts] + ([] if include_last_offset else [len(x)])
        if starts[0] != 0:
            raise RuntimeError(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start "
                f"from position 0. However, got {starts[0]}"
            )
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {x.ndim}")
    rows = _rows(x, weight)
    if weights is not None:
        rows = rows * weights[:, None].astype(float32)
    found = []
    for start, end in itertools.pairwise(starts):
        bag = rows[start:end]
        if padding_idx is not None:
            bag = bag[x[start:end] != padding_idx % len(plain(weight))]
        if not len(bag):
            found.append(np.zeros(rows.shape[1:], float32))
        elif mode == "max":
            found.append(bag.max(0))
        else:
            op = "ReduceSum" if mode == "sum" else "ReduceMean"
            found.append(plain(apply(op, [bag], ((0,),), keepdims=0)))
    return wrap(np.stack(found) if found else np.zeros((0, rows.shape[1]), float32))


def one_hot(tensor, num_classes=-1):
    x = plain(tensor)
    if x.dtype != int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if x.size and x.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        if not x.size:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(x.max()) + 1
    elif x.size and x.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return wrap((x[..., None] == np.arange(num_classes)).astype(int64))


def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False,
                                 scale=None, enable_gqa=False):  # fmt: skip
    """softmax(q k^T scale + mask) v; a bool mask is true where attention goes. A row that goes
    nowhere is zeros."""
    if enable_gqa:
        raise NotImplementedError("scaled_dot_product_attention: enable_gqa is not supported")
    q, k, v = float_of(query), float_of(key), float_of(value)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = matmul(q * np.float32(scale), k.transpose(-2, -1))
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError("Explicit attn_mask should not be set when is_causal=True")
        attn_mask = np.tri(q.shape[-2], k.shape[-2], dtype=bool)
    if attn_mask is not None:
        mask = tensor_of(attn_mask)
        scores = where(mask, scores, -np.inf) if mask.dtype.kind == "b" else scores + mask
    weights = softmax(scores, -1)
    if attn_mask is not None:
        nowhere = np.isneginf(scores.numpy()).all(-1, keepdims=True)
        weights = where(nowhere, 0.0, weights) if nowhere.any() else weights
    return matmul(weights, v)


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    x = float_of(input)
    if p not in (1, 2):
        raise NotImplementedError(f"normalize: p = {p} is not supported; 1 and 2 are")
    size = apply(f"ReduceL{int(p)}", [x], ((axis_of(dim, x.ndim),),), keepdims=1)
    return x / wrap(np.maximum(size.numpy(), np.float32(eps)))


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    a, b = float_of(x1), float_of(x2)
    dims = (axis_of(dim, max(a.ndim, b.ndim)),)
    total = apply("ReduceSum", [a * b], (dims,), keepdims=0)
    sizes = [
        np.maximum(apply("ReduceL2", [x], (dims,), keepdims=0).numpy(), np.float32(eps))
        for x in (a, b)
    ]
    return total / wrap(sizes[0] * sizes[1])
