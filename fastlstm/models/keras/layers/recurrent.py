# SPDX-License-Identifier: MIT
"""Recurrent layers. Each becomes a Recurrent, which has x (T, B, I), or one for each stacked cell.

A mask moves the steps that count to the front of each row (MaskPack), and the outputs back to where
those stood (MaskUnpack): where a step does not count, the output is that of the step before it, or
0 with zero_output_for_mask. Without return_sequences the output is the last h, after the last step
that counts."""

import dataclasses

from ....files.keras.cell import Cell
from ....files.keras.configuration import ConfiguredLayer, keyed, list_of, parts_of
from ....files.keras.layer import Unknown, layer_of
from ....files.source import show
from ..call import layer
from ..item import Variable
from ..target import Tensor

_PARTS = ("kernel", "recurrent_kernel", "bias")


def _cell_variables(config, part):
    names = _PARTS if config.get("use_bias", True) is not False else _PARTS[:2]
    return [Variable(part, name) for name in names]


def _parts(class_name, config):
    """[(part of the layer, its dict of the configuration)] of the cells of one direction."""
    if class_name != "RNN":
        return [("cell", {"class_name": class_name, "config": config})]
    cell = config.get("cell")
    name, inner = parts_of(cell)
    if name == "StackedRNNCells":
        found = keyed(list_of(inner, "cells"))
        cells = [(f"cell/cells/{key}", each) for key, each in found]
    elif isinstance(cell, list):  # Keras 2.0
        cells = [(f"cell/cells/{key}", each) for key, each in keyed(cell)]
    else:
        cells = [("cell", cell)]
    outer = {n: config[n] for n in ("go_backwards", "time_major") if n in config}
    return [(part, {"class_name": "RNN", "config": {"cell": each} | outer}) for part, each in cells]


def _own_config(item):
    """The config of a cell in _parts."""
    config = item["config"]
    return parts_of(config.get("cell"))[1] if item["class_name"] == "RNN" else config


def _variables(class_name):
    def found(config):
        every = []
        for part, item in _parts(class_name, config):
            inner = _own_config(item)
            every += _cell_variables(inner if isinstance(inner, dict) else {}, part)
        return every

    return found


def _both_variables(config):
    found = []
    for side in ("forward", "backward"):
        inner = config.get("backward_layer") if side == "backward" else None
        name, own = parts_of(inner if isinstance(inner, dict) else config.get("layer"))
        if isinstance(own, dict):
            found += [Variable(f"{side}_layer/{v.part}", v.name) for v in _variables(name)(own)]
    return found


def _layer(c, item, parts):
    """(Layer, weights) of a dict of the configuration and the parts that have its cells."""
    cells = []
    for part in parts:
        arrays = [c.arrays().get((part, name)) for name in _PARTS]
        cell = Cell.of(arrays)
        if cell is None:
            shapes = [None if a is None else a.shape for a in arrays]
            raise c.error(
                f"its weights {', '.join(_PARTS)} have the shapes "
                f"{', '.join(str(s) for s in shapes)}, which are no cell's"
            )
        cells.append(cell)
    try:
        made, weights = layer_of(cells, ConfiguredLayer(item, (c.item.name,), ("",)), c.known)
    except Unknown as reason:
        raise c.error(str(reason)) from None
    if made.problem:
        raise c.error(made.problem)
    if not made.batch_first:
        raise c.error("time_major is not covered")
    # What else such a layer does, this package does by operators of their own.
    plain = dataclasses.replace(made, output_order="time", merge="concat", batch_first=False,
                                assumed=())  # fmt: skip
    return plain, weights


