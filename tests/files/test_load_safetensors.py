# SPDX-License-Identifier: MIT
"""safetensors files through their own library and through fastlstm: the same names and bits."""

import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from load_corpus.build import DATA, safetensors_bytes
from test_load_torch import DTYPES, expected, random_tensor

from fastlstm import LoadError, read_state_dict
from fastlstm.files.find import find
from fastlstm.files.read import sniff

pytestmark = pytest.mark.once

SHAPES = [(), (24,), (4, 6), (2, 3, 4), (1, 24, 1), (0,), (3, 0, 2), (1,) * 7]
WRITTEN = [dtype for dtype in DTYPES if dtype != torch.complex128]  # which the format lacks


def assert_same(path):
    """Against the torch face of the library; the header's order is the order of names."""
    ours = read_state_dict(path)
    theirs = expected(safetensors.torch.load_file(path))
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert list(ours) == [name for name in header if name != "__metadata__"]
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        assert (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape), name
        assert array.tobytes() == theirs[name].tobytes(), name
        assert array.flags.writeable
    return ours


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", WRITTEN, ids=str)
def test_dtypes_and_shapes(tmp_path, rng, dtype, shape):
    count = int(np.prod(shape))
    tensor = random_tensor(dtype, rng, 24)[:count].reshape(shape).clone()
    other = random_tensor(torch.uint8, rng, 5)  # so that offsets are odd
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"w": tensor, "a": other, "z": tensor[..., :0].clone()}
                                if shape else {"w": tensor, "a": other}, path)  # fmt: skip
    assert_same(path)


def test_one_file_of_everything(tmp_path, rng):
    tensors = {f"layer.{n}.{dtype}": random_tensor(dtype, rng, n + 1)
               for n, dtype in enumerate(WRITTEN * 20)}  # fmt: skip
    path = tmp_path / "all.safetensors"
    metadata = {"format": "pt", "note": 'quotes " and \\ and \u00e9\u4e2d\U0001f600\n'}
    safetensors.torch.save_file(tensors, path, metadata)
    assert len(assert_same(path)) == 20 * len(WRITTEN)
    assert sniff(path) == "safetensors"


@pytest.mark.parametrize("name", ["a.b", "\u00e9", "\U0001f600", 'q"', "\\", "\n", "\x01", "", " "])
def test_names(tmp_path, name):
    path = tmp_path / "n.safetensors"
    safetensors.numpy.save_file({name: np.ones(3, np.float32)}, path)
    assert list(assert_same(path)) == [name]


@pytest.mark.parametrize(
    "text",
    [
        '{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        '{"w" : {"shape" : [ 2 , 2 ], "data_offsets" : [ 0 , 16 ] , "dtype" : "F32" } } ',
        '{\n\t"w":\r{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}   ',
        '{"__metadata__":{},"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        '{"\\u0077\\u00e9\\ud83d\\ude00":{"dtype":"\\u004632","shape":[4],"data_offsets":[0,16]}}',
        '{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"__metadata__":{"a":"b"}}',
    ],
)
def test_json_as_others_write_it(tmp_path, text):
    path = tmp_path / "j.safetensors"
    path.write_bytes(safetensors_bytes(text, DATA))
    (array,) = assert_same(path).values()
    assert array.ravel().tolist() == [1, 2, 3, 4]


def test_no_tensors(tmp_path):
    path = tmp_path / "none.safetensors"
    path.write_bytes(safetensors_bytes("{}"))
    assert read_state_dict(path) == {}
    path.write_bytes(safetensors_bytes('{"__metadata__":{"a":"b"}}'))
    assert read_state_dict(path) == {}


def test_float8_is_refused_by_name(tmp_path):
    path = tmp_path / "f8.safetensors"
    tensors = {"w": torch.ones(3), "f": torch.ones(4, dtype=torch.float8_e4m3fn)}
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(LoadError, match="tensor 'f': dtype 'F8_E4M3' is not read"):
        read_state_dict(path)


@pytest.mark.parametrize("both", [False, True])
def test_a_layer_is_found(tmp_path, both):
    module = torch.nn.LSTM(3, 5, 2, bidirectional=both)
    path = tmp_path / "lstm.safetensors"
    state = {f"net.{name}": value for name, value in module.state_dict().items()}
    safetensors.torch.save_file(state, path)
    ((prefix, layer),) = find(assert_same(path)).layers.items()
    assert (prefix, layer.kind, layer.bidirectional) == ("net.", "LSTM", both)
    assert (layer.input_size, layer.hidden_size, layer.num_layers) == (3, 5, 2)


def test_without_the_library(tmp_path):
    """The library is not needed, only compared with."""
    safetensors.torch.save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors")
    code = (
        "import sys\n"
        "sys.modules['safetensors'] = None\n"
        "from fastlstm import read_state_dict\n"
        "print(list(read_state_dict(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "w.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "['w']\n"


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580, 0x10280])
def test_a_header_whose_length_looks_like_the_beginning_of_a_pickle(tmp_path, length):
    """Pickles of the protocols 2 to 5 begin with the bytes 80 02 to 80 05."""
    x = np.arange(6, dtype=np.float32)
    raw = safetensors.numpy.save({"x": x})
    size = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + size].ljust(length)
    path = tmp_path / "x.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header + raw[8 + size :])
    assert sniff(path) == "safetensors"
    np.testing.assert_array_equal(assert_same(path)["x"], x)
