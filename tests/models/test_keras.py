# SPDX-License-Identifier: MIT
"""Whole models of Keras files: the numbers are Keras'. The models lie in data/keras, with what
Keras 3 computed (support/make_keras_graphs.py)."""

import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from make_keras_graphs import FOLDER

from fastlstm.engine import NAME
from fastlstm.models import reference
from fastlstm.models.keras import read
from fastlstm.models.model import Model

with zipfile.ZipFile(FOLDER / "models.zip") as archive:
    FILES = archive.namelist()
EXPECTED = dict(np.load(FOLDER / "expected.npz"))
BOUND = 1e-5  # of the largest number of an output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras")
    with zipfile.ZipFile(FOLDER / "models.zip") as archive:
        archive.extractall(path)
    return path


def arrays(name, what):
    """{name of an input, or number of an output: array} of a model in expected.npz."""
    start = f"{name}/{what}/"
    return {key.removeprefix(start): a for key, a in EXPECTED.items() if key.startswith(start)}


def given(graph, name, what="x"):
    """{input: array} of the types that the graph has; states are zeros."""
    found = arrays(name, what)
    batch = len(next(iter(found.values())))
    for value in graph.inputs:
        if value.name not in found:
            shape = [batch if n == "batch" else n for n in value.shape]
            found[value.name] = np.zeros(shape)
        found[value.name] = found[value.name].astype(value.dtype)
    return found


def assert_close(made, due, what):
    assert made.shape == due.shape, what
    scale = max(np.abs(due).max(initial=0), 1e-6)
    assert np.abs(made - due).max(initial=0) <= BOUND * scale, what


def assert_keras(graph, made, name, what="y"):
    due = arrays(name, what)
    assert len(made) == len(graph.outputs) >= len(due) > 0
    for i in range(len(due)):
        assert_close(made[i], due[str(i)], f"{name}: {graph.outputs[i].name}")


@pytest.mark.parametrize("file", FILES)
def test_the_numbers_are_keras(folder, file):
    graph, name = read(folder / file), file.partition(".")[0]
    made = reference.run(graph, given(graph, name))
    assert_keras(graph, made, name)


@pytest.mark.parametrize("file", FILES)
def test_a_model_gives_them_too(folder, file):
    """Planned and, with the C core, lowered."""
    graph, name = read(folder / file), file.partition(".")[0]
    model = Model(graph)
    assert_keras(graph, model.run(given(graph, name)), name)


@pytest.mark.parametrize("name", ["stateful_lstm.h5", "stateful_bi.keras", "stateful_stack.keras"])
def test_a_stateful_model_is_streamed(folder, name):
    """Its second call starts from what the first left, as in Keras; any batch will do."""
    model, name = Model(read(folder / name)), name.partition(".")[0]
    stream = model.stream(batch_size=2)
    assert len(stream.pairs) == len(model.inputs) - 1 > 0
    for call in ("", "2"):
        assert_close(
            stream.step(arrays(name, f"x{call}")["x"]), arrays(name, f"y{call}")["0"], call
        )
    one = model.stream()
    x = arrays(name, "x")["x"]
    assert_close(one.step(x[:1]), arrays(name, "y")["0"][:1], "one row")


def test_inputs_and_outputs_have_their_names(folder):
    graph = read(folder / "initial_states.keras")
    assert [str(v) for v in graph.inputs] == [
        "tokens: int64 (batch, 6)", "h: float32 (batch, 4)", "c: float32 (batch, 4)",
    ]  # fmt: skip
    graph = read(folder / "ethnicolr.h5")
    assert str(graph.inputs[0]) == "x: int64 (batch, time)"
    assert [v.name for v in read(folder / "operations.keras").outputs] == [
        "sum", "cut", "last", "neg", "part",
    ]  # fmt: skip
    graph = read(folder / "attention.keras")
    assert [str(v) for v in graph.inputs] == [
        "q: float32 (batch, q_1, 4)", "k: float32 (batch, k_1, 4)",
    ]  # fmt: skip


def test_lengths_that_no_call_had(folder):
    """A model with masks of any length, rows of no step that counts, batches of none and of one."""
    graph = read(folder / "bi_masked_concat.h5")
    model = Model(graph)
    rng = np.random.default_rng(1)
    for batch, time in ((1, 1), (4, 9), (0, 3), (3, 2)):
        x = rng.integers(0, 3, (batch, time))
        made = model.run({"tokens": x})
        due = reference.run(graph, {"tokens": x})
        for a, b in zip(made, due, strict=True):
            assert_close(a, b, (batch, time))
        for row in range(batch):  # a row is what it is by itself
            alone = model.run({"tokens": x[row : row + 1]})
            for a, b in zip(made, alone, strict=True):
                assert np.array_equal(a[row], b[0]) or NAME == "numpy"  # its sums are BLAS's


