# SPDX-License-Identifier: MIT
"""Zip archives, pickles and safetensors files assembled byte by byte, so that each single field can
be wrong. Without such wishes they are sound.
"""

import dataclasses
import json
import struct
import zlib

# ---- zip archives


@dataclasses.dataclass
class Record:
    """One record of an archive, with the fields of its headers; None stands for the right value.

    local         {field: value} for the local header alone
    local_extra   the local header's extra field (`extra` is the directory's)
    signature     of the record's header in the directory
    pad           bytes in front of the local header
    """

    name: str | bytes
    data: bytes = b""
    crc: int | None = None
    method: int = 0
    flags: int = 0x0800
    size: int | None = None
    packed: int | None = None
    offset: int | None = None
    extra: bytes = b""
    comment: bytes = b""
    disk: int = 0
    pad: bytes = b""
    signature: bytes = b"PK\1\2"
    local: dict = dataclasses.field(default_factory=dict)
    local_extra: bytes = b""


def _raw(name):
    return name if isinstance(name, bytes) else name.encode()


def zip_bytes(records, *, zip64=False, end=None, end64=None, locator=None, tail=b"", base=0):
    """An archive of `records`.

    zip64                 whether it has the zip64 structures, and all sizes and counts stand there
    end, end64, locator   {field: value} that replace the right ones in the end record, the zip64
                          end record and the zip64 locator
    tail                  bytes behind the archive
    base                  where in a file the archive's first byte will stand
    """
    out, central = bytearray(), bytearray()
    for r in records:
        out += r.pad
        at = base + len(out) if r.offset is None else r.offset
        name = _raw(r.name)
        crc = zlib.crc32(r.data) if r.crc is None else r.crc
        size = len(r.data) if r.size is None else r.size
        packed = size if r.packed is None else r.packed
        header = {
            "signature": b"PK\3\4", "flags": r.flags, "method": r.method, "crc": crc,
            "packed": packed, "size": size, "name": name,
        } | r.local  # fmt: skip
        out += struct.pack(
            "<4s5H3L2H", header["signature"], 45, header["flags"], header["method"], 0, 0,
            header["crc"], min(header["packed"], 0xFFFFFFFF), min(header["size"], 0xFFFFFFFF),
            len(header["name"]), len(r.local_extra),
        )  # fmt: skip
        out += header["name"] + r.local_extra + r.data
        fields, wide = [], b""
        for value in (size, packed, at):
            full = zip64 or value > 0xFFFFFFFE
            fields.append(0xFFFFFFFF if full else value)
            wide += struct.pack("<Q", value) if full else b""
        extra = (struct.pack("<HH", 1, len(wide)) + wide if wide else b"") + r.extra
        central += struct.pack(
            "<4s6H3L5H2L", r.signature, 45, 45, r.flags, r.method, 0, 0, crc, fields[1],
            fields[0], len(name), len(extra), len(r.comment), r.disk, 0, 0, fields[2],
        )  # fmt: skip
        central += name + extra + r.comment
    start = base + len(out)
    out += central
    fields = {"disk": 0, "first": 0, "here": len(records), "count": len(records)}
    fields |= {"size": len(central), "offset": start}
    if zip64:
        wide = {"signature": b"PK\6\6", "length": 44} | fields | (end64 or {})
        spot = base + len(out)
        out += struct.pack(
            "<4sQ2H2L4Q", wide["signature"], wide["length"], 45, 45, wide["disk"], wide["first"],
            wide["here"], wide["count"], wide["size"], wide["offset"],
        )  # fmt: skip
        link = {"disk": 0, "offset": spot, "disks": 1} | (locator or {})
        out += struct.pack("<4sLQL", b"PK\6\7", link["disk"], link["offset"], link["disks"])
        fields |= {"here": 0xFFFF, "count": 0xFFFF, "size": 0xFFFFFFFF, "offset": 0xFFFFFFFF}
    fields |= {"comment": b""} | (end or {})
    out += struct.pack(
        "<4s4H2LH", b"PK\5\6", fields["disk"], fields["first"], fields["here"] & 0xFFFF,
        fields["count"] & 0xFFFF, fields["size"], fields["offset"], len(fields["comment"]),
    )  # fmt: skip
    return bytes(out + fields["comment"] + tail)


# ---- pickles: functions that give the opcodes which push a value. "Q" is BINPERSID, "R" REDUCE.

PROTO, STOP = b"\x80\x02", b"."


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def name_of(dotted):
    """The global "module.name"."""
    module, name = dotted.rsplit(".", 1)
    return f"c{module}\n{name}\n".encode()


def call(dotted, *args):
    """What the global gives for arguments, each the opcodes of a value."""
    return name_of(dotted) + tuple_of(*args) + b"R"


ORDERED = name_of("collections.OrderedDict") + b")R"
FALSE, NONE = b"\x89", b"N"


def storage(storage_class="torch.FloatStorage", key="0", count=4):
    """A storage of `count` elements, whose bytes are the record a/data/<key>."""
    pid = tuple_of(text("storage"), name_of(storage_class), text(key), text("cpu"), number(count))
    return pid + b"Q"


def tensor(source=None, offset=0, size=(4,), stride=(1,), tail=None):
    """A tensor that is a view of `source`, the opcodes of a storage; tail: the opcodes of its
    arguments behind the strides."""
    return call(
        "torch._utils._rebuild_tensor_v2",
        storage() if source is None else source,
        number(offset),
        tuple_of(*map(number, size)),
        tuple_of(*map(number, stride)),
        *((FALSE, ORDERED) if tail is None else tail),
    )


def dict_of(**items):
    """A dict of text to values."""
    return b"}" + b"".join(text(key) + value + b"s" for key, value in items.items())


DATA = struct.pack("<4f", 1, 2, 3, 4)


def records(body, data=None, order=b"little"):
    """The Records of a checkpoint. body: its pickle, or one without PROTO and STOP; data: {key:
    bytes} of its storages."""
    pickle = body if body[:1] == b"\x80" else PROTO + body + STOP
    found = [Record("a/data.pkl", pickle), Record("a/byteorder", order)]
    found += [Record(f"a/data/{key}", raw) for key, raw in (data or {"0": DATA}).items()]
    return [*found, Record("a/version", b"3\n")]


def checkpoint(body, data=None, **options):
    """A checkpoint of `records(body, data)`; options: of zip_bytes."""
    return zip_bytes(records(body, data), **options)


GOOD = checkpoint(dict_of(w=tensor()))


def safetensors_bytes(header, data=b"", length=None):
    """A safetensors file: the length of the header, the header, `data`.

    header   a dict, JSON text, or bytes
    length   what the file says instead of the right length
    """
    if isinstance(header, dict):
        header = json.dumps(header)
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data
