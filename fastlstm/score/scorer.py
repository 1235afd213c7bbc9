# SPDX-License-Identifier: MIT
"""Scorer: a table of sequences to a table of outputs.

Sequences of like lengths make a batch, until it has batch_steps real steps: rows of a layer are of
any lengths (no step is computed past a row's end), those of a whole model of one length. The bits
of a row do not depend on its batch, so they are those of a loop over the rows.
"""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa

from ..models.graph import ModelError
from ..models.load import load_any
from .columns import column, sequences

BATCH_STEPS = 1 << 14
PADDED = 4  # times batch_steps: a batch's most steps in memory, padding with them


class Scorer:
    """model     a file of a layer or of a whole model       column   its sequences' name
    output_column   the outputs' name; of a model with several outputs `output_column`_name each
    every_step   of a layer: the output of each step, not only the last layer's final h
    keep         names of columns that are copied
    constants    inputs of a model that are the same for all rows
    batch_steps  real steps of a batch, about

    A null stays null. Errors as those of the model's calls, with the row's number.
    """

    def __init__(
        self,
        model: str | PathLike[str],
        column: str,
        output_column: str = "y",
        *,
        every_step: bool = False,
        keep: Iterable[str] = (),
        constants: Mapping[str, Any] | None = None,
        batch_steps: int = BATCH_STEPS,
        num_threads: int | None = None,
    ) -> None:
        loaded = load_any(model, num_threads=num_threads)
        self.column, self.keep, self.batch_steps = column, list(keep), int(batch_steps)
        if self.batch_steps < 1:
            raise ValueError(f"batch_steps must be at least 1, got {batch_steps}")
        if hasattr(loaded, "graph"):
            if every_step:
                raise ValueError(f"{model} is a whole model, which gives what it gives: every_step")
            self.rows = _ModelRows(loaded, dict(constants or {}))
        else:
            if constants:
                raise ValueError(f"{model} is a layer, which has no inputs {', '.join(constants)}")
            self.rows = _LayerRows(loaded, every_step)
        names = self.rows.names
        self.outputs = (
            [output_column] if len(names) == 1 else [f"{output_column}_{name}" for name in names]
        )
        clash = [name for name in self.outputs if name in self.keep]
        if clash:
            raise ValueError(f"the column {clash[0]!r} is kept and is an output: name it otherwise")

    def schema(self, given: pa.Schema) -> pa.Schema:
        """The schema of the tables that come of tables of the schema `given`; ValueError if it does
        not have the columns."""
        for name in (self.column, *self.keep):
            if given.get_field_index(name) < 0:
                raise ValueError(f"there is no column {name!r}; there are {', '.join(given.names)}")
        kept = [given.field(name) for name in self.keep]
        made = [pa.field(n, k) for n, k in zip(self.outputs, self.rows.types, strict=True)]
        return pa.schema(kept + made)

    def __call__(self, table: pa.Table) -> pa.Table:
        """A pa.Table: the kept columns and the outputs, in the rows' order."""
        schema = self.schema(table.schema)
        given = sequences(table[self.column], self.column)
        results = self.rows.results(given, self._batches(given))
        made = [column(rows, kind) for rows, kind in zip(results, self.rows.types, strict=True)]
        return pa.Table.from_arrays([*(table[name] for name in self.keep), *made], schema=schema)

    def _batches(self, given):
        """Row numbers of each batch, the longest sequences first."""
        rows = np.flatnonzero(given.valid)
        rows = rows[np.argsort(-given.lengths[rows], kind="stable")]
        begin = steps = 0
        for at, row in enumerate(rows):
            length = max(int(given.lengths[row]), 1)
            ends = self.rows.one_length and given.lengths[rows[begin]] != given.lengths[row]
            padded = (at - begin + 1) * int(given.lengths[rows[begin]])
            ends = ends or padded > PADDED * self.batch_steps
            if at > begin and (ends or steps + length > self.batch_steps):
                yield rows[begin:at]
                begin, steps = at, 0
            steps += length
        if len(rows):
            yield rows[begin:]


