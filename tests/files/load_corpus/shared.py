# SPDX-License-Identifier: MIT
"""HDF5 files assembled byte by byte, in which one part is used many times over, or one long name
stands in many paths; and Keras' configurations that do the same to names and weights.
"""

import itertools
import json
import math
import struct
import zlib

import numpy as np

from .build import Record, zip_bytes

_SPACE, _TYPE, _LINK, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUED, _SYMBOLS = (
    1, 3, 6, 8, 0xB, 0xC, 0x10, 0x11,
)  # fmt: skip
_LONG = ["abcd"[n] * 990 for n in range(4)]  # groups inside one another: a path of 3,963


def _padded(raw):
    return raw + bytes(-len(raw) % 8)


def _message(message_type, body):
    body = _padded(body)
    return struct.pack("<HHB3x", message_type, len(body), 0) + body


def _space(*shape):
    return struct.pack(f"<4B4x{len(shape)}Q", 1, len(shape), 0, 0, *shape)


def _text_type(size):
    return struct.pack("<4BI", 0x13, 0, 0, 0, size)


def _attribute(name="", data=b"", value_type=None, space=None):
    """An attribute message; without a type, one of a type that is not read."""
    raw = name.encode() + b"\0" if name else b""
    value_type = value_type or struct.pack("<4BI", 0x12, 0, 0, 0, 8)
    space = space or _space()
    head = struct.pack("<BB3H", 1, 0, len(raw), len(value_type), len(space))
    return _message(_ATTRIBUTE, head + _padded(raw) + _padded(value_type) + _padded(space) + data)


def _text(name, value):
    return _attribute(name, value.encode(), _text_type(len(value)))


class _File:
    """A file to which parts are appended; each method gives the address of what it appends."""

    def __init__(self):
        self.data = bytearray(48)  # room for the superblock

    def put(self, raw):
        self.data += bytes(-len(self.data) % 8)
        self.data += raw
        return len(self.data) - len(raw)

    def object(self, *messages):
        """An object header."""
        body = b"".join(messages)
        return self.put(struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body)

    def group(self, members, *messages):
        """A group of {name: address}."""
        links = [
            _message(_LINK, struct.pack("<BBH", 1, 1, len(name)) + name.encode()
                     + struct.pack("<Q", address))
            for name, address in members.items()
        ]  # fmt: skip
        return self.object(*messages, *links)

    def inside(self, names, address):
        """The group that leads to `address` by `names`."""
        for name in reversed(names):
            address = self.group({name: address})
        return address

    def floats(self, *shape):
        """A dataset of ones."""
        at = self.put(np.ones(shape, "<f4").tobytes())
        type_ = struct.pack("<4BIHH4BI", 0x11, 0x20, 0x1F, 0, 4, 0, 32, 23, 8, 0, 23, 127)
        layout = struct.pack("<2BQQ", 3, 1, at, 4 * math.prod(shape))
        return self.object(
            _message(_SPACE, _space(*shape)), _message(_TYPE, type_), _message(_LAYOUT, layout)
        )

    def made(self, root):
        """The file's bytes. root: the address of the root group."""
        head = b"\x89HDF\r\n\x1a\n" + struct.pack("<4B4QI", 2, 8, 8, 0, 0, (1 << 64) - 1,
                                                  len(self.data), root, 0)  # fmt: skip
        return head + bytes(self.data[len(head) :])


def _messages():
    """100 objects whose headers go on in one block of 4,000 attributes."""
    file = _File()
    block = _attribute() * 4000
    go_on = _message(_CONTINUED, struct.pack("<QQ", file.put(block), len(block)))
    return file.made(file.group({f"{n}": file.object(go_on) for n in range(100)}))


def _headers():
    """300 groups whose headers are 4,000 links of no bytes."""
    file = _File()
    header = struct.pack("<4s2BH", b"OHDR", 2, 1, 4 * 4000) + bytes([_LINK, 0, 0, 0]) * 4000
    return file.made(file.group({f"{n}": file.put(header) for n in range(300)}))


def _tree():
    """100 groups with one B-tree, which has 4,000 empty nodes."""
    file = _File()
    nodes = [file.put(b"SNOD\1\0\0\0") for _ in range(4000)]
    pairs = b"".join(struct.pack("<QQ", 0, at) for at in nodes) + bytes(8)
    tree = file.put(struct.pack("<4s2BHQQ", b"TREE", 0, 0, len(nodes), 0, 0) + pairs)
    heap = file.put(struct.pack("<4sB3xQQQ", b"HEAP", 0, 8, 0, 48))
    symbols = _message(_SYMBOLS, struct.pack("<QQ", tree, heap))
    return file.made(file.group({f"{n}": file.object(symbols) for n in range(100)}))


