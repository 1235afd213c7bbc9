# SPDX-License-Identifier: MIT
"""MultiheadAttention, torch.nn's."""

import math

import numpy as np

from .. import functional as F
from .. import init
from ..array import Parameter, float32
from ..elementwise import float_of, tensor_of, where
from ..functional.linear import matmul
from ..module import Module
from ..packing import kept
from ..reduce import mean, softmax
from ..shape import chunk, zeros
from .linear import Linear


class MultiheadAttention(Module):
    """softmax(q k^T / sqrt(E / heads)) v for each head, of query (T, B, E), key and value
    (S, B, ..), all (B, ..) first with batch_first, or without a batch axis.

    Answers (y, weights): weights (B, T, S), the mean of the heads, or (B, heads, T, S) with
    average_attn_weights=False, or None with need_weights=False.
    """

    def __init__(self, embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False,
                 add_zero_attn=False, kdim=None, vdim=None, batch_first=False, device=None,
                 dtype=None):  # fmt: skip
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        if add_bias_kv or add_zero_attn:
            raise NotImplementedError(
                "MultiheadAttention: add_bias_kv and add_zero_attn are not supported"
            )
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first, self.head_dim = batch_first, embed_dim // num_heads
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        sizes = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        for name, size in sizes.items():
            self.register_parameter(
                name,
                None if self._qkv_same_embed_dim else _xavier((embed_dim, size)),
            )
        self.register_parameter(
            "in_proj_weight",
            _xavier((3 * embed_dim, embed_dim)) if self._qkv_same_embed_dim else None,
        )
        zeros_ = Parameter(np.zeros(3 * embed_dim, float32))
        self.register_parameter("in_proj_bias", zeros_ if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias)
        if bias:
            self.out_proj.bias = Parameter(np.zeros(embed_dim, float32))

    def _projected(self, query, key, value):
        bias = self.in_proj_bias
        biases = (None,) * 3 if bias is None else chunk(bias, 3)
        if self._qkv_same_embed_dim:
            weights = chunk(self.in_proj_weight, 3)
            if query is key and key is value:
                return chunk(F.linear(query, self.in_proj_weight, bias), 3, -1)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            if bias is not None:  # as Parameters, the same at every call: they are packed once
                biases = kept(bias, ("parts",), (), lambda: [*map(Parameter, chunk(bias, 3))])
        return [
            F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)
        ]

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None,
                average_attn_weights=True, is_causal=False):  # fmt: skip
        if is_causal and attn_mask is None:
            raise RuntimeError("need attn_mask if specifying the is_causal hint.")
        if query.ndim not in (2, 3):
            raise AssertionError(
                f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D "
                "query tensor"
            )
        batched = query.ndim == 3
        q, k, v = self._projected(*(_same(query, key, value)))
        axis = (0 if self.batch_first else 1) if batched else None
        q, k, v = (self._heads(x, axis) for x in (q, k, v))
        scores = matmul(q * np.float32(1 / math.sqrt(self.head_dim)), k.transpose(-2, -1))
        if attn_mask is not None:
            scores = scores + _additive(self._by_head(attn_mask, scores))
        if key_padding_mask is not None:
            mask = tensor_of(key_padding_mask)
            mask = mask if batched else mask.unsqueeze(0)
            scores = scores + _additive(mask.unsqueeze(1).unsqueeze(2))
        weights = softmax(scores, -1)
        y = matmul(weights, v).transpose(1, 2)
        y = self.out_proj(y.reshape(*y.shape[:2], self.embed_dim))
        weights = mean(weights, 1) if average_attn_weights else weights
        if not batched:
            y, weights = y.squeeze(0), weights.squeeze(0)
        elif not self.batch_first:
            y = y.transpose(0, 1)
        return y, weights if need_weights else None

    def _heads(self, x, axis):
        """(B, heads, T, E / heads) of x with its batch on `axis`, or without one."""
        x = x.unsqueeze(0) if axis is None else x.transpose(0, 1) if axis else x
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _by_head(self, mask, scores):
        mask = tensor_of(mask)
        if mask.ndim == 3:  # (B heads, T, S)
            return mask.reshape(-1, self.num_heads, *mask.shape[1:])
        if mask.shape != scores.shape[2:]:
            raise RuntimeError(
                f"The shape of the 2D attn_mask is {mask.shape}, but should be {scores.shape[2:]}."
            )
        return mask


def _same(query, key, value):
    """The three as Tensors, those that are the same object as the same."""
    q = float_of(query)
    k = q if key is query else float_of(key)
    return q, k, k if value is key else float_of(value)


def _additive(mask):
    """What is added to the scores: a bool mask is true where attention does not go."""
    if mask.dtype.kind == "b":
        return where(mask, -np.inf, zeros(1))
    return mask


def _xavier(shape):
    return init.xavier_uniform_(Parameter(np.empty(shape, float32)))
