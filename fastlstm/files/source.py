# SPDX-License-Identifier: MIT
"""The file being loaded: opened once, read in pieces of exact size. It makes every LoadError.

Nothing here trusts the file: each read says how many bytes it wants, and fewer is an error. What
the bytes mean is not known here.
"""

import os
import stat

import numpy as np

from ..errors import LoadError


def show(text, limit=80):
    """`text` (str or bytes) quoted for a message: control characters are escaped, so that a name
    in a file cannot write to the terminal, and at most `limit` characters or bytes are shown."""
    cut = repr(text[:limit])
    return cut if len(text) <= limit else f"{cut}... ({len(text)} long)"


# Bytes at the file's beginning that tell its format. The farthest signature is tar's "ustar", which
# ends at byte 262; 512 is one block of a disk.
_HEAD = 512


def _opener(path, flags):
    # Opening a FIFO waits until somebody writes to it. With O_NONBLOCK it opens at once, and is
    # then refused as no regular file.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class Source:
    """An open regular file, to be used as a context manager.

    name      the path as text, for messages
    size      bytes of the file when it was opened
    head      its first 512 bytes, or all of a shorter file
    archive   None, or the StoredZip of its directory once stored_zip.directory has read that

    A FIFO or a device is a LoadError. Errors of the operating system (FileNotFoundError,
    IsADirectoryError, PermissionError ...) pass through as they are; a path of the wrong type is a
    TypeError.
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

    def _seek(self, offset, count):
        """Go to `offset`. LoadError if the file has no `count` bytes there."""
        if offset < 0 or offset + count > self.size:
            raise self.error(
                f"byte {offset}", f"{count} bytes are due here, the file has {self.size}"
            )
        self._file.seek(offset)

    def read(self, offset, count):
        """Exactly `count` bytes from `offset`. LoadError if the file has fewer."""
        self._seek(offset, count)
        data = self._file.read(count)
        if len(data) != count:  # the system gave less in one read, or the file became shorter
            data = self.read_into(offset, np.empty(count, np.uint8)).tobytes()
        return data

    def read_into(self, offset, array):
        """Fill the contiguous `array` with the bytes from `offset` and give it back. LoadError if
        the file has fewer."""
        view = memoryview(array.reshape(-1).view(np.uint8))
        self._seek(offset, len(view))
        done = 0
        while done < len(view):
            got = self._file.readinto(view[done:])
            if not got:
                raise self.error(f"byte {offset + done}", "the file became shorter while read")
            done += got
        return array
