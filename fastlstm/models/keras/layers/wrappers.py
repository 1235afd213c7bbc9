# SPDX-License-Identifier: MIT
"""TimeDistributed: a layer or model on every step of (B, T, ...) by itself."""

from ..call import Call
from ..nodes import flat
from ..target import Tensor

# Layers that compute each step by itself anyway, whatever axes are before the last.
_BY_THEMSELVES = ("Dense", "Activation", "Dropout", "ReLU", "LeakyReLU", "ELU", "Identity")


def time_distributed(reader, item, args, kwargs):
    """[Tensor] that it makes: the rows of all steps, (B T, ...), go through the layer at once."""
    inner = item.children[0]
    inputs = flat(args[0]) if args else []
    if len(inputs) != 1:
        raise item.error(f"{len(inputs)} inputs, 1 is due")
    c = Call(reader, item, inputs, args[1:], kwargs)
    if inner.config.get("stateful") is True:
        raise item.error("a stateful layer for each step")
    x, mask = inputs[0].name, inputs[0].mask
    given = kwargs.get("mask")
    used = given.name if isinstance(given, Tensor) else mask
    shape = c.rank(x, 3 if inner.is_model else 2, 8)
    if inner.class_name in _BY_THEMSELVES and len(shape) > 2:
        return [Tensor(reader.call(inner, [Tensor(x)], {})[0].name, mask)]
    rows = Tensor(c.reshape(x, [-1, *((x, i) for i in range(2, len(shape)))]))
    if used and len(c.shape(used)) == 3:
        rows = Tensor(rows.name, c.reshape(used, [-1, (used, 2)]))
    made = reader.call(inner, [rows], {})
    found = []
    for tensor in made:
        y = tensor.name
        rest = [(y, i) for i in range(1, len(c.shape(y)))]
        found.append(Tensor(c.reshape(y, [(x, 0), (x, 1), *rest]), mask))
    return found
