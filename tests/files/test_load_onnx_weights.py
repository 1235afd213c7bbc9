# SPDX-License-Identifier: MIT
"""ONNX models: the ways in which exporters leave weights, and models that cannot be read."""

import ntpath
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from test_load_onnx import model_of, only_layer

import fastlstm
from fastlstm import LoadError, load, load_all, read_state_dict
from fastlstm.files.onnx import graph as onnx_graph
from fastlstm.files.onnx import tensor as onnx_tensor
from fastlstm.files.read import sniff
from fastlstm.files.source import Source

pytestmark = pytest.mark.once

# ---- where exporters leave the weights


def torch_weights(rng, size=4, width=3):
    module = torch.nn.LSTM(width, size)
    return {n: v.detach().numpy() for n, v in module.named_parameters()}


def unsliced(source, rows, out, size, opset):
    """Nodes that put the gates i, f, g, o of `source` in ONNX's order, as PyTorch exports them."""
    order, nodes, parts = (0, 3, 1, 2), [], []
    for n, gate in enumerate(order):
        part = f"{out}.{n}"
        ends = [gate * size, (gate + 1) * size]
        if opset < 10:
            nodes.append(helper.make_node("Slice", [source], [part], axes=[0], starts=ends[:1],
                                          ends=ends[1:]))  # fmt: skip
        else:
            for name, value in (("s", ends[0]), ("e", ends[1]), ("a", 0)):
                nodes.append(helper.make_node(
                    "Constant", [], [f"{part}.{name}"],
                    value=numpy_helper.from_array(np.array([value], np.int64))))  # fmt: skip
            nodes.append(
                helper.make_node("Slice", [source, *(f"{part}.{n}" for n in "sea")], [part])
            )
        parts.append(part)
    nodes.append(helper.make_node("Concat", parts, [f"{out}.all"], axis=0))
    return nodes, f"{out}.all"


@pytest.mark.parametrize("opset", [9, 14])
@pytest.mark.parametrize("body", ["top", "If", "Loop"])
def test_weights_computed_from_torchs(tmp_path, rng, opset, body):
    """Slice, Concat, Unsqueeze, Identity, Cast, Transpose, Squeeze, Reshape of what is stored, with
    the node in the graph itself or in a body that sees the outer constants."""
    arrays = torch_weights(rng)
    stored = {n: a for n, a in arrays.items() if n != "weight_hh_l0"}
    stored["turned"] = arrays["weight_hh_l0"].T.astype(np.float64).copy()
    nodes = [
        helper.make_node("Transpose", ["turned"], ["t"], perm=[1, 0]),
        helper.make_node("Cast", ["t"], ["u"], to=TensorProto.FLOAT),
        helper.make_node("Identity", ["u"], ["weight_hh_l0"]),
    ]
    outs = []
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        more, out = unsliced(name, 4, f"o.{name}", 4, opset)
        nodes, outs = nodes + more, [*outs, out]
    nodes.append(helper.make_node("Concat", outs[2:], ["b"], axis=0))
    for source, out in ((outs[0], "W"), (outs[1], "R"), ("b", "B")):
        if opset < 13:
            nodes.append(helper.make_node("Unsqueeze", [source], [out], axes=[0]))
        else:
            stored["zero"] = np.array([0], np.int64)
            nodes.append(helper.make_node("Unsqueeze", [source, "zero"], [out]))
    lstm = helper.make_node("LSTM", ["X", "W", "R", "B"], ["y", "h", "c"], hidden_size=4)
    if body == "top":
        nodes.append(lstm)
    else:
        inner = model_of([lstm], [], ["y"], opset=opset, graph_only=True)
        if body == "If":
            nodes.append(helper.make_node("If", ["X"], ["y"], then_branch=inner, else_branch=inner))
        else:
            nodes.append(helper.make_node("Loop", ["X", ""], ["y"], body=inner))
    model = model_of(nodes, ["X"], ["y"], stored, opset)
    onnx.save(model, tmp_path / "m.onnx")
    found = load_all(tmp_path / "m.onnx")
    assert len(found) == (2 if body == "If" else 1)
    for layer in found.values():
        for name, array in layer.state_dict().items():
            assert np.array_equal(array, arrays[name]), name


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_what_torch_exports(tmp_path, rng, kind, options):
    torch.manual_seed(6)
    module = getattr(torch.nn, kind)(3, 4, **options).eval()
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    path = tmp_path / "torch.onnx"
    torch.onnx.export(module, (torch.from_numpy(x),), str(path), dynamo=False, opset_version=17)
    with torch.no_grad():
        expected = module(torch.from_numpy(x))[0].numpy()
    layers = load_all(path)
    assert len(layers) == options.get("num_layers", 1)
    y = x
    for layer in layers.values():
        assert layer.kind == kind
        y = layer(y)[0]
    assert np.abs(y - expected).max() <= 2e-6


