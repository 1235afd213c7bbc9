# SPDX-License-Identifier: MIT
"""The plots of a run, drawn by matplotlib: PNG files, and SVG for the HTML page.

A figure is `width` units wide, pixels of a PNG and of a page's SVG alike, and as high as it needs.
Every plot can be drawn wide, and narrow for a phone. Matplotlib is imported when a figure is made,
since other commands read this file too.
"""

from __future__ import annotations

import io
import math
import re
from html import escape
from pathlib import Path

import numpy as np

from . import plots
from .rows import Run
from .tables import number

WIDE, NARROW = 940, 350
UNITS = 72  # of a figure's width and of a font's size to the inch
LIGHT = {
    "ink": "#1c1f23", "soft": "#5d646d", "edge": "#dcdfe3", "panel": "#ffffff", "bad": "#b3261e",
    "fastlstm": "#1663c7", "torch": "#cf4a1f", "onnxruntime": "#13855a", "openvino": "#a4479b",
    "ncnn": "#a87400",
}  # fmt: skip
DARK = {
    "ink": "#e6e8ea", "soft": "#9aa2ab", "edge": "#343a41", "panel": "#1b1f23", "bad": "#ff8a80",
    "fastlstm": "#6cb0ff", "torch": "#ff8a5c", "onnxruntime": "#4fcf9a", "openvino": "#e294da",
    "ncnn": "#e6b84a",
}  # fmt: skip
MARKERS = {"fastlstm": "o", "torch": "s", "onnxruntime": "^", "openvino": "D", "ncnn": "v"}
NORMAL, SMALL = 12.5, 11.5  # sizes of text
METADATA = ("Creator", "Date", "Format", "Type")  # what matplotlib writes into an SVG unasked


def colour(engine: str) -> str:
    return LIGHT.get(engine, LIGHT["soft"])


def in_order(engines) -> list[str]:
    """Each once: those of plots.ENGINES in its order, then the rest."""
    found = set(engines)
    return [name for name in plots.ENGINES if name in found] + sorted(found - {*plots.ENGINES})


def in_matplotlib():
    """A context with the settings of these figures. ImportError that names the extra without it."""
    try:
        import matplotlib
    except ImportError:
        raise ImportError('html and png need matplotlib: pip install "fastlstm[bench]"') from None
    ink, soft = LIGHT["ink"], LIGHT["soft"]
    return matplotlib.rc_context(
        {
            "svg.fonttype": "none", "text.parse_math": False, "font.size": NORMAL,
            "text.color": ink, "axes.labelcolor": soft, "axes.labelsize": SMALL,
            "xtick.color": soft, "ytick.color": soft,
            "xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "legend.fontsize": SMALL,
        }
    )  # fmt: skip


