# SPDX-License-Identifier: MIT
"""The targets of fuzzing: for each reader how a fuzzer's input becomes a file, the inputs to begin
with, and how an input is changed with its structure in mind.

    pickle        the pickle of a PyTorch checkpoint whose zip archive is sound (with right CRCs)
    zip           numbers that choose the fields of a zip archive's headers
    safetensors   the file; or 8 bytes, a header, a newline and data, where the 8 bytes are replaced
                  by the header's length
    onnx          the file without its first two bytes, 0x08 0x08
    hdf5          the file without HDF5's signature
    numpy         a pickle of arrays without its first two bytes
    stream        a checkpoint from before PyTorch 1.6 without its magic number
    script        the pickle of a TorchScript archive that is sound
    npz           the .npy record of a .npz that is sound
    pt2           the index of weights of an exported program whose records are sound
    nested        the pickle of a checkpoint inside an archive of Stable-Baselines3
    keras         a .keras file's configuration, a zero byte, and its HDF5 file; without the latter
                  a sound one is put there
    fastlstm      the description of the layers in a file of lstm.save, whose arrays are sound
    json          the file of JSON
    packed        the pickle of a checkpoint of a quantised model, whose archive is sound
    frozen        the code of a frozen TorchScript archive, and after a zero byte its constants
    file          the file, of whatever format
    model         the file of a whole model, which load_model reads and which is run once (whole.py)
"""

import dataclasses
import functools
import json
import zipfile
from collections.abc import Callable
from io import BytesIO

from . import (
    all_cases,
    archives,
    chunks,
    headers,
    objects,
    opaque,
    others,
    texts,
    whole,
    wrong_types,
)
from .build import DATA, GOOD, Record, dict_of, tensor, zip_bytes
from .mutate import (
    NUMBERS,
    mixed,
    of_bytes,
    of_json,
    of_numbers,
    of_pickle,
    of_protobuf,
)  # fmt: skip

STREAM = b"\x80\2" + bytes.fromhex("8a0a6cfc9c46f9206aa85019") + b"."  # the magic number's pickle
_HDF5 = b"\x89HDF\r\n\x1a\n"
_STORAGES = {"0": DATA, "1": bytes(range(256)) * 2, "empty": b""}  # a checkpoint's {key: bytes}
MAX_SEED = 1 << 14  # bytes of a seed: files of a few KiB have all structures, and load fast


@dataclasses.dataclass(frozen=True)
class Target:
    """build: f(input) -> file; seeds: f() -> inputs; change: f(input, rng) -> input. Inputs and
    files are bytes, rng is a random.Random."""

    build: Callable
    seeds: Callable
    change: Callable


