# SPDX-License-Identifier: MIT
"""Files that are not on disk: bytes, and binary files that the caller opened."""

import io
import mmap
import tempfile
import zipfile

import numpy as np
import pytest
import torch
from load_corpus import archives, others
from load_corpus.build import GOOD

import fastlstm
from fastlstm import LoadError, load, load_all, read_state_dict
from fastlstm.files.read import inspect, sniff
from fastlstm.files.source import Source

pytestmark = pytest.mark.once


def _torch(**options):
    file = io.BytesIO()
    torch.save(torch.nn.LSTM(3, 4).state_dict(), file, **options)
    return file.getvalue()


def _npz():
    file = io.BytesIO()
    np.savez(file, **{n: v.numpy() for n, v in torch.nn.GRU(3, 4).state_dict().items()})
    return file.getvalue()


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """{format: the bytes of a file}, those that have a layer first."""
    path = tmp_path_factory.mktemp("own") / "x"
    fastlstm.LSTM(3, 4).save(path)
    return {
        "torch": _torch(), "torch-stream": _torch(_use_new_zipfile_serialization=False),
        "fastlstm": path.read_bytes(), "npz": _npz(), "json": b'{"weight_ih_l0": [[1.5]],'
        b'"weight_hh_l0": [[0.5]]}', "onnx": others.GOOD_ONNX, "hdf5": others.good_hdf5(),
        "pickle": others.GOOD_PICKLE,
    }  # fmt: skip


