# SPDX-License-Identifier: MIT
"""What `fastlstm bench` makes of arguments and of samples; benchmarks/ runs the whole of it."""

import os
from collections import Counter

import numpy as np
import pytest

from fastlstm.bench import (
    cases,
    command,
    kernels,
    machine,
    model,
    rows,
    stats,
    tables,
)
from fastlstm.bench.rows import Aim, Row, Target
from fastlstm.bench.shapes import Shape, parse
from fastlstm.cli import main as cli

pytestmark = pytest.mark.once

# Shapes


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("100,8,64,32", [(100, 8, 64, 32, 1, 1)]),
        (" 1, 2, 3, 4, 5, 2 ", [(1, 2, 3, 4, 5, 2)]),
        ("5,1/8/32,3,4", [(5, b, 3, 4, 1, 1) for b in (1, 8, 32)]),
        ("5,1,=,64..512", [(5, 1, h, h, 1, 1) for h in (64, 128, 256, 512)]),
        ("5,1,3,16..48+16", [(5, 1, 3, h, 1, 1) for h in (16, 32, 48)]),
        ("5,1,3,3..13", [(5, 1, 3, h, 1, 1) for h in (3, 6, 12)]),
        ("1/2,7,3,4,1,1..2", [(t, 7, 3, 4, 1, d) for t in (1, 2) for d in (1, 2)]),
        # benchdnn: mb is 2 and l, t are 1 if not said; slc = sic
        ("l1t30mb1sic512", [(30, 1, 512, 512, 1, 1)]),
        ("sic16", [(1, 2, 16, 16, 1, 1)]),
        ("l2t30mb28_sic1024_slc512_dhc1024_dic1024", [(30, 28, 512, 1024, 2, 1)]),
        ('l1t10mb20_sic512_n"GNMT_enc-inference"', [(10, 20, 512, 512, 1, 1)]),
        ("t10mb1/4sic64..128", [(10, b, h, h, 1, 1) for b in (1, 4) for h in (64, 128)]),
    ],
)
def test_shapes(text, shapes):
    assert parse(text) == [Shape(*numbers) for numbers in shapes]


@pytest.mark.parametrize(
    "text",
    ["", "1,2,3", "1,2,3,4,5,6,7", "1,2,3,0", "1,2,3,-4", "1,2,3,4,1,3", "1,2,3,x", "1,2,3,4.5",
     "1,=,3,4", "1,2,3,8..4", "1,2,3,1..8+0", "1,2,3,1/", "t5mb1", "l1t1sic8slc8slc8", "sic8dic4",
     "sic8dhc16", "l1tsic8", "sic8x", "1..999+1,1..999+1,3,4", "1,2,3,1..99999999+1"],
)  # fmt: skip
def test_a_shape_that_is_none_is_named(text):
    with pytest.raises(ValueError, match="a shape is T,B,I,H") as caught:
        parse(text)
    assert repr(text) in str(caught.value)


def test_work_and_traffic_of_a_shape():
    shape = Shape(10, 3, 5, 7, L=2, D=2)
    gates = sum(2 * 4 * 7 * (width + 7) for width in (5, 14))
    assert shape.flops() == gates * 2 * 10 * 3
    assert shape.flops(4) == gates * 2 * 4
    assert Shape(10, 3, 5, 7, cell="gru").flops() * 4 == Shape(10, 3, 5, 7).flops() * 3
    once = 4 * 4 * 7 * (5 + 14) * 2
    assert shape.moved_bytes() == once + 10 * 4 * 4 * 4 * 7 * 7 + 4 * 10 * 3 * (5 + 14)
    assert parse(shape.arguments()) == [shape]


# Statistics


def test_a_ratio_is_taken_within_rounds():
    """Drift that meets both does not show; the ratio of medians would not know it."""
    drift = np.array([1.0, 2.0, 4.0, 8.0])
    found = stats.ratio(3 * drift, drift, "a / b", [2])
    assert (found.median, found.q1, found.q3, found.low, found.high) == (3, 3, 3, 3, 3)
    assert found.doubt == 0
    assert stats.doubts(None, found) == []


def test_an_interval_is_the_medians():
    """By hand: P(Binomial(10, 1/2) < 2) is 11/1024, below 3 it is 56/1024; of 5 below 1, 1/32."""
    assert stats.median_interval([9, 1, 2, 3, 4, 5, 6, 7, 8, 99]) == [2, 9]  # 0.98; from 3: 0.89
    assert stats.median_interval([5, 1, 3, 2, 4]) == [1, 5]
    assert stats.median_interval([2, 1]) == [1, 2] and stats.median_interval([7]) == [7, 7]
    rng = np.random.default_rng(0)
    for n in (5, 8, 10, 20, 31):
        draws = rng.exponential(size=(4000, n))  # whose median is log 2
        ends = np.array([stats.median_interval(row.tolist()) for row in draws])
        inside = np.mean((ends[:, 0] <= np.log(2)) & (np.log(2) <= ends[:, 1]))
        assert 0.91 < inside < 0.985, n