class Choices:
    """Draws numbers out of bytes; zeros once they are used up."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, count):
        self.at += count
        return self.data[self.at - count : self.at].ljust(count, b"\0")

    def below(self, count):
        return int.from_bytes(self.bytes(2), "little") % count

    def one_in(self, count):
        return self.below(count) == count - 1

    def number(self):
        """A number for a field of a header: one near a limit, or one below 2000."""
        pick = self.below(2 * len(NUMBERS))
        return NUMBERS[pick] if pick < len(NUMBERS) else self.below(2000)


def _record(choose, name, data):
    """A Record some of whose fields the Choices `choose` replaces."""
    record = Record(name, data)
    for field in ("crc", "method", "flags", "size", "packed", "offset", "disk"):
        if choose.one_in(40):
            wide = field in ("size", "packed", "offset")
            limit = 1 << (64 if wide else 32 if field == "crc" else 16)
            setattr(record, field, choose.number() % limit)
    if choose.one_in(20):
        record.extra = choose.bytes(choose.below(40))
    if choose.one_in(20):
        record.local_extra = choose.bytes(choose.below(40))
    if choose.one_in(30):
        record.local = {"size": choose.number(), "crc": 0, "packed": 0}
    if choose.one_in(30):
        record.name = choose.bytes(choose.below(20))
    return record


def _zip(data):
    """An archive some of whose header fields, and up to three bytes, the input chooses."""
    choose = Choices(data)
    body = b"\x80\2" + dict_of(w=tensor()) + b"."
    parts = [("a/data.pkl", body), ("a/byteorder", b"little"), ("a/data/0", DATA), ("a/v", b"3")]
    records = [_record(choose, name, raw) for name, raw in parts]
    options = {"zip64": choose.one_in(2)}
    for name, fields in (
        ("end", ("count", "here", "size", "offset")), ("end64", ("count", "size", "offset")),
        ("locator", ("disk", "disks")),
    ):  # fmt: skip
        if choose.one_in(8):
            field = fields[choose.below(len(fields))]
            wide = name == "end64" or field in ("size", "offset")
            limit = 1 << (64 if name == "end64" else 32 if wide or name == "locator" else 16)
            options[name] = {field: choose.number() % limit}
    raw = bytearray(zip_bytes(records, **options))
    for _ in range(choose.below(4)):
        raw[choose.below(len(raw))] = choose.below(256)
    return bytes(raw)


def _checkpoint(data):
    records = [Record(f"a/data/{key}", raw) for key, raw in _STORAGES.items()]
    return zip_bytes([Record("a/data.pkl", data), *records, Record("a/version", b"3\n")])


def _script(data):
    parts = {"a/data.pkl": data, "a/code/m.py": b"x", "a/data/0": DATA}
    return zip_bytes([Record(name, raw) for name, raw in parts.items()])


def _header(data):
    """The input as it is, or, if it has a newline, with what stands before that as the header."""
    head, newline, rest = data[8:].partition(b"\n")
    return len(head).to_bytes(8, "little") + head + rest if newline else data


def _keras(data):
    config, _, weights = data.partition(b"\0")
    parts = {"config.json": config, "metadata.json": b'{"keras_version": "3.1.0"}'}
    parts["model.weights.h5"] = weights or wrong_types.keras_weights()
    return zip_bytes([Record(name, raw) for name, raw in parts.items()])


# ---- seeds: inputs to begin with


def _stream(**beside):
    """A sound input for "stream". beside: values that stand beside its tensor."""
    import torch

    return opaque.saved({"w": torch.ones(4)} | beside, legacy=True)[len(STREAM) :]


def _streams():
    """Sound inputs for "stream" with an object or a tensor that is not read beside the tensor."""
    yield _stream()
    for value in (opaque.values() | opaque.unread_tensors()).values():
        data = _stream(v=value)
        if len(data) <= MAX_SEED:
            yield data


@functools.cache
def _small():
    """The small malformed Cases."""
    return [case for case in all_cases() if len(case.data) <= MAX_SEED]


def _cases(*families, cut=0):
    """The files of those in `families`, without their first `cut` bytes."""
    return [case.data[cut:] for case in _small() if case.name.startswith(families)]


def _pickles():
    """The pickles of sound and malformed checkpoints, and of sound ones with objects in them."""
    found = []
    made = [data for _, data in objects.made_cases()]
    for data in (GOOD, *made, *_cases("pickle-", "tensor-", "bomb-")):
        with zipfile.ZipFile(BytesIO(data)) as archive:
            found.append(archive.read("a/data.pkl"))
    return found


def _headers():
    """safetensors files, each once with a newline behind its header."""
    found = []
    for data in (headers.GOOD, *_cases("safetensors-")):
        length = int.from_bytes(data[:8], "little")
        found += [data, data[: 8 + length] + b"\n" + data[8 + length :]]
    return found


def _configs():
    """Configurations of Keras models of one recurrent layer, and of a model of a user's own."""
    backward = wrong_types.BACKWARD
    for layer in (
        wrong_types.LSTM,
        wrong_types.bidirectional(),
        wrong_types.bidirectional(backward_layer=backward, merge_mode="sum"),
        wrong_types.rnn_of(wrong_types.CELL),
        wrong_types.stacked(wrong_types.CELL, wrong_types.CELL),
        wrong_types.wrapped(wrong_types.LSTM),
        wrong_types.LSTM | {"registered_name": "pkg>LSTM", "module": None},
    ):
        yield wrong_types.keras_model(layer)
    yield b'{"class_name": "Mine", "config": {}}'


