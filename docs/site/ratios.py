# SPDX-License-Identifier: MIT
"""Draws docs/pictures/ratios-light.svg and ratios-dark.svg, the README's picture, from two runs in
benchmarks/results.

    python docs/site/ratios.py

A bar is the best other engine's time over fastlstm's, in one run; the line at its end is the
interval in which the ratio lies (benchmarks/README.md says how it is taken).
"""

import json
from html import escape
from pathlib import Path

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
    ("batch of 32, 256 units", "batch, B=32 H=256", None),
    ("batch of 128, 256 units", "batch, B=128 H=256", None),
    ("training on arrays, 1 row, 128 units", "train, B=1 H=128", "arrays"),
    ("training on arrays, 64 rows, 512 units", "train, B=64 H=512", "arrays"),
]
MODELS = [
    ("silero-vad, a frame of a stream", "silero_vad, frames streamed", None),
    ("medaka, 20 rows of 1000", "medaka, 20 rows of 1000", None),
    ("LanguageIdentifier, 80 letters", "languages, 80 letters", None),
    ("nano-ocr, a line of text", "nano-ocr, a line", None),
]
GROUPS = [
    ("LSTM layers, one thread (Intel Xeon, AVX-512)", "2026-11-22-targets.json", LAYERS),
    ("Whole models, one thread (AMD EPYC, AVX2)", "2026-11-30-models.json", MODELS),
]
NAMES = {"ncnn": "ncnn", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch"}
# text, faint text, bar, interval, line at 1
COLOURS = {
    "light": ("#1f2328", "#59636e", "#3d7ea6", "#12384f", "#59636e"),
    "dark": ("#e6edf3", "#9198a1", "#5aa9d6", "#d5ecf9", "#9198a1"),
}
WIDE, LEFT, ROW, UNIT = 760, 262, 22, 68  # pixels; UNIT: of a ratio of 1


def row_of(rows, case, variant):
    """Our row of a case, compared with the best other engine."""
    for row in rows:
        ours = row["case"] == case and row["who"] == "fastlstm" and "ratio" in row
        if ours and variant in (None, row.get("variant")):
            return row
    raise KeyError(f"{case}, {variant}: no such row in the run")


def bar(words, row, y, colours):
    text, faint, fill, line, _ = colours
    ratio = row["ratio"]
    peer = NAMES[ratio["of"].split()[0]]
    low, high = (LEFT + UNIT * end for end in ratio["interval"])
    end, middle = LEFT + UNIT * ratio["median"], y + ROW / 2 - 2
    return [
        f'<text x="{LEFT - 10}" y="{y + 13}" text-anchor="end" fill="{text}">'
        f"{escape(words)}</text>",
        f'<rect x="{LEFT}" y="{y + 2}" width="{end - LEFT:.1f}" height="{ROW - 8}" rx="2" '
        f'fill="{fill}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="{line}" stroke-width="2"/>',
        f'<text x="{max(end, high) + 8:.1f}" y="{y + 13}" fill="{text}">'
        f'<tspan font-weight="600">{ratio["median"]:.{1 if ratio["median"] >= 2 else 2}f}</tspan>'
        f'<tspan fill="{faint}"> {peer}</tspan></text>',
    ]


def draw(colours):
    text, faint, _, _, one = colours
    parts, y = [], 40
    for heading, file, bars in GROUPS:
        rows = json.loads((RESULTS / file).read_text())["rows"]
        parts.append(f'<text x="16" y="{y + 13}" font-weight="600" fill="{text}">{heading}</text>')
        top, y = y + ROW, y + ROW + 2
        for words, case, variant in bars:
            parts += bar(words, row_of(rows, case, variant), y, colours)
            y += ROW
        x = LEFT + UNIT
        parts.append(f'<path d="M{x} {top}V{y}" stroke="{one}" stroke-dasharray="3 3"/>')
        y += 14
    title = "How many times as fast as the best other engine"
    note = (
        "dashed: equally fast; dark line: interval of the ratio; at the right: the engine compared"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {y + 12}" '
            f'font-family="system-ui, sans-serif" font-size="12.5" role="img">',
            f"<title>{title}</title>",
            f'<text x="16" y="22" font-size="15" font-weight="600" fill="{text}">{title}</text>',
            *parts,
            f'<text x="16" y="{y + 2}" font-size="11" fill="{faint}">{note}</text>',
            "</svg>\n",
        ]
    )


def pictures():
    """{path: text} of the two files."""
    return {PICTURES / f"ratios-{name}.svg": draw(c) for name, c in COLOURS.items()}


if __name__ == "__main__":
    for path, text in pictures().items():
        path.write_text(text)
