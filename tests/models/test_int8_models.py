# SPDX-License-Identifier: MIT
"""Whole models in int8: files of onnxruntime.quantization against ONNX Runtime on the numbers that
their codes stand for, models that are asked to be int8, and the bits of both, and of bfloat16."""

import itertools
import pickle

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx_models import graph_of, model_of, node

import fastlstm
from fastlstm.engine import int8

F = np.float32
ISAS = fastlstm.runnable_isas()


def load(model, tmp_path, **options):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return fastlstm.load_model(path, **options)


# ---- files of onnxruntime.quantization ----

STEPS, CHANNELS, HIDDEN, TAGS = 12, 24, 20, 7


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    """The path of a model: Conv1d, relu, a bidirectional LSTM, two Linears."""
    rng = np.random.default_rng(11)

    def weights(*shape):
        return F(rng.uniform(-1, 1, shape) / np.sqrt(shape[-1]))

    constants = {
        "cw": weights(16, CHANNELS, 3), "cb": weights(16),
        "w": weights(2, 4 * HIDDEN, 16), "r": weights(2, 4 * HIDDEN, HIDDEN),
        "b": weights(2, 8 * HIDDEN), "shape": np.array([0, 0, 2 * HIDDEN]),
        "m": weights(2 * HIDDEN, 30), "mb": weights(30), "n": weights(30, TAGS),
        "nb": weights(TAGS),
    }  # fmt: skip
    nodes = [
        node("Conv", "x cw cb", "c", pads=[1, 1], strides=[2]), node("Relu", "c", "d"),
        node("Transpose", "d", "e", perm=[2, 0, 1]),
        node("LSTM", "e w r b", "f", direction="bidirectional", hidden_size=HIDDEN),
        node("Transpose", "f", "g", perm=[0, 2, 1, 3]), node("Reshape", "g shape", "h"),
        node("MatMul", "h m", "i"), node("Add", "i mb", "j"), node("Tanh", "j", "k"),
        node("MatMul", "k n", "l"), node("Add", "l nb", "y"),
    ]  # fmt: skip
    graph = graph_of(nodes, {"x": ("N", CHANNELS, "T")}, "y", constants)
    path = tmp_path_factory.mktemp("quantized") / "floats.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model_of(graph, 17)), path)
    return path


OPTIONS = {
    "plain": {}, "channels": {"per_channel": True}, "reduced": {"reduce_range": True},
    "unsigned": {"weight_type": "QUInt8"},
    "asymmetric": {"extra_options": {"WeightSymmetric": False}},
}  # fmt: skip


@pytest.fixture(scope="module")
def dynamic(floats):
    """{name: path} of what quantize_dynamic makes of it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    found = {}
    for name, options in OPTIONS.items():
        options = {k: QuantType[v] if k == "weight_type" else v for k, v in options.items()}
        found[name] = floats.with_name(f"{name}.onnx")
        quantize_dynamic(floats, found[name], **options)
    return found


def x_of(rng, batch=3, steps=STEPS):
    return F(rng.standard_normal((batch, CHANNELS, steps)))


def numbers_of(path):
    """ONNX Runtime's run, in float32, of the model whose weights are what a quantised file's codes
    stand for: written here for the names of this module's model."""
    model = onnx.load(path)
    stored = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    floats = onnx.load(path.with_name("floats.onnx"))
    for i, each in enumerate(floats.graph.initializer):
        codes = stored.get(f"{each.name}_quantized")
        if codes is None:
            continue
        zero, scale = (stored[f"{each.name}_{n}"] for n in ("zero_point", "scale"))
        if codes.ndim == 3 and each.name in "wr":
            codes = codes.transpose(0, 2, 1)
            zero, scale = (
                a[..., None] if a.ndim == 2 else a.reshape(-1, 1, 1) for a in (zero, scale)
            )
        elif zero.ndim and zero.size > 1 and each.name == "cw":
            zero, scale = (a.reshape(-1, 1, 1) for a in (zero, scale))
        numbers = F((codes.astype(np.float64) - zero) * scale)
        floats.graph.initializer[i].CopyFrom(numpy_helper.from_array(numbers, each.name))
    session = onnxruntime.InferenceSession(floats.SerializeToString())
    return lambda x: session.run(None, {"x": x})[0]


def rms(a):
    return np.sqrt(np.mean(np.square(a.astype(np.float64))))


@pytest.mark.parametrize("name", OPTIONS)
def test_files_of_quantize_dynamic(dynamic, name, rng):
    """Nearer to what the file's weights say than ONNX Runtime, whose difference from us its own
    rounding explains."""
    x = x_of(rng)
    exact = numbers_of(dynamic[name])(x)
    theirs = onnxruntime.InferenceSession(dynamic[name]).run(None, {"x": x})[0]
    model = fastlstm.load_model(dynamic[name])
    ours = model(x)
    assert model.dtype == "int8"
    assert rms(ours - exact) <= rms(theirs - exact)
    assert abs(ours - theirs).max() <= abs(ours - exact).max() + abs(theirs - exact).max() + 1e-6
    back = fastlstm.load_model(dynamic[name], dtype="float32")
    assert back.dtype == "float32" and abs(back(x) - exact).max() <= 2e-6


