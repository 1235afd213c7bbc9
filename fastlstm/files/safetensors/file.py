# SPDX-License-Identifier: MIT
"""safetensors files.

    u64 length of the header, little-endian  |  header, JSON  |  data
    header: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
             "__metadata__": {"text": "text", ...}}

The header is matched token by token rather than parsed as free JSON, so that no file can make a
tree of it; the tensors must fill the data exactly, once.
"""

import json
import math
import re

import numpy as np

from ...engine.bfloat16 import Bfloat16
from ..source import show

MAX_HEADER = 100_000_000
MAX_TENSORS = 10_000
MAX_NAME = 4096  # bytes of JSON
CONFIG, MAX_CONFIG = "fastlstm", 16 << 20  # the key of this package's metadata; bytes of JSON

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "uint16", "C64": "complex64",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "BOOL": "bool",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip

# Possessive throughout (++, *+): linear in the header, whatever it holds.
_SPACE = rb"[ \t\r\n]*+"
_STRING = rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
_INT = rb"(?:0|[1-9][0-9]{0,18}+)"
_INTS = rb"\[%s(?:%s%s(?:,%s%s%s){0,63}+)?+\]" % (_SPACE, _INT, _SPACE, _SPACE, _INT, _SPACE)


def _token(pattern):
    return re.compile(_SPACE + b"(" + pattern + b")" + _SPACE)


_KEY = _token(_STRING + _SPACE + b":")
_TEXT, _NUMBERS, _OPEN, _NEXT = _token(_STRING), _token(_INTS), _token(rb"\{"), _token(rb"[,}]")


def is_safetensors(source):
    return source.head[8:9] == b"{"


class _Header:
    """The scan of one header. data: the file's first bytes; at: the position in them.

    config   the metadata's text under CONFIG, or None
    """

    def __init__(self, source, data):
        self.source, self.data, self.at, self.end = source, data, 8, len(data)
        self.config = None

    def error(self, rule):
        return self.source.error(f"header, byte {self.at}", rule)

    def take(self, token, what):
        match = token.match(self.data, self.at, self.end)
        if match is None:
            raise self.error(f"{what} is due")
        self.at = match.end()
        return match.group(1)

    def text(self, raw, limit=MAX_NAME):
        if len(raw) > limit:
            raise self.error(f"a name of {len(raw)} bytes, {limit} is the limit")
        try:
            text = json.loads(raw)
            text.encode()
        except UnicodeError:
            raise self.error(f"the name {show(raw)} is not Unicode") from None
        return text

    def members(self, limit):
        """The keys of an object, one at a time, each once; the caller takes the value."""
        self.take(_OPEN, "'{'")
        seen = set()
        if self.data[self.at : self.at + 1] == b"}" and self.at < self.end:
            self.take(_NEXT, "'}'")
            return
        while True:
            key = self.text(self.take(_KEY, "a name and ':'")[:-1].rstrip())
            if key in seen:
                raise self.error(f"the key {show(key)} is there twice")
            if len(seen) == limit:
                raise self.error(f"more than {limit} keys")
            seen.add(key)
            yield key
            if self.take(_NEXT, "',' or '}'") == b"}":
                return

    def tensors(self):
        """{name: (dtype, shape, begin, end)}, the offsets from the start of the data."""
        found = {}
        for name in self.members(MAX_TENSORS + 1):
            if name == "__metadata__":
                for key in self.members(MAX_TENSORS):
                    value = self.take(_TEXT, "a string")
                    if key == CONFIG:
                        self.config = self.text(value, MAX_CONFIG)
                    else:
                        self.text(value, MAX_HEADER)  # that it is Unicode
            else:
                found[name] = self.tensor(name)
        if self.at != self.end:
            raise self.error("only white space may follow the object")
        return found

    def tensor(self, name):
        fields = {}
        for key in self.members(3):
            if key == "dtype":
                fields[key] = self.text(self.take(_TEXT, "a string"))
            elif key in ("shape", "data_offsets"):
                fields[key] = tuple(json.loads(self.take(_NUMBERS, "a list of at most 64 sizes")))
            else:
                raise self.error(f"the key {show(key)} is unknown")
        if len(fields) != 3:
            raise self.error(f"tensor {show(name)} needs dtype, shape and data_offsets")
        dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
        if dtype not in _DTYPES:
            raise self.error(f"tensor {show(name)}: dtype {show(dtype)} is not read")
        if len(offsets) != 2:
            raise self.error(f"tensor {show(name)}: data_offsets must be two numbers")
        size = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
        if offsets[1] - offsets[0] != size:
            raise self.error(f"tensor {show(name)}: {size} bytes due, not {list(offsets)}")
        if math.prod(n or 1 for n in shape) >= 1 << 60:
            raise self.error(f"tensor {show(name)}: the sizes of an empty tensor are too large")
        return dtype, shape, *offsets


def _length(source):
    """Bytes of the header."""
    length = int.from_bytes(source.head[:8], "little")
    if source.size < 8 or length > min(MAX_HEADER, source.size - 8):
        raise source.error(
            "header length",
            f"{length}; {MAX_HEADER} is the limit, the file has {source.size} bytes",
        )
    return length


def layout(source):
    """({name: (dtype, shape, begin, end)}, offset of the data, CONFIG's text or None), after every
    rule of the format. Offsets of tensors are from the start of the data."""
    length = _length(source)
    header = _Header(source, source.read(0, 8 + length))
    found = header.tensors()
    end = 0
    for name, (_, _, begin, stop) in sorted(found.items(), key=lambda pair: pair[1][2:]):
        if begin != end:
            raise source.error("header", f"tensor {show(name)} begins at {begin}, {end} is due")
        end = stop
    if end != source.size - 8 - length:
        raise source.error("header", f"the tensors end at {end}, not where the file does")
    return found, 8 + length, header.config


def array_in(source, data, start, name, entry, bfloat16=None):
    """The array of one tensor, `entry` of `layout`, a view of `data` where that is aligned.

    bfloat16   None: such a tensor becomes float32; else a function of the uint16 array of its bits
    """
    dtype, shape, begin, _ = entry
    if 0 in shape:
        return np.empty(shape, "float32" if dtype == "BF16" else _DTYPES[dtype])
    # as text "<" makes the native dtype where that is little-endian; newbyteorder does not
    little = np.dtype("<" + np.dtype(_DTYPES[dtype]).str[1:])
    flat = np.frombuffer(data, little, math.prod(shape), start + begin)
    if dtype == "BOOL" and flat.view(np.uint8).max() > 1:
        raise source.error(f"tensor {show(name)}", "a bool that is neither 0 nor 1")
    as_bits = dtype == "BF16" and bfloat16
    if dtype == "BF16" and not as_bits:
        flat = Bfloat16(flat).astype(np.float32)
    flat = flat.astype(flat.dtype.newbyteorder("="), copy=not flat.flags.aligned)
    return bfloat16(flat.reshape(shape)) if as_bits else flat.reshape(shape)


def read(source, options=None):
    """{name: array} in the header's order; bfloat16 as float32, all other dtypes as they are."""
    found, start, _ = layout(source)
    data = source.read_into(start, np.empty(source.size - start, np.uint8))
    return {name: array_in(source, data, 0, name, entry) for name, entry in found.items()}
