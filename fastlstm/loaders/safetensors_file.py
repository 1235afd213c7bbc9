# SPDX-License-Identifier: MIT
"""safetensors files: the header is checked here, the bytes are taken apart by the library.

    u64 length of the header, little-endian  |  header, JSON  |  data
    header: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
             "__metadata__": {"text": "text", ...}}

The header is matched token by token rather than parsed as free JSON, so that no file can make a
tree of it; the library sees only files whose tensors fill the data exactly, once.
"""

import json
import math
import re

import numpy as np

from .source import show

try:
    import safetensors
except ImportError:  # an optional extra
    safetensors = None

MAX_HEADER = 100_000_000
MAX_TENSORS = 10_000
MAX_NAME = 4096  # bytes of JSON
_BLOCK = 1 << 20  # elements of bfloat16 widened at a time

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
    """The scan of one header. data: the file's bytes; at: the position in it."""

    def __init__(self, source, data, end):
        self.source, self.data, self.at, self.end = source, data, 8, end

    def error(self, rule):
        return self.source.error(f"header, byte {self.at}", rule)

    def take(self, token, what):
        match = token.match(self.data, self.at, self.end)
        if match is None:
            raise self.error(f"{what} is due")
        self.at = match.end()
        return match.group(1)

    def text(self, raw):
        if len(raw) > MAX_NAME:
            raise self.error(f"a name of {len(raw)} bytes, {MAX_NAME} is the limit")
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
                for _ in self.members(MAX_TENSORS):
                    self.take(_TEXT, "a string")
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


def _check(source, length, data):
    """{name: (dtype, shape, begin, end)} after every rule of the format."""
    found = _Header(source, data, 8 + length).tensors()
    end = 0
    for name, (_, _, begin, stop) in sorted(found.items(), key=lambda pair: pair[1][2:]):
        if begin != end:
            raise source.error("header", f"tensor {show(name)} begins at {begin}, {end} is due")
        end = stop
    if end != len(data) - 8 - length:
        raise source.error("header", f"the tensors end at {end}, not where the file does")
    return found


def _widened(data):
    """bfloat16 as float32, which holds it exactly: its 16 bits are the upper half."""
    half = np.frombuffer(data, "<u2")
    bits = np.empty(len(half), np.uint32)
    for start in range(0, len(half), _BLOCK):
        block = half[start : start + _BLOCK]
        bits[start : start + len(block)] = block.astype(np.uint32) << np.uint32(16)
    return bits.view(np.float32)


def _array(source, name, dtype, shape, data):
    if 0 in shape:
        return np.empty(shape, "float32" if dtype == "BF16" else _DTYPES[dtype])
    if dtype == "BF16":
        return _widened(data).reshape(shape)
    if dtype == "BOOL" and np.frombuffer(data, np.uint8).max() > 1:
        raise source.error(f"tensor {show(name)}", "a bool that is neither 0 nor 1")
    little = np.dtype(_DTYPES[dtype]).newbyteorder("<")
    return np.frombuffer(data, little).astype(_DTYPES[dtype], copy=False).reshape(shape)


def read(source, options=None):
    """{name: array} in the header's order; bfloat16 as float32, all other dtypes as they are."""
    if safetensors is None:
        raise source.error(
            "file", "safetensors files need the safetensors library: pip install safetensors"
        )
    length = _length(source)
    data = source.read(0, source.size)
    found = _check(source, length, data)
    try:
        parts = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError as reason:
        raise source.error("file", f"refused by the safetensors library: {reason}") from None
    del data
    if {name: (part["dtype"], tuple(part["shape"])) for name, part in parts.items()} != {
        name: told[:2] for name, told in found.items()
    }:
        raise source.error("header", "the safetensors library reads it otherwise")
    return {
        name: _array(source, name, dtype, shape, parts.pop(name)["data"])
        for name, (dtype, shape, _, _) in found.items()
    }
