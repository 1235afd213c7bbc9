# SPDX-License-Identifier: MIT
"""safetensors files that break one rule of the format each, most of them in the JSON header."""

import json
import struct

from .build import DATA, safetensors_bytes

_W = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
_TEXT = json.dumps(_W)
_JSON = '{"w":' + _TEXT + "}"
GOOD = safetensors_bytes(_JSON, DATA)


def _tensor(**fields):
    """A file whose one tensor's entry has other `fields`."""
    return safetensors_bytes({"w": _W | fields}, DATA)


def _entry(text):
    """A file whose one tensor is the JSON `text`."""
    return safetensors_bytes('{"w":' + text + "}", DATA)


def _two(first, second, size=32):
    """A file of two tensors of bytes with the data_offsets `first` and `second`, and `size` bytes
    of data."""
    tensors = {
        name: {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}
        for name, (begin, end) in {"a": first, "b": second}.items()
    }
    return safetensors_bytes(tensors, bytes(size))


def cases():
    """(name, file, what the error says)."""
    yield "no-data", safetensors_bytes(_JSON), "where the file does"
    yield "short-data", GOOD[:-1], "where the file does"
    yield "long-data", GOOD + b"\0", "where the file does"
    yield "hole-first", _two((4, 16), (16, 32)), "0 is due"
    yield "hole-middle", _two((0, 15), (16, 32)), "15 is due"
    yield "hole-last", _two((0, 16), (16, 31)), "where the file does"
    yield "overlap", _two((0, 17), (16, 32)), "17 is due"
    yield "overlap-same", _two((0, 32), (0, 32)), "32 is due"
    yield "overlap-inside", _two((0, 32), (4, 8)), "32 is due"
    yield "backwards", _two((16, 0), (0, 32)), "due"
    for length in (len(_JSON) + 17, 1 << 20, 100_000_001, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1):
        yield f"length-{length}", safetensors_bytes(_JSON, DATA, length), "is the limit"
    for length in (1, 2, 10, len(_JSON) - 1):
        yield f"length-low-{length}", safetensors_bytes(_JSON, DATA, length), "due"
    yield "length-0", safetensors_bytes(_JSON, DATA, 0), "due"
    yield "length-high", safetensors_bytes(_JSON, DATA, len(_JSON) + 4), "only white space"
    for name, text in {
        "key": '{"w":' + _TEXT + ',"w":' + _TEXT + "}",
        "key-escaped": '{"w":' + _TEXT + ',"\\u0077":' + _TEXT + "}",
        "metadata": '{"__metadata__":{},"__metadata__":{},"w":' + _TEXT + "}",
        "metadata-key": '{"__metadata__":{"a":"b","a":"c"},"w":' + _TEXT + "}",
        "dtype": '{"w":{"dtype":"F32","dtype":"F32","shape":[4]}}',
        "shape": '{"w":{"shape":[4],"shape":[4],"data_offsets":[0,16]}}',
        "offsets": '{"w":{"data_offsets":[0,16],"data_offsets":[0,16],"shape":[4]}}',
    }.items():
        yield f"twice-{name}", safetensors_bytes(text, DATA), "there twice"
    for name, text in {
        "list": "{[]}", "nothing": "{", "comma": _JSON[:-1] + ",}", "no-close": _JSON[:-1],
        "value-null": '{"w":null}', "value-list": '{"w":[]}', "value-text": '{"w":"a"}',
        "key-int": '{1:{}}', "key-bare": "{w:{}}", "single-quotes": _JSON.replace('"', "'"),
        "comment": "{/* */}", "metadata-int": '{"__metadata__":{"a":1}}',
        "metadata-null": '{"__metadata__":{"a":null}}', "metadata-list": '{"__metadata__":[]}',
        "metadata-deep": '{"__metadata__":{"a":{}}}', "metadata-text": '{"__metadata__":"a"}',
        "second": _JSON + "{}", "nul": _JSON + "\0",
    }.items():  # fmt: skip
        yield f"json-{name}", safetensors_bytes(text, DATA), ""
    for dtype in (
        "F8_E4M3",
        "F8_E5M2",
        "F8_E8M0",
        "F4",
        "F6_E2M3",
        "f32",
        "F128",
        "",
        "F32 ",
        "I4",
    ):
        yield f"dtype-{dtype}", _tensor(dtype=dtype), "is not read"
    for dtype in ("F64", "F16", "BF16", "I64", "U8", "BOOL", "C64"):
        yield f"dtype-size-{dtype}", _tensor(dtype=dtype), "bytes due"
    for name, text in {
        "shape-float": "[4.0]", "shape-exponent": "[4e0]", "shape-text": '["4"]',
        "shape-plus": "[+4]",
        "shape-zeros": "[04]", "shape-null": "[null]", "shape-deep": "[[4]]", "shape-number": "4",
        "shape-negative": "[-4]", "shape-comma": "[4,]", "shape-open": "[4", "shape-nan": "[NaN]",
        "shape-huge": f"[{10**19}]", "shape-65": "[1" + ",1" * 64 + "]",
        "shape-true": "[true]", "shape-hex": "[0x4]", "shape-bool": "true",
    }.items():  # fmt: skip
        yield name, _entry('{"dtype":"F32","data_offsets":[0,16],"shape":' + text + "}"), "due"
    yield "shape-wrong", _tensor(shape=[5]), "bytes due"
    yield "shape-overflow", _tensor(shape=[1 << 32, 1 << 32]), "bytes due"
    yield "shape-empty-huge", _tensor(shape=[0, 1 << 62], data_offsets=[0, 0]), "too large"
    yield "offsets-one", _tensor(data_offsets=[16]), "two numbers"
    yield "offsets-three", _tensor(data_offsets=[0, 8, 16]), "two numbers"
    yield "offsets-none", _tensor(data_offsets=[]), "two numbers"
    yield "offsets-swapped", _tensor(data_offsets=[16, 0]), "bytes due"
    yield "offsets-far", _tensor(data_offsets=[1 << 62, (1 << 62) + 16]), "0 is due"
    yield "offsets-negative", _tensor(data_offsets=[-16, 0]), "due"
    for name in ("dtype", "shape", "data_offsets"):
        rest = {key: value for key, value in _W.items() if key != name}
        yield f"without-{name}", safetensors_bytes({"w": rest}, DATA), "needs dtype"
        yield f"other-{name}", safetensors_bytes({"w": rest | {"x": "y"}}, DATA), "unknown"
    yield "four-fields", _tensor(x="y"), "more than 3"
    yield "no-fields", _entry("{}"), "needs dtype"
    yield "name-long", safetensors_bytes({"w" * 5000: _W}, DATA), "is the limit"
    yield (
        "name-latin",
        safetensors_bytes(b'{"\xff":' + _TEXT.encode() + b"}", DATA),
        "Unicode",
    )
    lone = '{"\\ud800":' + _TEXT + "}"
    yield "name-surrogate", safetensors_bytes(lone, DATA), "Unicode"
    yield "name-control", safetensors_bytes('{"a\nb":' + _TEXT + "}", DATA), "is due"
    yield "name-escape", safetensors_bytes('{"\\x":' + _TEXT + "}", DATA), "is due"
    metadata = b'{"__metadata__":{"a":"\xff"},"w":' + _TEXT.encode() + b"}"
    yield "metadata-latin", safetensors_bytes(metadata, DATA), "not Unicode"
    boolean = {"w": {"dtype": "BOOL", "shape": [4], "data_offsets": [0, 4]}}
    yield "bool-two", safetensors_bytes(boolean, b"\0\1\2\0"), "neither 0 nor 1"
    yield "tiny", struct.pack("<Q", 1) + b"{", "due"


