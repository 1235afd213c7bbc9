# SPDX-License-Identifier: MIT
"""Layers of products and embeddings, and those that change shapes, torch.nn's."""

from ...engine.arguments import real
from .. import functional as F
from .. import init
from ..array import Parameter
from ..elementwise import tensor_of
from ..functional.linear import check_linear, pack_linear
from ..module import Layer, Module


class Identity(Module):
    """Its input. Arguments are taken and left alone."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        return input


class Linear(Layer):
    """y = x W^T + b: x (.., I) -> y (.., O), weight (O, I), bias (O,)."""

    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(init.default((out_features, in_features), in_features))
        self.register_parameter(
            "bias", Parameter(init.default(out_features, in_features)) if bias else None
        )

    _matrices = ("weight",)

    def _pack(self, ndim):
        return pack_linear(self.weight, self.bias, ndim, **self._few)

    def _check(self, x):
        check_linear(x, self.weight)

    def forward(self, input):
        if not (self.in_features and self.out_features):
            return F.linear(input, self.weight, self.bias)
        return Layer.forward(self, input)

    def extra_repr(self):
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(Module):
    """y = x1^T A x2 + b."""

    def __init__(
        self, in1_features, in2_features, out_features, bias=True, device=None, dtype=None
    ):
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got (in1_features={in1_features})")
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(init.default(shape, in1_features))
        self.register_parameter(
            "bias", Parameter(init.default(out_features, in1_features)) if bias else None
        )

    def forward(self, input1, input2):
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self):
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


def _padding_index(padding_idx, count):
    if padding_idx is None:
        return None
    if padding_idx > 0 and padding_idx >= count:
        raise AssertionError("Padding_idx must be within num_embeddings")
    if padding_idx < 0 and padding_idx < -count:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx + count if padding_idx < 0 else padding_idx


class _Rows(Module):
    """A matrix whose rows are picked by indices."""

    def __init__(self, num_embeddings, embedding_dim, padding_idx, max_norm, _weight):
        super().__init__()
        if max_norm is not None:
            raise NotImplementedError(
                f"{type(self).__name__}: max_norm, which changes the weights, is not supported"
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _padding_index(padding_idx, num_embeddings)
        if _weight is None:
            _weight = init.normal((num_embeddings, embedding_dim))
            if self.padding_idx is not None:
                _weight[self.padding_idx] = 0
        elif tuple(_weight.shape) != (num_embeddings, embedding_dim):
            raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
        self.weight = Parameter(_weight)

    @classmethod
    def from_pretrained(cls, embeddings, freeze=True, **others):
        weight = real("embeddings", embeddings)
        if weight.ndim != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        return cls(*weight.shape, _weight=weight, **others)


class Embedding(_Rows):
    """Rows of a matrix: indices (..) -> (.., E), weight (N, E)."""

    def __init__(self, num_embeddings, embedding_dim, padding_idx=None, max_norm=None,
                 norm_type=2.0, scale_grad_by_freq=False, sparse=False, _weight=None,
                 _freeze=False, device=None, dtype=None):  # fmt: skip
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, _weight)
        self.norm_type, self.scale_grad_by_freq = norm_type, scale_grad_by_freq
        self.sparse, self.max_norm = sparse, max_norm

    def forward(self, input):
        return F.embedding(input, self.weight)

    def extra_repr(self):
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        text += f", padding_idx={self.padding_idx}" if self.padding_idx is not None else ""
        text += f", norm_type={self.norm_type}" if self.norm_type != 2 else ""
        text += f", scale_grad_by_freq={self.scale_grad_by_freq}" * bool(self.scale_grad_by_freq)
        return text + ", sparse=True" * bool(self.sparse)


class EmbeddingBag(_Rows):
    """Sums, means or maxima of rows: indices (B, N), or (N,) with offsets -> (B, E)."""

    def __init__(self, num_embeddings, embedding_dim, max_norm=None, norm_type=2.0,
                 scale_grad_by_freq=False, mode="mean", sparse=False, _weight=None,
                 include_last_offset=False, padding_idx=None, device=None, dtype=None):  # fmt: skip
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, _weight)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.mode, self.sparse = scale_grad_by_freq, mode, sparse
        self.include_last_offset = include_last_offset

    def forward(self, input, offsets=None, per_sample_weights=None):
        return F.embedding_bag(
            input, self.weight, offsets, mode=self.mode, per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset, padding_idx=self.padding_idx,
        )  # fmt: skip

    def extra_repr(self):
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        text += f", norm_type={self.norm_type}" if self.norm_type != 2 else ""
        text += f", scale_grad_by_freq={self.scale_grad_by_freq}" * bool(self.scale_grad_by_freq)
        text += f", mode={self.mode!r}"
        return text + (f", padding_idx={self.padding_idx}" if self.padding_idx is not None else "")


class Flatten(Module):
    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input):
        return tensor_of(input).flatten(self.start_dim, self.end_dim)

    def extra_repr(self):
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    def __init__(self, dim, unflattened_size):
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError(f"unflattened_size must be tuple of ints, but found {type(dim)}")
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input):
        return tensor_of(input).unflatten(self.dim, self.unflattened_size)

    def extra_repr(self):
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class CosineSimilarity(Module):
    def __init__(self, dim=1, eps=1e-8):
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1, x2):
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
