# SPDX-License-Identifier: MIT
"""`fastlstm run`: runs a whole model (run_model.py), or a layer of a file on an input array in a
.npy file, and writes the output.

A layer's input and output are memory-mapped, and the layer runs on one piece of them after the
other, so that they may be larger than memory.
"""

import argparse

import numpy as np

from ..config import check_num_threads
from ..files.read import read_state_dict
from ..layers.load import load
from ..layers.weights import PRECISIONS
from ..models.graph import WeightsAlone
from ..models.half import DTYPES
from ..models.load import read_graph
from . import run_model
from .arrays import Progress, array_of, check_new, whole_files
from .files import file_arguments, file_options
from .inspect_model import is_model

HELP = "run a whole model or a layer of a file on arrays (.npy) or audio, of any length"
# Bytes of input and output in memory at a time: enough steps that a call's start is nothing beside
# them, little beside the memory of a machine that runs networks.
PIECE = 16 << 20


def add_arguments(parser):
    parser.add_argument("file", help="a model or weights, in any format that fastlstm reads")
    parser.add_argument(
        "--input", required=True, action="append", metavar="X.npy",
        help="a layer's: (T, B, I), (B, T, I) with --batch-first, or (T, I); a model's: X.npy or "
        "NAME=X.npy for each input, or - for samples from stdin",
    )  # fmt: skip
    parser.add_argument(
        "--output", required=True, action="append", metavar="Y.npy",
        help="is written; a model's: Y.npy or NAME=Y.npy for each output wanted, Y.npz for all, "
        "Y.jsonl or - (stdout) for a line of JSON for each piece",
    )  # fmt: skip
    layers = parser.add_argument_group("layers")
    layers.add_argument("--lengths", metavar="N.npy", help="(B,) integers: steps of each row")
    parser.add_argument(
        "--state",
        metavar="S.npz",
        help="the state before: a layer's h, of an LSTM c; a model's by its names",
    )
    parser.add_argument("--save-state", metavar="S.npz", help="the state after is written")
    layers.add_argument("--prefix", help="which layer, where the file has several")
    layers.add_argument(
        "--batch-first",
        action=argparse.BooleanOptionalAction,
        help="the layout, if the file is wrong",
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of the weights; without it as the file has them"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of products of float32 weights; without it as the "
        "file has them",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    parser.add_argument("--num-threads", type=int)
    run_model.add_arguments(parser)
    file_arguments(layers)


def _state(path, layer, batch):
    """The list of state arrays, float32, that the .npz file `path` holds; with path None those that
    the layer starts from. In the file the axis B may be left out. ValueError if an array is missing
    or has another shape."""
    shapes = dict(zip("hc", layer.state_shapes(batch), strict=False))
    if path is None:
        start = layer.start_state(None, batch)
        return start or [np.zeros(shape, np.float32) for shape in shapes.values()]
    stored = read_state_dict(path)
    for name, shape in shapes.items():
        if name not in stored:
            raise ValueError(f"{path}: no array {name!r}; numpy.savez(path, {', '.join(shapes)})")
        if stored[name].shape not in (shape, (shape[0], shape[2])):
            raise ValueError(f"{path}: {name} has the shape {stored[name].shape}, {shape} is due")
    return [stored[name].reshape(shape).astype(np.float32) for name, shape in shapes.items()]


def _pieces(layer, steps, batch):
    """(first row, rows, first step, steps) of each piece of an input of `batch` rows, of at most
    about PIECE bytes. Pieces are cut in time, for all rows; if a direction runs from the end to the
    beginning, whole rows are cut instead."""
    each = 4 * (layer.input_size + layer.output_size)
    if layer.bidirectional or layer.reverse:
        rows = max(1, PIECE // max(1, each * steps))
        for row in range(0, batch, rows):
            yield row, min(rows, batch - row), 0, steps
        return
    count = max(1, PIECE // max(1, each * batch))
    for step in range(0, steps, count):
        yield 0, batch, step, min(count, steps - step)


def _compute(layer, x, y, lengths, state, progress):
    """Run the layer on x and fill y, both (T, B, .), or (B, T, .) if the layer is batch_first.

    lengths    (B,) integers, the steps of each row, or None for all
    state      a list of arrays, the state before; its arrays become the state after
    progress   a Progress, to which each piece's steps are added
    """
    first = layer.batch_first
    batch, steps = x.shape[:2] if first else x.shape[1::-1]
    for row, rows, step, count in _pieces(layer, steps, batch):
        part = (slice(row, row + rows), slice(step, step + count))
        part = part if first else part[::-1]
        limit = None
        if lengths is not None:
            limit = np.clip(lengths[row : row + rows] - step, 0, count)
        begin = [np.ascontiguousarray(each[:, row : row + rows]) for each in state]
        out, end = layer(x[part], layer.state_from_parts(begin), lengths=limit)
        y[part] = out
        for each, new in zip(state, layer.state_parts(end), strict=True):
            each[:, row : row + rows] = new
        progress.add(rows * count)


def _lengths(path, steps, batch):
    """The lengths in a .npy file: (batch,) int64 from 0 to `steps`, or ValueError."""
    found = array_of(path)
    if found.dtype.kind not in "iu" or found.shape != (batch,):
        raise ValueError(
            f"{path}: lengths of shape {found.shape}, {found.dtype}; ({batch},) integers are due"
        )
    found = found.astype(np.int64)
    if found.size and not (found.min() >= 0 and found.max() <= steps):
        raise ValueError(f"{path}: lengths must be from 0 to {steps}")
    return found


def _is_whole(args):
    """Whether the file is to run as a whole model: it holds one, and no option is a layer's."""
    layers = file_options(args) | {
        name: getattr(args, name)
        for name in ("prefix", "lengths", "batch_first")
        if getattr(args, name) is not None
    }
    del layers["external_data"]  # is for both
    if layers or not is_model(args.file):
        return False
    try:
        read_graph(args.file, args.external_data)
    except WeightsAlone:
        return False
    return True


def run(args):
    """Run the model or the layer and write the output, and the state after if asked for."""
    check_num_threads(args.num_threads)
    if _is_whole(args):
        return run_model.run(args)
    for name in ("input", "output"):
        if len(getattr(args, name)) > 1:
            raise ValueError(f"--{name}: a layer has one")
    if args.chunk is not None or args.value or args.input == ["-"]:
        raise ValueError(f"{args.file}: --chunk, --value and --input - are for whole models")
    check_new(filter(None, (args.output[0], args.save_state)), args.force)
    return _run_layer(args, args.input[0], args.output[0])


def _run_layer(args, input_path, output_path):
    options = file_options(args) | {"num_threads": check_num_threads(args.num_threads)}
    if args.dtype is not None:
        options["dtype"] = args.dtype
    if args.precision is not None:
        options["precision"] = args.precision
    if args.batch_first is not None:
        options["batch_first"] = args.batch_first
    layer = load(args.file, args.prefix, **options)
    x = array_of(input_path)
    given = x.shape
    if x.ndim == 2:
        x = x[None] if layer.batch_first else x[:, None]
    if x.ndim != 3 or x.shape[2] != layer.input_size or x.dtype.kind not in "fiub":
        layout = "(B, T, I)" if layer.batch_first else "(T, B, I)"
        raise ValueError(
            f"{input_path}: shape {given}, {x.dtype}; {layout} or (T, I) of numbers with "
            f"I = {layer.input_size} is due"
        )
    batch, steps = x.shape[:2] if layer.batch_first else x.shape[1::-1]
    lengths = _lengths(args.lengths, steps, batch) if args.lengths else None
    state = _state(args.state, layer, batch)
    shape = (*x.shape[:2], layer.output_size)
    progress = Progress(steps * batch)
    with whole_files(*filter(None, (output_path, args.save_state))) as paths:
        written = shape if len(given) == 3 else (*given[:1], shape[2])
        y = np.lib.format.open_memmap(paths[0], mode="w+", dtype=np.float32, shape=written)
        try:
            _compute(layer, x, y.reshape(shape), lengths, state, progress)
        finally:
            progress.close()
        y.flush()
        del y
        if args.save_state:
            with open(paths[1], "wb") as file:  # savez would add .npz to another name
                np.savez(file, **dict(zip("hc", state, strict=False)))
    print(f"wrote {output_path}: float32 {written}")
    return 0
