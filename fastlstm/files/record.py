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
        if entry.size > limit:
            raise self.outer.error(self.record, f"{entry.size} bytes, {limit} is the limit")
        data = archive.read_into(entry, np.empty(entry.size, np.uint8))
        super().__init__(memoryview(data))
        self.name = archive.source.name

    def error(self, place, rule):
        return self.outer.error(f"{self.record}: {place}", rule)