def _chunks():
    """1,500 chunks of one byte, which all are one stream of 12,000 empty blocks and the byte."""
    file, count = _File(), 1500
    stream = b"\x78\x01" + b"\0\0\0\xff\xff" * 12_000 + b"\1\1\0\xfe\xff\5"
    stream += struct.pack(">I", zlib.adler32(b"\5"))
    at = file.put(stream)
    entries = [struct.pack("<2I3Q", len(stream), 0, n, 0, at) for n in range(count)]
    head = struct.pack("<4s2BHQQ", b"TREE", 1, 0, count, 0, 0)
    tree = file.put(head + b"".join(entries) + bytes(24))
    numbers = struct.pack("<4BIHH", 0x10, 0, 0, 0, 1, 0, 8)
    made = file.object(
        _message(_SPACE, _space(count)), _message(_TYPE, numbers),
        _message(_FILTERS, struct.pack("<2B6x4HII", 1, 1, 1, 0, 0, 1, 6, 0)),
        _message(_LAYOUT, struct.pack("<3BQ2I", 3, 2, 2, tree, 1, 1)),
    )  # fmt: skip
    return file.made(file.group({"x": made}))


def _paths():
    """2,500 objects in a group with a long path."""
    file = _File()
    many = file.group({f"{n}": file.object() for n in range(2500)})
    return file.made(file.inside(_LONG, many))


def _listed():
    """20,000 weights of one letter that a group with a long path lists."""
    file, count = _File(), 20_000
    names = _attribute("weight_names", b"w" * count, _text_type(1), _space(count))
    return file.made(file.inside(_LONG, file.object(names)))


def _named():
    """A file of Keras 3 with 200 layers in a model with a long name."""
    file, layers = _File(), {}
    for n in range(200):
        variables = {"0": file.floats(1, 1), "1": file.floats(1, 1)}
        layers[f"rnn_{n}"] = file.inside(["cell", "vars"], file.group(variables))
    name = file.object(_text("name", "n" * 60_000))
    model = file.group({"vars": name, "layers": file.group(layers)})
    return file.made(file.inside(["layers", "model"], model))


def _cells():
    """300 cells of RNNs in one group at the top, ten groups deep."""
    file, many = _File(), {}
    for n in range(300):
        weights = {"kernel": file.floats(1, 1), "recurrent_kernel": file.floats(1, 1)}
        many[f"cell{n}"] = file.group(weights)
    return file.made(file.inside(["x", *(f"a{n}" for n in range(10))], file.group(many)))


def _model(name, *layers, class_name="Sequential"):
    return {"class_name": class_name, "config": {"name": name, "layers": list(layers)}}


def _rnn(name):
    return {"class_name": "SimpleRNN", "config": {"name": name, "units": 1}}


def _keras(weights, *layers):
    """A .keras file of a model of `layers`."""
    config = json.dumps(_model("m", *layers)).encode()
    parts = {"config.json": config, "metadata.json": b'{"keras_version": "3.1.0"}'}
    parts["model.weights.h5"] = weights
    return zip_bytes([Record(name, raw) for name, raw in parts.items()])


def _one_array():
    file = _File()
    return file.made(file.group({"w": file.floats(3)}))


def cases():
    """(name, file, what the error says)."""
    yield "messages", _messages(), "uses a part of it many times"
    yield "headers", _headers(), "a link"
    yield "tree", _tree(), "uses a part of it many times"
    yield "chunks", _chunks(), "uses a part of it many times"
    far = "take far more bytes than the file has"
    yield "paths", _paths(), far
    yield "listed", _listed(), far
    yield "named", _named(), far
    alike = "many layers are named like the same weights"
    yield "one-name", _keras(_cells(), *[_rnn("x")] * 3000), alike
    names = [f"a{n}" for n in range(10)]
    inside = [_model("x", _model(p, _model(q, _rnn(r))))
              for p, q, r in itertools.permutations(names, 3)]  # fmt: skip
    yield "names-in-order", _keras(_cells(), *inside), alike
    many = [_rnn("r")] * 200
    yield "long-name", _keras(_one_array(), _model("n" * 100_000, *many)), far
    long = _model("n", *many, class_name="n" * 100_000)
    yield "long-class", _keras(_one_array(), long), far


def slow_cases():
    """(name, file) that take as much work as the limits allow, and are read."""
    file = _File()
    text = _text("name", "l")
    named = {f"rnn_{n}": file.group({"vars": file.object(text)}) for n in range(1500)}
    data = file.made(file.group({"layers": file.group(named), "w": file.floats(3)}))
    yield "keras-names", _keras(data, *[_rnn("l")] * 6000)
