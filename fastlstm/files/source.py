# SPDX-License-Identifier: MIT
"""The file being loaded: opened once, read in exact pieces, and the maker of every LoadError.

Nothing here trusts the file: each read says how many bytes it wants, and fewer is an error.
"""

import os
import stat

import numpy as np

from ..errors import LoadError


def show(text, limit=80):
    """`text` (str or bytes) quoted for a message, control characters escaped, cut at `limit`."""
    cut = repr(text[:limit])
    return cut if len(text) <= limit else f"{cut}... ({len(text)} long)"


_HEAD = 512


def _opener(path, flags):
    # O_NONBLOCK: a FIFO opens at once, and is then refused, where it would wait for a writer.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class Source:
    """An open regular file. Use as a context manager.

    name   the path as text, for messages          size      bytes, when it was opened
    head   the first 512 bytes                     archive   its zip directory, once read
    Errors of the operating system (FileNotFoundError, IsADirectoryError, PermissionError ...)
    pass through as they are; a path of the wrong type is a TypeError.
    """

    def __init__(self, path):
        path = os.fspath(path)
        self.name = os.fsdecode(path)
        self._file = open(path, "rb", buffering=0, opener=_opener)  # noqa: SIM115 (closed in close)
        try:
            status = os.fstat(self._file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise self.error("file", "only a regular file can be loaded")
            self.size = status.st_size
            self.head = self.read(0, min(_HEAD, self.size))
            self.archive = None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._file.close()

    def fileno(self):
        return self._file.fileno()

    def error(self, place, rule):
        """The LoadError for this file: `<file>: <place>: <rule>`."""
        return LoadError(f"{self.name}: {place}: {rule}")

    def _due(self, offset, count):
        if offset < 0 or offset + count > self.size:
            raise self.error(
                f"byte {offset}", f"{count} bytes are due here, the file has {self.size}"
            )
        self._file.seek(offset)

    def read(self, offset, count):
        """Exactly `count` bytes from `offset`."""
        self._due(offset, count)
        data = self._file.read(count)
        if len(data) != count:  # the system gave less at once, or the file became shorter
            data = self.read_into(offset, np.empty(count, np.uint8)).tobytes()
        return data

    def read_into(self, offset, array):
        """Fill the contiguous `array` with the bytes from `offset`; gives `array`."""
        view = memoryview(array.reshape(-1).view(np.uint8))
        self._due(offset, len(view))
        done = 0
        while done < len(view):
            got = self._file.readinto(view[done:])
            if not got:
                raise self.error(f"byte {offset + done}", "the file became shorter while read")
            done += got
        return array
