# SPDX-License-Identifier: MIT
"""`fastlstm run` on whole models: files, pieces with the state kept, stdin, interrupts."""

import io
import json
import os
import re
import sys
import types
from pathlib import Path

import numpy as np
import onnx
import pytest
from published import path_of
from small_models import drawn

import fastlstm
from fastlstm.cli import run_model
from fastlstm.cli.main import main
from fastlstm.models.graph import Graph, Node, Value

F32 = np.dtype(np.float32)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *args, code=0):
    found = main(["run", *map(str, args)])
    captured = capsys.readouterr()
    assert found == code, captured.err
    return captured.err if code else captured.out


def saved(name, T, B, rng):
    inputs = drawn(name, T, B, rng)
    for each, array in zip(("x", "h", "c"), inputs, strict=False):
        np.save(f"{each}.npy", array)
    return inputs


def silero(rng, frames=6):
    """(samples, the probabilities of frames of 512 with the 64 samples before them, the stream)"""
    samples = rng.standard_normal(512 * frames).astype(F32) / 10
    stream = fastlstm.load_model(path_of("silero_vad.onnx")).stream(sr=16000)
    padded = np.concatenate([np.zeros(64, F32), samples])
    steps = [stream.step(padded[None, 512 * i : 512 * i + 576]) for i in range(frames)]
    return samples, np.concatenate(steps), stream


SILERO = ["--value", "sr=16000", "--chunk", 512, "--context", 64]


# ---- once, on whole arrays


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_several_inputs_and_outputs(here, capsys, small, name, rng):
    path, inputs = small(name)[0], saved(name, 5, 2, rng)
    made = fastlstm.load_model(path)(*inputs)
    files = [part for n in ("x", "h", "c")[: len(inputs)] for part in ("--input", f"{n}={n}.npy")]
    text = run(capsys, path, *files, "--output", "y=y.npy", "--output", "hn=hn.npy")
    assert text == "wrote y.npy, hn.npy: 1 piece\n"
    assert np.load("y.npy").tobytes() == made.y.tobytes()
    assert np.load("hn.npy").tobytes() == made.hn.tobytes()
    run(capsys, path, *files, "--output", "all.npz")
    with np.load("all.npz") as stored:
        assert {n: stored[n].tobytes() for n in stored} == {
            n: a.tobytes() for n, a in made._asdict().items()
        }


def test_one_input_and_output_need_no_names(here, capsys, small, rng):
    path, (x,) = small("wide")[0], saved("wide", 5, 2, rng)
    run(capsys, path, "--input", "x.npy", "--output", "y.npy", "--num-threads", 2)
    made = fastlstm.load_model(path)(x)
    assert np.load("y.npy").tobytes() == made.tobytes()
    out = run(capsys, path, "--input", "x.npy", "--output", "-")
    assert np.array_equal(np.array(json.loads(out)["y"], F32), made)
    assert "--force replaces it" in run(
        capsys, path, "--input", "x.npy", "--output", "y=y.npy", code=1
    )


def test_tensors_in_other_files(here, capsys, small, rng):
    """--external-data is an option of whole models too: it does not make one a layer."""
    path, inputs = small("lstm")[0], saved("lstm", 5, 2, rng)
    onnx.save(onnx.load(path), "m.onnx", save_as_external_data=True, size_threshold=0,
              location="other")  # fmt: skip
    files = [part for name in ("x", "h", "c") for part in ("--input", f"{name}={name}.npy")]
    run(capsys, "m.onnx", *files, "--output", "y=y.npy", "--external-data")
    assert np.load("y.npy").tobytes() == fastlstm.load_model(path)(*inputs).y.tobytes()


def test_the_state_may_come_from_a_file(here, capsys, small, rng):
    path, (x, h, c) = small("lstm")[0], saved("lstm", 5, 2, rng)
    np.savez("s.npz", h=h, c=c)
    run(capsys, path, "--input", "x.npy", "--state", "s.npz", "--output", "y=y.npy")
    assert np.load("y.npy").tobytes() == fastlstm.load_model(path)(x, h, c).y.tobytes()


