# SPDX-License-Identifier: MIT
"""`fastlstm bench` from end to end on tiny shapes: that it runs, not how fast. For CI."""

import json
import struct

import numpy as np
import pytest

from fastlstm.bench import (
    cases,
    forward,
    machine,
    measure,
    passes,
    peers,
    rows,
    special,
    stats,
)
from fastlstm.bench.cases import Case
from fastlstm.bench.rows import Aim
from fastlstm.bench.shapes import Shape
from fastlstm.cli import main as cli


def bench(*arguments):
    return cli.main(["bench", *arguments])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A stack of one row through every engine that is here, as JSON. On one thread: tiny calls that
    spin on two take minutes where the cores are busy."""
    path = tmp_path_factory.mktemp("bench") / "run.json"
    assert bench("--shape", "6,1,5,8,2", "--rounds", "2", "--output", str(path)) == 0
    return path


def test_every_engine_gave_the_same_numbers(saved):
    run = rows.load(saved)
    names = set(run.machine["peers"])
    assert {"fastlstm", "torch"} <= names
    for row in run.rows:
        assert not row.wrong and row.error < 1e-5
        assert row.p50 > 0 and row.p99 >= row.p90 > 0 and row.first > 0 and row.gflops > 0
        assert 0 < row.peak_share < 1 and row.rss > 1e6
    assert {row.who for row in run.rows} == names


@pytest.mark.parametrize("form", ["md", "csv", "html", "json"])
def test_formats(saved, capsys, form):
    if form == "html":
        pytest.importorskip("matplotlib")
    assert bench("--from", str(saved), "--format", form) == 0
    out = capsys.readouterr().out
    start = {"md": "| case", "csv": "case,", "html": "<!DOCTYPE html>", "json": "{"}[form]
    assert out.startswith(start)
    assert "torch" in out
    if form == "json":
        assert json.loads(out) == json.loads(saved.read_text())


def test_png(saved, tmp_path):
    pytest.importorskip("matplotlib")
    assert bench("--from", str(saved), "--output", str(tmp_path / "x.png")) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"x-ratios.png", "x-latencies.png", "x-roofline.png"}
    for name in names:
        data = (tmp_path / name).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert min(struct.unpack(">II", data[16:24])) > 100


def test_compare_with_itself(saved, capsys):
    assert bench("--compare", str(saved), str(saved)) == 0
    assert capsys.readouterr().out.startswith("0 rows moved")


def test_threads_are_swept_and_compared_with_one(tmp_path):
    path = tmp_path / "run.json"
    arguments = ("--shape", "4,2,4,8", "--vs", "none", "--threads", "1,2", "--rounds", "2")
    assert bench(*arguments, "--no-rss", "--output", str(path)) == 0
    found = [(row.who, row.threads) for row in rows.load(path).rows]
    assert found == [("fastlstm", 1), ("fastlstm", 2), ("fastlstm, 1 thread", 1)]


def test_without_peers(capsys):
    assert bench("--shape", "3,1,4,4", "--vs", "none", "--rounds", "1", "--no-rss") == 0
    out, err = capsys.readouterr()
    assert "fastlstm" in out and "torch" not in out
    assert "sequence: 3, 1, 4, 4" in err


def test_wrong_numbers_are_marked_and_the_exit_code_says_so(monkeypatch, capsys):
    from fastlstm.bench import model

    right = model.forward64
    monkeypatch.setattr(model, "forward64", lambda *a, **k: [1 + each for each in right(*a, **k)])
    arguments = ("--shape", "3,1,4,4", "--vs", "none", "--rounds", "1", "--no-rss")
    assert bench(*arguments) == 1
    out, err = capsys.readouterr()
    assert "WRONG by 1.0e+00" in out
    assert "wrong numbers: fastlstm, sequence 3, 1, 4, 4" in err


def test_an_engine_with_other_numbers_is_marked_and_never_the_best(monkeypatch, tmp_path, capsys):
    from fastlstm.bench.peers import pytorch

    right = pytorch.TorchRunner.output
    monkeypatch.setattr(pytorch.TorchRunner, "output", lambda self: right(self) + 2e-5)
    path = tmp_path / "run.json"
    arguments = ("--shape", "3,1,4,4", "--vs", "torch", "--rounds", "1", "--no-rss")
    assert bench(*arguments, "--output", str(path)) == 1
    ours, torch = rows.load(path).rows
    assert (ours.who, ours.wrong, torch.who, torch.wrong) == ("fastlstm", False, "torch", True)
    assert ours.ratio is None and "from torch" in ours.remarks()
    assert torch.error == pytest.approx(2e-5, rel=0.05) and "WRONG by 2.0e-05" in torch.remarks()
    assert "wrong numbers: torch, sequence 3, 1, 4, 4" in capsys.readouterr().err


def test_engines_that_are_not_there_are_named(monkeypatch, tmp_path, capsys):
    from fastlstm.bench.peers import ov

    def version():
        raise ImportError("No module named 'openvino'")

    monkeypatch.setattr(ov, "version", version)
    path = tmp_path / "run.json"
    arguments = ("--shape", "3,1,4,4", "--vs", "torch,openvino", "--rounds", "1", "--no-rss")
    assert bench(*arguments, "--output", str(path)) == 0
    assert "left out: openvino (No module named 'openvino')" in capsys.readouterr().err
    run = rows.load(path)
    assert run.settings["left_out"] == {"openvino": "No module named 'openvino'"}
    assert {row.who for row in run.rows} == {"fastlstm", "torch"}


def test_precisions_are_named_and_never_compared_with_each_other(tmp_path, capsys):
    path = tmp_path / "run.json"
    arguments = ("--shape", "6,2,5,8", "--vs", "torch,onnxruntime", "--rounds", "2", "--no-rss")
    assert bench(*arguments, "--precision", "float32,int8", "--output", str(path)) == 0
    run = rows.load(path)
    assert [(row.who, row.precision) for row in run.rows] == [
        (who, precision)
        for precision in ("float32", "int8")
        for who in ("fastlstm", "torch", "onnxruntime")
    ]
    for row in run.rows:
        assert (row.error < 1e-6) == (row.precision == "float32") and row.error < 0.1
        assert not row.wrong and not row.notes  # such as how far one is from another engine
        assert (row.peak_share is None) == (row.precision == "int8")
    ours = run.rows[3]
    same = {row.who: stats.ratio(row.walls, ours.walls, "").median for row in run.rows[4:]}
    assert ours.ratio.median == pytest.approx(min(same.values()), rel=1e-4)
    whats = {"over float32", "over torch", "over onnxruntime", "over the best peer"}
    assert set(ours.measured) == whats | {"over the best peer at any precision"}
    assert ours.measured["over the best peer at any precision"] <= ours.ratio.median * (1 + 1e-6)
    for text in ("float16", "int8,int8", ""):
        assert bench("--shape", "1,1,1,1", "--precision", text) == 1
        assert "--precision takes some of float32, bfloat16, int8" in capsys.readouterr().err


TINY = [
    cases.step(8, True, [Aim("over torch", ">=", 0)]),
    cases.stream(Shape(3, 2, 4, 8)),
    Case("share", cases.SHARE, Shape(1, 1, 8, 8), aims=(Aim("us of Python, call", "<=", 1e9),)),
    Case("C step", cases.KERNEL, Shape(1, 1, 1, 8)),
    Case("contended", cases.CONTENDED, Shape(5, 2, 4, 8), 2, (Aim("of quiet speed", ">=", 0),)),
    Case("train", cases.TRAIN, Shape(5, 2, 4, 8), 1, (Aim("backward over forward", ">=", -1),)),
    Case("ragged, eighths", cases.RAGGED, Shape(8, 8, 4, 8), lengths=special.eighths),
    Case("ragged, spread", cases.RAGGED, Shape(8, 3, 4, 8), lengths=special.spread),
    Case("tiny input", cases.SUBNORMAL, Shape(4, 1, 4, 8), subnormal=special.tiny_input),
    Case("tiny state", cases.SUBNORMAL, Shape(4, 1, 4, 8), subnormal=special.tiny_state),
    Case("memory", cases.MEMORY, Shape(4, 1, 4, 8), aims=(Aim("MiB", "<=", 1e6),)),
    Case("growth", cases.MEMORY, Shape(8, 2, 4, 8), than=Shape(4, 2, 4, 8)),
    Case("import", cases.IMPORT, aims=(Aim("of import numpy", ">=", 0),)),
    Case("wheel", cases.WHEEL, aims=(Aim("MB", "<=", 100),)),
]


@pytest.mark.parametrize("case", TINY, ids=lambda case: case.name)
def test_every_kind_of_case(monkeypatch, tmp_path, case):
    monkeypatch.setitem(cases.SUITES, "targets", lambda: [case])
    path = tmp_path / "run.json"
    others = "none" if case.threads > 1 or case.kind is cases.IMPORT else "torch"
    arguments = ("--suite", "targets", "--vs", others, "--rounds", "2", "--no-rss")
    assert bench(*arguments, "--output", str(path)) == 0
    found = rows.load(path).rows
    assert found[0].kind == case.kind.name
    assert {row.who.split(",")[0] for row in found} >= {"fastlstm"}
    targets = [target for row in found for target in row.targets]
    assert [(target.what, target.met) for target in targets] == [
        (aim.what, True) for aim in case.aims
    ]
    if case.kind in (cases.STEP, cases.STREAM, cases.RAGGED, cases.TRAIN):
        assert any(row.who == "torch" and row.ratio.median > 0 for row in found)


@pytest.mark.parametrize(
    "kind", [cases.STEP, cases.RAGGED, cases.SUBNORMAL, cases.TRAIN], ids=lambda kind: kind.name
)
def test_a_ratio_in_cpu_time_is_of_the_same_two(monkeypatch, kind):
    """Samples that are drawn, and took as much CPU time as time: both ratios are one."""
    rng = np.random.default_rng(0)

    def sample(entry, threads):
        seconds = rng.uniform(1, 9)
        entry.walls.append(seconds)
        entry.cpus.append(seconds)
        entry.singles.append(seconds)

    monkeypatch.setattr(measure.Entry, "sample", sample)
    case = next(case for case in TINY if case.kind is kind)
    ctx = forward.Context(peers.load_peers(["torch"])[0], 4, machine.Limits(), print, rss=False)
    found, taken = passes.all_rows([case], ctx, 9, lambda text, done: None)
    both = [(row.ratio.median, row.cpu_ratio) for row in found if row.ratio]
    assert taken == 4 and len(both) >= 1
    for ratio, of_cpu in both:
        assert of_cpu == pytest.approx(ratio)


def test_a_pass_that_would_take_too_long_is_not_begun(monkeypatch):
    """Each pass takes a minute of a clock that stands still otherwise."""
    clock = [0.0]
    monkeypatch.setattr(passes.time, "monotonic", lambda: clock[0])

    def measured(self, entries, rounds, threads):
        clock[0] += 60
        for entry in entries:
            entry.open()
            entry.walls += [1.0] * len(rounds)
            entry.close()

    monkeypatch.setattr(forward.Context, "measure", measured)
    said = []
    for minutes, rounds in [(0.5, 3), (2.5, 6), (9, 9)]:
        ctx = forward.Context(peers.load_peers(["fastlstm"])[0], 9, machine.Limits(), print, False)
        case, clock[0] = cases.dense(Shape(2, 1, 2, 2)), 0.0
        found, taken = passes.all_rows([case], ctx, minutes, lambda text, done: said.append(text))
        assert (taken, len(found[0].walls)) == (rounds, rounds)
    assert "0.5 minutes: 3 rounds, not 9" in said


@pytest.mark.parametrize("cell", ["gru", "rnn"])
@pytest.mark.parametrize("carry", [False, True])
def test_other_cells(cell, carry):
    """Gate orders and states of every engine that has the cell: all but ncnn's adapter."""
    from fastlstm.bench import model

    found, _ = peers.load_peers()
    shape = Shape(5, 2, 3, 4, L=2, D=1 if carry else 2, cell=cell)
    weights, x = model.make_weights(shape), model.make_input(shape)
    wanted, ran = forward.reference(weights, shape, x, carry, None), set()
    for name, module in found.items():
        for way, make in module.ways(shape, 1, carry).items():
            runner = make(weights)
            runner.load(x)
            runner.once(forward.CARRIED_CALLS if carry else 1)
            assert abs(runner.output() - wanted).max() < 1e-6, (name, way)
            runner.close()
            ran.add(name)
    assert ran == set(found) - {"ncnn"}