class _Run:
    """A recurrent layer's run over x, (B, T, I): x with time first and, with a mask, its steps
    packed, and how many there are in each row."""

    def __init__(self, c, options):
        self.c, first = c, c.inputs[0]
        x = c.floats(first.name)
        c.rank(x, 3)
        c.last(x)
        self.mask = first.mask
        self.lengths = ""
        if self.mask:
            if len(c.shape(self.mask)) != 2:
                raise c.error(f"its mask has {len(c.shape(self.mask))} axes, 2 are due")
            x, self.lengths = c.emit("MaskPack", x, self.mask, outputs=2)
        self.x = c.transpose(x, [1, 0, 2])
        self.sequences = options.flag("return_sequences", False)
        self.returns_state = options.flag("return_state", False)
        self.stateful = options.flag("stateful", False)
        self.zeros = options.flag("zero_output_for_mask", False)
        self.initial = self._initial()

    def _initial(self):
        """[names] of the initial state, (B, H) each; [] if there is none."""
        c = self.c
        given = c.argument("initial_state")
        given = c.inputs[1:] if given is None else given
        given = [given] if isinstance(given, Tensor) else given
        if c.argument("constants") is not None or c.config.get("num_constants"):
            raise c.error("constants, which only a user's own cell can take")
        if any(not isinstance(t, Tensor) for t in given):
            raise c.error("its initial_state must be tensors")
        return [c.floats(t.name) for t in given]

    def states(self, made, count, number=""):
        """The names of h0 and c0, (tracks, B, H), of the Recurrent with the Layer `made`; "" for
        zeros. count: how many of the initial states are taken."""
        c, kinds = self.c, "hc"[: 2 if made.kind == "LSTM" else 1]
        tracks, units = made.num_directions, made.hidden_size
        if self.initial:
            taken, self.initial = self.initial[:count], self.initial[count:]
            if len(taken) != len(kinds) * tracks:
                raise c.error(f"{len(taken)} initial states, {len(kinds) * tracks} are due")
            for name in taken:
                if c.shape(name)[-1] not in (None, units) or len(c.shape(name)) != 2:
                    raise c.error(f"an initial state of the shape {c.shape(name)}, "
                                  f"(batch, {units}) is due")  # fmt: skip
            found = []
            for i in range(len(kinds)):
                each = [c.unsqueeze(n, 0) for n in taken[i :: len(kinds)]]
                found.append(each[0] if tracks == 1 else c.emit("Concat", *each, axis=0))
            return found
        if not self.stateful:
            return [""] * len(kinds)
        return [c.reader.state(c.item, kind, number, tracks, units) for kind in kinds]

    def layer(self, x, made, weights, states, number=""):
        """(y, [hn, cn]) of one Recurrent on x."""
        c = self.c
        outputs = c.emit("Recurrent", x, self.lengths, *states, outputs=1 + len(states),
                         layer=made, weights=weights)  # fmt: skip
        if self.stateful:
            for kind, name in zip("hc", outputs[1:], strict=False):
                c.reader.state_output(c.item, kind, number, name)
        return outputs[0], outputs[1:]

    def placed(self, y, back):
        """(B, T, ..) of y (T, B, ..): with a mask each step where it was."""
        c = self.c
        y = c.transpose(y, [1, 0, 2])
        if self.mask:
            y = c.emit("MaskUnpack", y, self.mask, zeros=int(self.zeros), reverse=int(back))
        return y

    def last(self, h, back, had_state):
        """The output (B, H) without return_sequences: h, but 0 in rows in which no step counts."""
        c = self.c
        if self.mask and (had_state or self.zeros):
            if self.zeros:
                last = c.cut(self.mask, 1, *((0, 1) if back else (-1, (1 << 31) - 1)))
            else:
                last = c.unsqueeze(c.emit("Greater", self.lengths, c.constant(0)), 1)
            h = c.emit("Where", last, h, c.number_of(0))
        return h