# ---- in pieces


@pytest.mark.needs("c")
@pytest.mark.parametrize("chunk", [1, 4, 7, 100])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_pieces_have_the_bits_of_the_whole(here, capsys, small, name, chunk, rng):
    path, inputs = small(name)[0], saved(name, 15, 2, rng)
    whole = fastlstm.load_model(path)(*inputs)
    np.savez("s.npz", **dict(zip("hc", inputs[1:], strict=False)))
    text = run(capsys, path, "--input", "x.npy", "--chunk", chunk, "--state", "s.npz",
               "--save-state", "end.npz", "--output", "y=y.npy")  # fmt: skip
    assert text == f"wrote y.npy: {-(-15 // chunk)} piece{'s' * (chunk < 15)}\n"
    assert np.load("y.npy").tobytes() == whole.y.tobytes()
    with np.load("end.npz") as end:
        assert end["h"].tobytes() == whole.hn.tobytes()


def test_a_batch_of_one_may_be_left_out(here, capsys, small, rng):
    path, (x, *_) = small("lstm")[0], saved("lstm", 9, 1, rng)
    np.save("x.npy", x[:, 0])
    run(capsys, path, "--input", "x.npy", "--chunk", 2, "--output", "y.npy")
    stream = fastlstm.load_model(path).stream()
    assert (
        np.load("y.npy").tobytes()
        == np.concatenate([stream.step(x[t : t + 2]) for t in range(0, 9, 2)]).tobytes()
    )


def test_a_row_of_samples(here, capsys, rng):
    samples, expected, stream = silero(rng)
    np.save("x.npy", samples)
    path = path_of("silero_vad.onnx")
    run(capsys, path, *SILERO, "--input", "x.npy", "--output", "y.npy", "--save-state", "s.npz")
    assert np.load("y.npy").tobytes() == expected.tobytes()
    with np.load("s.npz") as end:
        assert end["state"].tobytes() == stream.state["state"].tobytes()
    run(capsys, path, *SILERO, "--input", "input=x.npy", "--output", "y.jsonl")
    lines = [json.loads(line) for line in Path("y.jsonl").read_text().splitlines()]
    assert [line["piece"] for line in lines] == list(range(6))
    assert np.array_equal(np.array([line["output"][0] for line in lines], F32), expected)


def test_a_model_without_a_state_takes_each_piece_alone(here, capsys, small, rng):
    path, (x,) = small("wide")[0], saved("wide", 6, 2, rng)
    run(capsys, path, "--input", "x.npy", "--chunk", 4, "--output", "y.npy")
    model = fastlstm.load_model(path)
    expected = np.concatenate([model(x[:4]), model(x[4:])])
    assert np.load("y.npy").tobytes() == expected.tobytes()
    run(capsys, path, "--input", "x.npy", "--chunk", 1, "--axis", 1, "--output", "z.npy")
    expected = np.concatenate([model(x[:, :1]), model(x[:, 1:])], 1)
    assert np.load("z.npy").tobytes() == expected.tobytes()


# ---- stdin


def stdin_of(monkeypatch, data):
    """stdin that gives a few bytes at a time, as a pipe does."""

    class Pipe(io.RawIOBase):
        def read(self, count=-1):
            nonlocal data
            part, data = data[: min(count, 700)], data[min(count, 700) :]
            return part

    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=Pipe()))


