# SPDX-License-Identifier: MIT
"""ONNX tensors in other files: <model>.data beside the model is read, others if the caller allows
it, and none outside the model's folder, irregular, or used again and again."""

import os
import sys

import numpy as np
import onnx
import pytest
from test_load_onnx import model_of
from test_load_onnx_cells import FIT, node_of

from fastlstm import LoadError, load, read_state_dict
from fastlstm.files.read import inspect

pytestmark = pytest.mark.once


def model():
    return model_of([node_of(name="it")], ["X"], ["it.y"], FIT)


def saved(folder, name="m.onnx", location=None):
    """A model whose tensors are in `location`, by default <name>.data."""
    path = folder / name
    onnx.save(model(), path, save_as_external_data=True, size_threshold=0,
              location=location or f"{name}.data")  # fmt: skip
    return path


def pointed(path, location, target):
    """The model at `path` saved once more at `target`, its tensors in `location`."""
    changed = onnx.load(path, load_external_data=False)
    for tensor in changed.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    target.write_bytes(changed.SerializeToString())
    return target


def test_the_file_beside_is_read(tmp_path, monkeypatch):
    path = saved(tmp_path)
    onnx.save(model(), tmp_path / "whole.onnx")
    whole, arrays = load(tmp_path / "whole.onnx"), read_state_dict(path)
    for each in (load(path), load(str(path)), load(path, external_data=True)):
        for name, array in whole.state_dict().items():
            assert np.array_equal(array, each.state_dict()[name])
    assert all(np.array_equal(arrays[name], array) for name, array in FIT.items())
    monkeypatch.chdir(tmp_path)
    assert load("m.onnx").hidden_size == 5  # without a folder in the path


def test_other_names_are_read_if_asked_for(tmp_path):
    for name, location in (("a.onnx", "weights.bin"), ("b.onnx", "b.onnx.data.1"),
                           ("c.onnx", "other.onnx.data"), ("d.onnx", ".data"),
                           ("e.onnx", "./e.onnx.data"), ("f.onnx", "F.ONNX.DATA")):  # fmt: skip
        path = saved(tmp_path, name, location)
        with pytest.raises(LoadError, match=r"in another file, .*: pass external_data=True"):
            load(path)
        assert load(path, external_data=True).hidden_size == 5
    path = saved(tmp_path)
    path.rename(tmp_path / "renamed.onnx")
    with pytest.raises(LoadError, match=r"'m\.onnx\.data': pass external_data=True"):
        load(tmp_path / "renamed.onnx")


@pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")
def test_what_the_name_beside_may_not_be(tmp_path):
    """A link out of the folder, a folder, a FIFO, a device, a missing file, one that is cut."""
    outside, folder = tmp_path / "outside", tmp_path / "model"
    folder.mkdir()
    path = saved(folder)
    data = folder / "m.onnx.data"
    whole = data.read_bytes()
    outside.write_bytes(whole)
    data.unlink()
    with pytest.raises(LoadError, match=r"'m\.onnx\.data': No such file"):
        load(path)
    for target, says in ((outside, "outside the model's folder"),
                         ("/dev/zero", "outside the model's folder")):  # fmt: skip
        data.symlink_to(target)
        for options in ({}, {"external_data": True}):
            with pytest.raises(LoadError, match=says):
                load(path, **options)
        data.unlink()
    data.mkdir()
    with pytest.raises(LoadError, match="Is a directory"):
        load(path)
    data.rmdir()
    os.mkfifo(data)
    with pytest.raises(LoadError, match="only a regular file"):
        load(path)
    data.unlink()
    data.write_bytes(whole[:-1])
    with pytest.raises(LoadError, match="of a file of"):
        load(path)
    (folder / "real").write_bytes(whole)
    data.unlink()
    data.symlink_to("real")  # inside the folder
    assert load(path).hidden_size == 5


def test_names_that_lead_elsewhere(tmp_path):
    """No text but the one name opens a file by default."""
    folder = tmp_path / "model"
    folder.mkdir()
    path = saved(folder)
    (tmp_path / "m.onnx.data").write_bytes((folder / "m.onnx.data").read_bytes())
    for location in ("../m.onnx.data", str(tmp_path / "m.onnx.data"), "../model/m.onnx.data", "",
                     "m.onnx.data\0", "x" * 5000):  # fmt: skip
        target = pointed(path, location, folder / "n.onnx")
        with pytest.raises(LoadError, match="pass external_data=True"):
            load(target)
        if location != "../model/m.onnx.data":
            with pytest.raises(LoadError, match=r"outside the model's folder|zero byte"):
                load(target, external_data=True)


def test_bytes_are_not_taken_again_and_again(tmp_path):
    """Many tensors of one run of bytes, each an array of its own: bounded by the file's size."""
    made = model_of([node_of(name="it")], ["X"], ["it.y"], {})
    for n in range(40):
        tensor = onnx.TensorProto(name=f"t{n}", data_type=1, dims=[1 << 16])
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="m.onnx.data")
        made.graph.initializer.append(tensor)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    (tmp_path / "m.onnx.data").write_bytes(bytes(4 << 16))
    with pytest.raises(LoadError, match="far more bytes than another file has"):
        read_state_dict(tmp_path / "m.onnx")


def test_weights_far_larger_than_the_model(tmp_path):
    """Bounds go by the weights' file too: 50 MiB of them beside a model of 500 bytes."""
    size = 1024
    stored = {"W": np.ones((1, 4 * size, 2 * size), np.float32),
              "R": np.ones((1, 4 * size, size), np.float32)}  # fmt: skip
    node = onnx.helper.make_node("LSTM", ["X", "W", "R"], ["y"], hidden_size=size)
    path = tmp_path / "m.onnx"
    onnx.save(model_of([node], ["X"], ["y"], stored), path, save_as_external_data=True,
              location="m.onnx.data")  # fmt: skip
    assert path.stat().st_size < 1000
    ((layer,),) = [inspect(path)[2].values()]
    assert (layer.problem, layer.input_size, layer.hidden_size) == (None, 2 * size, size)
