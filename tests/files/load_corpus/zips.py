# SPDX-License-Identifier: MIT
"""Zip archives that break one rule of the archive each, and files that look like a format which is
refused or whose content is missing.

The sound archive is build.GOOD, a checkpoint with the records 0 a/data.pkl, 1 a/byteorder,
2 a/data/0 and 3 a/version.
"""

import dataclasses

from .build import DATA, GOOD, Record, dict_of, records, tensor, zip_bytes


def _changed(index, *, body=None, **fields):
    """build.GOOD with fields of record `index` changed. body: another pickle."""
    found = records(dict_of(w=tensor()) if body is None else body)
    found[index] = dataclasses.replace(found[index], **fields)
    return zip_bytes(found)


def cases():
    """(name, file, what the error says)."""
    body = dict_of(w=tensor())
    good = records(body)
    yield "empty-zip", zip_bytes([]), "no checkpoint"
    yield "comment", zip_bytes(good, end={"comment": b"hello"}), "end of the file"
    yield "tail", zip_bytes(good, tail=b"\0"), "end of the file"
    yield "front-not-counted", b"PK\3\4junk" + GOOD, "must end at"
    yield "parts", zip_bytes(good, end={"disk": 1}), "several parts"
    yield "parts-first", zip_bytes(good, end={"first": 1}), "several parts"
    yield "parts-here", zip_bytes(good, end={"here": 2}), "several parts"
    yield "parts-entry", _changed(2, disk=1), "several parts"
    yield "count-low", zip_bytes(good, end={"here": 3, "count": 3}), "too many"
    yield "count-high", zip_bytes(good, end={"here": 5, "count": 5}), "ends before"
    yield "count-limit", zip_bytes(good, end={"here": 10001, "count": 10001}), "10000 is the limit"
    yield "directory-size", zip_bytes(good, end={"size": 3}), "must end at"
    yield "directory-size-high", zip_bytes(good, end={"size": 1 << 30}), "is the limit"
    yield "directory-offset", zip_bytes(good, end={"offset": 3}), "must end at"
    yield "directory-offset-high", zip_bytes(good, end={"offset": 0xFFFFFFF0}), "must end at"
    yield "directory-sign", _changed(2, signature=b"PK\1\3"), "signature is wrong"
    yield "twice", zip_bytes([*good, good[2]]), "there twice"
    yield "twice-pickle", zip_bytes([*good, good[0]]), "there twice"
    for label, name in {
        "absolute": "/a/x", "dots": "a/../x", "dots-end": "a/..", "dot": "./a",
        "empty-part": "a//x",
        "backslash": "a\\x", "nul": "a\0x", "no-name": "",
    }.items():  # fmt: skip
        yield f"name-{label}", zip_bytes([*good, Record(name)]), "absolute"
    yield "name-latin", zip_bytes([*good, Record(b"a/\xff")]), "not UTF-8"
    yield "name-surrogate", zip_bytes([*good, Record(b"a/\xed\xa0\x80")]), "not UTF-8"
    yield "name-long", zip_bytes([*good, Record("a" * 1025)]), "is the limit"
    yield "name-bidi", zip_bytes([*good, Record("a/\u202e\n", b"x", crc=0, method=8)]), "compressed"
    yield "extra-short", _changed(2, extra=b"\1\0\x10\0abc"), "past its end"
    yield "extra-twice", _changed(2, extra=b"\1\0\0\0" * 2), "two zip64"
    yield "wide-missing", _changed(2, extra=b"\1\0\0\0", offset=0xFFFFFFFF - 1 + 1), ""
    for index, record in enumerate(good):
        if record.name != "a/version":  # the record that is not read, and so has no CRC checked
            yield f"crc-{index}", _changed(index, crc=1), "CRC"
        yield f"encrypted-{index}", _changed(index, flags=0x0801), "encrypted"
        yield f"deflated-{index}", _changed(index, method=8), "compressed"
        yield f"packed-{index}", _changed(index, packed=1), "compressed"
        yield f"local-sign-{index}", _changed(index, local={"signature": b"PK\3\5"}), ""
        yield (
            f"local-name-{index}",
            _changed(index, local={"name": b"b" * len(record.name)}),
            "differ",
        )
        yield f"local-size-{index}", _changed(index, local={"size": 1}), "differ"
        yield f"local-packed-{index}", _changed(index, local={"packed": 1}), "differ"
        yield f"local-flags-{index}", _changed(index, local={"flags": 0x0808}), "differ"
        yield f"local-method-{index}", _changed(index, local={"method": 8}), "differ"
        yield f"local-crc-{index}", _changed(index, local={"crc": 5}), "differ"
    yield "overlap-same", _changed(2, offset=0), ""
    first = len(zip_bytes(good[:1])) - 46 - len("a/data.pkl") - 22
    inner = zip_bytes([Record("a/data/0", DATA)])[: 30 + 8 + 16]
    trap = Record("a/trap", inner)
    spot = 30 + len("a/trap")
    yield (
        "overlap-inside",
        zip_bytes([trap, *good[:2], dataclasses.replace(good[2], offset=spot), good[3]]),
        "overlaps",
    )
    yield "offset-in-directory", _changed(2, offset=len(GOOD) - 60), "runs into the directory"
    yield "offset-far", _changed(2, offset=1 << 40), ""
    yield "size-far", _changed(2, size=1 << 40), ""
    yield "size-directory", _changed(3, size=200), "directory"
    yield "size-into-next", _changed(0, size=first), ""
    yield "end64-offset", zip_bytes(good, zip64=True, locator={"offset": 4}), "just before"
    yield "end64-disks", zip_bytes(good, zip64=True, locator={"disks": 2}), "just before"
    yield "end64-disk", zip_bytes(good, zip64=True, locator={"disk": 1}), "just before"
    yield "end64-sign", zip_bytes(good, zip64=True, end64={"signature": b"PK\6\5"}), "signature"
    yield "end64-length", zip_bytes(good, zip64=True, end64={"length": 1 << 60}), "length is wrong"
    yield (
        "end64-count",
        zip_bytes(good, zip64=True, end64={"here": 1 << 60, "count": 1 << 60}),
        "limit",
    )
    yield "end64-size", zip_bytes(good, zip64=True, end64={"size": 1 << 63}), "is the limit"
    yield "end64-offset-far", zip_bytes(good, zip64=True, end64={"offset": 1 << 63}), "must end at"
    yield (
        "end64-differs",
        zip_bytes(good, zip64=True, end={"count": 2, "here": 2}),
        "in the end record",
    )
    yield "no-pickle", zip_bytes(good[1:]), "no checkpoint"
    yield "two-roots", zip_bytes([*good, Record("b/data.pkl", b"")]), "no checkpoint"
    yield "deep-root", zip_bytes([Record("a/b/data.pkl", b"")]), "no checkpoint"
    yield "byteorder-unknown", zip_bytes(records(body, order=b"middle")), "no byte order"
    yield "byteorder-long", zip_bytes(records(body, order=b"x" * 99)), "is the limit"
    yield (
        "many-entries",
        zip_bytes([*good, *(Record(f"a/{n}") for n in range(9997))]),
        "is the limit",
    )


