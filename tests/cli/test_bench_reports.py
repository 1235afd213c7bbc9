# SPDX-License-Identifier: MIT
"""What `fastlstm bench` reports of a run: tables, the page, JSON, what moved between two runs."""

import csv
import dataclasses
import html
import io
import json
import re
from html.parser import HTMLParser

import pytest

from fastlstm.bench import (
    command,
    forward,
    machine,
    measure,
    page,
    plots,
    rows,
    stats,
    tables,
)
from fastlstm.bench.rows import Row, Run, Target
from fastlstm.bench.shapes import Shape
from fastlstm.cli import main as cli

pytestmark = pytest.mark.once

# Reports

NASTY = "<script>alert('x')</script> & \"|\" name zz $1.23456$ #ffffff"


def ratio(middle, width=0.1, of="torch / this"):
    return stats.Ratio(of, middle, middle - width / 2, middle + width / 2, middle - width,
                       middle + width)  # fmt: skip


def some_run(middle=2.0, seconds=1e-3):
    shape = Shape(100, 1, 8, 8).record()
    latency = [seconds * each for each in (0.9, 0.9, 0.95, 1, 1, 1, 1.1, 1.2, 70)]
    common = {"shape": shape, "gflops": 1.5, "limit_share": 0.1, "latency": latency,
              "walls": [seconds] * 3}  # fmt: skip
    found = [
        Row("sequence", "sequence", "fastlstm", "call", p50=seconds, p90=2e-3, ratio=ratio(middle),
            rss=40_000_000, targets=[Target("over the best peer", ">=", 1.3, middle)], **common),
        Row(NASTY, "sequence", "torch", NASTY, p50=2 * seconds, wrong=True, error=0.1,
            noisy=["ratios spread over 20%"], notes=[NASTY], **common),
        Row("wheel", "wheel", "fastlstm", notes=["9 bytes"]),
    ]  # fmt: skip
    facts = {"cpu": NASTY, "cpus": 2, "caches": {}, "system": "Linux", "python": "3.11",
             "peers": {"fastlstm": "1", "torch": "2"}, "load": 0.1, "settings": {}}  # fmt: skip
    roofline = {"isa": "avx2", "peak": 100.0, "levels": [{"name": "L1", "bytes": 1, "gbs": 50.0}]}
    settings = {"rounds": 3, "suite": None, "left_out": {"ncnn": NASTY}}
    return Run("2026-01-02 03:04", {"isa": "avx2", "isas": {}}, facts, roofline, settings, found)