def test_quantised_weights(tmp_path, rng):
    """DynamicQuantizeLSTM: weights transposed and of int8; the reference dequantises them."""
    for per_channel, code in ((False, np.int8), (True, np.int8), (False, np.uint8)):
        low, high = (-128, 128) if code is np.int8 else (0, 256)
        w = rng.integers(low, high, (2, 3, 16)).astype(code)
        r = rng.integers(low, high, (2, 4, 16)).astype(code)
        shape = (2, 16) if per_channel else (2,)
        scales = [rng.uniform(0.01, 0.02, shape).astype(np.float32) for _ in range(2)]
        zeros = [rng.integers(-3 if code is np.int8 else 120, 9 if code is np.int8 else 130, shape)
                 .astype(code) for _ in range(2)]  # fmt: skip
        b = rng.standard_normal((2, 32)).astype(np.float32)
        stored = {"W": w, "R": r, "B": b, "ws": scales[0], "wz": zeros[0], "rs": scales[1],
                  "rz": zeros[1]}  # fmt: skip
        node = helper.make_node(
            "DynamicQuantizeLSTM",
            ["X", "W", "R", "B", "", "", "", "", "ws", "wz", "rs", "rz"], ["y", "h", "c"],
            domain="com.microsoft", hidden_size=4, direction="bidirectional",
        )  # fmt: skip
        path = tmp_path / "q.onnx"
        onnx.save(model_of([node], ["X"], ["y"], stored), path)
        layer = load(path)
        assert (layer.input_size, layer.hidden_size, layer.bidirectional) == (3, 4, True)
        x = rng.standard_normal((6, 2, 3)).astype(np.float32)
        wide = [s.reshape(2, 1, -1) for s in (*scales, *(z.astype(np.float32) for z in zeros))]
        real = {"W": ((w - wide[2]) * wide[0]).transpose(0, 2, 1).copy(),
                "R": ((r - wide[3]) * wide[1]).transpose(0, 2, 1).copy(), "B": b}  # fmt: skip
        plain = helper.make_node("LSTM", ["X", "W", "R", "B"], ["y", "h", "c"], hidden_size=4,
                                 direction="bidirectional")  # fmt: skip
        onnx.save(model_of([plain], ["X"], ["y"], real), tmp_path / "p.onnx")
        session = onnxruntime.InferenceSession(str(tmp_path / "p.onnx"))
        expected = session.run(["y"], {"X": x})[0].transpose(0, 2, 1, 3).reshape(6, 2, 8)
        assert np.abs(layer(x)[0] - expected).max() <= 2e-6


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("code, zero", [(np.int8, 0), (np.uint8, 128)])
def test_quantised_weights_keep_their_codes(tmp_path, rng, code, zero, per_channel):
    """Of DynamicQuantizeLSTM, where they are -127 .. 127 around the zero point: in torch's order of
    gates, i, f, g, o, of ONNX's i, o, f, c."""
    w, r = (rng.integers(-127, 128, (2, n, 16)) + zero for n in (3, 4))
    shape = (2, 16) if per_channel else (2,)
    ws, rs = (rng.uniform(0.001, 0.01, shape).astype(np.float32) for _ in range(2))
    none = np.full(shape, zero, code)
    stored = {"W": w.astype(code), "R": r.astype(code), "ws": ws, "rs": rs, "z": none}
    node = helper.make_node(
        "DynamicQuantizeLSTM", ["X", "W", "R", "", "", "", "", "", "ws", "z", "rs", "z"], ["y"],
        domain="com.microsoft", hidden_size=4, direction="bidirectional",
    )  # fmt: skip
    path = tmp_path / "q.onnx"
    onnx.save(model_of([node], ["X"], ["y"], stored), path)
    layer, exact = load(path), load(path, dtype="float32")
    assert (layer.dtype, exact.dtype) == ("int8", "float32")
    order = np.concatenate([np.arange(4) + 4 * i for i in (0, 2, 3, 1)])
    for d, end in enumerate(("", "_reverse")):
        for name, codes, scales in (("weight_ih_l0", w, ws), ("weight_hh_l0", r, rs)):
            found = layer.packed.arrays[name + end]
            assert np.array_equal(found.codes, codes[d].T[order] - zero)
            due = np.broadcast_to(scales[d], 16)[order]
            assert np.array_equal(found.scales, due)
            numbers = exact.packed.arrays[name + end]
            assert np.array_equal(numbers, (codes[d].T[order] - zero).astype("f4") * due[:, None])
    x = rng.standard_normal((6, 2, 3)).astype(np.float32)
    assert 0 < layer.error(x, reference=exact).rms < 0.01


