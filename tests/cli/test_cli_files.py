# SPDX-License-Identifier: MIT
"""`fastlstm inspect`, `convert` and `run`."""

import errno
import json
import os
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from conftest import BACKEND
from make_keras import FOLDER

import fastlstm
from fastlstm.cli import main as cli
from fastlstm.cli import run as cli_run
from fastlstm.files.read import inspect


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(3)
    path = tmp_path / "m.pt"
    modules = {"a.lstm.": torch.nn.LSTM(3, 4, 2), "b.": torch.nn.GRU(3, 5, bidirectional=True)}
    torch.save({p + n: v for p, m in modules.items() for n, v in m.state_dict().items()}, path)
    return path


def out_of(capsys, *arguments, code=0):
    """stdout of a command that ends with `code`; its stderr must be one line if that is not 0."""
    assert cli.main([str(each) for each in arguments]) == code
    out, err = capsys.readouterr()
    assert len(err.splitlines()) <= 1
    return err if err else out


# ---- inspect


def test_inspect(capsys, model):
    text = out_of(capsys, "inspect", model)
    assert f"{model}: torch, 16 tensors" in text
    assert "a.lstm.  LSTM(3, 4, num_layers=2); assumed: batch_first\n" in text
    assert "GRU(3, 5, bidirectional=True); assumed: batch_first\n" in text
    assert "a.lstm.weight_ih_l1" in text and "float32 (16, 4)" in text


def test_inspect_json(capsys, model):
    found = json.loads(out_of(capsys, "inspect", "--json", model))
    assert found["format"] == "torch" and len(found["tensors"]) == 16
    assert found["tensors"]["b.weight_hh_l0"] == {"dtype": "float32", "shape": [15, 5]}
    layer = found["layers"]["b."]
    assert (layer["kind"], layer["direction"], layer["refused"]) == ("GRU", "bidirectional", None)
    assert layer["assumed"] == ["batch_first"]


def test_inspects_exit_codes(capsys, tmp_path):
    """0 all of it runs, 1 the file or a layer is refused, 2 it cannot be opened."""
    assert "no such file" in out_of(capsys, "inspect", tmp_path / "x", code=2).lower()
    assert "irectory" in out_of(capsys, "inspect", tmp_path, code=2)
    (tmp_path / "x").write_bytes(b"hello")
    assert "not a format" in out_of(capsys, "inspect", tmp_path / "x", code=1)
    found = json.loads(out_of(capsys, "inspect", "--json", tmp_path / "x", code=1))
    assert "not a format" in found["error"]
    path = FOLDER / "lstm.keras.weights.h5"
    assert "pass activation=" in out_of(capsys, "inspect", path, code=1)
    text = out_of(capsys, "inspect", path, "--activation", "tanh")
    assert "LSTM(3, 4); assumed: recurrent_activation, go_backwards" in text
    text = out_of(capsys, "inspect", path, "--activation", "tanh", "--go-backwards")
    assert "(go_backwards); assumed: recurrent_activation\n" in text
    text = out_of(capsys, "inspect", path, "--activation", "tanh", "--json")
    (layer,) = json.loads(text)["layers"].values()
    assert layer["assumed"] == ["recurrent_activation", "go_backwards"]


