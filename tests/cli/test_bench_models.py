# SPDX-License-Identifier: MIT
"""`fastlstm bench --model` and `--suite models`: what is run, compared, said and judged."""

import json

import numpy as np
import pytest
from published import path_of

import fastlstm
from fastlstm.bench import cases, networks, whole
from fastlstm.bench.fetch import FetchError
from fastlstm.bench.rows import Aim
from fastlstm.cli.main import main

pytestmark = pytest.mark.once

QUICK = ["--rounds", "1", "--minutes", "0", "--no-rss", "--vs", "onnxruntime"]


def bench(capsys, *args, code=0):
    assert main(["bench", *map(str, args), *QUICK]) == code
    return capsys.readouterr()


def test_a_file_in_one_call_and_streamed(capsys, tmp_path):
    out = tmp_path / "b.json"
    bench(capsys, "--model", path_of("silero_vad.onnx"), "--size", "input=1,576", "--value",
          "sr=16000", "--output", out)  # fmt: skip
    rows = json.loads(out.read_text())["rows"]
    assert [(r["case"], r["who"]) for r in rows] == [
        ("whole call", "fastlstm"), ("whole call", "onnxruntime"),
        ("streamed", "fastlstm"), ("streamed", "onnxruntime"),
    ]  # fmt: skip
    for row in rows:
        assert row["p50"] > 0 and row["ratio"]["median"] > 0
        assert row.get("error", 0) <= whole.TOLERANCE and "wrong" not in row


def test_a_model_without_a_state_has_one_case(small):
    found = cases.of_file(small("wide")[0], {"x": (5, 1, 40)}, {})
    assert [case.name for case in found] == ["whole call"]
    with pytest.raises(ValueError, match="there is no input 'z'; there are x"):
        cases.of_file(small("wide")[0], {"z": (1,)}, {})


def test_as_markdown(capsys, small):
    text = bench(capsys, "--model", small("lstm")[0], "--size", "x=5,1,6").out
    assert "| whole call" in text and "| streamed" in text and "onnxruntime / this" in text


def test_wrong_numbers_are_told(small, monkeypatch):
    """If ours differs from ONNX Runtime by more than 1e-4 of the scale, its row says so."""
    made = whole.Ours.outputs
    monkeypatch.setattr(whole.Ours, "outputs", lambda self: [a * 1.01 for a in made(self)])
    row = rows_of(
        cases.model("m", whole.Whole(lambda: small("lstm")[0]), [Aim("over onnxruntime", ">=", 1)])
    )[0]
    assert row.wrong and 0.009 < row.error < 0.011 and not row.measured


class Context:  # as much of forward.Context as is used
    peers = ("onnxruntime",)
    rounds = 1


def rows_of(case):
    generator = case.kind.rows(case, Context)
    entries = next(generator)
    for entry in entries:
        entry.sample(1)
    try:
        generator.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError


def test_a_case_that_cannot_be_had_says_why():
    def missing():
        raise FetchError("p==1 cannot be downloaded: no network")

    (row,) = rows_of(cases.model("m", whole.Whole(missing), [Aim("over onnxruntime", ">=", 4)]))
    assert row.notes == ["p==1 cannot be downloaded: no network"]
    assert [target.verdict() for target in row.targets] == ["not measured"]


def test_the_bars_of_the_suite():
    found = {case.name: case for case in cases.SUITES["models"]()}
    bars = {name: case.aims[0].bound for name, case in found.items() if case.aims}
    assert bars == {
        "silero_vad, frames streamed": 4, "silero_vad sequence, 320 frames": 2.5,
        "beatnet, frames streamed": 2, "uzmorph, a word of 9 letters": 1.5,
        "languages, 80 letters": 1.5, "g2p-fa, the decoder's step": 1.5,
        "vocalise, 315 letters": 1.15, "medaka, 20 rows of 1000": 1.5, "nano-ocr, a line": 0.9,
        "khmer-ocr, a line": 0.9,
    }  # fmt: skip
    assert found["silero_vad, frames streamed"].whole.streamed


@pytest.mark.parametrize("name", ["uzmorph", "languages", "phonemes", "vocalise", "consensus"])
def test_a_network_around_published_weights(name):
    """It is exported, and gives ONNX Runtime's numbers. (The two readers of lines have 20 and 40 MB
    of weights: the benchmark alone compares them.)"""
    import onnxruntime

    path = getattr(networks, name)()
    model = fastlstm.load_model(path)
    given = whole.inputs_of(model, whole.Whole(lambda: path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    due = onnxruntime.InferenceSession(str(path), options).run(None, given)
    made = model(**given)
    made = [made] if isinstance(made, np.ndarray) else made
    for y, expected in zip(made, due, strict=True):
        assert np.abs(y - expected).max() <= 1e-5 * np.abs(expected).max()


def test_beatnet_is_exported_with_its_state():
    """In pieces of a stream or at once: the same as its authors' layers one after the other."""
    import torch

    weights = torch.load(networks.fetch(*networks.BEATNET), map_location="cpu")
    x = torch.randn(1, 7, 272, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        v = torch.nn.functional.conv1d(
            x.reshape(7, 1, 272), weights["conv1.weight"], weights["conv1.bias"]
        )
        v = torch.nn.functional.max_pool1d(torch.relu(v), 2).reshape(1, 7, 262)
        v = torch.nn.functional.linear(v, weights["linear0.weight"], weights["linear0.bias"])
        lstm = torch.nn.LSTM(150, 150, 2, batch_first=True)
        lstm.load_state_dict({k[5:]: w for k, w in weights.items() if k.startswith("lstm.")})
        v = torch.nn.functional.linear(lstm(v)[0], weights["linear.weight"], weights["linear.bias"])
    expected = v.transpose(1, 2).numpy()
    stream = fastlstm.load_model(networks.beatnet()).stream()
    assert stream.pairs == {"h": "hn", "c": "cn"}
    made = np.concatenate([stream.step(x[:, t : t + 1].numpy()) for t in range(7)], axis=2)
    assert np.abs(made - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--size", "x"], "--size takes NAME and whole numbers, not 'x'"),
        (["--size", "x=1,-2"], "--size takes NAME"),
        (["--value", "x=1,2"], "--value takes NAME"),
    ],
)
def test_wrong_arguments(capsys, small, args, words):
    assert words in bench(capsys, "--model", small("wide")[0], *args, code=1).err
