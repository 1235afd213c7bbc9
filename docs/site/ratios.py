# SPDX-License-Identifier: MIT
"""Draws the README's picture from two runs in benchmarks/results: docs/pictures/ratios-light.svg
and ratios-dark.svg, and the same for narrow screens, ratios-narrow-light.svg and -dark.svg.

    python docs/site/ratios.py

A bar is the best other engine's time over fastlstm's, in one run; the line at its end is the
interval in which the ratio lies (benchmarks/README.md says how it is taken).
"""

import json
from html import escape
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = ROOT / "docs" / "pictures"

# (words, case of the run, variant of ours or None) for each bar
LAYERS = [
    ("one step of a stream, 64 units", "one step, H=64", "stream out"),
    ("one step of a stream, 256 units", "one step, H=256", "stream out"),
    ("1000 steps, 64 units", "one row, T=1000 H=64", None),
    ("100 steps, 512 units", "one row, T=100 H=512", None),
    ("ragged batch of 32, 256 units", "ragged, spread, B=32 H=256", None),
    ("batch of 8, 512 units", "batch, B=8 H=512", None),
    ("batch of 32, 256 units", "batch, B=32 H=256", None),
    ("batch of 128, 256 units", "batch, B=128 H=256", None),
    ("training on arrays, 1 row, 128 units", "train, B=1 H=128", "arrays"),
    ("training on arrays, 64 rows, 512 units", "train, B=64 H=512", "arrays"),
    ("a PyTorch module's, 32 rows, 256 units", "train, B=32 H=256", "module, new weights"),
]
MODELS = [
    ("silero-vad, a frame of a stream", "silero_vad, frames streamed", None),
    ("BeatNet, a frame of a stream", "beatnet, frames streamed", None),
    ("medaka, 20 rows of 1000", "medaka, 20 rows of 1000", None),
    ("LanguageIdentifier, 80 letters", "languages, 80 letters", None),
    ("nano-ocr, a line of text", "nano-ocr, a line", None),
    ("khmer-ocr, a line of text", "khmer-ocr, a line", None),
]
DAY = "2026-12-01"
GROUPS = [  # (heading, run, bars)
    ("LSTM layers, one thread (Intel Xeon, AVX-512)", f"{DAY}-suites-emerald-rapids.json", LAYERS),
    ("Whole models, one thread (the same)", f"{DAY}-models-emerald-rapids.json", MODELS),
]
NAMES = {"ncnn": "ncnn", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch"}
# text, faint text, bar, interval, line at 1
COLOURS = {
    "light": ("#1f2328", "#59636e", "#3d7ea6", "#12384f", "#59636e"),
    "dark": ("#e6edf3", "#9198a1", "#5aa9d6", "#d5ecf9", "#9198a1"),
}


class Shape(NamedTuple):
    """Of a picture: pixels, and what of its words stands where."""

    wide: int
    left: int  # where bars begin
    row: int  # height of a bar and the space below it
    unit: int  # width of a ratio of 1
    words: int  # height of a bar's words, if they stand above it
    title: tuple[str, ...]  # lines
    note: tuple[str, ...]


SHAPES = {
    "": Shape(
        760, 262, 22, 68, 0,
        ("How many times as fast as the best other engine",),
        ("dashed: equally fast; thin line: interval of the ratio; at the right: the engine "
         "compared",),
    ),
    "-narrow": Shape(
        370, 8, 22, 46, 17,
        ("How many times as fast", "as the best other engine"),
        ("dashed: equally fast; thin line: interval of the ratio;",
         "at the right: the engine compared"),
    ),
}  # fmt: skip


def row_of(rows, case, variant):
    """Our row of a case, compared with the best other engine."""
    for row in rows:
        ours = row["case"] == case and row["who"] == "fastlstm" and "ratio" in row
        if ours and variant in (None, row.get("variant")):
            return row
    raise KeyError(f"{case}, {variant}: no such row in the run")


def groups():
    """[(heading, [(words, ratio)])]"""
    for heading, file, bars in GROUPS:
        rows = json.loads((RESULTS / file).read_text())["rows"]
        yield heading, [(words, row_of(rows, *case)["ratio"]) for words, *case in bars]


def shown(median):
    return f"{median:.{1 if median >= 2 else 2}f}"


def alt():
    """The picture in words: the smallest and largest ratio of each kind of bar."""
    (_, layers), (_, models) = groups()
    kinds = {
        "one step of a stream": layers[:2],
        "sequences and batches": layers[2:-3],
        "training": layers[-3:],
        "whole models": models,
    }
    words = []
    for kind, bars in kinds.items():
        medians = [ratio["median"] for _, ratio in bars]
        words.append(f"{shown(min(medians))} to {shown(max(medians))} for {kind}")
    return "How many times as fast as the best other engine: " + ", ".join(words)


def bar(words, ratio, y, shape, colours):
    text, faint, fill, line, _ = colours
    peer = NAMES[ratio["of"].split()[0]]
    low, high = (shape.left + shape.unit * end for end in ratio["interval"])
    end = shape.left + shape.unit * ratio["median"]
    x, anchor = (shape.left, "start") if shape.words else (shape.left - 10, "end")
    name = f'<text x="{x}" y="{y + 13}" text-anchor="{anchor}" fill="{text}">{escape(words)}</text>'
    y += shape.words
    middle = y + shape.row / 2 - 2
    return [
        name,
        f'<rect x="{shape.left}" y="{y + 2}" width="{end - shape.left:.1f}" '
        f'height="{shape.row - 8}" rx="2" fill="{fill}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="{line}" stroke-width="2"/>',
        f'<text x="{max(end, high) + 8:.1f}" y="{y + 13}" fill="{text}">'
        f'<tspan font-weight="600">{shown(ratio["median"])}</tspan>'
        f'<tspan fill="{faint}"> {peer}</tspan></text>',
    ]


def draw(shape, colours):
    text, faint, _, _, one = colours
    margin = min(shape.left, 16)
    parts, y = [], 22
    for line in shape.title:
        parts.append(
            f'<text x="{margin}" y="{y}" font-size="15" font-weight="600" fill="{text}">'
            f"{line}</text>"
        )
        y += 18
    for heading, bars in groups():
        parts.append(
            f'<text x="{margin}" y="{y + 13}" font-weight="600" fill="{text}">{heading}</text>'
        )
        top, y = y + 22, y + 24
        drawn, path = [], f"V{y}"  # of equal speed: a line that leaves out what words stand on
        for words, ratio in bars:
            drawn += bar(words, ratio, y, shape, colours)
            path += f"m0 {shape.words}v{shape.row}" if shape.words else f"v{shape.row}"
            y += shape.row + shape.words
        x = shape.left + shape.unit
        parts += [*drawn, f'<path d="M{x} {top}{path}" stroke="{one}" stroke-dasharray="3 3"/>']
        y += 14
    for n, line in enumerate(shape.note):
        parts.append(
            f'<text x="{margin}" y="{y + 2 + 15 * n}" font-size="11" fill="{faint}">{line}</text>'
        )
    title = " ".join(shape.title)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {shape.wide} {y + 15 * len(shape.note) - 3}" '
            f'font-family="system-ui, sans-serif" font-size="12.5" role="img">',
            f"<title>{title}</title>",
            *parts,
            "</svg>\n",
        ]
    )


def pictures():
    """{path: text} of the four files."""
    return {
        PICTURES / f"ratios{narrow}-{name}.svg": draw(shape, colours)
        for narrow, shape in SHAPES.items()
        for name, colours in COLOURS.items()
    }


if __name__ == "__main__":
    for path, text in pictures().items():
        path.write_text(text)
