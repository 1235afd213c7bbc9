# SPDX-License-Identifier: MIT
"""Jane Austen's six novels as text, out of the Debian package r-cran-janeaustenr.

    apt-get download r-cran-janeaustenr
    python austen.py r-cran-janeaustenr_1.0.0-1_all.deb > austen.txt

The package keeps each novel as an R character vector, one line of print per element, in R's
"lazy-load database": Rdata.rdx is a gzipped index {name: (offset, length)} into Rdata.rdb, whose
records are a 4-byte length (before compression) and a zlib stream. Both hold objects written by
R's serialize() in its big-endian XDR form, described in the manual "R Internals", section
"Serialization Formats". Only the handful of object types found here are read.
"""

import gzip
import io
import struct
import sys
import tarfile
import zlib
from pathlib import Path

DATA = "usr/lib/R/site-library/janeaustenr/data/Rdata"
SYMBOL, PAIRLIST, CHAR, LOGICAL, INTEGER, STRING, LIST = 1, 2, 9, 10, 13, 16, 19
NULL, REFERENCE = 254, 255


class RObject:
    """Reads one serialised R object: `RObject(data).value`."""

    def __init__(self, data):
        self.data, self.at, self.symbols = data, 2, []
        version = self.ints(3)[0]
        if data[:2] != b"X\n" or version not in (2, 3):
            raise ValueError(f"not an R object in XDR form: it starts with {data[:6]!r}")
        if version == 3:  # the name of the encoding follows
            self.take(self.ints(1)[0])
        self.value = self.item()

    def take(self, n):
        if self.at + n > len(self.data):
            raise ValueError(f"R object ends early: {n} bytes wanted at {self.at}")
        self.at += n
        return self.data[self.at - n : self.at]

    def ints(self, n):
        return struct.unpack(f">{n}i", self.take(4 * n))

    def item(self):
        (flags,) = self.ints(1)
        kind, has_attributes, has_tag = flags & 255, flags & 0x200, flags & 0x400
        if kind == NULL:
            return None
        if kind == REFERENCE:
            return self.symbols[(flags >> 8 or self.ints(1)[0]) - 1]
        if kind == SYMBOL:
            self.symbols.append(self.item())
            return self.symbols[-1]
        if kind == PAIRLIST:  # attributes: {tag: value}, as R's chain of pairs
            if has_attributes:
                self.item()
            tag = self.item() if has_tag else None
            return {tag: self.item()} | (self.item() or {})
        (n,) = self.ints(1)
        if kind == CHAR:
            return (
                None if n == -1 else self.take(n).decode("latin-1" if flags >> 12 & 4 else "utf-8")
            )
        if kind in (LOGICAL, INTEGER):
            value = list(self.ints(n))
        elif kind in (STRING, LIST):
            value = [self.item() for _ in range(n)]
        else:
            raise ValueError(f"R object of type {kind}: not expected in this package")
        names = (self.item() or {}).get("names") if has_attributes else None
        return dict(zip(names, value, strict=True)) if names else value


def package_files(source):
    """Rdata.rdx and Rdata.rdb as bytes, from the .deb itself or the folder `dpkg -x` made."""
    source = Path(source)
    if source.is_dir():
        return [(source / f"{DATA}.{end}").read_bytes() for end in ("rdx", "rdb")]
    deb, at = source.read_bytes(), 8
    if deb[:8] != b"!<arch>\n":
        raise ValueError(f"{source}: neither a folder nor a Debian package")
    while at < len(deb):  # an `ar` archive: 60-byte headers, members padded to even length
        name, size = deb[at : at + 16].decode().strip(" /"), int(deb[at + 48 : at + 58])
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(deb[at + 60 : at + 60 + size])) as tar:
                return [tar.extractfile(f"./{DATA}.{end}").read() for end in ("rdx", "rdb")]
        at += 60 + size + size % 2
    raise ValueError(f"{source}: a Debian package without a data.tar")


def read_novels(source):
    """{short title: lines}, in the package's order."""
    rdx, rdb = package_files(source)
    novels = {}
    for title, (offset, length) in RObject(gzip.decompress(rdx)).value["variables"].items():
        novels[title] = RObject(zlib.decompress(rdb[offset + 4 : offset + length])).value
    return novels


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python austen.py r-cran-janeaustenr_*.deb (or its unpacked folder)")
    for lines in read_novels(sys.argv[1]).values():
        print("\n".join(lines), end="\n\n\n")