@pytest.mark.parametrize("pcm", ["float32", "int16"])
@pytest.mark.parametrize("cut", [0, 300])
def test_samples_from_stdin(here, capsys, monkeypatch, pcm, cut, rng):
    """Whatever the pieces that a pipe gives; the last frame is filled up with zeros."""
    samples, _, _ = silero(rng)
    samples = (samples * 32768).round().clip(-32768, 32767)[: len(samples) - cut]
    scaled = (samples / 32768).astype(F32)
    np.save("x.npy", scaled)
    path = path_of("silero_vad.onnx")
    run(capsys, path, *SILERO, "--input", "x.npy", "--output", "y.npy")
    raw = samples.astype("<i2") if pcm == "int16" else scaled.astype("<f4")
    stdin_of(monkeypatch, raw.tobytes())
    out = run(capsys, path, *SILERO, "--pcm", pcm, "--input", "-", "--output", "-")
    found = [json.loads(line)["output"][0] for line in out.splitlines()]
    assert np.array_equal(np.array(found, F32), np.load("y.npy")) and len(found) == 6


def test_nothing_from_stdin(here, capsys, monkeypatch):
    stdin_of(monkeypatch, b"")
    path = path_of("silero_vad.onnx")
    assert run(capsys, path, *SILERO, "--input", "-", "--output", "-") == ""


# ---- progress


@pytest.mark.parametrize("output", ["y=y.npy", "y.jsonl"])
def test_a_long_input_shows_progress(here, capsys, small, monkeypatch, output, rng):
    """On a terminal, while it runs: a bar that grows with the pieces, and is taken away at the end.
    Nothing where stderr is no terminal."""
    saved("lstm", 400, 1, rng)
    before, kind = [], run_model._Arrays if "npy" in output else run_model._Lines
    add = kind.add

    def noting(sink, outputs):
        before.append(capsys.readouterr().err)  # what was shown since the piece before
        add(sink, outputs)

    monkeypatch.setattr(kind, "add", noting)
    args = ["run", str(small("lstm")[0]), "--input", "x.npy", "--chunk", "4", "--force"]
    args += ["--output", output]
    assert main(args) == 0
    assert before == [""] * 100 and capsys.readouterr().err == ""
    before.clear()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(args) == 0
    end = capsys.readouterr().err
    shown = [int(part) for part in re.findall(r"\[[#.]{30}\] (\d+) %", "".join(before))]
    assert len(shown) == 30 and shown == sorted(set(shown)) and shown[-1] <= 99
    for pieces, text in enumerate(before):
        assert not text or f"{pieces} %" in text
    assert end.endswith("] 100 %\r\x1b[K")


# ---- whole files or none


class Stopped(Exception):
    pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stopped])
@pytest.mark.parametrize("output", ["y=y.npy", "y.npz", "y.jsonl"])
def test_what_is_stopped_leaves_no_half_file(here, capsys, small, monkeypatch, error, output, rng):
    saved("lstm", 8, 1, rng)
    name = output.rpartition("=")[2]
    Path(name).write_text("before")
    ends = run_model._Lines.add, run_model._Arrays.add
    count = 0

    def add(sink, outputs):
        nonlocal count
        count += 1
        if count == 3:
            raise error("now")
        ends[isinstance(sink, run_model._Arrays)](sink, outputs)

    monkeypatch.setattr(run_model._Lines, "add", add)
    monkeypatch.setattr(run_model._Arrays, "add", add)
    code = 130 if error is KeyboardInterrupt else 1
    run(capsys, small("lstm")[0], "--input", "x.npy", "--chunk", 2, "--force", "--output", output,
        "--save-state", "s.npz", code=code)  # fmt: skip
    assert Path(name).read_text() == "before"
    assert sorted(os.listdir()) == sorted(["c.npy", "h.npy", "x.npy", name])


