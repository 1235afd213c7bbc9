# SPDX-License-Identifier: MIT
"""Arrays in files, files that are written whole or not at all, and a bar of progress."""

import contextlib
import os
import sys
import tempfile

import numpy as np

BAR = 30  # characters of the bar that shows progress


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


def array_of(path):
    """The array of a .npy file, memory-mapped; ValueError if it is none."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path}: not an array that numpy.save wrote (.npy)") from None


def check_new(paths, force):
    """ValueError if one of the files is there already, and is not to be replaced."""
    for path in paths:
        if os.path.lexists(path) and not force:
            raise ValueError(f"{path} is there already; --force replaces it")


@contextlib.contextmanager
def whole_files(*paths):
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
