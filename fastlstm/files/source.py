# SPDX-License-Identifier: MIT
"""The file being loaded, from disk or from memory: opened once, read in pieces of exact size. It
makes every LoadError.

Nothing here trusts the file: each read says how many bytes it wants, and fewer is an error. What
the bytes mean is not known here.
"""

import io
import mmap
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


# No path is longer on Linux, where the limit is the longest; nor has one a zero byte.
_MAX_PATH = 4095


def _is_content(data):
    """Whether `data` is the content of a file, not a path. bytes may be either: content has a zero
    byte or is longer than any path, or begins as JSON or as a pickle of protocol 2 or newer."""
    if isinstance(data, bytes):
        return len(data) > _MAX_PATH or b"\0" in data or data.lstrip()[:1] in (b"{", b"\x80")
    return isinstance(data, (bytearray, memoryview))


class _Memory(io.RawIOBase):
    """A file whose content is bytes in memory, which are not copied."""

    def __init__(self, data):
        self.view, self.at = memoryview(data).cast("B"), 0

    def seek(self, offset, whence=0):
        self.at = offset + (len(self.view) if whence == 2 else 0)
        return self.at

    def readinto(self, target):
        piece = self.view[self.at : self.at + len(target)]
        target[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)


class _Handle:
    """A file that the caller opened, in binary, and keeps: its position is put back in the end.
    TypeError if it cannot be read in bytes, or not from any place."""

    def __init__(self, file):
        name, self.file = type(file).__name__, file
        if not all(callable(getattr(file, each, None)) for each in ("read", "seek", "tell")):
            raise TypeError(
                "the file must be a path, bytes, or a file opened in binary with read() and seek(),"
                f" got {name}"
            )
        if isinstance(file, io.TextIOBase) or not isinstance(file.read(0), (bytes, bytearray)):
            raise TypeError(f"{name} was opened as text: open the file in binary, with 'rb'")
        try:
            self.before = file.tell()
            file.seek(0)
        except (OSError, io.UnsupportedOperation):
            raise TypeError(
                f"{name} cannot seek: give its content instead, file.read(), as bytes"
            ) from None
        self.read = file.read

    def seek(self, offset, whence=0):
        self.file.seek(offset, whence)
        return self.file.tell()

    def readinto(self, target):
        if hasattr(self.file, "readinto"):
            return self.file.readinto(target)
        piece = self.file.read(len(target))
        target[: len(piece)] = piece
        return len(piece)

    def close(self):
        self.file.seek(self.before)


class Source:
    """An open file, to be used as a context manager.

    file      a path; or the content, as bytes, bytearray or memoryview, which is not copied; or a
              binary file that the caller opened, with read, seek and tell, which is read from its
              beginning, stays open and keeps its position. bytes that no content of a file can be
              are a path: see _is_content

    name      the path as text, or what was given instead, for messages
    folder    of the path, where a model's other files may be; None for what is no path
    size      bytes of the file when it was opened
    head      its first 512 bytes, or all of a shorter file
    archive   None, or the StoredZip of its directory once stored_zip.directory has read that

    A FIFO or a device is a LoadError. Errors of the operating system (FileNotFoundError,
    IsADirectoryError, PermissionError ...) pass through as they are; a path of the wrong type, and
    a file that is text or cannot seek, is a TypeError.
    """

    def __init__(self, file):
        self.archive = self.folder = None
        if _is_content(file):
            self.name, self._file = f"<{type(file).__name__}>", _Memory(file)
        elif hasattr(file, "read") or hasattr(file, "seek"):
            self._file = _Handle(file)
            name = getattr(file, "name", None)
            self.name = name if isinstance(name, str) else f"<{type(file).__name__}>"
        else:
            path = os.fspath(file)
            self.name, self.folder = os.fsdecode(path), os.path.dirname(os.fsdecode(path))
            self._file = open(path, "rb", buffering=0, opener=_opener)  # noqa: SIM115 (see close)
        try:
            if self.folder is not None:
                status = os.fstat(self._file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise self.error("file", "only a regular file can be loaded")
                self.size = status.st_size
            else:
                self.size = self._file.seek(0, os.SEEK_END)
            self.head = self.read(0, min(_HEAD, self.size))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._file.close()

    def mapped(self):
        """A read-only buffer of the whole file, which may be kept: a mapping of a file on disk; of
        bytes themselves; a copy of what its owner may change."""
        if self.folder is not None:
            return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        if isinstance(self._file, _Memory) and isinstance(self._file.view.obj, bytes):
            return self._file.view
        return self.read(0, self.size)

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
