# SPDX-License-Identifier: MIT
"""Model.save and load_model: the same numbers, half the bytes in float16, whole files or none; and
malformed files, each a LoadError."""

import json
import mmap
import os
import re

import numpy as np
import pytest
from published import path_of
from small_models import MODELS, drawn

import fastlstm
from fastlstm import LoadError
from fastlstm.files.safetensors.write import write_arrays
from fastlstm.models.graph import Graph, Node, Value

F32 = np.dtype(np.float32)
SILERO = {"silero_vad.onnx": 16000, "silero_vad_16k_op15.onnx": 16000,
          "silero_vad_op18_ifless.onnx": 16000, "silero_vad_half.onnx": None}  # fmt: skip


def outputs(made):
    return made if isinstance(made, tuple) else [made]


def same(ours, theirs):
    ours, theirs = outputs(ours), outputs(theirs)
    return [a.tobytes() for a in ours] == [a.tobytes() for a in theirs]


# ---- the same model


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_gives_the_same_bits(small, tmp_path, name, dtype, rng):
    model = fastlstm.load_model(small(name)[0], dtype=dtype)
    model.save(tmp_path / "m.safetensors")
    again = fastlstm.load_model(tmp_path / "m.safetensors")
    inputs = drawn(name, 8, 3, rng)
    assert again.dtype == dtype
    assert list(map(str, again.inputs)) == list(map(str, model.inputs))
    assert list(map(str, again.outputs)) == list(map(str, model.outputs))
    assert same(again(*inputs), model(*inputs))
    again.save(tmp_path / "m.safetensors")  # over the file that is mapped
    third = fastlstm.load_model(tmp_path / "m.safetensors")
    assert same(third(*inputs), model(*inputs)) and same(again(*inputs), model(*inputs))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("name", SILERO)
def test_published_models(tmp_path, name, dtype, rng):
    """Branches of If, and weights that the graph cuts and joins."""
    model = fastlstm.load_model(path_of(name), dtype=dtype)
    model.save(tmp_path / "m.safetensors")
    again = fastlstm.load_model(tmp_path / "m.safetensors")
    given = {"input": rng.standard_normal((2, 576)).astype(F32) / 10,
             "state": rng.standard_normal((2, 2, 128)).astype(F32) / 10}  # fmt: skip
    given |= {"sr": SILERO[name]} if SILERO[name] else {}
    assert same(again(**given), model(**given))


@pytest.mark.parametrize("name", ["wide", "silero_vad_half.onnx"])
def test_a_file_of_fewer_bits_has_about_half_or_a_quarter_of_the_bytes(small, tmp_path, name):
    path = small(name)[0] if name in MODELS else path_of(name)
    sizes = {}
    for dtype in ("float32", "float16", "bfloat16", "int8"):
        fastlstm.load_model(path, dtype=dtype).save(tmp_path / dtype)
        sizes[dtype] = os.path.getsize(tmp_path / dtype) / os.path.getsize(tmp_path / "float32")
    assert 0.48 < sizes["float16"] < 0.65 and 0.48 < sizes["bfloat16"] < 0.65
    assert 0.24 < sizes["int8"] < 0.32


def test_the_dtype_of_a_saved_model_can_be_chosen(small, tmp_path, rng):
    path, _ = small("wide")
    fastlstm.load_model(path).save(tmp_path / "m")
    half = fastlstm.load_model(tmp_path / "m", dtype="float16")
    inputs = drawn("wide", 8, 3, rng)
    assert same(half(*inputs), fastlstm.load_model(path, dtype="float16")(*inputs))


def folded_model(scale):
    """A Conv whose BatchNormalization is folded into its weights when it is planned."""
    rng = np.random.default_rng(3)
    constants = {"w": rng.standard_normal((4, 3, 3)).astype(F32)}
    for name in ("s", "b", "mean", "var"):
        constants[name] = np.abs(rng.standard_normal(4)).astype(F32) * F32.type(scale) + F32.type(1)
    nodes = [
        Node("Conv", ["x", "w"], ["v"], {"kernel_shape": [3]}),
        Node("BatchNormalization", ["v", "s", "b", "mean", "var"], ["y"]),
    ]
    values = [Value("x", F32, ("n", 3, "t"))], [Value("y", F32, ("n", 4, "u"))]
    return Graph(*values, nodes, constants, "folded")