def test_json_is_read_back_as_it_was(tmp_path):
    run = some_run()
    path = tmp_path / "run.json"
    path.write_text(run.dump())
    assert json.loads(path.read_text())["schema"] == rows.SCHEMA
    again = rows.load(path)
    assert again.dump() == run.dump()
    assert [row.ratio for row in again.rows] == [row.ratio for row in run.rows]
    assert again.rows[0].targets == run.rows[0].targets
    assert again.rows[1].p50 == run.rows[1].p50 and again.rows[1].p99 is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 0}', '{"schema": 1}', '{"schema": 1, "rows": [{"x": 1}]}']
)
def test_json_that_is_no_run_is_one_sentence(tmp_path, capsys, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    assert cli.main(["bench", "--from", str(path)]) == 1
    err = capsys.readouterr().err
    assert str(path) in err and len(err.splitlines()) == 1


def test_the_recorded_runs_can_be_read():
    """Those in benchmarks/results; they are part of the sources, not of the package."""
    folder = command.Path(cli.__file__).parents[2] / "benchmarks" / "results"
    if not folder.exists():
        pytest.skip("the results are not beside the package")
    found = sorted(folder.glob("*.json"))
    assert found
    for path in found:
        assert rows.load(path).rows


def without_plots(text):
    return re.sub("<svg.*?</svg>", "", text, flags=re.S)


def words_of(text):
    """All words in plots: where they stand differs a little with matplotlib's version."""
    return sorted(re.findall(r"<(?:text|title)\b[^>]*>(.*?)</", text))


def test_the_page_in_the_documents_is_of_its_json():
    root = command.Path(cli.__file__).parents[2]
    kept = root / "docs" / "benchmark" / "index.html"
    if not kept.exists():
        pytest.skip("the documents are not beside the package")
    pytest.importorskip("matplotlib")
    run = rows.load(root / "benchmarks" / "results" / "2026-11-22-default-1.json")
    kept, made = kept.read_text(), page.page(run)
    for part in (without_plots, words_of):
        assert part(kept) == part(made), "make it again: docs/benchmark/README.md says how"


def test_markdown_and_csv():
    run = some_run()
    text = tables.markdown(run)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = lines[: len(run.rows) + 2]
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert len(set(bars)) == 1, "a bar in a name has broken the table"
    assert "WRONG by 1.0e-01" in text and "noisy: ratios spread" in text
    assert "met" in text
    read = list(csv.DictReader(io.StringIO(tables.comma_separated(run))))
    assert [row["case"] for row in read] == [row.case for row in run.rows]
    assert float(read[0]["ratio_median"]) == 2.0
    assert float(read[1]["p50"]) == run.rows[1].p50


def test_means_are_of_the_best_way_of_each_case():
    def row(case, way, middle, kind="batch", who="fastlstm", of="torch / this"):
        return Row(case, kind, who, way, Shape(10, 2, 8, 8).record(), ratio=ratio(middle, of=of))

    found = [
        row("a", "call", 4.0), row("a", "call out", 2.0), row("b", "call", 0.5),
        row("c", "x", 7.0, who="torch"), row("d", "call", 7.0, of="this / torch"),
        row("a", "arrays", 3.0, "train"), row("b", "arrays", 12.0, "train"),
        row("a", "module", 0.9, "train"), row("b", "module", 0.9, "train"),
        row("lone", "call", 1.0, "sequence"),
    ]  # fmt: skip
    assert tables.means(found) == [
        ("batch", "", "1", "2", "1.41", "0.500", "1"),
        ("train", "arrays", "1", "2", "6.00", "3.00", "0"),
        ("train", "module", "1", "2", "0.900", "0.900", "2"),
    ]


def test_every_figure_has_its_column_and_its_value():
    shape = Shape(100, 1, 8, 8).record()
    full = Row("sequence", "sequence", "fastlstm", "call", shape, 1, 11e-6, 22e-6, 33e-6, 44e-6,
               55e-3, 66_000_000, 77.0, 0.88, 0.99, 0.111, 1e-7, ratio=ratio(1.23))  # fmt: skip
    cells = {head: texts[0] for head, texts, _ in tables.columns_of([full])}
    wanted = {"p50 us": "11.0", "p90 us": "22.0", "p99 us": "33.0", "CPU us": "44.0",
              "first ms": "55.0", "RSS MB": "66.0", "GFLOP/s": "77.0", "% peak": "88.0",
              "% bandwidth": "99.0", "% limit": "11.1", "ratio": "1.23",
              "of": "torch / this", "interval": "1.13..1.33"}  # fmt: skip
    assert {head: cells[head] for head in wanted} == wanted


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch, capsys, terminal):
    console = pytest.importorskip("rich.console")
    screen, plain = io.StringIO(), console.Console
    if terminal:
        monkeypatch.setattr(
            console, "Console", lambda stderr: plain(file=screen, force_terminal=True, width=80)
        )
    with command.progress(4) as say:
        say("step: 1, 1, 8, 8", 3)
        shown = screen.getvalue() or capsys.readouterr().err
    assert "step: 1, 1, 8, 8" in shown
    assert ("3/4" in shown) == ("\x1b[" in shown) == terminal


VOID = {"meta", "br"}