def test_a_folder_that_is_a_model_is_named(capsys, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    out = ["--input", "x.npy", "--output", tmp_path / "y.npy"]
    for command in (["inspect", tmp_path], ["inspect", "--onnxruntime", tmp_path],
                    ["run", tmp_path, *out], ["convert", tmp_path, tmp_path / "own"]):  # fmt: skip
        assert "SavedModel, which is not read; save the Keras" in out_of(capsys, *command, code=1)


def test_names_in_a_file_cannot_write_to_the_terminal(capsys, tmp_path):
    torch.save({"\x1b[2Jw\n": torch.ones(2)}, tmp_path / "x.pt")
    text = out_of(capsys, "inspect", tmp_path / "x.pt")
    assert "\x1b" not in text and r"\x1b[2Jw\n" in text


# ---- convert


@pytest.mark.parametrize("name", ["lstm.keras.keras", "bi_gru.tf_keras.h5", "rnn_relu.keras.h5"])
def test_convert_then_load(capsys, tmp_path, name, rng):
    out = tmp_path / "own"
    assert "wrote rec." in out_of(capsys, "convert", FOLDER / name, out)
    first, second = fastlstm.load(FOLDER / name), fastlstm.load(out)
    x = rng.standard_normal((2, 5, 3)).astype(np.float32)
    assert np.array_equal(first(x)[0], second(x)[0]) and second.batch_first


def test_convert_asks_before_it_replaces(capsys, tmp_path, model):
    out = tmp_path / "own"
    assert "would write" in out_of(capsys, "convert", model, out, "--dry-run")
    assert not out.exists()
    out_of(capsys, "convert", model, out)
    assert list(fastlstm.load_all(out)) == ["a.lstm.", "b."]
    assert "--force" in out_of(capsys, "convert", model, out, "--prefix", "b", code=1)
    out_of(capsys, "convert", model, out, "--prefix", "b", "--force")
    assert list(fastlstm.load_all(out)) == [""] and fastlstm.load(out).kind == "GRU"
    assert "no such layer" in out_of(capsys, "convert", model, tmp_path / "y", "--prefix", "z",
                                     code=1)  # fmt: skip
    assert not (tmp_path / "y").exists()


def test_convert_keeps_variants(capsys, tmp_path):
    out = tmp_path / "own"
    out_of(capsys, "convert", FOLDER / "lstm_hard.keras.keras", out)
    (layer,) = inspect(out)[2].values()
    assert layer == inspect(FOLDER / "lstm_hard.keras.keras")[2]["rec."]


# ---- run


@pytest.fixture
def layer(tmp_path):
    return fastlstm.LSTM(3, 4, 2)


def _saved(tmp_path, layer, **arrays):
    layer.save(tmp_path / "m")
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return [tmp_path / "m", "--output", tmp_path / "y.npy", "--input", tmp_path / "x.npy"]


MAKES = {
    "lstm": lambda: fastlstm.LSTM(3, 4, 2),
    "projected": lambda: fastlstm.LSTM(3, 4, proj_size=2),
    "both": lambda: fastlstm.LSTM(3, 4, bidirectional=True),
    "gru": lambda: fastlstm.GRU(3, 4, batch_first=True),
    "rnn": lambda: fastlstm.RNN(3, 4, batch_first=True, bidirectional=True),
    "reverse": lambda: fastlstm.LSTM(3, 4, 2, reverse=True, peepholes=True),
    "processing": lambda: _with(fastlstm.GRU(3, 4, reverse=True), output_order="processing"),
    "started": lambda: _with(fastlstm.RNN(3, 4, clip=0.5), initial_state=np.ones((1, 1, 4))),
}


def _with(layer, **attributes):
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


@pytest.mark.parametrize("piece", [1, 500, 1 << 20])
@pytest.mark.parametrize("name", MAKES)
def test_run_in_pieces_is_one_call(capsys, tmp_path, rng, monkeypatch, name, piece):
    """The same bits however little is in memory at a time, with states and lengths. NumPy's bits
    depend on how many steps are taken together."""
    equal = np.array_equal if BACKEND != "numpy" else lambda a, b: np.allclose(a, b, 0, 1e-6)
    monkeypatch.setattr(cli_run, "PIECE", piece)
    layer = MAKES[name]()
    x = rng.standard_normal((7, 9, 3)).astype(np.float32)
    batch, steps = (7, 9) if layer.batch_first else (9, 7)
    lengths = rng.integers(0, steps + 1, batch)
    arguments = ["run", *_saved(tmp_path, layer, x=x, n=lengths), "--force"]
    assert "wrote" in out_of(capsys, *arguments, "--save-state", tmp_path / "s.npz")
    y, end = layer(x)
    assert equal(np.load(tmp_path / "y.npy"), y)
    end = end if layer.kind == "LSTM" else (end,)
    for key, array in zip("hc", end, strict=False):
        assert equal(np.load(tmp_path / "s.npz")[key], array)
    out_of(capsys, *arguments, "--state", tmp_path / "s.npz", "--lengths", tmp_path / "n.npy")
    given = end if layer.kind == "LSTM" else end[0]
    assert equal(np.load(tmp_path / "y.npy"), layer(x, given, lengths=lengths)[0])
    assert sorted(os.listdir(tmp_path)) == ["m", "n.npy", "s.npz", "x.npy", "y.npy"]


def test_run_moves_no_file_between_folders(capsys, tmp_path, rng, monkeypatch, layer):
    """Output and state may be on two file systems, also where a link leads to them. Neither is
    there if the other cannot be written."""
    move = os.replace

    def within_a_file_system(source, target):
        if os.path.dirname(os.path.dirname(source)) != os.path.dirname(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        move(source, target)

    arguments = ["run", *_saved(tmp_path, layer, x=rng.standard_normal((6, 2, 3))), "--save-state"]
    monkeypatch.setattr(os, "replace", within_a_file_system)
    assert "missing" in out_of(capsys, *arguments, tmp_path / "missing" / "s", code=1)
    assert sorted(os.listdir(tmp_path)) == ["m", "x.npy"]
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "y.npy").symlink_to(other / "y")
    out_of(capsys, *arguments, other / "s", "--force")
    assert sorted(os.listdir(other)) == ["s", "y"]
    assert (tmp_path / "y.npy").is_symlink() and np.load(other / "s")["h"].shape == (2, 2, 4)


def test_run_without_a_batch(capsys, tmp_path, rng, layer):
    x = rng.standard_normal((6, 3))
    out_of(capsys, "run", *_saved(tmp_path, layer, x=x))
    assert np.array_equal(np.load(tmp_path / "y.npy"), layer(x)[0])


def test_what_run_refuses(capsys, tmp_path, rng, layer):
    x = rng.standard_normal((6, 2, 3)).astype(np.float32)
    arguments = ["run", *_saved(tmp_path, layer, x=x, n=np.array([1, 9]), bad=np.zeros((2, 2)))]
    say = lambda *more: out_of(capsys, *arguments, *more, code=1)  # noqa: E731
    assert "lengths must be from 0 to 6" in say("--lengths", tmp_path / "n.npy")
    assert "(2,) integers are due" in say("--lengths", tmp_path / "bad.npy")
    np.savez(tmp_path / "s.npz", h=np.zeros((1, 2, 4)))
    assert "(2, 2, 4) is due" in say("--state", tmp_path / "s.npz")
    np.savez(tmp_path / "s.npz", h=np.zeros((2, 2, 4)))
    assert "no array 'c'" in say("--state", tmp_path / "s.npz")
    for odd in (np.zeros((6, 2, 4)), np.zeros(3), np.array([["a"]])):
        np.save(tmp_path / "x.npy", odd)
        assert "or (T, I) of numbers with I = 3 is due" in say()
    np.save(tmp_path / "x.npy", np.array([{}]), allow_pickle=True)
    assert "not an array that numpy.save wrote" in say()
    (tmp_path / "y.npy").write_bytes(b"mine")
    assert "--force" in say()
    assert (tmp_path / "y.npy").read_bytes() == b"mine"
    assert "no such file" in out_of(capsys, "run", tmp_path / "none", "--input", "a", "--output",
                                    tmp_path / "z", code=1)  # fmt: skip


def test_a_long_run_takes_little_memory_and_shows_a_bar(capsys, tmp_path, rng, monkeypatch):
    """20 MiB through pieces of 1 MiB: the arrays in memory stay near a piece."""
    monkeypatch.setattr(cli_run, "PIECE", 1 << 20)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    x = rng.standard_normal((20_480, 1, 256)).astype(np.float32)
    arguments = [str(each) for each in _saved(tmp_path, fastlstm.RNN(256, 8), x=x)]
    tracemalloc.start()
    try:
        assert cli.main(["run", *arguments]) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 << 20 < x.nbytes
    err = capsys.readouterr().err
    assert err.count("%") >= 20 and "] 100 %" in err and err.endswith("\r\x1b[K")


def test_the_bar_is_for_terminals(capsys, monkeypatch):
    bar = cli_run.Progress(4)
    bar.add(4)
    bar.close()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = cli_run.Progress(4)
    bar.add(2)
    assert "] 50 %" in capsys.readouterr().err
    bar.close()
    assert capsys.readouterr().err.startswith("\r")


def test_score_shows_a_bar_of_all_rows(capsys, tmp_path, monkeypatch):
    """After each part, on a terminal alone; it is gone before anything else is said, and a run that
    is resumed counts the rows that are there."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from fastlstm.score import parts

    fastlstm.LSTM(2, 3).save(tmp_path / "m")
    rows = pa.array([[[0.5, -0.5]] * (1 + i % 5) for i in range(40)])
    parquet.write_table(pa.table({"x": rows}), tmp_path / "in", row_group_size=10)
    files = [tmp_path / name for name in ("m", "in", "out")]
    scored, done = parts._scored, []

    def full_at_the_third(*given):
        done.append(given)
        if len(done) == 3:
            raise OSError(errno.ENOSPC, "no space left")
        return scored(*given)

    def said(*more, code=0):
        arguments = [str(each) for each in ("score", *files, "--column", "x", *more)]
        assert cli.main(arguments) == code
        out, err = capsys.readouterr()
        assert out == ("" if code else f"wrote {files[2]}: 40 rows\n")
        return err

    assert said() == ""
    files[2].unlink()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(parts, "_scored", full_at_the_third)
    bars = [
        f"\r[{'#' * full}{'.' * (30 - full)}] {percent} %"
        for full, percent in ((7, 25), (15, 50), (22, 75), (30, 100))
    ]
    bar, erased, error = said(code=1).partition("\r\x1b[K")
    assert bar == "".join(bars[:2]) and erased and "no space left" in error
    assert said("--resume") == "".join(bars) + "\r\x1b[K"
    assert len(done) == 5, "two parts were there, the third was begun twice"
