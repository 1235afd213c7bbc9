# SPDX-License-Identifier: MIT
"""One call of a Keras layer: its options, weights and inputs, checked; and the layers' register.

    @layer("Dense", weights=of("kernel", "bias"), masks="pass")
    def dense(c): ...          c is the Call; gives a value's name, a Tensor, or a list of Tensors

weights   f(config) -> [Variable], in the order in which the layer makes them
masks     what becomes of the mask of the (first) input: "pass": it is the output's; "stop": it ends
          here. A function that gives Tensors has said so itself. "each": the layer looks at the
          mask of each argument, where others of Keras 3 look at none if there are several
"""

import math

import numpy as np

from ...files.source import show
from ..infer import RUN_DTYPES
from .item import Variable, as_float

LAYERS = {}  # {class name: (function, weights, masks)}
MOST = (1 << 31) - 1  # an int of a configuration
FLOAT, INT, BOOL = RUN_DTYPES


def layer(*classes, weights=None, masks="stop"):
    def register(function):
        for name in classes:
            LAYERS[name] = (function, weights or (lambda config: []), masks)
        return function

    return register


def of(*names, **when):
    """The Variables of these names; kernel="use_bias": only if the configuration's use_bias is true
    (the default)."""

    def variables(config):
        return [
            Variable("", name)
            for name in names
            if name not in when or config.get(when[name], True) is not False
        ]

    return variables