def _layers():
    """Descriptions of one layer, as fastlstm's files hold them."""
    for fields in (
        {}, {"activations": [[["relu", None, None]]]}, {"activations": [[["elu", 1.0, None]]]},
        {"batch_first": True, "clip": 2.0, "direction": "reverse", "output_order": "processing"},
        {"dropout": 0.5},
        {"initial_state": ["initial_h"], "peepholes": ["peephole_l0"], "input_forget": True},
    ):  # fmt: skip
        layer = {"kind": "RNN", "input_size": 1, "hidden_size": 1} | fields
        yield json.dumps({"version": 1, "layers": {"": layer}}).encode()


def _change_header(data, rng):
    """Change the JSON between the first 8 bytes and the newline."""
    head, newline, rest = data[8:].partition(b"\n")
    return data[:8] + of_json(head, rng) + newline + rest


def _change_keras(data, rng):
    """Change the configuration, or the HDF5 file behind it, at first a sound one."""
    config, _, weights = data.partition(b"\0")
    if rng.random() < 0.7:
        return of_json(config, rng) + (b"\0" + weights if weights else b"")
    return config + b"\0" + of_numbers(weights or wrong_types.keras_weights(), rng)


TARGETS = {
    "pickle": Target(_checkpoint, _pickles, mixed(of_pickle, of_pickle)),
    "zip": Target(_zip, lambda: [bytes(200), *(bytes([n]) * 200 for n in range(1, 40))], of_bytes),
    "safetensors": Target(_header, _headers, mixed(_change_header)),
    "onnx": Target(
        lambda data: b"\x08\x08" + data,
        lambda: [
            others.GOOD_ONNX[2:],
            wrong_types.all_attributes()[2:],
            *_cases("onnx-", cut=2),
        ],
        mixed(of_protobuf, of_protobuf, of_protobuf),
    ),
    "hdf5": Target(
        lambda data: _HDF5 + data,
        lambda: [
            others.good_hdf5()[8:],
            others.tiny_hdf5()[8:],
            chunks.tiny_chunked()[8:],
            *_cases("hdf5-", "chunk-", cut=8),
        ],
        mixed(of_numbers, of_numbers),
    ),
    "numpy": Target(
        lambda data: b"\x80\x04" + data,
        lambda: [
            others.GOOD_PICKLE[2:],
            *(data[2:] for data in _pickles() if data[:2] == b"\x80\2"),
            *_cases("numpy-", cut=2),
        ],
        mixed(of_pickle, of_pickle),
    ),
    "stream": Target(
        lambda data: STREAM + data,
        lambda: [*_streams(), *_cases("stream-", cut=len(STREAM))],
        mixed(of_pickle, of_numbers),
    ),
    "script": Target(
        _script,
        lambda: [b"\x80\2c__torch__.m\nNet\n)\x81" + dict_of(w=tensor()) + b"b.", *_pickles()],
        mixed(of_pickle, of_pickle),
    ),
    "npz": Target(
        lambda data: zip_bytes([Record("w.npy", data)]),
        lambda: [others.npy(others._HEADER, DATA)],
        of_bytes,
    ),
    "pt2": Target(
        archives.pt2,
        lambda: [archives.index(w=archives.meta()), *archives.indexes()],
        mixed(of_json, of_json),
    ),
    "nested": Target(
        lambda data: archives.agent(_checkpoint(data)), _pickles, mixed(of_pickle, of_pickle)
    ),
    "keras": Target(_keras, lambda: list(_configs()), mixed(_change_keras, _change_keras)),
    "fastlstm": Target(wrong_types.described, lambda: list(_layers()), mixed(of_json, of_json)),
    "json": Target(bytes, lambda: [*texts.json_seeds(), *_cases("json-")], mixed(of_json, of_json)),
    "packed": Target(
        texts.packed_file,
        lambda: [b"\x80\2" + texts.PACKED + b"."],
        mixed(of_pickle, of_pickle),
    ),
    "frozen": Target(texts.frozen_file, lambda: [texts.CODE], of_bytes),
    "file": Target(
        bytes,
        lambda: [GOOD, headers.GOOD, others.GOOD_ONNX, others.GOOD_NPZ, others.GOOD_PICKLE,
                 archives.GOOD_PT2, archives.GOOD_AGENT,
                 *_cases("")],
        mixed(of_numbers),
    ),
    "model": Target(bytes, whole.seeds, whole.change),
}  # fmt: skip
