# SPDX-License-Identifier: MIT
"""Keras files of every kind, written by Keras 3 and tf_keras (make_keras.py), and their outputs.

The files lie in data/keras beside this file, with the outputs that Keras computed; in full, where
both can be imported, they are written anew and compared like the stored ones.
"""

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import variant_oracle
from conftest import BACKEND, FULL
from load_corpus.build import Record, zip_bytes
from make_keras import CASES, ENDINGS, FOLDER
from published import path_of
from test_load_formats import NUMBERS

from fastlstm import LoadError, load, load_all, read_state_dict
from fastlstm.files.contents import group_by_prefix, layer_weights
from fastlstm.files.read import inspect
from fastlstm.variants import Activation

FILES = sorted(path.name for path in FOLDER.iterdir() if path.name != "expected.npz")
BOUND = 2e-6
ALONE = (".weights.h5", ".old.hdf5")


def options_of(name):
    """What a caller has to say of a file that holds weights alone."""
    case, which = name.split(".")[:2]
    if not name.endswith(ALONE):
        return {}
    arguments = CASES[case][1]
    options = {"activation": arguments.get("activation", "tanh")}
    if arguments.get("go_backwards"):
        options["go_backwards"] = True
    if "recurrent_activation" in arguments:
        options["recurrent_activation"] = arguments["recurrent_activation"]
        if which == "tf_keras":
            options["recurrent_activation"] = Activation("hard_sigmoid", 0.2, 0.5)
    return options


def check(folder, name, expected):
    case, which = name.split(".")[:2]
    path, x, y = folder / name, *(expected[f"{case}.{which}.{n}"] for n in "xy")
    _, arrays, layers = inspect(path, **options_of(name))
    ((prefix, layer),) = layers.items()
    assert layer.problem is None, layer.problem
    kind, arguments, merge = CASES[case]
    assert layer.kind == kind.replace("Simple", "")
    assert layer.batch_first and layer.bidirectional == (merge is not None)
    alone = name.endswith(ALONE)
    merged = {"merge": merge} if alone and merge else {}  # a Layer does not have the caller's
    if alone:
        assert ("merge" in layer.assumed) == layer.bidirectional
    else:
        assert layer.assumed == ()
        assert prefix == "rec." and layer.merge == (merge or "concat")
    assert (layer.direction == "reverse") == arguments.get("go_backwards", False)
    ours = variant_oracle.run(
        layer, layer_weights(group_by_prefix(arrays), prefix, layer), x.swapaxes(0, 1)
    )[0]
    if layer.direction == "reverse":
        ours = ours[::-1]
        assert layer.output_order == "processing"
    ours = ours.swapaxes(0, 1)
    if merge == "sum":
        ours = ours[..., :4] + ours[..., 4:]
    assert np.abs(ours - y).max() <= BOUND
    assert np.abs(load(path, **merged, **options_of(name))(x)[0] - y).max() <= BOUND


@pytest.fixture(scope="module")
def expected():
    return dict(np.load(FOLDER / "expected.npz"))


def test_there_are_enough_files():
    assert len(FILES) >= 80
    for case in CASES:
        for which in ("keras", "tf_keras"):
            assert {f"{case}.{which}.{ending}" for ending in ENDINGS} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_the_numbers_are_keras(expected, name):
    check(FOLDER, name, expected)


@pytest.mark.skipif(not FULL, reason="writes with tensorflow: FASTLSTM_FULL=1")
def test_files_written_now(tmp_path):
    for package in ("keras", "tf_keras"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    script = Path(__file__).parents[1] / "support" / "make_keras.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(script.parent), *sys.path])}
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, env=environment)
    fresh = dict(np.load(tmp_path / "expected.npz"))
    for name in FILES:
        check(tmp_path, name, fresh)


def _opened(name):
    """The HDF5 file inside a Keras file, by h5py."""
    path = FOLDER / name
    if not name.endswith(".keras"):
        return h5py.File(path, "r")
    import zipfile

    with zipfile.ZipFile(path) as archive:
        return h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")