class Canvas:
    """A figure and its one axes, which lies between `left` and `right`, `top` and `bottom`, in
    units from the figure's left and upper edges."""

    def __init__(self, width, height, left, right, top, bottom):
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(width / UNITS, height / UNITS), dpi=UNITS)
        self.figure.patch.set_alpha(0)
        self.axes = self.figure.add_axes(
            (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
        )
        self.axes.patch.set_alpha(0)
        self.axes.spines[:].set_visible(False)
        self.axes.tick_params(length=0, which="both")
        self.words: list[str] = []  # what is shown over a mark; its number is in the mark's name

    def scale(self, axis, low, high) -> list[float]:
        """Make the "x" or "y" axis logarithmic from low to high, with ticks of few digits."""
        ticks = plots.ticks(low, high)
        self.axes.set(**{f"{axis}scale": "log", f"{axis}lim": (low, high)})
        getattr(self.axes, f"{axis}axis").set_ticks(ticks, [f"{value:g}" for value in ticks])
        getattr(self.axes, f"{axis}axis").set_ticks([], minor=True)
        return ticks

    def lines(self, height) -> None:
        """Make y the units below the axes' upper edge, with ticks of x at the top."""
        self.axes.set_ylim(height, 0)
        self.axes.set_yticks([])
        self.axes.xaxis.tick_top()

    def hover(self, words, *marks) -> None:
        """Show `words` where a mouse is over one of the marks, in SVG."""
        for mark in marks:
            mark.set_gid(f"hover-{len(self.words)}")
        self.words.append(words)

    def text(self, x, y, words, across=0, **options) -> None:
        """Words at y, as `lines` counts it, and x units from the axes' left edge; from its right
        edge for `across` 1."""
        self.axes.annotate(
            words, (across, y), (x, 0), ("axes fraction", "data"), "offset points",
            va="center_baseline", annotation_clip=False, **options,
        )  # fmt: skip


def draw_ratios(width: int, bars: list[plots.Bar]) -> Canvas | None:
    """The best other engine's time over ours: bars from 1, the interval as a thin line."""
    if not bars:
        return None
    narrow = width < WIDE
    left, right, pitch, bar_at = (6, width - 6, 58, 44) if narrow else (300, width - 262, 26, 13)
    top, height = 44, pitch * len(bars)
    canvas = Canvas(width, top + height + 4, left, right, top, top + height)
    axes = canvas.axes
    low = min(0.8, *(bar.low for bar in bars)) / 1.05
    high = max(1.5, *(max(bar.high, bar.asked or 0) for bar in bars)) * 1.05
    ticks = canvas.scale("x", low, high)
    canvas.lines(height)
    axes.set_title(
        "the best other engine's time / fastlstm's", fontsize=SMALL, color=LIGHT["soft"], pad=11
    )
    middles = [pitch * at + bar_at for at in range(len(bars))]
    for value in ticks:  # a narrow plot has its words between the bars
        spans = [(y - 10, y + 10) for y in middles] if narrow else [(0, height)]
        begins, ends = zip(*spans, strict=True)
        axes.vlines(
            [value] * len(spans),
            begins,
            ends,
            LIGHT["ink" if value == 1 else "edge"],
            lw=1,
            zorder=0,
        )
    for y, bar in zip(middles, bars, strict=True):
        good = LIGHT["fastlstm" if bar.value >= 1 else "bad"]
        (mark,) = axes.barh(y, bar.value - 1, 14, 1, color=good, alpha=0.45 if bar.noisy else 1)
        (interval,) = axes.plot([bar.low, bar.high], [y, y], color=LIGHT["ink"], lw=1.5)
        if bar.asked:
            axes.vlines(bar.asked, y - 10, y + 10, LIGHT["bad"], lw=2)
        words = f"{bar.label}: {bar.text()}; between {number(bar.low)} and {number(bar.high)}"
        canvas.hover(words, mark, interval)
        if narrow:
            canvas.text(0, y - 33, bar.label, fontsize=SMALL, fontweight="bold")
            canvas.text(0, y - 18, bar.text(), fontsize=SMALL, color=LIGHT["soft"])
        else:
            canvas.text(-8, y, bar.label, ha="right")
            canvas.text(10, y, bar.text(), 1)
    return canvas


def draw_roofline(width: int, points: list[plots.Point], roof: plots.Roof) -> Canvas | None:
    """GFLOP/s over operations for each byte, under what was measured of one core's limits."""
    if not points:
        return None
    narrow = width < WIDE
    left, right, top, height = (40, width - 10, 60, 410) if narrow else (52, width - 16, 42, 500)
    canvas = Canvas(width, height, left, right, top, height - 46)
    axes = canvas.axes
    low, high = plots.rounded(
        min(point.intensity for point in points) / 1.5, max(p.intensity for p in points) * 1.2
    )
    highest = max([roof.peak, *roof.products.values()])
    low_y, high_y = plots.rounded(min(point.gflops for point in points), highest * 1.3)
    canvas.scale("x", low, high)
    canvas.scale("y", low_y, high_y)
    axes.grid(color=LIGHT["edge"], lw=1)
    axes.set_axisbelow(True)
    axes.set(xlabel="operations for each byte")
    label = {"fontsize": SMALL, "color": LIGHT["soft"], "annotation_clip": False}
    axes.annotate("GFLOP/s", (0, 1), (4, -4), "axes fraction", "offset points", va="top", **label)
    roofs = {"color": LIGHT["soft"], "lw": 1.5, "zorder": 1.5}
    ridge = low
    for at, (name, speed) in enumerate(roof.levels):
        begin, end = max(low, low_y / speed), min(high, highest / speed)
        ridge = max(low, end) if at == 0 else ridge
        if begin >= end:
            continue
        (line,) = axes.plot([begin, end], [speed * begin, speed * end], **roofs)
        canvas.hover(f"{name}: {number(speed)} GB/s", line)
        (x0, y0), (x1, y1) = axes.transData.transform([(begin, speed * begin), (end, speed * end)])
        # Two levels may be as good as one line: their names stand above it and below it in turn,
        # and where the line before is near, further along.
        near = at > 1 and roof.levels[at - 1][1] < 1.8 * speed
        along = min((14 + near * (34 if narrow else 110)) / math.hypot(x1 - x0, y1 - y0), 0.8)
        axes.annotate(
            name if narrow else f"{name} {speed:.0f} GB/s",
            (begin * (end / begin) ** along, speed * begin * (end / begin) ** along),
            (3, -4) if at % 2 else (-3, 4), "data", "offset points",
            rotation=math.degrees(math.atan2(y1 - y0, x1 - x0)), rotation_mode="anchor",
            va="top" if at % 2 else "bottom", **label,
        )  # fmt: skip
    flat = {"FMA peak": roof.peak}
    for name, peak in (flat | {f"{n} products": p for n, p in roof.products.items()}).items():
        axes.plot([ridge * peak / highest, high], [peak, peak], **roofs)
        axes.annotate(
            f"{name} {peak:.0f} GFLOP/s", (high, peak), (-4, 5), "data", "offset points",
            ha="right", va="bottom", **label,
        )  # fmt: skip
    shown = in_order(point.engine for point in points)
    for point in points:
        (mark,) = axes.plot(
            point.intensity, point.gflops, MARKERS.get(point.engine, "P"), ms=9, mew=0.8,
            color=colour(point.engine), mec=LIGHT["panel"], clip_on=False,
            zorder=3 - shown.index(point.engine) / 100,
        )  # fmt: skip
        canvas.hover(point.label, mark)
    _legend(canvas, shown, 3 if narrow else len(shown), MARKERS)
    return canvas


def draw_latencies(width: int, cases) -> Canvas | None:
    """p1 to p99 as a thin line, the middle half thick, the median as a mark; cases as
    plots.strips gives them."""
    if not cases:
        return None
    narrow = width < WIDE
    left, right, pitch, head = (122, width - 16, 17, 35) if narrow else (170, width - 214, 19, 20)
    top = 66 if narrow else 48
    height = sum(head + pitch * len(strips) + 8 for _, _, strips in cases)
    canvas = Canvas(width, top + height + 4, left, right, top, top + height)
    axes = canvas.axes
    highest = max(strip.quantiles[99] for _, _, strips in cases for strip in strips)
    last = min(plots.MOST, max(3.0, highest))
    canvas.scale("x", 0.8, last)
    canvas.lines(height)
    axes.grid(axis="x", color=LIGHT["edge"], lw=1)
    axes.set_axisbelow(True)
    y, small = 0, {"fontsize": SMALL, "color": LIGHT["soft"]}
    for name, unit, strips in cases:
        strong = {"fontsize": SMALL if narrow else NORMAL, "fontweight": "bold"}
        if narrow:
            canvas.text(4 - left, y + 12, name, **strong)
            canvas.text(4 - left, y + 27, unit, **small)
        else:
            canvas.text(4 - left, y + 12, f"{name}: {unit}", **strong)
        y += head
        for strip in strips:
            middle, shade = y + pitch / 2, colour(strip.engine)
            q = {per_cent: float(np.clip(v, 0.8, last)) for per_cent, v in strip.quantiles.items()}
            marks = axes.plot([q[1], q[99]], [middle] * 2, color=shade, lw=1.5)
            if q[25] < last:
                marks += axes.barh(middle, q[75] - q[25], 8, q[25], color=shade)
            if q[50] < last:
                marks.append(axes.vlines(q[50], middle - 6, middle + 6, LIGHT["ink"], lw=2))
            if strip.quantiles[99] > last:
                marks += axes.plot(last, middle, ">", ms=7, mew=0, color=shade, clip_on=False)
            canvas.hover(f"{strip.who}: {strip.text}", *marks)
            canvas.text(-8, middle, strip.who, ha="right", **small)
            if not narrow:
                canvas.text(14, middle, strip.text, 1, **small)
            y += pitch
        y += 8
    shown = in_order(strip.engine for _, _, strips in cases for strip in strips)
    _legend(canvas, shown, 3 if narrow else len(shown), dict.fromkeys(shown, "s"))
    return canvas


def _legend(canvas, engines, columns, markers) -> None:
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], marker=markers.get(name, "P"), ls="", ms=8, mew=0, color=colour(name))
        for name in engines
    ]
    canvas.figure.legend(
        keys, engines, ncols=columns, loc="upper left", borderaxespad=0, frameon=False,
        labelcolor=LIGHT["soft"], handletextpad=0.2, columnspacing=1.2,
    )  # fmt: skip