class _LayerRows:
    one_length, names = False, ("y",)

    def __init__(self, layer, every_step):
        self.layer, self.every_step = layer.copy_with(batch_first=False), every_step
        step = pa.list_(pa.float32(), layer.output_size)
        self.types = [pa.list_(step) if every_step else step]

    def results(self, given, batches):
        made, size = [None] * len(given), self.layer.input_size
        values = given.values
        if not len(values):
            values = np.zeros((0, size), np.float32)  # whose width no step tells
        elif values.ndim == 1 and size == 1:
            values = values[:, None]
        if values.shape[1:] != (size,):
            raise ValueError(
                f"steps have the shape {values.shape[1:]}, the layer takes ({size},) numbers"
            )
        for rows in batches:
            lengths = given.lengths[rows]
            x = np.zeros((max(int(lengths.max()), 1), len(rows), size), np.float32)
            for i, row in enumerate(rows):
                start = given.starts[row]
                x[: lengths[i], i] = values[start : start + lengths[i]]
            y, _ = self.layer(x, lengths=lengths, return_sequences=self.every_step)
            for i, row in enumerate(rows):
                made[row] = y[: lengths[i], i] if self.every_step else y[i]
        return [made]


class _ModelRows:
    one_length = True

    def __init__(self, model, constants):
        self.model, self.constants = model, constants
        free = [v for v in model.inputs if v.name not in constants]
        unknown = set(constants) - {v.name for v in model.inputs}
        if unknown:
            raise ValueError(f"there is no input {', '.join(sorted(unknown))}")
        pairs = {}
        if len(free) > 1:
            pairs = model.stream(1, None, **constants).pairs or {}
        given = [v for v in free if v.name not in pairs]
        if len(given) != 1 or given[0].shape is None:
            raise ModelError(
                f"one input is the column's, the others are constants or states; there are "
                f"{', '.join(v.name for v in given)}"
            )
        (self.input,) = given
        self.states = [each for each in model._inputs if each.name in pairs]
        axes = [i for i, n in enumerate(self.input.shape) if not isinstance(n, int)]
        if not axes:
            raise ModelError(f"the input {self.input} has no free axis, which is the batch's")
        names = {n for each in self.states for n in each.value.shape if isinstance(n, str) and n}
        named = [i for i in axes if self.input.shape[i] in names]
        self.candidates, self.axis = named if len(named) == 1 else axes, None
        kept = [(i, v) for i, v in enumerate(model.outputs) if v.name not in pairs.values()]
        self.kept, self.names = [i for i, _ in kept], [v.name for _, v in kept]
        self.types, self.axes = [self._type(v) for _, v in kept], None

    @staticmethod
    def _type(value):
        if value.shape is None:
            raise ModelError(f"the file does not say how many axes the output {value} has")
        kind = pa.from_numpy_dtype(value.dtype)
        for _ in value.shape[1:]:
            kind = pa.list_(kind)
        return kind

    def results(self, given, batches):
        made = [[None] * len(given) for _ in self.kept]
        for rows in batches:
            each = [given.row(row) for row in rows]
            if self.axis is None:
                self._find_axes(each[0])
            for to, y, axis in zip(made, self._call(each), self.axes, strict=True):
                for row, part in zip(rows, np.moveaxis(y, axis, 0), strict=True):
                    to[row] = part
        return made

    def _find_axes(self, row):
        """Which axis of the input is the batch, and of each output: the one along which a row and
        the same row backwards have, side by side, the outputs that each has alone. ModelError."""
        pair, error = [row, row[::-1]], None
        for axis in self.candidates:
            try:
                two, three = self._call(pair, axis), self._call([*pair, row], axis)
                alone = [self._call([one], axis) for one in pair]
            except ValueError as caught:
                error = caught
                continue
            found = [
                [i for i, n in enumerate(y.shape) if (n, z.shape[i]) == (2, 3)]
                for y, z in zip(two, three, strict=True)
            ]
            if all(len(grown) == 1 for grown in found):
                axes = [grown[0] for grown in found]
                if all(
                    np.allclose(
                        y.take(i, at), one.take(0, at), rtol=1e-3, atol=1e-5, equal_nan=True
                    )
                    for i in range(2)
                    for y, one, at in zip(two, alone[i], axes, strict=True)
                ):
                    self.axis, self.axes = axis, axes
                    return
        raise error or ModelError(
            f"which axis of the input {self.input} is the batch is not known: along none of its "
            "free axes do rows have the outputs that they have alone"
        )

    def _call(self, rows, axis=None):
        inputs = {each.name: each.zeros(len(rows)) for each in self.states}
        x = np.stack(rows, self.axis if axis is None else axis)
        made = self.model.run(self.constants | inputs | {self.input.name: x})
        return [made[i] for i in self.kept]