WITH_LAYERS = ("torch", "torch-stream", "fastlstm", "npz", "json")
FORMS = {
    "bytes": bytes, "bytearray": bytearray, "memoryview": memoryview, "BytesIO": io.BytesIO,
    "BufferedReader": lambda data: io.BufferedReader(io.BytesIO(data)),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_format_from_memory_is_what_it_is_on_disk(tmp_path, contents, form):
    for name, data in contents.items():
        path = tmp_path / name
        path.write_bytes(data)
        given = FORMS[form](data)
        assert sniff(given) == sniff(path) == name
        right, found = read_state_dict(path), read_state_dict(given)
        assert list(found) == list(right)
        assert all(np.array_equal(found[key], right[key]) for key in right)
        kind, arrays, layers = inspect(given)
        assert (kind, list(arrays), layers) == (name, list(right), inspect(path)[2])
        if name in WITH_LAYERS:
            ((prefix, layer),) = load_all(given).items()
            assert repr(load(given, prefix)) == repr(layer) == repr(load(path))
            weights = load(path).state_dict()
            assert all(np.array_equal(v, weights[k]) for k, v in layer.state_dict().items())


def test_open_files(tmp_path, contents):
    """Of any kind that reads bytes and seeks: read from the beginning, left open where it was."""
    (tmp_path / "x").write_bytes(contents["torch"])
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep/model.pt", contents["torch"])
    with (
        open(tmp_path / "x", "rb") as file, open(tmp_path / "x", "rb", buffering=0) as raw,
        zipfile.ZipFile(tmp_path / "z.zip") as archive, archive.open("deep/model.pt") as member,
        tempfile.SpooledTemporaryFile() as spooled,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):  # fmt: skip
        spooled.write(contents["torch"])
        for each in (file, raw, member, spooled, mapped):
            each.seek(7)
            assert load(each).hidden_size == 4
            assert each.tell() == 7 and not each.closed


class Remote:
    """As clients of object stores have it: read, seek and tell alone, and short reads."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def read(self, count=-1):
        count = len(self.data) - self.at if count is None or count < 0 else min(count, 999)
        piece = self.data[self.at : self.at + count]
        self.at += len(piece)
        return piece

    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, len(self.data))[whence]

    def tell(self):
        return self.at


def test_a_file_that_reads_and_seeks_and_no_more(contents):
    for name, data in contents.items():
        assert sniff(Remote(data)) == name
        assert list(read_state_dict(Remote(data))) == list(read_state_dict(data))


@pytest.mark.parametrize("call", [load, load_all, read_state_dict, inspect, sniff])
def test_what_cannot_be_read_in_bytes_is_a_type_error(tmp_path, contents, call):
    (tmp_path / "x").write_bytes(contents["json"])
    with open(tmp_path / "x") as text, pytest.raises(TypeError, match=r"was opened as text.*'rb'"):
        call(text)
    with pytest.raises(TypeError, match="StringIO was opened as text"):
        call(io.StringIO("{}"))

    class ReadAlone:
        read = io.BytesIO(contents["json"]).read

    class NoSeek(io.BytesIO):
        def tell(self):
            raise io.UnsupportedOperation("underlying stream is not seekable")

    with pytest.raises(TypeError, match=r"with read\(\) and seek\(\), got ReadAlone"):
        call(ReadAlone())
    with pytest.raises(TypeError, match=r"NoSeek cannot seek: give its content instead"):
        call(NoSeek(contents["json"]))
    for wrong in (None, 3, 1.5, [contents["json"]], {"a": 1}, object()):
        with pytest.raises(TypeError):
            call(wrong)


def test_the_position_is_put_back_after_an_error(contents):
    for data in (b"", b"nothing that is known", contents["torch"][:-9]):
        file = io.BytesIO(data)
        file.seek(5)
        with pytest.raises(LoadError, match=r"^<BytesIO>: "):
            load(file)
        assert file.tell() == 5


def test_messages_name_what_was_given(tmp_path):
    bad = b"\0nothing that is known"
    for given, name in (
        (bad, "<bytes>"),
        (bytearray(bad), "<bytearray>"),
        (io.BytesIO(bad), "<BytesIO>"),
    ):
        with pytest.raises(LoadError, match=f"^{name}: file: not a format"):
            read_state_dict(given)
    (tmp_path / "x").write_bytes(bad)
    with open(tmp_path / "x", "rb") as file, pytest.raises(LoadError, match=f"^{tmp_path}/x: file"):
        read_state_dict(file)


def test_bytes_are_content_or_a_path(tmp_path, contents):
    """A path as bytes stays one: shorter than PATH_MAX, no zero byte, no format's beginning."""
    path = tmp_path / "{x"
    path.write_bytes(contents["torch"])
    assert load(bytes(path)).hidden_size == 4
    for missing in (b"no such file", b"x" * 300):
        with pytest.raises(OSError, match=r"No such file|File name too long"):
            load(missing)
    for broken in (b"{", b" {x}", b"x" * 5000, b"x\0", b"\x80\2."):
        with pytest.raises(LoadError, match=r"^<bytes>"):
            load(broken)


def test_bytes_are_not_copied(contents):
    """Neither to read them, nor for a layer of our own format, which keeps views of them."""
    data = contents["fastlstm"]
    with Source(data) as source:
        assert np.shares_memory(np.frombuffer(source.mapped(), "u1"), np.frombuffer(data, "u1"))
    weights = load(data).packed.arrays["weight_ih_l0"]
    assert np.shares_memory(weights, np.frombuffer(data, "u1"))
    changed = bytearray(data)
    layer = load(changed)
    before = layer.state_dict()
    changed[-4000:] = bytes(4000)  # the owner may: the layer has its own
    assert all(np.array_equal(v, before[k]) for k, v in layer.state_dict().items())


def test_other_files_of_a_model_need_its_path():
    with pytest.raises(TypeError, match=r"external_data=True needs the model's path.*<bytes>"):
        read_state_dict(others.GOOD_ONNX, external_data=True)
    assert Source(others.GOOD_ONNX).folder is None


def test_no_file_beside_a_model_in_memory_is_read(tmp_path, monkeypatch):
    """Not even one of the name that the default would have: where the caller is, is no matter."""
    path = others.with_data_beside(tmp_path / "m.onnx")
    assert len(load(path).state_dict()) > 0
    monkeypatch.chdir(tmp_path)
    with open("m.onnx", "rb") as file:
        for given in (file, path.read_bytes(), io.BytesIO(path.read_bytes())):
            with pytest.raises(LoadError, match="give the model's path, not its content, to read"):
                load(given)
        with pytest.raises(TypeError, match=r"external_data=True needs the model's path.*m\.onnx"):
            load(file, external_data=True)


def test_archives_inside_archives(tmp_path):
    """Records are read as files in memory are: an agent in bytes, and its checkpoint in that."""
    for data in (archives.GOOD_AGENT, archives.GOOD_PT2, archives.deflated(GOOD)):
        assert read_state_dict(data)["w"].tolist() == [1, 2, 3, 4]
        assert read_state_dict(io.BytesIO(data))["w"].tolist() == [1, 2, 3, 4]