def test_slices_count_from_the_end_as_onnx_says(tmp_path, rng):
    """Negative and far starts, ends, steps and axes, through ONNX Runtime and here."""
    base = rng.standard_normal((1, 20, 4)).astype(np.float32)
    for starts, ends, axes, steps in (
        ([-17], [19], [1], [1]), ([-100], [16], [1], [1]), ([3], [-1], [-2], [1]),
        ([18], [2], [1], [-1]), ([-1], [-100], [1], [-1]), ([0, 1], [16, 99], [1, 2], [1, 1]),
        ([2], [2**62], [1], [1]), ([0], [-100], [1], [1]), ([-4], [2**31 - 1], [2], [1]),
    ):  # fmt: skip
        stored = {"B": base, "s": np.array(starts), "e": np.array(ends), "a": np.array(axes)}
        stored |= {"t": np.array(steps), "W": np.ones((1, 16, 3), np.float32)}
        nodes = [
            helper.make_node("Slice", ["B", "s", "e", "a", "t"], ["R"]),
            helper.make_node("Identity", ["R"], ["out"]),
            helper.make_node("LSTM", ["X", "W", "R"], ["y"], hidden_size=4),
        ]
        model = model_of(nodes, ["X"], ["out"], stored)
        del model.graph.node[2:], model.graph.input[:]
        (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {})
        whole = read_model_of(tmp_path, model_of(nodes, ["X"], ["y"], stored))
        assert np.array_equal(whole.constant("R"), expected), (starts, ends, axes, steps)


def read_model_of(folder, model):
    """The Graph of a model."""
    onnx.save(model, folder / "m.onnx")
    with Source(folder / "m.onnx") as source:
        return onnx_graph.Model(source).main


@pytest.mark.parametrize("layout", [0, 1])
def test_a_stored_initial_state(tmp_path, rng, layout):
    """Constant and not zero: part of the layer, whatever the layout; zeros are none."""
    h, c = (rng.standard_normal((2, 3, 4)).astype(np.float32) for _ in range(2))
    turn = (lambda a: a.swapaxes(0, 1).copy()) if layout else (lambda a: a)
    stored = {"W": np.ones((2, 16, 5), np.float32), "R": np.ones((2, 16, 4), np.float32)}
    node = helper.make_node(
        "LSTM", ["X", "W", "R", "", "", "h", "c"], ["y"], hidden_size=4, layout=layout,
        direction="bidirectional",
    )  # fmt: skip
    path = tmp_path / "s.onnx"
    onnx.save(model_of([node], ["X"], ["y"], stored | {"h": turn(h), "c": turn(c)}), path)
    _, layer, weights = only_layer(path)
    assert layer.initial_state == ("initial_h", "initial_c")
    assert np.array_equal(weights["initial_h"], h) and np.array_equal(weights["initial_c"], c)
    onnx.save(model_of([node], ["X"], ["y"], stored | {"h": 0 * turn(h), "c": 0 * turn(c)}), path)
    assert load(path).batch_first == bool(layout)


def test_dequantize_linear_is_folded(tmp_path, rng):
    q = {
        n: rng.integers(-100, 100, s).astype(np.int8)
        for n, s in (("w", (1, 16, 3)), ("r", (1, 16, 4)))
    }
    stored = {"qw": q["w"], "qr": q["r"], "s": np.float32(0.01), "z": np.int8(3),
              "rows": rng.uniform(0.01, 0.02, 16).astype(np.float32)}  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["qw", "s", "z"], ["W"]),
        helper.make_node("DequantizeLinear", ["qr", "rows"], ["R"], axis=1),
        helper.make_node("LSTM", ["X", "W", "R"], ["y"], hidden_size=4),
    ]
    onnx.save(model_of(nodes, ["X"], ["y"], stored), tmp_path / "d.onnx")
    _, _, weights = only_layer(tmp_path / "d.onnx")
    order = np.r_[0:4, 8:12, 12:16, 4:8]
    expected = ((q["w"][0].astype(int) - 3) * np.float32(0.01)).astype(np.float32)
    assert np.array_equal(weights["weight_ih_l0"], expected[order])
    expected = (q["r"][0] * stored["rows"][:, None]).astype(np.float32)
    assert np.array_equal(weights["weight_hh_l0"], expected[order])