class Call:
    """inputs   Tensors of the first argument, in their order, with the masks that are to be used
    masks    the names of their masks that are handed on, "" for none
    first    the first argument as it is, others: further positional ones
    kwargs   {name: Tensor, list of these, or a plain value}; those taken by `argument` are left out
    known    files.keras.layer.Known: the version of Keras
    """

    def __init__(self, reader, item, inputs, others, kwargs):
        self.reader, self.item, self.target = reader, item, reader.target
        self.inputs, self.others, self.kwargs = inputs, others, dict(kwargs)
        self.config, self.known, self.title = item.config, reader.known, item.title
        self.masks, self.first, self._arrays = [t.mask for t in inputs], None, None

    def error(self, rule):
        return self.item.error(rule)

    # ---- inputs

    @property
    def x(self):
        """The name of the only input."""
        if len(self.inputs) != 1:
            raise self.error(f"{len(self.inputs)} inputs, 1 is due")
        return self.inputs[0].name

    @property
    def mask(self):
        """The name of the only input's mask, or ""."""
        return self.inputs[0].mask if len(self.inputs) == 1 else ""

    def shape(self, name=None):
        return self.target.shape(self.x if name is None else name)

    def rank(self, name, least, most=None):
        """The shape of a value of `least` axes, or so many to `most`; ModelError for others."""
        shape = self.target.shape(name)
        if not least <= len(shape) <= (least if most is None else most):
            due = least if most is None or most == least else f"{least} to {most}"
            raise self.error(f"its input has the shape {_shown(shape)}, {due} axes are due")
        return shape

    def last(self, name):
        """The size of the last axis, which must be known."""
        shape = self.target.shape(name)
        if not shape or shape[-1] is None:
            raise self.error(
                f"its input has the shape {_shown(shape)}: the last size must be known"
            )
        return shape[-1]

    def floats(self, name):
        """The value as float32."""
        if self.target.facts[name].dtype == FLOAT:
            return name
        return self.emit("Cast", name, to=1)

    def ints(self, name):
        if self.target.facts[name].dtype == INT:
            return name
        return self.emit("Cast", name, to=7)

    def argument(self, name, default=None):
        """An argument of the call; a layer must ask for all that it covers."""
        found = self.kwargs.pop(name, None)
        return default if found is None else found

    def flagged(self, name):
        """A bool argument of the call."""
        found = self.argument(name, False)
        if not isinstance(found, bool):
            raise self.error(f"the argument {name} is {show(str(found))}, not true or false")
        return found

    # ---- options

    def integer(self, name, default=None, least=0, most=MOST):
        value = self.config.get(name, default)
        return self.integer_of(value, name, least, most)

    def integer_of(self, value, name, least, most):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.error(
                f"{name} is {show(str(value))}, an integer from {least} to {most} is due"
            )
        return value

    def integers(self, name, count, default=None, least=1, most=MOST):
        """A list of `count` ints (None: any number); one int stands for all."""
        value = self.config.get(name, default)
        if isinstance(value, list | tuple):
            if count is not None and len(value) == 1 and count > 1:
                value = list(value) * count
            if (count is not None and len(value) != count) or len(value) > 8:
                raise self.error(f"{name} has {len(value)} numbers, {count} are due")
            return [self.integer_of(n, name, least, most) for n in value]
        return [self.integer_of(value, name, least, most)] * (count or 1)

    def number(self, name, default=None):
        value = self.config.get(name, default)
        if isinstance(value, dict):  # an array of one number, as Keras 2 writes it
            value = value.get("value", value.get("config"))
            value = value.get("value") if isinstance(value, dict) else value
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise self.error(f"{name} is {show(str(value))}, a number is due")
        return float(value)

    def flag(self, name, default):
        value = self.config.get(name, default)
        if value is None:
            return default
        if value not in (True, False) or isinstance(value, float):
            raise self.error(f"{name} is {show(str(value))}, not true or false")
        return bool(value)

    def choice(self, name, default, choices):
        value = self.config.get(name, default)
        value = default if value is None else value
        if not isinstance(value, str) or value not in choices:
            raise self.error(f"{name} is {show(str(value))}, not one of {', '.join(choices)}")
        return value

    def channels_first(self):
        return self.choice("data_format", "channels_last", ("channels_last", "channels_first")) == (
            "channels_first"
        )

    def axis(self, name, default, axes):
        """One axis of `axes`, counted from 0; a list of one is taken too."""
        value = self.config.get(name, default)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        return self.integer_of(value, name, -axes, axes - 1) % axes

    # ---- weights

    def arrays(self):
        """{(part, name): array} of the layer's variables, as the file has them."""
        if self._arrays is None:
            found = self.reader.weights.of(self.item)
            self._arrays = {(v.part, v.name): array for v, array in found.items()}
        return self._arrays

    def array(self, name, shape, part=""):
        """A weight as float32; ModelError if it is not there, or has not the shape (None for a size
        that the weight decides)."""
        found = self.arrays().get((part, name))
        if found is None:
            raise self.error(
                f"its weight {'/'.join(filter(None, (part, name)))} is not in the file"
            )
        due = tuple(shape)
        if len(due) != found.ndim or any(
            n not in (None, m) for n, m in zip(due, found.shape, strict=True)
        ):
            raise self.error(f"its {name} has the shape {found.shape}, {_shown(due)} is due")
        if found.dtype.kind not in "fiu":
            raise self.error(f"its {name} is {found.dtype}")
        return as_float(found)

    def weight(self, name, shape, change=None, part=""):
        """The name of a constant made of a weight. change: what is made of the array, a function
        or None."""

        def make():
            array = self.array(name, shape, part)
            return array if change is None else change(array)

        return self.held("/".join(filter(None, (part, name))), make)

    def held(self, what, make):
        """The name of the constant `make()`, made once for all calls of the layer."""
        key = (self.item, f"{self.title}/{what}")
        return self.target.made(key) or self.target.constant(self.title, make(), key)

    # ---- the graph

    def emit(self, op, *inputs, outputs=1, **attrs):
        """The name of a new node's output; the list of them for several."""
        found = self.target.emit(self.title, op, inputs, outputs, **attrs)
        return found[0] if outputs == 1 else found

    def constant(self, values, dtype=np.int64):
        return self.target.constant(self.title, np.asarray(values, dtype))

    def number_of(self, value):
        """The name of a float32 scalar."""
        return self.constant(value, np.float32)

    def transpose(self, name, perm):
        return name if list(perm) == sorted(perm) else self.emit("Transpose", name, perm=list(perm))

    def unsqueeze(self, name, *axes):
        return self.emit("Unsqueeze", name, self.constant(list(axes)))

    def squeeze(self, name, *axes):
        return self.emit("Squeeze", name, self.constant(list(axes)))

    def reshape(self, name, sizes):
        """sizes: an int each, -1 at most once, or (name, axis): that value's size there."""
        unknown = [i for i, n in enumerate(sizes) if not isinstance(n, int)]
        sizes = list(sizes)
        for i in unknown:
            known = self.shape(sizes[i][0])[sizes[i][1]]
            if known is not None:
                sizes[i] = known
        unknown = [i for i, n in enumerate(sizes) if not isinstance(n, int)]
        if len(unknown) == 1 and -1 not in sizes and 0 not in sizes:
            sizes[unknown[0]], unknown = -1, []
        kept = [i for i in unknown if sizes[i] == (name, i)]  # 0: as the input has it
        if kept == unknown and 0 not in sizes:
            return self.emit("Reshape", name, self.constant([0 if i in kept else n for i, n in
                             enumerate(sizes)]))  # fmt: skip
        return self.emit("Reshape", name, self.sizes(sizes), allowzero=1)

    def sizes(self, sizes):
        """The name of an int64 vector of sizes: an int each, or (name, axis)."""
        parts = []
        for n in sizes:
            if isinstance(n, int):
                parts.append(self.constant([n]))
            else:
                parts.append(self.emit("Shape", n[0], start=n[1], end=n[1] + 1))
        return self.emit("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]

    def flip(self, name, axis=1):
        """The value with that axis backwards."""
        return self.emit("Slice", name, self.constant([-1]), self.constant([-(1 << 63) + 1]),
                         self.constant([axis]), self.constant([-1]))  # fmt: skip

    def cut(self, name, axis, start, end):
        return self.emit("Slice", name, self.constant([start]), self.constant([end]),
                         self.constant([axis]))  # fmt: skip

    def repeat(self, name, axis, times):
        """Each element along an axis `times` times in a row."""
        if times == 1:
            return name
        shape = self.shape(name)
        tiles = [1] * (len(shape) + 1)
        tiles[axis + 1] = times
        wide = self.emit("Tile", self.unsqueeze(name, axis + 1), self.constant(tiles))
        sizes = [(wide, i) for i in range(axis)]
        sizes.append(-1 if shape[axis] is None else shape[axis] * times)
        sizes += [(wide, i + 1) for i in range(axis + 1, len(shape))]
        return self.reshape(wide, sizes)


def _shown(shape):
    return f"({', '.join('?' if n is None else str(n) for n in shape)})"