def older_tensor(tensor, models):
    name, call, output = tensor["config"]["keras_history"]
    return [name, call + (name in models), output, {}]


def older(config):
    """A model's configuration as Keras 2 writes it: lists for calls, and models within it counted
    from 1."""
    if "layers" not in config:
        return
    models = {c["config"]["name"] for c in config["layers"] if "layers" in c["config"]}
    for layer in config["layers"]:
        older(layer["config"])
        shape = layer["config"].pop("batch_shape", None)
        if shape is not None:
            layer["config"]["batch_input_shape"] = shape
        calls = []
        for call in layer.get("inbound_nodes", ()):
            first, *rest = call["args"]
            first = first if isinstance(first, list) else [first]
            calls.append([older_tensor(t, models) for t in first])
            states = call["kwargs"].get("initial_state")
            if states is not None:
                states = states if isinstance(states, list) else [states]
                more = [older_tensor(t, models) for t in states]
                kind = layer["class_name"]
                if kind == "LSTM":  # as TensorFlow's Keras does, or as the earlier one did
                    calls[-1][0][3] = {"initial_state": [t[:3] for t in more]}
                else:
                    calls[-1] += more
            assert not rest
        if "inbound_nodes" in layer:
            layer["inbound_nodes"] = calls
    for key in ("input_layers", "output_layers"):
        if isinstance(config.get(key, [None])[0], str):
            config[key] = [config[key]]


OLDER = {
    "textgen": "2.1.5", "nested_shared": "2.2.4", "separable": "2.4.0", "batch_norms": "2.9.0",
    "frozen_nested": "2.3.1", "stacked_cells": "2.2.4-tf", "layer_norms": "2.11.0",
}  # fmt: skip


@pytest.mark.parametrize("name", OLDER)
def test_calls_as_keras_2_writes_them(folder, tmp_path, name):
    path = tmp_path / "older.h5"
    shutil.copy(folder / f"{name}.h5", path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["class_name"] = "Model"
        older(config["config"])
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = OLDER[name]
    graph = read(path)
    assert_keras(graph, reference.run(graph, given(graph, name)), name)


def test_initial_states_as_keras_2_writes_them(folder, tmp_path):
    """LSTM with the argument initial_state, GRU and Bidirectional with further inputs."""
    path = tmp_path / "older.keras"

    def change(config):
        older(config["config"])

    rewritten(folder / "initial_states.keras", path, change, version="2.4.0")
    graph = read(path)
    name = "initial_states"
    assert_keras(graph, reference.run(graph, given(graph, name)), name)


def rewritten(source, path, change, version=None):
    """A copy of a .keras file whose configuration `change` has changed in place."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                data = json.dumps(change(config) or config).encode()
            if name == "metadata.json" and version:
                data = json.dumps({"keras_version": version}).encode()
            new.writestr(name, data)


def test_hard_sigmoid_of_both_versions(folder, tmp_path):
    def change(config):
        config["config"]["layers"] = [
            config["config"]["layers"][0],
            {"class_name": "Activation", "name": "a",
             "config": {"name": "a", "trainable": True, "activation": "hard_sigmoid"}},
        ]  # fmt: skip

    x = np.linspace(-4, 4, 18, dtype=np.float32).reshape(1, 6, 3)
    for version, slope in (("2.15.0", 0.2), ("3.1.0", 1 / 6)):
        path = tmp_path / "hard.keras"
        rewritten(folder / "lstm_variants.keras", path, change, version)
        made = reference.run(read(path), {"x": x})[0]
        assert np.allclose(made, np.clip(slope * x + 0.5, 0, 1), atol=1e-6)


@pytest.mark.parametrize("family", ["keras", "tf_keras"])
def test_models_of_both_families(family):
    """Those of one recurrent layer that lie beside the readers of files."""
    data = FOLDER.parents[2] / "files" / "data" / "keras"
    known, count = np.load(data / "expected.npz"), 0
    for path in sorted(data.glob(f"*.{family}.*")):
        key = f"{path.name.split('.')[0]}.{family}"
        if path.suffixes[-2] in (".weights", ".old"):
            continue
        graph = read(path)
        (made,) = reference.run(graph, {graph.inputs[0].name: known[f"{key}.x"]})
        assert_close(made, known[f"{key}.y"], path.name)
        count += 1
    assert count >= 20