def test_what_is_folded_into_float16_weights_is_the_same_after_loading(tmp_path, rng):
    model = fastlstm.Model(folded_model(0.37), dtype="float16")
    model.save(tmp_path / "m")
    x = rng.standard_normal((2, 3, 9)).astype(F32)
    assert same(fastlstm.load_model(tmp_path / "m")(x), model(x))


def test_weights_that_float16_cannot_hold_stay_float32(tmp_path):
    graph = folded_model(1)
    graph.constants["w"][0, 0, 0] = 1e5
    graph.nodes[0].op, graph.nodes[1:] = "Conv", [Node("Relu", ["v"], ["y"])]
    model = fastlstm.Model(graph)
    model.dtype = "float16"
    model.save(tmp_path / "m")
    again = fastlstm.load_model(tmp_path / "m", dtype="float32")
    assert again.graph.constants["w"][0, 0, 0] == 1e5


def test_constants_are_mapped_and_read_only(small, tmp_path):
    fastlstm.load_model(small("wide")[0]).save(tmp_path / "m")
    model = fastlstm.load_model(tmp_path / "m")
    arrays = [a for a in model.graph.constants.values() if a.size > 64]
    assert arrays
    for array in arrays:
        assert not array.flags.writeable
        base = array
        while isinstance(base, np.ndarray):
            base = base.base
        assert isinstance(base, (mmap.mmap, memoryview))