def bombs():
    """(name, file) whose headers ask for much memory or time."""
    open_many = '{"w":{"dtype":"F32","shape":' + "[" * 1_000_000
    yield "nested", safetensors_bytes(open_many, b"")
    yield "nested-dicts", safetensors_bytes('{"w":' * 300_000, b"")
    entry = '"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    yield "many", safetensors_bytes("{" + ",".join(entry % n for n in range(30_000)) + "}")
    pairs = ",".join(f'"{n}":""' for n in range(30_000))
    yield "many-metadata", safetensors_bytes('{"__metadata__":{' + pairs + "}}")
    yield "lists", safetensors_bytes('{"w":' + "[]," * 1_000_000, b"")
    yield "open-text", safetensors_bytes('{"' + "a" * 3_000_000)
    yield "escapes", safetensors_bytes('{"' + "\\\\" * 1_500_000)
    yield "spaces", safetensors_bytes("{" + " " * 3_000_000)
    yield "digits", safetensors_bytes('{"w":{"shape":[' + "1" * 3_000_000)
    yield "sizes", safetensors_bytes('{"w":{"shape":[' + "1," * 1_500_000)


def slow_cases():
    """(name, file) that take as much work as the limits allow; they are read or refused."""
    entry = '"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    yield "10000-tensors", safetensors_bytes("{" + ",".join(entry % n for n in range(10_000)) + "}")
    long = '{"__metadata__":{"a":"%s"}}' % ("a" * (20 << 20))
    yield "metadata-20-MiB", safetensors_bytes(long)
    for dtype, size in (("BF16", 2), ("F64", 8)):
        header = {
            "w": {"dtype": dtype, "shape": [(32 << 20) // size], "data_offsets": [0, 32 << 20]}
        }
        yield f"{dtype}-32-MiB", safetensors_bytes(header, bytes(32 << 20))