class Checker(HTMLParser):
    """Every element that opens closes, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links, self.names, self.words = [], [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.links += [v for k, v in attributes if k in ("href", "src", "xlink:href", "action")]
        self.names += [v for k, v in attributes if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        self.words += data


def test_the_page_is_well_formed_and_needs_nothing_else():
    pytest.importorskip("matplotlib")
    run = some_run()
    text = page.page(run)
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert len(set(checker.names)) == len(checker.names), "two elements have one name"
    assert "script" not in checker.seen and "link" not in checker.seen and checker.links == []
    assert not re.search(r"https?:|//\w|@import|url\(", text), "something comes from elsewhere"
    assert checker.seen.count("svg") == 6  # three plots, wide and narrow
    assert checker.words.count(f"torch: {NASTY} (100, 1, 8, 8), 1.50 GFLOP/s") == 2, "no hover text"
    drawn = html.unescape("".join(re.findall("<svg.*?</svg>", text, re.S)))
    assert drawn.count(NASTY) == 4  # over a mark and over strips, wide and narrow
    assert not re.search("#[0-9a-f]{6}", drawn.replace(NASTY, "")), (
        "a colour that would be the same in the dark"
    )
    assert NASTY in checker.words, "names are shown as they are"
    assert "<script" not in text
    assert "nan" not in re.sub(r"<text.*?</text>|<title>.*?</title>", "", text)
    assert "prefers-color-scheme" in text and 'name="viewport"' in text
    ours = sum(row.who == "fastlstm" for row in run.rows)
    assert text.count('class="ours') == ours


def test_the_page_of_a_run_without_probes_or_peers():
    pytest.importorskip("matplotlib")
    run = some_run()
    run.roofline, run.rows = {"isa": "c", "peak": None, "levels": []}, run.rows[2:]
    checker = Checker()
    checker.feed(page.page(run))
    assert checker.open == [] and "Roofline" not in checker.words


def test_int8_and_bfloat16_have_roofs_and_points_of_their_own():
    pytest.importorskip("matplotlib")
    run = some_run()
    plain = page.page(run)
    assert "int8 products" not in plain
    run.roofline["codes_peak"] = 400.0  # of runs before bfloat16 had one
    assert plots.roof(run, 1).products == {"int8": 400.0}
    run.roofline["peaks"] = {"int8": 400.0, "bfloat16": 200.0}
    first = run.rows[0]
    run.rows.append(dataclasses.replace(first, precision="int8", limit_share=None, gflops=300.0))
    points = {point.label: point for point in plots.points(run.rows, 1)}
    title = "sequence (100, 1, 8, 8{}), {} GFLOP/s"
    full = points["fastlstm: " + title.format("", tables.number(first.gflops))]
    coded = points["fastlstm: " + title.format(", int8", "300")]
    shape = Shape(100, 1, 8, 8)
    assert coded.intensity == shape.flops() / shape.moved_bytes("int8") > full.intensity
    assert plots.roof(run, 2).products == {"int8": 2 * 400.0, "bfloat16": 2 * 200.0}
    text = page.page(run)
    for words in ("int8 products 400 GFLOP/s", "bfloat16 products 200 GFLOP/s"):
        assert text.count(words) == 2  # wide and narrow
    run.roofline["peaks"]["bfloat16"] = 101.0  # fused multiply-adds, as float32's
    assert plots.roof(run, 1).products == {"int8": 400.0}
    assert "bfloat16 products" in machine.line({**run.machine, "peers": {}}, run.roofline)
    assert page.page(run).count("bfloat16 products") == 1  # the machine's line


def test_bars_are_of_the_best_peer_and_the_fastest_way():
    slow = Row("step", "step", "fastlstm", "call", p50=3.0, ratio=ratio(1.0))
    fast = Row("step", "step", "fastlstm", "stream", p50=1.0, ratio=ratio(3.0, of="ncnn / this"))
    other = Row("step", "step", "torch", p50=9.0, ratio=ratio(9.0, of="this / fastlstm"))
    quiet = Row("contended", "contended", "fastlstm", p50=1.0, ratio=ratio(0.7, of="quiet / this"))
    (bar,) = plots.bars([slow, fast, other, quiet])
    assert (bar.value, bar.over, bar.asked) == (3.0, "ncnn", None)


# What moved


def test_what_moved_is_what_left_the_range():
    before, after = some_run(2.0), some_run(2.15)
    text = tables.compared(before, after)
    assert "0 rows moved" in text, "1.9..2.1 and 2.05..2.25 overlap"
    found, gone, new, same = tables.moved(before, some_run(2.5))
    assert len(found) == 1 and (gone, new) == ([], [])
    assert found[0][-2] == "+25.0 %"
    assert same == 1
    assert [row[-2] for row in tables.moved(before, some_run(1.6))[0]] == ["-20.0 %"]
    slower, _, _, _ = tables.moved(before, some_run(2.0, seconds=2e-3))
    assert [row[4] for row in slower] == ["us"], "a row without a ratio is compared by its times"


def test_another_best_peer_is_still_compared():
    after = some_run(2.5)
    after.rows[0].ratio.of = "ncnn / this"
    ((*_, of, was, now, change, _),), _, _, _ = tables.moved(some_run(2.0), after)
    assert (of, was, now, change) == ("torch / this, now ncnn / this", "2.00", "2.50", "+25.0 %")


def test_the_best_peer_has_the_smallest_ratio_not_the_smallest_median():
    """A peer that was disturbed with us is not the slower for it."""

    def entry(who, walls):
        made = measure.Entry(who, lambda: None)
        made.walls = walls
        return made

    ours = entry("fastlstm", [1.0, 1.0, 9.0, 9.0, 9.0])
    good = entry("torch", [2.0, 2.0, 18.0, 18.0, 18.0])  # 2, median 18
    calm = entry("ncnn", [9.0, 9.0, 9.0, 30.0, 30.0])  # 3.3, median 9
    wrong = entry("openvino", [0.1] * 5)
    wrong.wrong = True
    entries = [ours, good, calm, wrong]
    found = [Row("a", "batch", each.who) for each in entries]
    forward.add_ratios(found, entries)
    assert (found[0].ratio.of, found[0].ratio.median) == ("torch / this", 2.0)
    assert found[2].ratio.median == pytest.approx(10 / 3)


def test_our_kernels_inside_onnxruntime_are_no_other_engine():
    """Neither the best peer nor the one that a target is of; its own row is a ratio to ours."""
    entries = []
    for who, wall in (("fastlstm", 1.0), ("onnxruntime+fastlstm", 1.1), ("onnxruntime", 3.0)):
        entries.append(measure.Entry(who, lambda: None))
        entries[-1].walls = [wall] * 5
    ours, inside, _ = entries
    for kept, best in ((entries, 3.0), ([ours, inside], None)):
        found = [Row("a", "batch", each.who, p50=each.median) for each in kept]
        forward.add_ratios(found, kept)
        values = forward.values_of(found[0], ours, kept)
        assert values.get("over the best peer") == best
        assert (values["over onnxruntime+fastlstm"], found[1].ratio.median) == (1.1, 1.1)
        assert [bar.over for bar in plots.bars(found)] == ["onnxruntime"] * (best is not None)
    ours.precision = "bfloat16"
    assert forward.values_of(found[0], ours, entries)["over the best peer at any precision"] == 3.0
    run = some_run()
    run.machine["peers"]["onnxruntime+fastlstm"] = "3"
    assert "<b>1</b><span>other engines" in page.facts(run)


def test_rows_of_one_run_alone_are_named():
    before, after = some_run(), some_run()
    after.rows[0].case = "another"
    _, gone, new, _ = tables.moved(before, after)
    assert "sequence" in gone[0] and "another" in new[0]