_SCRIPT = [*records(b"N"), Record("a/constants.pkl")]
# The magic number of checkpoints before PyTorch 1.6, as opcodes.
_STREAM = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")
# TensorFlow's: schema version 1 and one graph, which has a meta_info_def and a graph_def.
SAVED_MODEL = b"\x08\1\x12\x0a\x0a\4\x12\2xx\x12\2xx"
# CoreML's description, of one input.
_COREML = b"\x12\x09\x0a\7\x0a\1x\x1a\2\x2a\0"
# {name: (file, what the error says)}
OTHER_FORMATS = {
    "torchscript": (zip_bytes(_SCRIPT), "neither a tensor"),
    "torchscript-code": (zip_bytes([*records(b"N"), Record("a/code/m.py")]), "neither a tensor"),
    "npz": (zip_bytes([Record("w.npy", b"\x93NUMPY")]), ".npy array of version"),
    "keras": (zip_bytes([Record("config.json"), Record("model.weights.h5")]), "it is no JSON"),
    "plain-zip": (zip_bytes([Record("x.txt", b"hello")]), "no checkpoint"),
    "torch-stream": (b"\x80\2" + _STREAM + b"\x80\2", "protocol version"),
    "torch-stream-4": (b"\x80\4\x95\x0d" + bytes(7) + _STREAM, "protocol version"),
    "torch-tar": (b"sys_info" + bytes(249) + b"ustar  \0" + bytes(300), "tar format"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "superblock"),
    "onnx": (b"\x08\x07\x12\x07pytorch", "no graph"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite"),
    "executorch": (b"\x34\0\0\0ET12eh00" + bytes(40), "ExecuTorch's program (.pte)"),
    "torch-mobile": (b"\x18\0\0\0PTMF" + bytes(40), "for mobile as a flatbuffer"),
    "ort": (b"\x14\0\0\0ORTM" + bytes(40), "the .onnx file"),
    "saved-model": (SAVED_MODEL, "SavedModel (saved_model.pb)"),
    "saved-model-cut": (SAVED_MODEL[:7], "SavedModel (saved_model.pb)"),
    "coreml": (b"\x08\x01" + _COREML + b"\xa2\x1f\2xx", "CoreML (.mlmodel)"),
    "coreml-updatable": (b"\x08\x04" + _COREML + b"\x50\1", "CoreML (.mlmodel)"),
    "coreml-metadata": (b"\x08\x09\x12\x05\xa2\x06\2\x0a\0\xb2\x1f\2xx", "CoreML (.mlmodel)"),
    "coreml-package": (zip_bytes([
        Record("m.mlpackage/Manifest.json"),
        Record("m.mlpackage/Data/com.apple.CoreML/model.mlmodel"),
    ]), "a CoreML package"),
    "saved-model-zip": (zip_bytes([Record("m/saved_model.pb")]), "zipped TensorFlow SavedModel"),
    "graph-def": (b"\x0a\x1a\x0a\5input\x12\x0bPlaceholder*\4xxxx", "frozen graph of TensorFlow"),
    "paddle-program": (b"\x0a\x90\x01\x08\0\x10" + b"\xff" * 9 + b"\1\x1a\4xxxx", "paddle2onnx"),
    "paddle-weights": (bytes(16) + b"\6\0\0\0\x08\5\x10\4\x10\3" + bytes(48), "paddle2onnx"),
    "paddle-pir": (b'{"base_code":{"magic":"pir","trainable":true', "paddle2onnx"),
    "openvino": (b'<?xml version="1.0"?>\r\n<net name="m" version="11">', "OpenVINO's model"),
    "openvino-bare": (b'\xef\xbb\xbf<net name="m" version="11">', "OpenVINO's model"),
    "ncnn": (b"7767517\n3 3\nInput x 0 1 x\n", "ncnn's model"),
    "ncnn-binary": (b"\xdd\x85v\0\3\0\0\0", "ncnn's model"),
    "gguf": (b"GGUF\3\0\0\0" + bytes(16), "GGUF is not read"),
    "tensorrt": (b"ftrt\x60\0\0\0" + bytes(16), "TensorRT engine"),
    "tensorrt-named": (b'\x0d\0\0\0{"stride": 8}ftrt' + bytes(16), "TensorRT engine"),
    "stable-baselines-2": (zip_bytes([Record("data", b"{}"), Record("parameter_list", b"[]")]),
                           "Stable Baselines 2"),
    "zipped-checkpoint": (zip_bytes([Record("run/model.pth", GOOD)]),
                          "'run/model.pth' is in it: unpack it"),
    "npy": (b"\x93NUMPY\1\0v\0{'descr'", ".npy"),
    "gzip": (b"\x1f\x8b\x08\0", "gzip"),
    "pickle": (b"\x80\x04N.", "neither a tensor"),
    "empty": (b"", "empty"),
    "text": (b"hello, world\n", "not a format"),
    "zeros": (bytes(4096), "not a format"),
}  # fmt: skip


def format_cases():
    """(name, file, what the error says) of OTHER_FORMATS."""
    for name, (data, says) in OTHER_FORMATS.items():
        yield name, data, says
