# SPDX-License-Identifier: MIT
"""Attention layers. A mask of the values keeps what does not count out of the sums; where a query
does not count, the output is 0."""

import math

from ..call import layer
from ..item import Variable
from ..target import Tensor
from .basic import plain_weights

_FAR = -1e9  # what Keras adds to scores of steps that do not count


def _causal(c, scores):
    """bool (Tq, Tv): may a query see that key? It sees those up to its own place."""
    one = c.constant(1)
    zero = c.constant(0)
    axes = len(c.shape(scores))
    rows, columns = (
        c.emit("Range", zero, c.squeeze(c.emit("Shape", scores, start=i, end=i + 1), 0), one)
        for i in (axes - 2, axes - 1)
    )
    return c.emit("GreaterOrEqual", c.unsqueeze(rows, 1), c.unsqueeze(columns, 0))


def _dot_variables(config):
    found = [Variable("", "scale")] if config.get("use_scale") else []
    concat = config.get("score_mode", "dot") == "concat"
    return found + ([Variable("", "concat_score_weight")] if concat else [])


def _additive_variables(config):
    return [Variable("", "scale")] if config.get("use_scale", True) else []


def _sums(c, q, k, scale):
    """tanh(q + k) of all pairs, (B, Tq, Tv, dim), before which (dot) or after which scale comes."""
    pairs = c.emit("Add", c.unsqueeze(q, 2), c.unsqueeze(k, 1))
    return c.emit("Tanh", c.emit("Mul", pairs, scale) if scale else pairs)


def _dot_scores(c, q, k):
    scale = c.weight("scale", ()) if c.flag("use_scale", False) else ""
    if c.choice("score_mode", "dot", ("dot", "concat")) == "dot":
        scores = c.emit("MatMul", q, c.transpose(k, [0, 2, 1]))
        return c.emit("Mul", scores, scale) if scale else scores
    total = c.emit("ReduceSum", _sums(c, q, k, scale), c.constant([-1]), keepdims=0)
    return c.emit("Mul", total, c.weight("concat_score_weight", ()))


def _additive_scores(c, q, k):
    pairs = _sums(c, q, k, "")
    if c.flag("use_scale", True):
        pairs = c.emit("Mul", pairs, c.weight("scale", (c.last(q),)))
    return c.emit("ReduceSum", pairs, c.constant([-1]), keepdims=0)


def _attention(c, scores_of):
    """softmax(scores) values, by query, value and key, which is the value if it is not given."""
    if not 2 <= len(c.inputs) <= 3:
        raise c.error(f"{len(c.inputs)} inputs, query, value and perhaps key are due")
    q, v, k = (c.floats(t.name) for t in (*c.inputs, c.inputs[1])[:3])
    for name in (q, v, k):
        c.rank(name, 3)
    scores = scores_of(c, q, k)
    counts = c.inputs[1].mask
    counts = c.unsqueeze(counts, 1) if counts else ""
    if c.flagged("use_causal_mask") or c.config.get("causal") is True:
        seen = _causal(c, scores)
        counts = c.emit("And", counts, seen) if counts else seen
    if counts:
        lowered = c.emit("Add", scores, c.number_of(_FAR))
        scores = c.emit("Where", counts, scores, lowered)
    weights = c.emit("Softmax", scores, axis=-1)
    y = c.emit("MatMul", weights, v)
    mask = c.inputs[0].mask
    if mask:
        y = c.emit("Where", c.unsqueeze(mask, 2), y, c.number_of(0))
    made = Tensor(y, c.masks[0])
    return [made, Tensor(weights)] if c.flagged("return_attention_scores") else made


@layer("Attention", weights=_dot_variables)
def attention(c):
    return _attention(c, _dot_scores)


@layer("AdditiveAttention", weights=_additive_variables)
def additive_attention(c):
    return _attention(c, _additive_scores)