def test_passes_that_differ_make_a_ratio_noisy():
    ones = np.ones(6)
    wide = stats.ratio([1.0, 1.2, 1.4, 1.6, 1.8, 2.0], ones, "")
    assert (wide.median, wide.low, wide.high) == pytest.approx((1.5, 1.0, 2.0))
    assert wide.doubt == pytest.approx(1 / 1.5)
    assert stats.doubts(None, wide) == ["ratio known to 67%"]
    apart = stats.ratio([1.0, 1.0, 1.0, 1.2, 1.2, 1.2], ones, "", [3])
    assert apart.doubt == pytest.approx(0.2 / 1.1) and stats.doubts(None, apart)
    calm = stats.ratio([1.0, 1.05, 9.0, 1.05, 1.06, 0.5], ones, "", [3])
    assert calm.ends == (1.05, 1.05)  # one round that was disturbed does not make its pass
    assert stats.doubts(9.9, calm) == []  # its times may drift
    assert "CPU" in stats.doubts(None, calm, 1.3)[0]
    assert stats.doubts(0.11, None) and not stats.doubts(0.09, None)
    assert calm.scaled(2).ends == (2.1, 2.1)


def test_percentiles_are_samples_that_are_there():
    seconds = list(range(1, 101))
    assert [stats.percentile(seconds, each) for each in (50, 90, 99)] == [51, 91, 100]
    assert stats.percentile([3.0, 1.0, 2.0], 99) == 3
    assert len(stats.quantiles(seconds)) == len(stats.QUANTILES)


def test_limits_count_what_a_call_has_to_do(monkeypatch):
    limits = machine.Limits()
    monkeypatch.setattr(limits, "bandwidth", lambda size: 10.0)  # GB/s
    shape = Shape(5, 2, 3, 4)
    products = [8 * 4 * width * 2 / 1e9 for width in (3, 4)]  # at 1 GFLOP/s
    slow = 5 * sum(products)
    assert limits.floor_seconds(shape, 1.0, 1) == pytest.approx(slow)
    reads = 16 * 4 * 4 / 10e9
    fast = 5 * (products[0] / 1000 + reads)
    assert limits.floor_seconds(shape, 1000.0, 1) == pytest.approx(fast)
    assert limits.floor_seconds(shape, None, 1) is None


def test_cache_sizes_are_read_as_linux_writes_them(tmp_path):
    for at, (level, kind, size) in enumerate(
        [(1, "Data", "48K"), (1, "Instruction", "32K"), (2, "Unified", "2M"), (3, "Unified", "8M")]
    ):
        folder = tmp_path / f"index{at}"
        folder.mkdir()
        for name, value in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{value}\n")
    assert machine.cache_sizes(tmp_path) == {"L1": 48 << 10, "L2": 2 << 20, "L3": 8 << 20}
    assert machine.cache_sizes(tmp_path / "none") == {}


def test_what_others_take_is_what_is_left_of_the_busy_time(tmp_path, monkeypatch):
    """Two CPUs, ten seconds each: 8 s busy, of which 3 were ours and 1 our children's."""
    stat, tick = tmp_path / "stat", os.sysconf("SC_CLK_TCK")
    own = [0.0, 0.0, 0.0, 0.0, 0.0]
    monkeypatch.setattr(machine.os, "times", lambda: tuple(own))
    stat.write_text("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 1\n")
    others = machine.Others(stat)
    assert others.share() is None
    own[:] = 2.0, 1.0, 0.5, 0.5, 10.0
    fields = (each * tick for each in (4, 1, 1, 10, 2, 0, 1, 1))
    stat.write_text(f"cpu  {' '.join(map(str, fields))} 0 0\ncpu0 1\n")
    assert others.share() == 4 / 20
    assert machine.Others(tmp_path / "none").share() is None


# Targets


@pytest.mark.parametrize(
    ("sign", "value", "verdict"),
    [(">=", 1.3, "met"), (">=", 1.17, "missed by 10 %"), ("<=", 1.3, "met"),
     ("<=", 1.365, "missed by 5.0 %"), ("<=", None, "not measured")],
)  # fmt: skip
def test_verdicts(sign, value, verdict):
    assert Target("over torch", sign, 1.3, value).verdict() == verdict


def test_a_target_goes_to_our_best_row():
    found = [Row("a", "step", who, measured={"over torch": value})
             for who, value in (("fastlstm", 3.0), ("fastlstm", 4.0), ("torch", 9.0))]  # fmt: skip
    rows.aim(found, [Aim("over torch", ">=", 3.5), Aim("of normal", "<=", 1)])
    assert [len(row.targets) for row in found] == [1, 1, 0]
    assert found[1].targets == [Target("over torch", ">=", 3.5, 4.0)]
    assert found[0].targets[0].value is None
    assert tables.counted(found) == "targets: 1 met, 0 missed, 1 not measured"