def test_every_dtype_of_constants_and_every_kind_of_attribute(tmp_path):
    constants = {
        f"c{i}": np.arange(3).astype(dtype)
        for i, dtype in enumerate(("f4", "f8", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u1", "?"))
    }
    constants |= {"scalar": np.array(2.5, F32), "none": np.zeros((0, 3), F32)}
    nodes = [
        Node("Cast", [f"c{i}"], [f"d{i}"], {"to": 1}) for i in range(11)
    ] + [
        Node("ConstantOfShape", ["c3"], ["e"], {"value": np.array([7.0], F32)}),
        Node("Elu", ["x"], ["f"], {"alpha": float("inf")}),
        Node("Reshape", ["none", "c3"], ["g"], {"allowzero": 1}),
    ]  # fmt: skip
    names = [f"d{i}" for i in range(11)] + ["f", "scalar"]
    graph = Graph([Value("x", F32, (2,))], [Value(n, F32, None) for n in names], nodes, constants)
    model = fastlstm.Model(graph)
    model.save(tmp_path / "m")
    again = fastlstm.load_model(tmp_path / "m")
    for name, array in constants.items():
        found = again.graph.constants[name]
        due = np.dtype(F32) if array.dtype == np.float16 else array.dtype
        assert (found.dtype, found.shape) == (due, array.shape)
        assert np.array_equal(found, array)
    assert again.graph.nodes[12].attrs == {"alpha": float("inf")}
    assert again.graph.nodes[11].attrs["value"].tolist() == [7]
    assert same(again(np.ones(2, F32)), model(np.ones(2, F32)))


# ---- whole or not at all


def test_a_file_that_cannot_be_written_leaves_what_was_there(small, tmp_path, monkeypatch):
    model = fastlstm.load_model(small("wide")[0])
    (tmp_path / "m").write_text("before")
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        model.save(tmp_path / "m")
    assert (tmp_path / "m").read_text() == "before"
    assert os.listdir(tmp_path) == ["m"]


def test_a_graph_that_no_file_holds_is_not_written(tmp_path):
    constants = {f"c{i}": np.zeros(1, F32) for i in range(10_001)}
    nodes = [Node("Sum", ["x", *constants], ["y"])]
    graph = Graph([Value("x", F32, (1,))], [Value("y", F32, (1,))], nodes, constants)
    with pytest.raises(ValueError, match="10001 constants; a file holds 16777216 and 10000"):
        fastlstm.Model(graph).save(tmp_path / "m")
    assert not os.listdir(tmp_path)


def test_load_says_where_a_whole_model_is_read(small, tmp_path):
    fastlstm.load_model(small("wide")[0]).save(tmp_path / "m")
    with pytest.raises(LoadError, match=r"a whole model, which fastlstm\.load_model reads"):
        fastlstm.load(tmp_path / "m")


# ---- malformed files: (what is changed, the words of the error)


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


def nested(graph, levels):
    inner = {"name": "", "inputs": [], "outputs": [], "nodes": [], "constants": {}}
    for _ in range(levels):
        node = ["If", ["x"], ["y"], {"then_branch": {"graph": inner}}, ""]
        inner = {"name": "", "inputs": [], "outputs": [], "nodes": [node], "constants": {}}
    graph["nodes"] = [["If", ["x"], ["y"], {"then_branch": {"graph": inner}}, ""]]


def at(*path):
    """f(value): sets what lies at the path of the graph."""

    def change(value):
        def edit(config):
            found = config["model"]["graph"]
            for key in path[:-1]:
                found = found[key]
            found[path[-1]] = value

        return edit

    return change


def config(key, value):
    return lambda found: found.__setitem__(key, value)


def model(key, value):
    return lambda found: found["model"].__setitem__(key, value)


HOSTILE = [
    (config("version", 3), "version 3; this fastlstm reads 1 and 2"),
    (config("version", 0), "version 0; this"),
    (config("version", True), "version True; this"),
    (config("version", None), "version None"),
    (config("version", "1"), "version 1; this"),
    (config("model", 5), "the model must be a dict: 5"),
    (config("model", []), "the model must be a dict"),
    (model("dtype", "float8"), "the dtype float8"),
    (model("dtype", None), "the dtype None"),
    (model("dtype", ["float32"]), "the dtype"),
    (model("graph", None), "a graph must be a dict: None"),
    (model("graph", {}), "a graph without its five fields"),
    (at("more")(1), "a graph without its five fields"),
    (at("name")(3), "a name must be a str: 3"),
    (at("inputs")({}), "inputs must be a list"),
    (at("inputs", 0)("x"), "a value must be a list: x"),
    (at("inputs", 0)(["x", "float32"]), "a value has three fields"),
    (at("inputs", 0, 0)(1), "a name must be a str: 1"),
    (at("inputs", 0, 1)("float31"), "the dtype float31"),
    (at("inputs", 0, 1)("object"), "the dtype object"),
    (at("inputs", 0, 1)({}), "the dtype"),
    (at("inputs", 0, 2)(7), "a shape must be a list: 7"),
    (at("inputs", 0, 2)([-1, "b", 40]), "a size -1"),
    (at("inputs", 0, 2)([1.5, "b", 40]), r"a size 1\.5"),
    (at("inputs", 0, 2)([True, "b", 40]), "a size True"),
    (at("inputs", 0, 2)([1 << 60, "b", 40]), "a size 1152921504606846976"),
    (at("inputs")([["x", "float32", [1]]] * 2), "input x is the second value of that name"),
    (at("outputs", 0, 0)("nowhere"), "no node gives the output nowhere"),
    (at("outputs")(None), "outputs must be a list: None"),
    (at("nodes")("Add"), "nodes must be a list"),
    (at("nodes", 0)([]), "a node has five fields"),
    (at("nodes", 0, 0)(1), "an operator must be a str: 1"),
    (at("nodes", 0, 1)("x"), "inputs must be a list: x"),
    (at("nodes", 0, 1)([None]), "inputs must be a str: None"),
    (at("nodes", 0, 1)(["later"]), "its input later is not there before it"),
    (at("nodes", 0, 2)([1]), "outputs must be a str: 1"),
    (at("nodes", 0, 2)(["x"]), "output x is the second value of that name"),
    (at("nodes", 0, 3)([]), "attributes must be a dict"),
    (at("nodes", 0, 3)({"a": {}}), "an attribute with several kinds"),
    (at("nodes", 0, 3)({"a": {"graph": 1, "tensor": 2}}), "an attribute with several kinds"),
    (at("nodes", 0, 3)({"a": {"code": "x"}}), "an attribute of the kind code"),
    (at("nodes", 0, 3)({"a": {"float": "1e9"}}), "an attribute of the kind float"),
    (at("nodes", 0, 3)({"a": {"tensor": "t99"}}), "the tensor t99 is not in the file"),
    (at("nodes", 0, 3)({"a": {"tensor": ["t0"]}}), "a tensors name must be a str"),
    (at("nodes", 0, 3)({"a": {"tensors": []}}), "tensors must be a dict"),
    (at("nodes", 0, 3)({"a": {"layer": []}}), "a layer must be a dict"),
    (at("nodes", 0, 3)({"a": {"layer": {"kind": "GPT"}}}), "a layer is malformed"),
    (at("nodes", 0, 3)({"a": {"layer": {"size": 1}}}), "a layers fields are not those of versio"),
    (at("nodes", 0, 3)({"a": {"graph": {"x": 1}}}), "a graph without its five fields"),
    (at("nodes", 0, 4)(None), "a name must be a str: None"),
    (at("constants")([]), "constants must be a dict"),
    (at("constants")({"x": "t0"}), "constant x is the second value of that name"),
    (at("constants")({"w": "gone"}), "the tensor gone is not in the file"),
    (at("constants")({"w": 0}), "a tensors name must be a str: 0"),
    (lambda c: nested(c["model"]["graph"], 70), "graphs nested deeper than 64"),
    (at("nodes", 0, 3)({"a": deep(9)}), "lists nested deeper than 8"),
]
# These are well-formed files; what is wrong with the model shows when it is planned or run.
AT_RUN = [
    (at("nodes", 0, 0)("Nonsense"), "the operator is not covered"),
    (at("nodes", 0, 0)("Loop"), "the operator is not covered"),
    (at("nodes", 0, 1)([]), "node .*"),
    (at("nodes", 0, 1)(["", "", ""]), "node .*"),
    (at("nodes", 0, 3)({"axis": "two", "perm": "x", "to": [], "axes": {"float": "nan"}}), None),
    (at("nodes", -1, 3)({"perm": [9, 9, 9], "axis": 1 << 62, "alpha": "x"}), None),
    (at("inputs", 0, 2)(["t", "b", 39]), "node .*"),
    (at("inputs", 0, 2)([]), "node .*"),
    (at("inputs", 0, 1)("int64"), None),
]


@pytest.fixture(scope="module")
def parts(small_saved):
    """(the configuration's text, {name: tensor}) of a file that `save` wrote."""
    raw = small_saved.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    text = header.pop("__metadata__")["fastlstm"]
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + n for n in entry["data_offsets"])
        dtype = {"F32": "f4", "I64": "i8"}[entry["dtype"]]
        tensors[name] = np.frombuffer(raw[begin:end], dtype).reshape(entry["shape"])
    return text, tensors


@pytest.fixture(scope="module")
def small_saved(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "m"
    fastlstm.load_model(small("wide")[0]).save(path)
    return path


def changed(parts, edit, path):
    text, tensors = parts
    found = json.loads(text)
    edit(found)
    write_arrays(path, json.dumps(found), tensors)
    return path


@pytest.mark.parametrize(("edit", "words"), HOSTILE)
def test_a_malformed_file_is_a_load_error(parts, tmp_path, edit, words):
    with pytest.raises(LoadError) as caught:
        fastlstm.load_model(changed(parts, edit, tmp_path / "m"))
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "m")) or "node" in text
    assert re.search(words, text.replace("'", ""))