# SVG for the page


def both(label: str, draw, *arguments) -> str:
    """A drawing at both widths; CSS shows one of them. "" where there is nothing to draw."""
    with in_matplotlib():
        wide, narrow = draw(WIDE, *arguments), draw(NARROW, *arguments)
        if not wide:
            return ""
        return (
            f'<div class="wide">{svg(wide, label)}</div>'
            f'<div class="narrow">{svg(narrow, label)}</div>'
        )


def svg(canvas: Canvas, label: str) -> str:
    """An <svg> element for a page of HTML, as wide as its place.

    Matplotlib's SVG is a document of its own with fixed colours. Here its colours become the page's
    CSS variables, so that they follow it into the dark, and its font the page's. Names, which could
    be another plot's too, go: a marker is written out where it is used, and nothing needs to be
    clipped. What `Canvas.hover` keeps becomes <title> elements.
    """
    buffer = io.StringIO()
    canvas.figure.savefig(buffer, format="svg", metadata=dict.fromkeys(METADATA), transparent=True)
    text = buffer.getvalue().replace("\n", " ")
    size = re.search(r'viewBox="[^"]*"', text)[0]
    body = text[text.index("</defs>") + len("</defs>") : text.rindex("</svg>")]
    markers = dict(re.findall(r'<path id="(m\w+)" (d="[^"]*")', body))
    body = re.sub(
        r'<use xlink:href="#(m\w+)" x="([^"]*)" y="([^"]*)" (style="[^"]*")/>',
        lambda use: f'<path {markers[use[1]]} transform="translate({use[2]} {use[3]})" {use[4]}/>',
        body,
    )
    for gone in (
        "<defs>.*?</defs>",
        '<path [^>]*style="fill: none; opacity: 0"/>',
        r"(?<=>)\s+(?=<)",
    ):
        body = re.sub(gone, "", body)
    titles = [f"<title>{escape(words)}</title>" for words in canvas.words]
    body = re.sub(
        r'<g id="hover-(\d+)">|<[^<>]*>',
        lambda tag: f"<g>{titles[int(tag[1])]}" if tag[1] else _tidied(tag[0]),
        body,
    )
    return f'<svg {size} role="img" aria-label="{escape(label)}">{body.strip()}</svg>'