def test_every_target_is_asked_by_a_case():
    asked = {(aim.what.split(",")[0], aim.bound) for case in cases.targets() for aim in case.aims}
    for what, bound in [
        ("over onnxruntime bound", 4.5), ("over onnxruntime run", 3), ("over torch", 40),
        ("us of Python", 1), ("us of Python", 2), ("of RTNeural's time", 0.75),
        ("over the best peer", 1.3), ("over the best peer", 1.15), ("over the best peer", 1.05),
        ("over the best peer", 1.4), ("of the limit", 0.9), ("of the FMA peak", 0.94),
        ("over one thread", 1.7), ("of quiet speed", 0.7), ("of quiet speed", 0.55),
        ("over torch", 1.2), ("over torch", 1.5), ("backward over forward", 2.2),
        ("of the same rows", 1.05), ("of normal", 1.2), ("MiB", 4), ("of import numpy", 1.3),
        ("MB", 1.0),
    ]:  # fmt: skip
        assert (what, bound) in asked, (what, bound)
    names = [case.name for case in cases.targets()]
    assert len(set(names)) == len(names), "two cases have one name"


def test_odd_shapes_are_the_same_each_time_and_divide_nothing():
    suite = cases.odd()
    assert [(c.kind, c.shape) for c in suite] == [(c.kind, c.shape) for c in cases.odd()]
    assert Counter(c.kind.name for c in suite) == dict.fromkeys(
        ("step", "sequence", "batch", "train"), 15
    )
    assert all(c.shape.H % 16 and (c.shape.B == 1 or c.shape.B % 8) for c in suite)


def test_cases_on_threads_and_of_other_cells():
    assert {case.threads for case in cases.of_suites(["targets"], "lstm", [2])} == {2}
    both = cases.with_threads([cases.dense(Shape(1, 1, 2, 2))], [1, 2])
    assert [case.threads for case in both] == [1, 2]
    assert cases.with_threads(cases.contended(), [1]) == []
    assert {case.cell for case in cases.with_cell(cases.default(), "gru")} == {"gru"}


def test_several_suites_are_one_after_the_other():
    found = cases.of_suites(["train", "targets"], "lstm", [1, 2])
    targets = cases.SUITES["targets"]()
    assert [case.threads for case in found[: -len(targets)]] == [1] * 5 + [2] * 5
    assert [case.name for case in found[-len(targets) :]] == [case.name for case in targets]


def test_the_reference_knows_three_cells():
    """One step from zeros, by hand."""
    for cell, gates in (("lstm", 4), ("gru", 3), ("rnn", 1)):
        shape = Shape(1, 1, 2, 1, cell=cell)
        weights, x = model.make_weights(shape), np.array([[[0.5, -1.0]]])
        a = weights["weight_ih_l0"].astype(float) @ x[0, 0] + weights["bias_ih_l0"]
        b = weights["bias_hh_l0"].astype(float)
        assert a.shape == (gates,)
        logistic = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
        if cell == "lstm":
            i, _, g, o = a + b
            wanted = logistic(o) * np.tanh(logistic(i) * np.tanh(g))
        elif cell == "gru":
            r, z, n = (logistic(a[0] + b[0]), logistic(a[1] + b[1]), a[2])
            wanted = (1 - z) * np.tanh(n + r * b[2])
        else:
            wanted = np.tanh(a + b)[0]
        y, _, _ = model.forward64(weights, shape, x)
        np.testing.assert_allclose(y[0, 0, 0], wanted, rtol=1e-12)


def test_rtneural_is_taken_at_its_fastest_build():
    """Two builds, as benchmarks/rtneural/run.sh prints them."""
    line = "I   1 H  16  RTNeural {} ns  avx512: sequence {} ns ({})  a call a step    203 ns ({})"
    text = "\n".join(
        ["RTNeural at -O3 ", line.format("   200", "   100", "0.50", "1.01"),
         "RTNeural at -O3 -march=native", line.format("   101", "   103", "1.02", "2.01")]
    )  # fmt: skip
    assert kernels.fastest_of_rtneural(text) == {(1, 16): 1.02}


# Arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shape", "1,2,3"], "a shape is"),
        (["--vs", "tensorflow"], "unknown peers"),
        (["--threads", "0"], "--threads"),
        (["--threads", "1,1"], "--threads"),
        (["--rounds", "0"], "--rounds"),
        (["--only", "nonsense"], "nonsense"),
        (["--suite", "contended", "--threads", "1"], "no case is left"),
        (["--suite", "step,nonsense"], "--suite nonsense: there are step, "),
        (["--format", "png", "--shape", "1,1,2,2"], "--output"),
        (["--output", "/nonexistent/x.json"], "/nonexistent/x.json"),
        (["--from", "/nonexistent/x.json"], "no such file"),
    ],
)
def test_wrong_arguments_are_one_sentence(capsys, arguments, words):
    assert cli.main(["bench", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and words in err and len(err.splitlines()) == 1


def test_the_format_follows_the_files_ending():
    parse_arguments = cli.build_parser().parse_args
    for arguments, form in [
        ([], "md"), (["--output", "a.json"], "json"), (["--output", "a.txt"], "md"),
        (["--output", "a.html", "--format", "csv"], "csv"), (["--output", "a.png"], "png"),
    ]:  # fmt: skip
        assert command.format_of(parse_arguments(["bench", *arguments])) == form