def _heads(config):
    found = []
    for part in ("query_dense", "key_dense", "value_dense", "output_dense"):
        found.append(Variable(part, "kernel"))
        if config.get("use_bias", True):
            found.append(Variable(part, "bias"))
    return found


def _projected(c, x, part, heads, width):
    """(B, N, T, width): a head's projection of each step."""
    due = (c.last(x), heads, width)
    w = c.weight("kernel", due, lambda a: a.reshape(a.shape[0], -1).T, part)
    b = []
    if c.flag("use_bias", True):
        b = [c.weight("bias", (heads, width), lambda a: a.reshape(-1), part)]
    y = c.emit("Linear", x, w, *b)
    return c.transpose(c.reshape(y, [(y, 0), (y, 1), heads, width]), [0, 2, 1, 3])


@layer("MultiHeadAttention", weights=_heads, masks="each")
def multi_head_attention(c):
    """Heads attend side by side; a last projection makes one output of theirs."""
    plain_weights(c)
    q = c.inputs[0]
    value = c.others[0] if c.others else c.argument("value")
    key = c.others[1] if len(c.others) > 1 else c.argument("key")
    for name in ("use_gate", "sliding_window", "attention_axes", "output_shape"):
        value_of = c.config.get(name)
        if value_of and not (name == "attention_axes" and value_of == [1]):
            raise c.error(f"{name}={value_of!r} is not covered")
    if not isinstance(value, Tensor) or not isinstance(key, Tensor | None) or len(c.inputs) != 1:
        raise c.error("its query, value and key must be tensors")
    q, value, key = (
        t if given is None or t is None else Tensor(t.name, given.name)
        for t, given in zip(
            (q, value, key),
            [c.argument(f"{name}_mask") for name in ("query", "value", "key")],
            strict=True,
        )
    )
    x, v, k = (c.floats(t.name) for t in (q, value, key or value))
    for name in (x, v, k):
        c.rank(name, 3)
    heads, width = c.integer("num_heads", least=1), c.integer("key_dim", least=1)
    out = c.integer("value_dim", least=1) if c.config.get("value_dim") is not None else width
    qs = _projected(c, x, "query_dense", heads, width)
    ks = _projected(c, k, "key_dense", heads, width)
    vs = _projected(c, v, "value_dense", heads, out)
    scale = c.number_of(1 / math.sqrt(width))
    scores = c.emit("MatMul", c.emit("Mul", qs, scale), c.transpose(ks, [0, 1, 3, 2]))
    masks = []  # each broadcast with (B, N, Tq, Tv)
    if q.mask:
        masks.append(c.unsqueeze(q.mask, 1, 3))
    masks += [c.unsqueeze(t.mask, 1, 2) for t in (value, key) if t is not None and t.mask]
    given = c.argument("attention_mask")
    if isinstance(given, Tensor):
        masks.append(c.unsqueeze(c.emit("Cast", given.name, to=9), 1))
    elif given is not None:
        raise c.error("its attention_mask is no tensor")
    if c.flagged("use_causal_mask"):
        masks.append(_causal(c, scores))
    counts = masks[0] if masks else ""
    for mask in masks[1:]:
        counts = c.emit("And", counts, mask)
    if counts:
        scores = c.emit("Where", counts, scores, c.number_of(_FAR))
    weights = c.emit("Softmax", scores, axis=-1)
    if counts:
        weights = c.emit("Where", counts, weights, c.number_of(0))
    y = c.transpose(c.emit("MatMul", weights, vs), [0, 2, 1, 3])
    y = c.reshape(y, [(y, 0), (y, 1), heads * out])
    size = c.last(x)
    w = c.weight("kernel", (heads, out, size), lambda a: a.reshape(-1, a.shape[-1]).T,
                 "output_dense")  # fmt: skip
    b = [c.weight("bias", (size,), part="output_dense")] if c.flag("use_bias", True) else []
    made = Tensor(c.emit("Linear", y, w, *b), c.masks[0] or q.mask)
    return [made, Tensor(weights)] if c.flagged("return_attention_scores") else made
