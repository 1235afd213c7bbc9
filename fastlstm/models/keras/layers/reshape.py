# SPDX-License-Identifier: MIT
"""Layers that move, cut, pad and repeat elements. None of them hands a mask on."""

import numpy as np

from ..call import layer


@layer("Reshape")
def reshape(c):
    target = c.config.get("target_shape")
    if not isinstance(target, list) or len(target) > 7:
        raise c.error("target_shape is no list of sizes")
    sizes = c.integers("target_shape", None, least=-1) if target else []
    if sizes.count(-1) > 1:
        raise c.error(f"target_shape {sizes} has -1 twice")
    x = c.x
    if -1 in sizes:
        return c.reshape(x, [(x, 0), *sizes])
    shape = c.shape(x)[1:]
    count, due = 1, 1
    for n in sizes:
        due *= n
    for n in shape:
        count = None if n is None or count is None else count * n
    if count is not None and count != due:
        raise c.error(f"{shape} does not become {tuple(sizes)}")
    return c.emit("Reshape", x, c.constant([-1 if 0 not in sizes else 0, *sizes]))


@layer("Flatten")
def flatten(c):
    x, rank = c.x, len(c.shape())
    if c.channels_first() and rank > 2:
        x = c.transpose(x, [0, *range(2, rank), 1])
    if rank == 1:
        return c.unsqueeze(x, 1)
    return x if rank == 2 else c.emit("Flatten", x, axis=1)


@layer("Permute")
def permute(c):
    rank = len(c.shape())
    dims = c.integers("dims", rank - 1)
    if sorted(dims) != list(range(1, rank)):
        raise c.error(f"dims {dims} of {rank} axes")
    return c.transpose(c.x, [0, *dims])


@layer("RepeatVector")
def repeat_vector(c):
    x = c.x
    c.rank(x, 2)
    return c.emit("Tile", c.unsqueeze(x, 1), c.constant([1, c.integer("n", least=1), 1]))


def _pairs(c, name, axes, default):
    """[(before, after)] of each of the axes: an int for all, an int each, or two each."""
    value = c.config.get(name, default)
    value = [value] * axes if not isinstance(value, list) else value
    if len(value) == 2 and axes == 1:
        value = [value]
    if len(value) == 1 and axes == 1 and not isinstance(value[0], list):
        value = [[value[0], value[0]]]
    if len(value) != axes:
        raise c.error(f"{name} is {value}, of {axes} axes")
    found = []
    for each in value:
        each = each if isinstance(each, list) else [each, each]
        if len(each) != 2 or any(type(n) is not int or not 0 <= n < 1 << 31 for n in each):
            raise c.error(f"{name} is {value}")
        found.append(each)
    return found


def _spatial(c, count):
    """The axes along which a layer of `count` dimensions works."""
    c.rank(c.x, count + 2)
    first = c.channels_first()
    return list(range(2, count + 2)) if first else list(range(1, count + 1))


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(c):
    axes = _spatial(c, int(c.item.class_name[-2]))
    pads = _pairs(c, "padding", len(axes), 1)
    before, after = zip(*pads, strict=True)
    return c.emit("Pad", c.x, c.constant([*before, *after]), "", c.constant(axes))


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(c):
    axes = _spatial(c, int(c.item.class_name[-2]))
    cuts = _pairs(c, "cropping", len(axes), 1)
    for axis, (before, after) in zip(axes, cuts, strict=True):
        n = c.shape()[axis]
        if n is not None and before + after >= n:
            raise c.error(f"cropping {[before, after]} of {n} elements leaves none")
    ends = [-after if after else (1 << 31) - 1 for _, after in cuts]
    starts = [before for before, _ in cuts]
    return c.emit("Slice", c.x, c.constant(starts), c.constant(ends), c.constant(axes))


@layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def up_sampling(c):
    count = int(c.item.class_name[-2])
    axes, x = _spatial(c, count), c.floats(c.x)
    times = c.integers("size", count, 2)
    how = c.choice("interpolation", "nearest", ("nearest", "bilinear")) if count == 2 else "nearest"
    if how == "nearest":
        for axis, n in zip(axes, times, strict=True):
            x = c.repeat(x, axis, n)
        return x
    first = c.channels_first()
    x = x if first else c.transpose(x, [0, 3, 1, 2])
    scales = c.constant([1, 1, *times], np.float32)
    y = c.emit("Resize", x, "", scales, mode="linear",
               coordinate_transformation_mode="half_pixel")  # fmt: skip
    return y if first else c.transpose(y, [0, 2, 3, 1])