@pytest.mark.parametrize("name", FILES)
def test_arrays_are_bit_equal_to_h5pys(name):
    ours, theirs = read_state_dict(FOLDER / name), {}
    with _opened(name) as file:
        file.visititems(lambda path, each: theirs.update({path: each[()]})
                        if isinstance(each, h5py.Dataset) else None)  # fmt: skip
    assert theirs and set(theirs) <= set(ours)
    for path, array in theirs.items():
        assert (ours[path].dtype, ours[path].shape) == (array.dtype, array.shape)
        assert ours[path].tobytes() == array.tobytes()


def test_weights_alone_need_the_activation():
    path = FOLDER / "lstm.keras.weights.h5"
    with pytest.raises(LoadError, match=r"weights alone.*pass activation=.*recurrent_activation="):
        load(path)
    assert len(read_state_dict(path)) == 7  # the arrays are there all the same
    assert load(path, activation="tanh").hidden_size == 4
    with pytest.raises(LoadError, match="'sinus' is not known"):
        load(path, activation="sinus")
    with pytest.raises(TypeError, match="activation must be a str"):
        load(path, activation=3)
    path = FOLDER / "lstm_hard.tf_keras.weights.h5"
    with pytest.raises(LoadError, match=r"Keras 2 is 0\.2 x \+ 0\.5 and of Keras 3 x / 6"):
        load(path, activation="tanh", recurrent_activation="hard_sigmoid")


def test_hard_sigmoid_is_told_by_the_version():
    for which, slope in (("keras", 1 / 6), ("tf_keras", 0.2)):
        for ending in ("keras", "h5"):
            layers = inspect(FOLDER / f"lstm_hard.{which}.{ending}")[2]
            (gates, _, _), = layers["rec."].directions  # fmt: skip
            assert gates == Activation("hard_sigmoid", slope, 0.5)


@pytest.mark.parametrize("name", ["rnn_1", "rnn_2"])
def test_textgenrnn(expected, name):
    """A published file of Keras 2.1.5: CuDNNLSTM's layout, weights alone; cuDNN has one set of
    activations, so nothing need be said. The conversion is exact: in float64, tf_keras' numbers.

    In float32 these trained weights magnify rounding, so that nothing is within 2e-6 of float64 at
    every element. Largest and root mean square errors, measured on 2026-11-22:
        rnn_1   ours 3.3e-6, 2.6e-7   PyTorch 4.1e-6, 2.9e-7   Keras on TensorFlow 5.1e-6, 2.9e-7
        rnn_2   ours 3.8e-6, 2.4e-7   PyTorch 3.3e-6, 3.0e-7   Keras on TensorFlow 3.5e-6, 3.0e-7
    (PyTorch's change with its number of threads.) Held here: no further off than Keras, but for
    the NumPy backend's mean, 3.6e-7 at most, whose sums are its BLAS's."""
    path = path_of("textgenrnn_weights.hdf5")
    _, arrays, layers = inspect(path)
    assert list(layers) == ["rnn_1.", "rnn_2."]
    x, y = (expected[f"textgenrnn.{name}.{n}"] for n in "xy")
    prefix, layer = f"{name}.", layers[f"{name}."]
    weights = layer_weights(group_by_prefix(arrays), prefix, layer)
    weights["bias_ih_l0"] = weights["bias_ih_l0"] + weights.pop("bias_hh_l0")  # as tf_keras does
    exact = variant_oracle.run(layer, weights, x.swapaxes(0, 1))[0]
    assert np.abs(exact.swapaxes(0, 1) - y).max() <= 1e-12
    ours = load_all(path)[prefix](x)[0] - y
    assert np.abs(ours).max() <= 5.1e-6
    assert np.square(ours).mean() <= (4e-7 if BACKEND == "numpy" else 2.9e-7) ** 2


# ---- files made by h5py: old layouts and what must be refused