@pytest.mark.parametrize(("edit", "words"), AT_RUN)
def test_a_model_that_makes_no_sense_is_an_error_when_it_runs(parts, tmp_path, edit, words):
    made = fastlstm.load_model(changed(parts, edit, tmp_path / "m"))
    value = made.inputs[0]
    shape = [n if isinstance(n, int) else 2 for n in value.shape]
    x = np.zeros(shape, value.dtype)
    if words is None:  # an attribute that the operator may not read
        try:
            made(x)
        except LoadError as error:
            assert "node" in str(error) or "do not fit" in str(error)
        return
    with pytest.raises(LoadError, match=words):
        made(x)


@pytest.mark.parametrize(
    "text", ['{"version": 1, "model":', '{"version": 1, "model": ' + "[" * 9000]
)
def test_metadata_that_is_no_json(parts, tmp_path, text):
    write_arrays(tmp_path / "m", text, parts[1])
    with pytest.raises(LoadError, match="malformed"):
        fastlstm.load_model(tmp_path / "m")


def test_cut_and_changed_files_are_errors_or_models(parts, small_saved, tmp_path, rng):
    """Damaged bytes: an error that says so, or a model that runs or says why not."""
    whole = small_saved.read_bytes()
    path, x = tmp_path / "m", np.zeros((2, 1, 40), F32)
    for n in range(200):
        data = bytearray(whole)
        if n % 4 == 0:
            del data[rng.integers(len(data)) :]
        elif n % 4 == 1:
            data[rng.integers(8)] ^= 1 << rng.integers(8)
        else:
            for _ in range(rng.integers(1, 4)):
                data[rng.integers(8, 6000)] = rng.choice(list(b'0129"[]{},:\\x nt\xff'))
        path.write_bytes(data)
        try:
            fastlstm.load_model(path)(x)
        except (LoadError, TypeError, MemoryError, ValueError) as error:
            assert str(error)
