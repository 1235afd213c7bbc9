# SPDX-License-Identifier: MIT
"""Models of other engines by name: what resembles ONNX and is not, what must not be taken for them,
and folders."""

import numpy as np
import onnx
import pytest
import torch
from load_corpus import others, zips
from test_load_onnx import model_of
from test_load_onnx_cells import FIT, node_of

from fastlstm import LoadError, load, load_model, read_state_dict
from fastlstm.files.read import sniff
from fastlstm.files.top_fields import top_fields
from fastlstm.onnxruntime import nodes

pytestmark = pytest.mark.once

# {a case of zips.OTHER_FORMATS: what sniff calls it}; the others are called as the case
CALLED = {
    "paddle-program": "paddle", "paddle-weights": "paddle", "paddle-pir": "paddle",
    "saved-model-cut": "saved-model", "saved-model-zip": "saved-model", "coreml-package": "coreml",
    "coreml-updatable": "coreml", "coreml-metadata": "coreml", "openvino-bare": "openvino",
    "ncnn-binary": "ncnn", "tensorrt-named": "tensorrt", "zipped-checkpoint": "zip",
    "stable-baselines-2": "stable-baselines",
}  # fmt: skip
NAMED = [*CALLED, "saved-model", "coreml", "tflite", "executorch", "torch-mobile", "ort",
         "graph-def", "openvino", "ncnn", "gguf", "tensorrt"]  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_each_has_its_name_and_a_way_out(tmp_path, name):
    data, says = zips.OTHER_FORMATS[name]
    path = tmp_path / "model"
    path.write_bytes(data)
    assert sniff(path) == CALLED.get(name, name)
    with pytest.raises(LoadError) as caught:
        load(path)
    said = str(caught.value)
    assert says in said
    ways = ("load the", "load that", "save ", "convert it", "unpack it", "onnx file")
    assert any(way in said for way in ways), said


def test_a_large_saved_model_is_none_of_onnx(tmp_path):
    """A graph of some MiB, whose length takes several bytes: `08 01 12 ...`, as ONNX can begin."""
    graph = b"\x0a\x04\x12\x02xx" + others.field(2, bytes(3 << 20))
    path = tmp_path / "saved_model.pb"
    path.write_bytes(b"\x08\x01" + others.field(2, graph))
    assert sniff(path) == "saved-model"
    path.write_bytes(b"\x08\x01" + others.field(2, graph) * 2)
    assert sniff(path) == "saved-model"
    with pytest.raises(LoadError, match=r"SavedModel.*tf2onnx"):
        load(path)


@pytest.mark.parametrize(
    "producer", ["", "pytorch", "onnx.quantize", "p" * 300, "\u751f\u7523\u8005" * 40]
)
@pytest.mark.parametrize("ir_version", [1, 3, 8, 13])
def test_onnx_of_every_producer_and_version_is_onnx(tmp_path, producer, ir_version):
    model = model_of([node_of(name="it")], ["X"], ["it.y"], FIT)
    model.producer_name, model.ir_version = producer, ir_version
    onnx.save(model, tmp_path / "m.onnx")
    assert sniff(tmp_path / "m.onnx") == "onnx"
    assert load(tmp_path / "m.onnx").hidden_size == 5


def test_the_first_fields_of_any_bytes(tmp_path, rng):
    """Any file gives a list, of eight fields at most."""
    path = tmp_path / "x"

    class Bytes:
        def __init__(self, data):
            self.data, self.size = data, len(data)

        def read(self, offset, count):
            assert 0 <= offset <= offset + count <= self.size
            return self.data[offset : offset + count]

    for n in range(3000):
        data = rng.integers(0, 256 if n % 2 else 40, n % 60, np.uint8).tobytes()
        assert len(top_fields(Bytes(data))) <= 8
    path.write_bytes(b"\x08\x01\x15aaaa\x19bbbbbbbb\x22\x02hi\x2a\x02\x00\x01")
    fields = top_fields(Bytes(path.read_bytes()))
    assert [f.number for f in fields] == [1, 2, 3, 4, 5]
    assert [f.value for f in fields] == [1, None, None, None, None]
    assert [f.is_text for f in fields[3:]] == [True, False]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself
def test_torchscript_for_mobile(tmp_path):
    module = torch.jit.script(torch.nn.LSTM(3, 4))
    module._save_for_lite_interpreter(str(tmp_path / "m.ptl"))
    assert sniff(tmp_path / "m.ptl") == "torchscript"
    layer = load(tmp_path / "m.ptl")
    for name, tensor in module.state_dict().items():
        assert np.array_equal(layer.state_dict()[name], tensor.numpy())


@pytest.mark.parametrize(
    ("inside", "says"),
    [("saved_model.pb", "SavedModel.*tf2onnx"), ("Data/com.apple.CoreML/x", "CoreML package"),
     ("coremldata.bin", "compiled CoreML model")],
)  # fmt: skip
@pytest.mark.parametrize("call", [read_state_dict, sniff, load, load_model, nodes])
def test_folders_that_are_models(tmp_path, inside, says, call):
    file = tmp_path / "model" / inside
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    with pytest.raises(LoadError, match=f"folder: .*{says}"):
        call(tmp_path / "model")
    file.unlink()
    if inside != "Data/com.apple.CoreML/x":
        with pytest.raises(IsADirectoryError):
            call(tmp_path / "model")