DTYPES = "float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64"


@pytest.mark.parametrize("raw", [True, False])
def test_tensors_are_bit_equal_to_the_librarys(tmp_path, rng, raw):
    """Every element type, stored raw and one by one, through onnx.numpy_helper and here."""
    arrays = {
        f"{dtype}.{n}": rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
        for dtype in DTYPES.split()
        for n, shape in enumerate([(), (5,), (2, 3), (0, 4)])
    }
    tensors = []
    for name, array in arrays.items():
        if raw:
            tensors.append(numpy_helper.from_array(array, name))
        else:
            code = helper.np_dtype_to_tensor_dtype(array.dtype)
            values = array.reshape(-1)
            values = values.view(np.uint16) if array.dtype == np.float16 else values
            tensors.append(helper.make_tensor(name, code, array.shape, array.reshape(-1).tolist()))
    model = model_of([helper.make_node("Identity", ["X"], ["y"])], ["X"], ["y"])
    model.graph.initializer.extend(tensors)
    onnx.save(model, tmp_path / "t.onnx")
    found = read_state_dict(tmp_path / "t.onnx")
    assert list(found) == list(arrays)
    for tensor in onnx.load(tmp_path / "t.onnx").graph.initializer:
        theirs = numpy_helper.to_array(tensor)
        ours = found[tensor.name]
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), tensor.name
        assert ours.tobytes() == theirs.tobytes(), tensor.name


# ---- what cannot be read


def _lstm_model(stored=("W", "R", "B"), dtypes=(), **attributes):
    rng = np.random.default_rng(0)
    shapes = {"W": (1, 16, 3), "R": (1, 16, 4), "B": (1, 32)}
    types = dict.fromkeys(shapes, np.float32) | dict(dtypes)
    arrays = {n: rng.uniform(0, 9, s).astype(types[n]) for n, s in shapes.items()}
    node = helper.make_node("LSTM", ["X", "W", "R", "B"], ["y"], hidden_size=4, name="the node",
                            **attributes)  # fmt: skip
    rest = [n for n in shapes if n not in stored]
    return model_of([node], ["X", *rest], ["y"], {n: arrays[n] for n in stored})


