# SPDX-License-Identifier: MIT
"""`fastlstm run`: runs a layer of a file on an input array in a .npy file and writes the output.

Input and output are memory-mapped, and the layer runs on one piece of them after the other, so that
they may be larger than memory.
"""

import argparse
import contextlib
import os
import sys
import tempfile

import numpy as np

from ..config import check_num_threads
from ..files.read import read_state_dict
from ..layers.load import load
from .files import file_arguments, file_options

HELP = "run a layer of a file on an input array (.npy), of any length"
# Bytes of input and output in memory at a time: enough steps that a call's start is nothing beside
# them, little beside the memory of a machine that runs networks.
PIECE = 16 << 20
BAR = 30  # characters of the bar that shows progress


def add_arguments(parser):
    parser.add_argument("file", help="weights, in any format that fastlstm reads")
    parser.add_argument("--input", required=True, metavar="X.npy",
                        help="(T, B, I), (B, T, I) with --batch-first, or (T, I)")  # fmt: skip
    parser.add_argument("--output", required=True, metavar="Y.npy", help="is written, float32")
    parser.add_argument("--lengths", metavar="N.npy", help="(B,) integers: steps of each row")
    parser.add_argument("--state", metavar="S.npz", help="the state before: h, of an LSTM c")
    parser.add_argument("--save-state", metavar="S.npz", help="the state after is written")
    parser.add_argument("--prefix", help="which layer, where the file has several")
    parser.add_argument(
        "--batch-first",
        action=argparse.BooleanOptionalAction,
        help="the layout, if the file is wrong",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    parser.add_argument("--num-threads", type=int)
    file_arguments(parser)


class Progress:
    """A bar on stderr that shows how many of `total` steps are done; nothing if stderr is not a
    terminal."""

    def __init__(self, total):
        self.total, self.done, self.shown = total, 0, -1
        self.on = sys.stderr.isatty()

    def add(self, count):
        self.done += count
        part = BAR * self.done // max(self.total, 1)
        if self.on and part != self.shown:
            self.shown = part
            text = "#" * part + "." * (BAR - part)
            sys.stderr.write(f"\r[{text}] {100 * self.done // max(self.total, 1)} %")
            sys.stderr.flush()

    def close(self):
        if self.on and self.shown >= 0:
            sys.stderr.write("\r\x1b[K")


def _array(path):
    """The array of a .npy file, memory-mapped; ValueError if it is none."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path}: not an array that numpy.save wrote (.npy)") from None


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
    found = _array(path)
    if found.dtype.kind not in "iu" or found.shape != (batch,):
        raise ValueError(
            f"{path}: lengths of shape {found.shape}, {found.dtype}; ({batch},) integers are due"
        )
    found = found.astype(np.int64)
    if found.size and not (found.min() >= 0 and found.max() <= steps):
        raise ValueError(f"{path}: lengths must be from 0 to {steps}")
    return found


@contextlib.contextmanager
def _whole_files(*paths):
    """For the files `paths`, links followed: a list of paths to write instead. On leaving without
    an error all are moved to their places, so that an interrupted run leaves no half of a file.
    Each is in a new folder beside its own file, as no file can be moved to another file system."""
    targets = [os.path.realpath(path) for path in paths]
    with contextlib.ExitStack() as stack:
        temporary = []
        for target in targets:
            folder = tempfile.TemporaryDirectory(dir=os.path.dirname(target), prefix=".fastlstm-")
            temporary.append(os.path.join(stack.enter_context(folder), os.path.basename(target)))
        yield temporary
        for path, target in zip(temporary, targets, strict=True):
            os.replace(path, target)


def run(args):
    """Run the layer and write the output, and the state after if asked for."""
    for path in filter(None, (args.output, args.save_state)):
        if os.path.lexists(path) and not args.force:
            raise ValueError(f"{path} is there already; --force replaces it")
    options = file_options(args) | {"num_threads": check_num_threads(args.num_threads)}
    if args.batch_first is not None:
        options["batch_first"] = args.batch_first
    layer = load(args.file, args.prefix, **options)
    x = _array(args.input)
    given = x.shape
    if x.ndim == 2:
        x = x[None] if layer.batch_first else x[:, None]
    if x.ndim != 3 or x.shape[2] != layer.input_size or x.dtype.kind not in "fiub":
        layout = "(B, T, I)" if layer.batch_first else "(T, B, I)"
        raise ValueError(
            f"{args.input}: shape {given}, {x.dtype}; {layout} or (T, I) of numbers with "
            f"I = {layer.input_size} is due"
        )
    batch, steps = x.shape[:2] if layer.batch_first else x.shape[1::-1]
    lengths = _lengths(args.lengths, steps, batch) if args.lengths else None
    state = _state(args.state, layer, batch)
    shape = (*x.shape[:2], layer.output_size)
    progress = Progress(steps * batch)
    with _whole_files(*filter(None, (args.output, args.save_state))) as paths:
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
    print(f"wrote {args.output}: float32 {written}")
    return 0