@layer("LSTM", weights=_variables("LSTM"))
@layer("GRU", weights=_variables("GRU"))
@layer("SimpleRNN", weights=_variables("SimpleRNN"))
@layer("CuDNNLSTM", weights=_variables("CuDNNLSTM"))
@layer("CuDNNGRU", weights=_variables("CuDNNGRU"))
@layer("RNN", weights=_variables("RNN"))
def recurrent(c):
    """Keras' y, then its states if they are asked for: h (and c) of each cell."""
    run, back = _Run(c, c), c.flag("go_backwards", False)
    parts = _parts(c.item.class_name, c.config)
    if not parts:
        raise c.error("it has no cells")
    had_state = bool(run.initial) or run.stateful
    made = [(part, *_layer(c, item, [part])) for part, item in parts]
    x, states = run.x, []
    for i, (_, described, weights) in enumerate(made):
        number = f"_{i}" if len(made) > 1 else ""
        count = 2 if described.kind == "LSTM" else 1
        start = run.states(described, count, number)
        x, ends = run.layer(x, described, weights, start, number)
        states += [c.squeeze(n, 0) for n in ends] if run.returns_state else []
        h = ends[0]
    if run.initial:
        raise c.error(f"{len(run.initial)} initial states too many")
    if run.sequences:
        y = run.placed(x, back)
        y = c.flip(y) if back else y
    else:
        y = run.last(c.squeeze(h, 0), back, had_state)
    mask = c.masks[0] if run.sequences else ""
    return [Tensor(y, mask), *(Tensor(n) for n in states)]


_MERGES = ("concat", "sum", "mul", "ave", None)


@layer("Bidirectional", weights=_both_variables)
def bidirectional(c):
    """Two layers, one of which reads backwards; its outputs are put in the order of time."""
    class_name, config = parts_of(c.config.get("layer"))
    if not isinstance(config, dict) or not class_name:
        raise c.error("it has no layer")
    if c.config.get("merge_mode", "concat") not in _MERGES:
        raise c.error(f"merge_mode is {show(str(c.config.get('merge_mode')))}")
    merge = c.config.get("merge_mode", "concat")
    item = {"class_name": "Bidirectional", "config": c.config}
    forward = [part for part, _ in _parts(class_name, config)]
    if len(forward) != 1:
        raise c.error("a Bidirectional of stacked cells, each direction a stack of its own")
    sides = [f"{side}_layer/{forward[0]}" for side in ("forward", "backward")]
    options = type(c)(c.reader, dataclasses.replace(c.item, config=config), [], [], {})
    run = _Run(c, options)
    if c.flag("stateful", False):
        run.stateful = True
    made, weights = _layer(c, item, sides)
    # Where there are sequences, Keras makes the outputs of steps that do not count 0 here; before
    # it was TensorFlow's, they were repeated.
    new = c.known.version >= (2, 4) or c.known.is_tf_keras
    run.zeros = run.sequences if new else run.zeros
    count = 4 if made.kind == "LSTM" else 2
    had_state = bool(run.initial) or run.stateful
    start = run.states(made, count)
    if run.initial:
        raise c.error(f"{len(run.initial)} initial states too many")
    y, ends = run.layer(run.x, made, weights, start)
    units = made.hidden_size
    whole = run.sequences and merge == "concat" and (run.zeros or not run.mask)
    if whole:
        outputs = [run.placed(y, False)]
    elif run.sequences:
        halves = c.emit("Split", y, c.constant([units, units]), outputs=2, axis=2)
        outputs = [run.placed(half, back) for half, back in zip(halves, (False, True), strict=True)]
    else:
        halves = c.emit("Split", ends[0], c.constant([1, 1]), outputs=2, axis=0)
        outputs = [
            run.last(c.squeeze(half, 0), back, had_state)
            for half, back in zip(halves, (False, True), strict=True)
        ]
    if len(outputs) == 2 and merge is not None:
        outputs = [_merged(c, merge, outputs)]
    mask = c.masks[0] if run.sequences else ""
    found = [Tensor(y, mask) for y in outputs]
    if run.returns_state:
        parts = [c.emit("Split", n, c.constant([1, 1]), outputs=2, axis=0) for n in ends]
        for side in range(2):
            found += [Tensor(c.squeeze(part[side], 0)) for part in parts]
    return found


def _merged(c, merge, outputs):
    if merge == "concat":
        return c.emit("Concat", *outputs, axis=-1)
    y = c.emit("Mul" if merge == "mul" else "Add", *outputs)
    return c.emit("Mul", y, c.number_of(0.5)) if merge == "ave" else y
