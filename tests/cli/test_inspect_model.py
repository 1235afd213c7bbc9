# SPDX-License-Identifier: MIT
"""`fastlstm inspect` on whole models: what it says, as text and JSON, and the picture."""

import itertools
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import quantized_models
from conftest import BACKEND
from make_keras import FOLDER
from published import path_of

import fastlstm
from fastlstm.cli.main import main
from fastlstm.models.drawing import LETTERS, svg
from fastlstm.models.graph import Graph, Node, Value

F32 = np.dtype(np.float32)
SILERO = ["--shape", "input=1,576", "--value", "sr=16000"]


def out_of(capsys, *args, code=0):
    assert main([str(a) for a in ("inspect", *args)]) == code
    return capsys.readouterr().out


def model_json(capsys, *args, code=0):
    return json.loads(out_of(capsys, *args, "--json", code=code))["model"]


def save(tmp_path, nodes, constants=None, name="m"):
    values = [Value("x", F32, ("n", 3))], [Value("y", F32, None)]
    model = fastlstm.Model(Graph(*values, nodes, constants or {}, "graph"))
    model.save(tmp_path / name)
    return tmp_path / name


def test_a_published_model(capsys):
    text = out_of(capsys, path_of("silero_vad.onnx"), *SILERO)
    for line in (
        "silero_vad.onnx: ONNX, a whole model, 348 nodes, ",
        "    input: float32 (?, ?)\n    state: float32 (2, ?, 128)\n    sr: int64 ()\n",
        "plan for input (1, 576), state (2, 1, 128), sr 16000\n",
        "    outputs: output (1, 1), stateN (2, 1, 128)\n",
        "    state that a stream keeps: state <- stateN\n",
        "layers\n    If_0_else_branch__Inline_0__/decoder/rnn/LSTM.",  # and what it has always said
        "tensors\n",
    ):
        assert line in text
    assert re.search(r"1  Recurrent +131,072  float32\n", text)


def test_precisions_and_notes(capsys, tmp_path):
    """Which weights are codes, and why others are not."""
    for zero, precision in ((40, "int8"), (200, "float32")):
        path = tmp_path / f"{zero}.onnx"
        made = quantized_models.of_dynamic(zero=zero, kind="uint8")
        path.write_bytes(made.SerializeToString())
        sizes = ["--shape", "x=2,4,5"]
        text = out_of(capsys, path, *sizes)
        assert re.search(rf"1  Recurrent +[\d,]+  {precision}\n", text)
        assert ("beyond -128 .. 127\n" in text) == (zero == 200)
        plan = model_json(capsys, path, *sizes)["plan"]
        assert plan["precision"]["Recurrent"] == {precision: 1}
        assert bool(plan["notes"]) == (zero == 200)


def test_the_same_as_json(capsys):
    made = model_json(capsys, path_of("silero_vad.onnx"), *SILERO)
    assert made["inputs"][1] == {"name": "state", "dtype": "float32", "shape": [2, "", 128]}
    assert made["operators"]["LSTM"] == 4 and made["uncovered"] == {}
    plan = made["plan"]
    assert plan["state"] == {"state": "stateN"} and plan["problem"] is None
    assert plan["outputs"] == {"output": [1, 1], "stateN": [2, 1, 128]}
    # 4 windows of 256 samples by 258 filters, four convolutions, the layer's two matrices, the head
    convs = 4 * 258 * 256 + 4 * 128 * 129 * 3 + 2 * 64 * 128 * 3 + 64 * 64 * 3 + 128 * 64 * 3 + 128
    conv = "ConvLast" if BACKEND == "c" else "Conv"  # channels last are the C core's
    assert plan["products"] == {conv: convs, "Recurrent": 2 * 512 * 128}
    assert plan["multiply_adds"] == convs + 131072
    assert plan["inputs"] == {"input": [1, 576], "state": [2, 1, 128], "sr": []}


def test_sizes_that_do_not_fit_say_so_and_what_to_do(capsys):
    text = out_of(capsys, path_of("silero_vad.onnx"))
    assert "no plan for input (1, 1), state (2, 1, 128), sr 0\n    node 'If_0_else" in text
    assert "give sizes with --shape NAME=1,576 and numbers with --value NAME=16000" in text


@pytest.mark.parametrize(("name", "products"), [
    ("lstm", 5 * 2 * (6 * 8 + 48 * (8 + 12) + 48 * (12 + 12) + 12 * 3)),
    ("gru", 5 * 2 * (21 * (5 + 7) + 7 * 4)),
])  # fmt: skip
def test_multiply_adds_of_given_sizes(capsys, small, name, products):
    shapes = {"lstm": ["x=5,2,6", "h=2,2,12", "c=2,2,12"], "gru": ["x=5,2,5", "h=1,2,7"]}[name]
    path = small(name)[0]
    made = model_json(capsys, path, *[part for s in shapes for part in ("--shape", s)])
    assert made["plan"]["multiply_adds"] == products
    assert made["plan"]["outputs"]["hn"] == [
        {"lstm": 2, "gru": 1}[name],
        2,
        {"lstm": 12}.get(name, 7),
    ]
    model = fastlstm.load_model(path)
    given = [tuple(map(int, s.partition("=")[2].split(","))) for s in shapes]
    assert made["plan"]["memory"] == model.memory(*given)
    constants = sum(a.size for a in model.graph.constants.values() if a.size > 1)
    assert made["parameters"] <= constants