def _tidied(tag: str) -> str:
    """A tag of matplotlib's SVG for a page: no name, no font, no clipping, the page's colours, and
    numbers to two places."""
    for gone in (
        r' (id|clip-path)="[^"]*"', r' transform="rotate\(-0 [^"]*"', " font-family:[^;]*;",
        r"(?<=\.\d\d)\d+", r"\s+(?=[\"z])",
    ):  # fmt: skip
        tag = re.sub(gone, "", tag)
    for name, value in LIGHT.items():
        tag = tag.replace(value, f"var(--{name})")
    return tag


def save_png(run: Run, output) -> list[Path]:
    """FILE.png -> FILE-ratios.png, FILE-roofline.png (one for each number of threads) and
    FILE-latencies.png, what there is to draw. ImportError that names the extra without matplotlib.
    """
    output, written = Path(output), []
    with in_matplotlib():
        made = {"ratios": draw_ratios(WIDE, plots.bars(run.rows))}
        made["latencies"] = draw_latencies(WIDE, plots.strips(run.rows))
        for threads in plots.thread_counts(run.rows):
            tail = "" if threads == 1 else f"-{threads}-threads"
            roof = plots.roof(run, threads)
            if roof:
                points = plots.points(run.rows, threads)
                made[f"roofline{tail}"] = draw_roofline(WIDE, points, roof)
        for name, canvas in made.items():
            if canvas is not None:
                path = output.with_name(f"{output.stem}-{name}.png")
                canvas.figure.savefig(path, dpi=2 * UNITS, facecolor=LIGHT["panel"])
                written.append(path)
    return written
