# SPDX-License-Identifier: MIT
# ruff: noqa: F811 - arguments have the fixture's name
"""`fastlstm score` killed at any point and resumed: the same bytes."""

import itertools
import os
import random
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import FULL
from test_score import drawn, layer, lists, run  # noqa: F401 - `layer` is a fixture

from fastlstm.score import parts, score

pytestmark = [pytest.mark.once]
KILLS = 50 if FULL else 3
SECONDS = 120


def input_of(tmp_path, rng, rows=600):
    for n in (1, 2):
        table = pa.table({"x": lists(drawn(rows // 2, 3, rng))})
        pq.write_table(table, tmp_path / f"in{n}.parquet", row_group_size=rows // 8)
    return [tmp_path / f"in{n}.parquet" for n in (1, 2)]


class Stop(BaseException):
    """What no `except Exception` catches, as nothing catches a kill."""


def test_stopped_before_and_after_every_write(layer, memory_path, monkeypatch, rng):
    """At each call that changes a file, in turn: the next run goes on to the same bytes."""
    path, inputs = layer[0], input_of(memory_path, rng, 80)
    monkeypatch.setattr(parts, "PART", 700)
    score(path, inputs, memory_path / "want", "x")
    want = (memory_path / "want").read_bytes()
    calls = []

    def stopping(module, name, when):
        real = getattr(module, name)

        def stop(*args, **options):
            calls.append(name)
            if len(calls) == stop_at and when == "before":
                raise Stop
            made = real(*args, **options)
            if len(calls) == stop_at and when == "after":
                raise Stop
            return made

        return stop

    scored = 0
    real_scored = parts._scored

    def counted(*args):
        nonlocal scored
        scored += 1
        return real_scored(*args)

    stops = 0
    for when in ("before", "after"):
        stop_at, ended = 0, False
        while not ended:
            stop_at += 1 if FULL or stop_at < 8 else 9
            calls.clear()
            scored, out = 0, memory_path / f"out{when}{stop_at}"
            with monkeypatch.context() as patched:
                patched.setattr(parts, "_scored", counted)
                for module, name in ((os, "replace"), (os, "fsync"), (parts.shutil, "rmtree"),
                                     (parts.pq, "write_table")):  # fmt: skip
                    patched.setattr(module, name, stopping(module, name, when))
                try:
                    score(path, inputs, out, "x")
                    ended = True
                except Stop:
                    stops += 1
            first = scored
            with monkeypatch.context() as patched:
                patched.setattr(parts, "_scored", counted)
                score(path, inputs, out, "x", resume=True)
            assert out.read_bytes() == want, (when, stop_at)
            total = pq.ParquetFile(out).metadata.num_row_groups
            assert first <= total <= scored <= total + 1, "a part was done twice"
            assert not (memory_path / f"{out.name}.parts").exists()
    assert stops > 15


def test_killed_at_random_and_resumed_the_same_bytes(layer, memory_path, rng):
    path, inputs = layer[0], input_of(memory_path, rng)
    script = (
        "import sys; from fastlstm.score import parts, score; parts.PART = 900\n"
        "model, out, *inputs = sys.argv[1:]\n"
        "score(model, inputs, out, 'x', resume=True,"
        " progress=lambda *n: print(*n, flush=True))\nprint('done')"
    )

    def start(out):
        return subprocess.Popen(
            [sys.executable, "-c", script, str(path), str(out), *map(str, inputs)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    whole = start(memory_path / "want")
    lines = whole.communicate(timeout=SECONDS)[0].splitlines()
    assert whole.returncode == 0 and len(lines) > 20
    want, random_, kills = (memory_path / "want").read_bytes(), random.Random(0), 0
    for number in itertools.count():
        out = memory_path / f"out{number}"
        while True:
            process, left = start(out), random_.randrange(len(lines))
            for line in process.stdout:
                if line == "done\n":
                    break
                left -= 1
                if left < 0:  # at whatever it does then
                    process.send_signal(signal.SIGKILL)
                    break
            process.stdout.close()
            if process.wait(SECONDS) == 0:
                break
            kills += 1
        assert out.read_bytes() == want
        assert sorted(memory_path.glob(f"*out{number}*")) == [out]
        if kills >= KILLS:
            break


def test_stopped_while_it_removes_the_parts(layer, tmp_path, monkeypatch, rng):
    """The output is there: nothing is scored again, and what is left of the folder goes."""
    path, inputs, out = layer[0], input_of(tmp_path, rng, 40), tmp_path / "out"
    monkeypatch.setattr(parts, "PART", 500)
    for left in ("run.json", "00000001.parquet"):

        def remove(folder, left=left):
            for file in folder.iterdir():
                if file.name != left:
                    file.unlink()
            raise Stop

        with monkeypatch.context() as patched, pytest.raises(Stop):
            patched.setattr(parts.shutil, "rmtree", remove)
            score(path, inputs, out, "x")
        want = out.read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(parts, "_scored", lambda *_: pytest.fail("a part is scored again"))
            assert score(path, inputs, out, "x", resume=True) == 40
        assert out.read_bytes() == want and not (tmp_path / "out.parts").exists()
        out.unlink()


def test_the_output_may_be_in_a_folder_of_inputs(layer, memory_path, monkeypatch, rng):
    """It is none of them, nor are its parts: stopped, resumed, when it is there, and once more.
    What no run has written is an input, which is not replaced."""
    path, (first, second) = layer[0], input_of(memory_path, rng, 40)
    monkeypatch.setattr(parts, "PART", 500)
    score(path, [second, first], memory_path / "want", "x")  # in the order of names below
    folder = memory_path / "data"
    (folder / "deep").mkdir(parents=True)
    first, second = first.rename(folder / first.name), second.rename(folder / "deep" / second.name)
    out = folder / "out.parquet"

    def stop(done, total):
        raise Stop

    with pytest.raises(Stop):
        score(path, [folder], out, "x", progress=stop)
    assert list((folder / "out.parquet.parts").glob("*.parquet"))
    for options in ({"resume": True}, {"resume": True}, {"force": True}):
        assert score(path, [folder], out, "x", **options) == 40
        assert out.read_bytes() == (memory_path / "want").read_bytes()
    for options in ({}, {"force": True}):
        with pytest.raises(ValueError, match="is an input, and would be replaced"):
            score(path, [folder], first, "x", **options)


def test_a_folder_that_is_of_no_run_is_left_alone(layer, tmp_path, rng):
    inputs, folder = input_of(tmp_path, rng, 40), tmp_path / "out.parts"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    for options in ({}, {"resume": True}, {"force": True}):
        with pytest.raises(ValueError, match=r"letter\.txt is of no run"):
            score(layer[0], inputs, tmp_path / "out", "x", **options)
    assert (folder / "letter.txt").read_text() == "dear"


def test_a_resumed_run_must_be_the_same(layer, tmp_path, monkeypatch, rng):
    path, inputs = layer[0], input_of(tmp_path, rng, 40)
    monkeypatch.setattr(parts, "PART", 500)
    out = tmp_path / "out"

    def stop(done, total):
        raise Stop

    with pytest.raises(Stop):
        score(path, inputs, out, "x", progress=stop)
    with pytest.raises(ValueError, match="--resume goes on"):
        score(path, inputs, out, "x")
    for other in ({"inputs": inputs[::-1]}, {"every_step": True}, {"output_column": "z"}):
        given = {"inputs": inputs, **other}
        with pytest.raises(ValueError, match="another model, inputs or options"):
            score(path, output=out, column="x", resume=True, **given)
    score(path, inputs, out, "x", force=True)
    assert pq.read_table(out).num_rows == 40