def kinds(model, x):
    """[(operator, whether its weights are codes)] of the plan, without notes."""
    found = []
    for each in model.planned({"x": x}).graph.nodes:
        if each.op == "Recurrent":
            found.append(("Recurrent", each.attrs["layer"].dtype == "int8"))
        elif each.op in ("Linear", "Conv", "ConvLast"):
            found.append(("Linear" if "window" in each.attrs else each.op, len(each.inputs) > 3))
    return found


def test_which_products_run_in_codes(dynamic, floats, rng):
    x = x_of(rng)
    every = [("Linear", True), ("Recurrent", True), ("Linear", True), ("Linear", True)]
    for name in ("plain", "channels", "reduced"):
        assert kinds(fastlstm.load_model(dynamic[name]), x) == every
    assert kinds(fastlstm.load_model(floats, dtype="int8"), x) == every
    assert not any(coded for _, coded in kinds(fastlstm.load_model(floats), x))
    wide = fastlstm.load_model(dynamic["unsigned"])
    noted = [n for n in wide.planned({"x": x}).graph.nodes if "note" in n.attrs]
    assert all("-128" in n.attrs["note"] for n in noted)
    assert any("window" in n.attrs for n in noted)  # of the convolution too


def test_rows_of_inputs_become_the_codes_that_are_asked_for(dynamic, rng):
    """Of a file's own codes as well, in products, convolutions and layers."""
    for inputs in int8.INPUTS:
        model = fastlstm.load_model(dynamic["plain"]).quantize("int8", inputs=inputs)
        nodes = model.planned({"x": x_of(rng)}).graph.nodes
        codes = [n.attrs["codes"] for n in nodes if n.op == "Linear"]
        codes += [n.attrs["layer"].inputs for n in nodes if n.op == "Recurrent"]
        assert codes == [inputs] * 4


def test_own_codes_and_scales_are_kept(dynamic, rng):
    """Of the plan's layers, number by number."""
    stored = {i.name: numpy_helper.to_array(i)
              for i in onnx.load(dynamic["channels"]).graph.initializer}  # fmt: skip
    plan = fastlstm.load_model(dynamic["channels"]).planned({"x": x_of(rng)})
    (layer,) = (n for n in plan.graph.nodes if n.op == "Recurrent")
    order = np.concatenate([np.arange(HIDDEN) + HIDDEN * i for i in (0, 2, 3, 1)])
    for d, end in enumerate(("", "_reverse")):
        for name, letter in (("weight_ih_l0", "w"), ("weight_hh_l0", "r")):
            found = layer.attrs["weights"][name + end]
            assert np.array_equal(found.codes, stored[f"{letter}_quantized"][d].T[order])
            assert np.array_equal(found.scales, stored[f"{letter}_scale"][d][order])
    *_, last = (n for n in plan.graph.nodes if n.op == "Linear")
    assert np.array_equal(plan.graph.constants[last.inputs[1]], stored["n_quantized"].T)
    assert np.array_equal(plan.graph.constants[last.inputs[3]], stored["n_scale"])