def test_a_saved_model_and_a_keras_model(capsys, small, tmp_path):
    fastlstm.load_model(small("wide")[0], dtype="float16").save(tmp_path / "m")
    assert f"{tmp_path}/m: saved by fastlstm, a whole model, " in out_of(capsys, tmp_path / "m")
    text = out_of(capsys, FOLDER / "lstm.keras.keras")
    assert "Keras, a whole model" in text and "\nlayers\n" in text


def test_weights_alone_are_as_ever(capsys, tmp_path):
    fastlstm.LSTM(3, 4).save(tmp_path / "layer.safetensors")
    text = out_of(capsys, tmp_path / "layer.safetensors")
    assert "whole model" not in text and text.startswith(
        f"{tmp_path}/layer.safetensors: fastlstm, "
    )
    assert "model" not in json.loads(out_of(capsys, tmp_path / "layer.safetensors", "--json"))
    text = out_of(capsys, FOLDER / "lstm.keras.weights.h5", code=1)  # activations are not in it
    assert "no whole model: " in text and "\nlayers\n" in text


def test_what_is_not_covered_is_named(capsys, tmp_path):
    nodes = [Node("Relu", ["x"], ["v"]), Node("Fancy", ["v"], ["y"]), Node("Fancy", ["y"], ["z"])]
    path = save(tmp_path, nodes)
    text = out_of(capsys, path, code=1)
    assert "not covered\n    Fancy 2\n" in text
    assert "no plan for x (1, 3)\n    node 'y' (Fancy): the operator is not covered" in text
    assert "--shape" not in text
    assert model_json(capsys, path, code=1)["uncovered"] == {"Fancy": 2}


def test_names_with_control_characters_are_quoted(capsys, tmp_path):
    path = save(tmp_path, [Node("a\x1b[31m", ["x"], ["y"])])
    text = out_of(capsys, path, "--plot", tmp_path / "g.svg", code=1)
    assert "\x1b" not in text and r"a\x1b[31m" in text
    assert "\x1b" not in (tmp_path / "g.svg").read_text()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--shape", "z=1"], "there is no input 'z'; there are x, h"),
        (["--shape", "x"], "--shape x: NAME=... is due"),
        (["--shape", "x=1,1,5", "--shape", "x=1,1,5"], "each name once"),
        (["--shape", "x=1,a,5"], "--shape x: 'a' is no number"),
        (["--shape", "x=1,-1,5"], "--shape x: whole numbers are due"),
        (["--shape", "x=1,1,6"], "input x: float32 (time, batch, 5): .* (1, 1, 6) does not fit"),
        (["--value", "x=one"], "--value x: 'one' is no number"),
    ],
)  # fmt: skip
def test_wrong_sizes(capsys, small, args, words):
    assert main(["inspect", small("gru")[0], *args]) == 1
    assert re.search(re.escape(words).replace(r"\.\*", ".*"), capsys.readouterr().err)


def test_a_file_that_is_gone(capsys, tmp_path):
    assert main(["inspect", str(tmp_path / "none.onnx")]) == 2
    assert "No such file" in capsys.readouterr().err


# ---- the picture


def boxes(text):
    """[[two lines of text]] of a picture, which is well-formed XML."""
    root = ElementTree.fromstring(text)
    texts = [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text")]
    return [texts[1 + n : 3 + n] for n in range(0, len(texts) - 1, 2)], root


def test_a_picture_of_the_plan(capsys, tmp_path):
    out_of(capsys, path_of("silero_vad.onnx"), *SILERO, "--plot", tmp_path / "g.svg")
    text = (tmp_path / "g.svg").read_text()
    found, root = boxes(text)
    assert ["LSTM 128 → 128", "1, 1, 128"] in found and ["stateN", "2, 1, 128"] in found
    assert "prefers-color-scheme: dark" in text and "var(" not in text
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        if "node" in rect.get("class"):
            x, y = float(rect.get("x")), float(rect.get("y"))
            assert 0 <= x <= float(root.get("width")) and 0 <= y <= float(root.get("height"))


def test_boxes_do_not_overlap(small):
    model = fastlstm.load_model(path_of("silero_vad.onnx"))
    for graph in (model.graph, fastlstm.load_model(small("lstm")[0]).graph):
        _, root = boxes(svg(graph, {}, "t"))
        rows = {}
        for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
            if "node" in rect.get("class"):
                rows.setdefault(rect.get("y"), []).append(float(rect.get("x")))
        for row in rows.values():
            row.sort()
            assert all(b - a >= 168 for a, b in itertools.pairwise(row))


def test_a_picture_without_a_plan_and_hostile_names(tmp_path):
    nodes = [Node("<script>&\"'", ["x"], ["y"]), Node("L" * 99, ["y", "x"], ["z"])]
    graph = Graph([Value("x", F32, (1,))], [Value("z", F32, (1,))], nodes, {})
    found, _ = boxes(svg(graph, {}, "a <title>"))
    assert ["<script>&\"'", ""] in found
    assert ["L" * (LETTERS - 1) + "…", ""] in found
    assert boxes(svg(Graph([], [], [], {}), {}, ""))[0] == []


def test_a_picture_of_too_much(tmp_path):
    nodes = [Node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(3001)]
    with pytest.raises(ValueError, match="a picture of 3001 nodes; 3000 is the most"):
        svg(Graph([Value("v0", F32, (1,))], [], nodes, {}), {}, "t")


def test_there_is_no_picture_of_weights_alone(capsys, tmp_path):
    fastlstm.LSTM(3, 4).save(tmp_path / "layer.safetensors")
    assert (
        main(["inspect", str(tmp_path / "layer.safetensors"), "--plot", str(tmp_path / "g")]) == 1
    )
    assert "weights alone do not say how a model computes" in capsys.readouterr().err
    assert not (tmp_path / "g").exists()
