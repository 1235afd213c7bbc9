# SPDX-License-Identifier: MIT
"""Layers of several inputs. What they do with masks differs between Keras 2 and 3, as each says."""

from ..call import layer
from ..target import Tensor


def _inputs(c, least=2):
    """The Tensors of the inputs, floats, all with as many axes: fewer get axes of 1 behind the
    batch."""
    if len(c.inputs) < least:
        raise c.error(f"{len(c.inputs)} inputs, {least} are due")
    most = max(len(c.shape(t.name)) for t in c.inputs)
    found = []
    for t in c.inputs:
        lacking = most - len(c.shape(t.name))
        name = c.floats(t.name)
        found.append(Tensor(c.unsqueeze(name, *range(1, 1 + lacking)) if lacking else name, t.mask))
    return found


def _mask(c, masks):
    """The mask of a merged value: of Keras 3, where any of the inputs counts, if all have one; of
    Keras 2, where all do that have one."""
    if c.known.version >= (3, 0):
        if not all(masks):
            return ""
        op = "Or"
    else:
        masks, op = list(filter(None, masks)), "And"
    found = masks[0] if masks else ""
    for mask in masks[1:]:
        found = mask if mask == found else c.emit(op, found, mask)
    return found


def _wide(c, mask, x):
    """A mask with axes of 1 for x's last ones."""
    lacking = len(c.shape(x)) - len(c.shape(mask))
    at = len(c.shape(mask))
    return c.unsqueeze(mask, *range(at, at + lacking)) if lacking > 0 else mask


def _chain(c, op, names):
    y = names[0]
    for name in names[1:]:
        y = c.emit(op, y, name)
    return y


@layer("Add", "Average", "Subtract")
def add(c):
    inputs = _inputs(c)
    names = [t.name for t in inputs]
    if c.item.class_name == "Subtract" and len(inputs) != 2:
        raise c.error(f"{len(inputs)} inputs, 2 are due")
    y = _chain(c, "Sub" if c.item.class_name == "Subtract" else "Add", names)
    if c.item.class_name == "Average":
        y = c.emit("Div", y, c.number_of(len(names)))
    return Tensor(y, _mask(c, [t.mask for t in inputs]))


@layer("Multiply")
def multiply(c):
    """In Keras 3 a step that does not count is 1 to the others, and 0 where none counts."""
    inputs = _inputs(c)
    mask = _mask(c, [t.mask for t in inputs])
    names = [t.name for t in inputs]
    if c.known.version >= (3, 0):
        names = [
            c.emit("Where", _wide(c, t.mask, t.name), t.name, c.number_of(1)) if t.mask else t.name
            for t in inputs
        ]
    y = _chain(c, "Mul", names)
    if mask and c.known.version >= (3, 0):
        y = c.emit("Where", _wide(c, mask, y), y, c.number_of(0))
    return Tensor(y, mask)


@layer("Maximum", "Minimum")
def extreme(c):
    """In Keras 3 a step that does not count leaves the others' value."""
    op = "Max" if c.item.class_name == "Maximum" else "Min"
    inputs = _inputs(c)
    mask = _mask(c, [t.mask for t in inputs])
    if c.known.version < (3, 0):
        return Tensor(_chain(c, op, [t.name for t in inputs]), mask)
    y, counts = inputs[0].name, inputs[0].mask
    for t in inputs[1:]:
        x = t.name
        if t.mask:
            x = c.emit("Where", _wide(c, t.mask, x), x, y)
        if counts:
            y = c.emit("Where", _wide(c, counts, y), y, x)
        counts = c.emit("Or", counts, t.mask) if counts and t.mask else ""
        y = c.emit(op, y, x)
    return Tensor(y, mask)


@layer("Concatenate")
def concatenate(c):
    """An input without a mask counts in every step, if another has one."""
    names = [t.name for t in c.inputs]
    if not names:
        raise c.error("no inputs")
    if len({c.target.facts[name].dtype for name in names}) > 1:
        names = [c.floats(name) for name in names]
    axes = len(c.shape(names[0]))
    axis = c.axis("axis", -1, axes)
    y = c.emit("Concat", *names, axis=axis)
    if not any(t.mask for t in c.inputs):
        return y
    if axis == axes - 1:
        return Tensor(y, _mask(c, [t.mask for t in c.inputs]))
    masks = [_whole_mask(c, t) for t in c.inputs]
    return Tensor(y, c.emit("Concat", *masks, axis=axis))


def _whole_mask(c, t):
    """The mask of an input; all true if it has none."""
    if t.mask:
        return t.mask
    first = c.emit("ReduceMax", c.floats(t.name), c.constant([-1]), keepdims=0)
    return c.emit("Or", c.emit("IsNaN", first), c.emit("Not", c.emit("IsNaN", first)))


@layer("Dot")
def dot(c):
    """Sums of products along one axis of each; axes that stay are x's and then y's."""
    if len(c.inputs) != 2:
        raise c.error(f"{len(c.inputs)} inputs, 2 are due")
    x, y = (c.floats(t.name) for t in c.inputs)
    shapes = [c.rank(name, 2, 7) for name in (x, y)]
    axes = c.integers("axes", 2, least=-7, most=7)
    axes = [a % len(s) if a < 0 else a for a, s in zip(axes, shapes, strict=True)]
    if any(not 0 < a < len(s) for a, s in zip(axes, shapes, strict=True)):
        raise c.error(f"axes {axes} of inputs of {len(shapes[0])} and {len(shapes[1])} axes")
    if c.flag("normalize", False):
        x, y = (unit(c, name, axis) for name, axis in zip((x, y), axes, strict=True))
    letters = iter("bcdefghijklmn")
    left, right, kept = ["a"], ["a"], ["a"]
    for term, shape, axis in ((left, shapes[0], axes[0]), (right, shapes[1], axes[1])):
        for i in range(1, len(shape)):
            term.append("z" if i == axis else next(letters))
            kept += [] if i == axis else term[-1]
    summed = (shapes[0][axes[0]], shapes[1][axes[1]])
    if None not in summed and summed[0] != summed[1]:
        raise c.error(f"inputs {shapes[0]} and {shapes[1]}: {summed[0]} and {summed[1]} are summed")
    if all(len(s) == 3 for s in shapes):
        x = c.transpose(x, [0, 2, 1]) if axes[0] == 1 else x
        y = c.transpose(y, [0, 2, 1]) if axes[1] == 2 else y
        return c.emit("MatMul", x, y)
    if len(kept) == 1:
        return c.emit("ReduceSum", c.emit("Mul", x, y), c.constant([1]), keepdims=1)
    return c.emit("Einsum", x, y, equation=f"{''.join(left)},{''.join(right)}->{''.join(kept)}")


def unit(c, x, axis, epsilon=1e-12):
    """x divided by its length along an axis; by sqrt(epsilon) where that is shorter."""
    squares = c.emit("ReduceSum", c.emit("Mul", x, x), c.constant([axis]), keepdims=1)
    return c.emit("Div", x, c.emit("Sqrt", c.emit("Max", squares, c.number_of(epsilon))))