@pytest.mark.once
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_files_of_quantize_static(floats, tmp_path, rng, form, per_channel):
    """Every integer on the way is ONNX Runtime's."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = [{"x": x_of(rng)} for _ in range(2)]

        def get_next(self):
            return self.left.pop() if self.left else None

    path = tmp_path / "static.onnx"
    quantize_static(floats, path, Reader(), quant_format=QuantFormat[form], per_channel=per_channel)
    x = x_of(rng)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    due = onnxruntime.InferenceSession(path, options).run(None, {"x": x})[0]
    y = fastlstm.load_model(path)(x)
    step = max(numpy_helper.to_array(i).max() for i in onnx.load(path).graph.initializer
               if i.name == "y_scale" or i.name == "l_scale")  # fmt: skip
    assert np.mean(abs(y - due) > 1e-5) < 0.02 and abs(y - due).max() <= 1.01 * step


# ---- models that are asked to be int8 ----


def test_quantize_error_and_save(floats, tmp_path, rng):
    x, model = x_of(rng), fastlstm.load_model(floats)
    fine, coarse = (model.quantize("int8", inputs=n) for n in int8.INPUTS)
    assert (model.dtype, fine.dtype, coarse.codes) == ("float32", "int8", "int8")
    assert 0 < fine.error(x).rms < 4e-3 and fine.error(x).rms < coarse.error(x).rms
    found, off = fine.error(x), abs(fine(x).astype(np.float64) - model(x))
    assert found.max == off.max() and off[found.where] == off.max()
    assert found == fastlstm.load_model(floats, dtype="int8").error(x, reference=model)
    for each in (fine, coarse):
        each.save(tmp_path / "saved")
        again = fastlstm.load_model(tmp_path / "saved")
        assert (again.dtype, again.codes) == ("int8", each.codes)
        assert np.array_equal(again(x), each(x))
        assert np.array_equal(pickle.loads(pickle.dumps(each))(x), each(x))
    back = fastlstm.load_model(tmp_path / "saved", dtype="float32")  # the numbers of the codes
    assert np.array_equal(back(x), fine.quantize("float32")(x))
    assert 0 < abs(back(x) - model(x)).max() < 0.02
    with pytest.raises(ValueError, match="pass it as reference"):
        model.error(x)
    with pytest.raises(ValueError, match="no floats to compare"):
        fine.error(x[:0])
    for wrong in ("int4", 8, None):
        with pytest.raises((ValueError, TypeError), match="dtype"):
            model.quantize(wrong)
    with pytest.raises(ValueError, match="inputs 'int4'"):
        model.quantize("int8", inputs="int4")


def test_a_file_s_codes_are_saved(dynamic, tmp_path, rng):
    x, model = x_of(rng), fastlstm.load_model(dynamic["channels"])
    model.save(tmp_path / "saved")
    again = fastlstm.load_model(tmp_path / "saved")
    assert again.dtype == "int8" and np.array_equal(again(x), model(x))
    assert (tmp_path / "saved").stat().st_size < 1.3 * dynamic["channels"].stat().st_size


def test_weights_that_are_not_finite_stay_floats(tmp_path, rng):
    """By name, in a note; the other products become codes."""
    w = F(rng.standard_normal((5, 4)))
    w[0, 0] = np.nan
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "x v", "y")]
    v = F(rng.standard_normal((5, 4)))
    graph = graph_of([*nodes, node("Add", "a y", "z")], {"x": (3, 5)}, "z", {"w": w, "v": v})
    model = load(model_of(graph), tmp_path, dtype="int8")
    x = np.zeros((3, 5), F)
    plan = model.planned({"x": x}).graph
    assert sorted(len(n.inputs) > 3 for n in plan.nodes if n.op == "Linear") == [False, True]
    (note,) = (n.attrs["note"] for n in plan.nodes if "note" in n.attrs)
    assert "NaN" in note
    assert np.isnan(model(x)[:, 0]).all()


# ---- bits ----


@pytest.mark.needs("c", "bits", "workers")
def test_bits(floats, dynamic, rng):
    """Rows alone and in batches, threads, instruction sets, windows of a longer signal."""
    x = x_of(rng, 70, 40)
    for path, dtype in ((floats, "int8"), (floats, "bfloat16"), (dynamic["plain"], None),
                        (dynamic["channels"], None)):  # fmt: skip
        due = fastlstm.load_model(path, dtype=dtype)(x)
        for isa in ISAS:
            for threads in (1, 2, 4):
                model = fastlstm.load_model(path, dtype=dtype, isa=isa, num_threads=threads)
                assert np.array_equal(model(x), due), (isa, threads)
            for rows in ([0], [69], [3, 4], list(range(65))):
                assert np.array_equal(model(x[rows]), due[:, rows]), (isa, rows)


@pytest.mark.needs("c", "bits")
def test_a_stream_is_the_whole_call(tmp_path, rng):
    hidden = 24
    constants = {
        "w": F(rng.standard_normal((1, 4 * hidden, 10)) / 3),
        "r": F(rng.standard_normal((1, 4 * hidden, hidden)) / 5),
        "m": F(rng.standard_normal((hidden, 6))), "axis": np.array([1]),
    }  # fmt: skip
    nodes = [node("LSTM", "x w r   h c", "f hn cn", hidden_size=hidden)]
    nodes[0].input[:] = ["x", "w", "r", "", "", "h", "c"]
    nodes += [node("Squeeze", "f axis", "g"), node("MatMul", "g m", "y")]
    graph = graph_of(nodes, {"x": ("T", "N", 10), "h": (1, "N", hidden), "c": (1, "N", hidden)},
                     "y hn cn", constants)  # fmt: skip
    for isa, dtype in itertools.product(ISAS, ("int8", "bfloat16")):
        model = load(model_of(graph), tmp_path, dtype=dtype, isa=isa)
        x = F(rng.standard_normal((40, 3, 10)))
        none = np.zeros((1, 3, hidden), F)
        whole = model(x, none, none)[0]
        for cuts in ([1] * 40, [7, 33], [39, 1]):
            stream, at, parts = model.stream(3), 0, []
            for n in cuts:
                parts.append(np.array(stream.step(x[at : at + n])))
                at += n
            assert np.array_equal(np.concatenate(parts), whole), (isa, cuts)