def old_weights(path, layers, version="2.1.5", config=None):
    """Weights as Keras 2 wrote them: {layer: {weight name: array}}."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        group = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
            group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([name.encode() for name in layers])
        for name, weights in layers.items():
            below = group.create_group(name)
            below.attrs["weight_names"] = np.array([each.encode() for each in weights])
            for each, array in weights.items():
                below[each] = array
    return path


def _gru(rng, size=4, width=3, flat=False):
    real = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    bias = real(6 * size) if flat else real(3 * size)
    return {"g/kernel:0": real(width, 3 * size), "g/recurrent_kernel:0": real(size, 3 * size),
            "g/bias:0": bias}  # fmt: skip


def _model(kind, **config):
    layer = {"class_name": kind, "config": {"name": "g", "units": 4} | config}
    return {"class_name": "Sequential", "config": [layer]}  # a list: Keras before 2.2.3


def test_keras_2_defaults(tmp_path, rng):
    """No reset_after: False. No version in the weights: the caller says which hard_sigmoid."""
    config = _model("GRU", activation="tanh", recurrent_activation="hard_sigmoid")
    path = old_weights(tmp_path / "g.h5", {"g": _gru(rng)}, config=config)
    layer = inspect(path)[2]["g."]
    assert (layer.kind, layer.reset_after, layer.problem) == ("GRU", False, None)
    assert layer.directions[0][0] == Activation("hard_sigmoid", 0.2, 0.5)
    path = old_weights(tmp_path / "w.h5", {"g": _gru(rng)}, version="2.2.4")
    with pytest.raises(LoadError, match=r"Keras 2\.2 had hard_sigmoid as the default"):
        load(path, activation="tanh")
    assert load(path, activation="tanh", recurrent_activation="sigmoid").reset_after is False


def test_cudnn_gru(tmp_path, rng):
    """cuDNN's memory is torch's, gate by gate: z, r, h there, r, z, n here."""
    weights = _gru(rng, flat=True)
    path = old_weights(tmp_path / "g.h5", {"g": weights})
    state = load(path).state_dict()
    for part, name in (("kernel", "weight_ih"), ("recurrent_kernel", "weight_hh")):
        gates = [np.ascontiguousarray(g) for g in np.split(weights[f"g/{part}:0"], 3, axis=1)]
        torch = [g.reshape(4, -1) for g in gates]
        assert np.array_equal(state[f"{name}_l0"], np.concatenate([torch[1], torch[0], torch[2]]))
    z, r, h, z2, r2, h2 = np.split(weights["g/bias:0"], 6)
    assert np.array_equal(state["bias_ih_l0"], np.concatenate([r, z, h]))
    assert np.array_equal(state["bias_hh_l0"], np.concatenate([r2, z2, h2]))
    assert load(path).reset_after


BAD_CONFIGS = {
    "other units": (_model("GRU", units=5), "units is '5', its weights have 4"),
    "another class": (_model("LSTM"), "its weights are those of a GRU"),
    "reset_after": (_model("GRU", reset_after=True), "reset_after is True, its bias"),
    "no bool": (_model("GRU", go_backwards="yes"), "not true or false"),
    "custom activation": (_model("GRU", activation="mine"), "'mine' is not known"),
    "a lambda": (_model("GRU", activation={"class_name": "Lambda", "config": "x"}), "no function"),
    "RNN of a custom cell": (
        _model("RNN", cell={"class_name": "Mine", "config": {}}), "an RNN of 'Mine'"),
    "Bidirectional alone": (_model("Bidirectional"), "Bidirectional without a layer"),
    "two directions": (
        _model("Bidirectional", layer={"class_name": "GRU", "config": {}}), "2 sets of weights"),
    "merge_mode": (
        _model("Bidirectional", merge_mode="max", layer={"class_name": "GRU", "config": {}}),
        "merge_mode is 'max'"),
    "no config": (_model("RNN", cell=None), "an RNN of 'None'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_configurations_that_do_not_fit(tmp_path, rng, name):
    config, says = BAD_CONFIGS[name]
    path = old_weights(tmp_path / "x.h5", {"g": _gru(rng)}, config=config)
    with pytest.raises(LoadError) as caught:
        load(path)
    assert says in str(caught.value)


FILTERS = {
    "Fletcher32": {"fletcher32": True}, "LZF": {"compression": "lzf"},
    "scale-offset": {"scaleoffset": 2},
}  # fmt: skip


def _links(file, what, outside):
    data = np.ones((3, 12), np.float32)
    if what == "soft link":
        file["real"] = data
        file["g/kernel"] = h5py.SoftLink("/real")
    elif what == "external link":
        file["g/kernel"] = h5py.ExternalLink(str(outside), "/real")
    elif what == "external storage":
        file.create_dataset("k", (3, 12), "f4", external=[(str(outside), 0, 144)])
    elif what == "virtual":
        layout = h5py.VirtualLayout((3, 12), "f4")
        layout[:] = h5py.VirtualSource(str(outside), "real", (3, 12))
        file.create_virtual_dataset("k", layout)
    elif what in FILTERS:
        file.create_dataset("k", data=data, **FILTERS[what])
    elif what == "cycle":
        file.create_group("a").create_group("b")
        file["a/b/up"] = file["a"]
    elif what == "second name":
        file["k"] = data
        file["l"] = file["k"]
    elif what == "dense":
        group = file.create_group("g", track_order=True)
        for n in range(30):
            group[f"{n}"] = data


@pytest.mark.parametrize(
    ("what", "says"),
    [("soft link", "soft link"), ("external link", "external link"),
     ("external storage", "another file"), ("virtual", "virtual"), ("cycle", "second name"),
     ("second name", "second name"), ("dense", "densely"),
     *((name, f"the filter {name}.*save it with gzip") for name in FILTERS)],
)  # fmt: skip
def test_what_leads_out_of_the_file_or_is_not_plain(tmp_path, what, says):
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as file:
        file["real"] = np.ones((3, 12), np.float32)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        _links(file, what, outside)
    with pytest.raises(LoadError, match=says):
        read_state_dict(tmp_path / "x.h5")


def test_other_hdf5_files_give_their_arrays(tmp_path, rng):
    """Any dtype; layers by torch's names, since people store those too."""
    stored = {f"a/{d}": rng.integers(0, 2, (2, 3)).astype(d)
              for d in (*NUMBERS, "?")}  # fmt: skip
    stored |= {"s": np.float32(3), "empty": np.empty((0, 4), np.float32)}
    stored |= {f"net.{n}": v.numpy() for n, v in torch.nn.LSTM(2, 3).state_dict().items()}
    for options in ({}, {"libver": "latest"}):
        with h5py.File(tmp_path / "o.h5", "w", **options) as file:
            names = list(stored)[:: 3 if options else 1]  # dense groups hold more than eight
            for name in names if not options else names[:5]:
                file[name] = stored[name]
        ours = read_state_dict(tmp_path / "o.h5")
        assert ours and all(np.array_equal(ours[n], stored[n]) for n in ours)
    with h5py.File(tmp_path / "l.h5", "w") as file:
        for name, array in stored.items():
            file[name] = array
    assert load(tmp_path / "l.h5").hidden_size == 3


def test_a_keras_zip_without_its_parts(tmp_path):
    path = tmp_path / "x.keras"
    path.write_bytes(zip_bytes([Record("config.json", b"{}"), Record("model.weights.h5", b"")]))
    with pytest.raises(LoadError, match=r"metadata\.json is missing"):
        load(path)
    deep = b'{"a":' * 100_000
    path.write_bytes(zip_bytes([Record("config.json", deep), Record("metadata.json", b"{}"),
                                Record("model.weights.h5", b"")]))  # fmt: skip
    with pytest.raises(LoadError, match="nested too deeply"):
        load(path)
