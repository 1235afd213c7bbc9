# SPDX-License-Identifier: MIT
"""A file inside an archive: a record that has the interface of a Source, so that readers of files
read it in its place."""

import numpy as np

from .source import Source, show


class Record(Source):
    """The bytes of one record of a zip archive, in memory, as a Source.

    archive   the StoredZip, whose check() has passed
    entry     the record's Entry
    limit     bytes that the record may have once inflated
    Its errors name the file, the record, and the place in it.
    """

    def __init__(self, archive, entry, limit):
        self.outer, self.record = archive.source, f"record {show(entry.name)}"
        self.name = archive.source.name
        if entry.size > limit:
            raise self.outer.error(self.record, f"{entry.size} bytes, {limit} is the limit")
        self._data = archive.read_into(entry, np.empty(entry.size, np.uint8))
        self.size, self.archive = entry.size, None
        self.head = self.read(0, min(512, self.size))

    def __exit__(self, *exc):
        self._data = None

    def fileno(self):
        raise self.outer.error(self.record, "only a file of its own can be mapped")

    def error(self, place, rule):
        return self.outer.error(f"{self.record}: {place}", rule)

    def read(self, offset, count):
        return self._piece(offset, count).tobytes()

    def read_into(self, offset, array):
        flat = array.reshape(-1).view(np.uint8)
        flat[:] = self._piece(offset, flat.size)
        return array

    def _piece(self, offset, count):
        if offset < 0 or offset + count > self.size:
            raise self.error(f"byte {offset}", f"{count} bytes are due here, it has {self.size}")
        return self._data[offset : offset + count]