def test_external_data_is_off_and_bounded(tmp_path):
    model = _lstm_model()
    path = tmp_path / "e.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(LoadError, match=r"w\.bin.*external_data=True"):
        load(path)
    layer = load(path, external_data=True)
    onnx.save(_lstm_model(), tmp_path / "inside.onnx")
    for name, array in load(tmp_path / "inside.onnx").state_dict().items():
        assert np.array_equal(array, layer.state_dict()[name])
    secret = tmp_path / "secret"
    secret.write_bytes((tmp_path / "w.bin").read_bytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(secret)
    (folder / "fifo").mkdir()
    for location in ("../secret", str(secret), "link", "fifo", "missing", "", "a\0b"):
        changed = onnx.load(path, load_external_data=False)
        for tensor in changed.graph.initializer:
            for entry in tensor.external_data:
                entry.value = location if entry.key == "location" else entry.value
        (folder / "m.onnx").write_bytes(changed.SerializeToString())
        with pytest.raises(LoadError):
            load(folder / "m.onnx", external_data=True)


@pytest.mark.parametrize(
    ("location", "expected"),
    [("w.bin", r"C:\m\w.bin"), (r"sub\w.bin", r"C:\m\sub\w.bin"), (r"..\w.bin", None),
     (r"C:\m\w.bin", None), (r"D:\w.bin", None), ("D:w.bin", None)],
)  # fmt: skip
def test_external_data_by_the_rules_of_windows(location, expected):
    """A name with a drive leads out of the folder without being absolute."""
    assert onnx_tensor.inside("C:\\m", location, ntpath) == expected


def test_external_data_on_another_drive(tmp_path, monkeypatch):
    def two_drives(paths):
        raise ValueError("Paths don't have the same drive")

    onnx.save(_lstm_model(), tmp_path / "e", save_as_external_data=True, location="w",
              size_threshold=0)  # fmt: skip
    monkeypatch.setattr(onnx_tensor.os.path, "commonpath", two_drives)
    with pytest.raises(LoadError, match="outside the model's folder"):
        load(tmp_path / "e", external_data=True)


PROBLEMS = {
    "weights from outside": (_lstm_model(("W", "B")), "R ('R') is not a constant"),
    "direction": (_lstm_model(direction="sideways"), "direction"),
    "activations": (_lstm_model(activations=["Tanh"]), "1 activations, 3 are due"),
    "an unknown activation": (_lstm_model(activations=["Sine", "Tanh", "Tanh"]), "'sine'"),
    "whole numbers": (_lstm_model(dtypes={"R": np.uint32}), "R ('R') is uint32"),
    "whole biases": (_lstm_model(dtypes={"B": np.int8}), "B ('B') is int8"),
    "two directions": (_lstm_model(direction="bidirectional"), "is due"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_name_the_node(tmp_path, name):
    model, says = PROBLEMS[name]
    onnx.save(model, tmp_path / "p.onnx")
    with pytest.raises(LoadError) as caught:
        load(tmp_path / "p.onnx")
    assert says in str(caught.value) and "the node" in str(caught.value)


def test_variants(tmp_path):
    for attributes, says in (
        ({"clip": 3.0}, "clip=3.0"), ({"input_forget": 1}, "input_forget=True"),
        ({"direction": "reverse"}, "reverse=True"),
        ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, "'hard_sigmoid', alpha=0.2, beta=0.5"),
    ):  # fmt: skip
        path = tmp_path / "v.onnx"
        onnx.save(_lstm_model(**attributes), path)
        prefix, layer, weights = only_layer(path)
        assert prefix == "the node." and len(weights) == 4 and layer.hidden_size == 4
        assert says in repr(load(path))


def test_an_rnn_uses_the_first_of_more_activations(tmp_path):
    """ONNX's own default has two, whatever the direction; alpha is that of those used."""
    stored = {name: np.ones((1, 4, k), "f4") for name, k in (("W", 3), ("R", 4))}
    path = tmp_path / "r.onnx"
    for names, says in (
        (["Tanh", "Tanh"], "RNN(3, 4, bias=False, isa="), (["Relu", "Tanh"], "nonlinearity='relu'"),
        (["Elu", "Elu", "Elu"], "Activation(name='elu', alpha=0.5,"),
    ):  # fmt: skip
        node = helper.make_node("RNN", ["X", "W", "R"], ["y"], activations=names, hidden_size=4,
                                activation_alpha=[0.5, 0.25, 0.75])  # fmt: skip
        onnx.save(model_of([node], ["X"], ["y"], stored), path)
        assert says in repr(load(path))


def test_numbers_that_no_layer_has(tmp_path):
    for attributes, says in (
        ({"clip": -3.0}, "clip must be greater than zero, got -3.0"),
        ({"clip": float("nan")}, "clip must be finite"),
        ({"clip": float("inf")}, "clip must be finite"),
        ({"activations": ["Elu", "Tanh", "Tanh"], "activation_alpha": [float("inf")]},
         "elu's alpha must be finite"),
    ):  # fmt: skip
        path = tmp_path / "v.onnx"
        onnx.save(_lstm_model(**attributes), path)
        with pytest.raises(LoadError, match=says):
            load(path)


def test_an_lstm_in_single_operators_is_refused_by_name(tmp_path):
    nodes = [
        helper.make_node("Sigmoid", ["a"], ["f"]), helper.make_node("Sigmoid", ["b"], ["i"]),
        helper.make_node("Tanh", ["g0"], ["g"]), helper.make_node("Mul", ["f", "c"], ["fc"]),
        helper.make_node("Mul", ["i", "g"], ["ig"]), helper.make_node("Add", ["fc", "ig"], ["c2"]),
    ]  # fmt: skip
    onnx.save(model_of(nodes, ["a", "b", "g0", "c"], ["c2"]), tmp_path / "s.onnx")
    with pytest.raises(
        LoadError, match=r"written out as single operators.*export it as the operator"
    ):
        load(tmp_path / "s.onnx")
    onnx.save(model_of(nodes[:3], ["a", "b", "g0"], ["g"]), tmp_path / "n.onnx")
    with pytest.raises(LoadError, match="the model has no LSTM, GRU or RNN"):
        load(tmp_path / "n.onnx")
    assert sniff(tmp_path / "n.onnx") == "onnx"


def test_onnx_is_not_needed(tmp_path):
    onnx.save(_lstm_model(), tmp_path / "m.onnx")
    code = (
        "import sys\nsys.modules.update(onnx=None, google=None, h5py=None)\n"
        "import fastlstm\nprint(fastlstm.load(sys.argv[1]).hidden_size)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "4\n", done.stderr
    assert isinstance(load(tmp_path / "m.onnx"), fastlstm.LSTM)