# ---- wrong arguments


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--input", "x.npy", "--output", "y.npy"], "for which of x, h, c? NAME=FILE"),
        (["--input", "x=x.npy", "--output", "y=y.npy"], "missing inputs: h, c"),
        (["--input", "x=x.npy", "--input", "x=x.npy", "--output", "y.npz"], "each name once"),
        (["--input", "x.npy", "--chunk", 0, "--output", "y.npy"], "--chunk is at least 1"),
        (["--input", "x.npy", "--chunk", 2, "--axis", 5, "--output", "y.npy"], "has 3 axes"),
        (["--input", "h=h.npy", "--input", "x=x.npy", "--output", "y.npz"], "missing inputs: c"),
        (["--input", "-", "--output", "y.npy"], "for which of x, h, c"),
        (["--input", "x=-", "--output", "y.npy"], "--input - needs --chunk N"),
        (["--input", "x.npy", "--value", "z=1", "--output", "y=y.npy"], "there is no input 'z'"),
        (["--input", "x=x.npy", "--save-state", "s", "--output", "y=y"], "--save-state needs --ch"),
        (["--input", "x.npy", "--lengths", "n.npy", "--output", "y.npy"], ""),
    ],
)  # fmt: skip
def test_wrong_arguments(here, capsys, small, args, words, rng):
    saved("lstm", 3, 1, rng)
    assert words in run(capsys, small("lstm")[0], *args, code=1)
    assert sorted(os.listdir()) == ["c.npy", "h.npy", "x.npy"]


def test_what_is_for_models_is_refused_for_layers(here, capsys, rng):
    fastlstm.LSTM(3, 4).save("layer")
    for more in (["--chunk", 2], ["--value", "a=1"]):
        assert "are for whole models" in run(
            capsys, "layer", "--input", "x", "--output", "y", *more, code=1
        )
    words = run(capsys, "layer", "--input", "x", "--input", "z", "--output", "y", code=1)
    assert "--input: a layer has one" in words


def test_a_layer_of_a_model_by_its_prefix(here, capsys, rng):
    """With an option of layers a model's file runs as before: one of its layers."""
    path, x = path_of("silero_vad_16k_sequence.onnx"), rng.standard_normal((4, 128)).astype(F32)
    np.save("x.npy", x)
    prefix = next(iter(fastlstm.load_all(path)))
    run(capsys, path, "--prefix", prefix, "--input", "x.npy", "--output", "y.npy")
    assert np.load("y.npy").shape == (4, 128)


@pytest.mark.parametrize("option", [["--no-batch-first"], ["--reset-after", "no"]])
def test_an_option_of_layers_that_says_no_is_one(here, capsys, small, option, rng):
    path, (x, _) = small("gru")[0], saved("gru", 4, 2, rng)
    run(capsys, path, *option, "--input", "x.npy", "--output", "y.npy")
    np.testing.assert_array_equal(np.load("y.npy"), fastlstm.load(path)(x)[0])


def test_force_is_due_for_the_file_that_is_written(here, capsys, small, rng):
    """Whose path may have a "=": a layer's has no name before it, and not all that stands before
    one is an output's."""
    saved("wide", 5, 2, rng)
    fastlstm.LSTM(40, 4).save("layer")
    for folder in ("run=3", "3"):
        Path(folder).mkdir()
        Path(folder, "y.npy").write_text("mine")
    for file in (small("wide")[0], "layer"):
        args = [file, "--input", "x.npy", "--output", "run=3/y.npy"]
        assert "run=3/y.npy is there already; --force" in run(capsys, *args, code=1)
        assert Path("run=3/y.npy").read_text() == "mine"
        run(capsys, *args, "--force")
        Path("run=3/y.npy").unlink()
        run(capsys, *args)  # 3/y.npy is another file
        Path("run=3/y.npy").write_text("mine")
    assert Path("3/y.npy").read_text() == "mine"


def test_outputs_that_change_their_shape_are_an_error(here, capsys):
    values = [Value("x", F32, ("t", 2))], [Value("y", F32, None)]
    graph = Graph(*values, [Node("Transpose", ["x"], ["y"])], {}, "g")
    fastlstm.Model(graph).save("m")
    np.save("x.npy", np.zeros((5, 2), F32))
    words = run(capsys, "m", "--input", "x.npy", "--chunk", 2, "--output", "y.npy", code=1)
    assert "outputs of the shapes (2,) and (1,) in turn" in words
