# SPDX-License-Identifier: MIT
"""The examples run, and learn what they say they learn."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fastlstm

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_training_without_torch_solves_the_adding_problem(monkeypatch, capsys):
    example = load("train_numpy")
    monkeypatch.setattr(example, "STEPS", 10)  # as told in the example, but with shorter sequences
    assert example.main(["--updates", "600"]) < 0.02 < 1 / 6
    assert "600 updates" in capsys.readouterr().out


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.syspath_prepend(EXAMPLES / "memory")
    return importlib.import_module("study")


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_gradients_step_by_step_are_those_of_one_call(study, kind):
    rng = np.random.default_rng(3)
    net = getattr(fastlstm, kind)(4, 8)
    x = rng.standard_normal((12, 3, 4)).astype(np.float32)
    found = study.flow(net, x, np.random.default_rng(5))
    u = np.random.default_rng(5).standard_normal((1, 3, 8)).astype(np.float32)
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    for t in range(12):
        state = net(x[:t])[1] if t else None
        _, end, tape = net.forward_train(x[t:], state)
        up = [u] + [None for _ in study.parts(end)[1:]]
        grads = net.backward(tape, None, study.like(end, up))
        whole = [study.norm(g) for g in (grads.x[:1], *study.parts(grads.state))]
        np.testing.assert_allclose(10 ** found[:, 11 - t], whole, rtol=1e-4)


def test_the_study_of_memory_fills_every_box(study):
    results = study.study(study.TINY, 2)
    text = importlib.import_module("report").tables(results)
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    assert [len(row) for row in rows] == [7] * 7 + [3] * 14
    assert all(box.strip() for row in rows for box in row)
    assert "nan" not in text and "inf" not in text


def test_one_run_on_its_own(study, capsys):
    study.main(["--once", "GRU", "copy", "2", "1e-2", "60"])
    first, last = capsys.readouterr().out.splitlines()
    assert first == last and 0 <= float(last.removeprefix("after 60 updates: ")) <= 1


def test_a_plain_rnn_solves_a_short_copy_and_open_gates_keep_gradients(study):
    sizes = study.Sizes(hidden=16, updates=600, lags=(2,), steps=100, seeds=1)
    rnn, *_, open_gates, _gru = study.CELLS
    adding, copy = study.TASKS
    assert study.best(rnn, copy, 2, sizes)["solved"]
    assert study.best(open_gates, adding, 6, sizes)["solved"]
    ends = [study.at_start(cell, sizes)["mean"][0][-1] for cell in (rnn, open_gates)]
    assert ends[0] < -15 and ends[1] > -6


def test_pytorch_and_fastlstm_train_alike(monkeypatch, capsys, tmp_path):
    """examples/charlm/compare.py on a few letters in place of the novels."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(EXAMPLES / "charlm")
    compare = importlib.import_module("compare")
    ids = torch.arange(200) % 7
    monkeypatch.setattr(compare, "split_novels", lambda package: (ids, ids))
    model = compare.CharModel
    monkeypatch.setattr(compare, "CharModel", lambda **sizes: model(embedding=4, hidden=8))
    sizes = ["--epochs", "2", "--updates", "3", "--steps", "5", "--batch", "4"]
    threads, png = torch.get_num_threads(), tmp_path / "compare.png"
    try:
        compare.main(["unread.deb", *sizes, "--rate", "0.05", "--png", str(png)])
    finally:
        torch.set_num_threads(threads)
    words = capsys.readouterr().out.split()
    assert float(words[words.index("most") + 1]) < 1e-4 and words[-2] == "6"
    first, last = (float(words[words.index(n, words.index("s/epoch:")) + 2]) for n in "12")
    assert last < first, "nothing was learned"
    assert png.read_bytes()[:4] == b"\x89PNG"
