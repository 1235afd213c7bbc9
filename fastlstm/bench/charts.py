# SPDX-License-Identifier: MIT
"""The page's plots as SVG, each drawn for a wide and for a narrow window.

Colours are the page's CSS variables, by class: c-ENGINE, axis, grid, text. Every text is escaped.
"""

from __future__ import annotations

import math
from html import escape

from . import plots
from .tables import number

WIDE, NARROW = 940, 350
MARKERS = {
    "fastlstm": "M-5.5 0A5.5 5.5 0 1 0 5.5 0A5.5 5.5 0 1 0 -5.5 0Z",
    "torch": "M-4 -4H4V4H-4Z",
    "onnxruntime": "M0 -5.5L5 4H-5Z",
    "openvino": "M0 -5.5L5.5 0L0 5.5L-5.5 0Z",
    "ncnn": "M0 5.5L5 -4H-5Z",
}
OTHER = "M-5 -2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z"


def colour(engine: str) -> str:
    return f"c-{engine}" if engine in plots.ENGINES else "c-other"


def text(x, y, words, anchor="start", css="") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{escape(words)}</text>'
    )


def line(x1, y1, x2, y2, css) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def rect(x, y, width, height, css) -> str:
    width = max(width, 0.5)
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{css}"/>'
    )


def hover(words: str, *shapes: str) -> str:
    return f"<g><title>{escape(words)}</title>{''.join(shapes)}</g>"


def svg(width, height, label, parts) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def both(draw, *arguments) -> str:
    """A drawing at both widths; CSS shows one of them."""
    wide, narrow = draw(WIDE, *arguments), draw(NARROW, *arguments)
    return f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>' if wide else ""


def tick(x, y, value, width) -> str:
    """A number under or over an axis, kept inside the drawing."""
    anchor = "end" if x > width - 16 else "start" if x < 16 else "middle"
    return text(x + (4 if anchor == "end" else 0), y, f"{value:g}", anchor, "small")


class Log:
    """A logarithmic axis: value -> place between two ends, held within them."""

    def __init__(self, low, high, begin, end):
        self.low, self.high, self.begin, self.end = low, high, begin, end

    def __call__(self, value) -> float:
        value = min(max(value, self.low), self.high)
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.begin + share * (self.end - self.begin)


def ratio_bars(width: int, bars: list[plots.Bar]) -> str:
    """The best peer's time over ours: bars from 1, the interval as a thin line."""
    if not bars:
        return ""
    narrow = width < 600
    left, right, pitch, top = (4, width - 4, 58, 44) if narrow else (300, width - 262, 26, 44)
    low = min(0.8, *(bar.low for bar in bars)) / 1.05
    high = max(1.5, *(max(bar.high, bar.asked or 0) for bar in bars)) * 1.05
    x = Log(low, high, left + 2, right)
    height = top + pitch * len(bars) + 6
    parts = []
    for value in plots.ticks(low, high):
        css = "axis" if value == 1 else "grid"
        parts.append(tick(x(value), top - 11, value, width))
        # a narrow drawing has its words between the bars
        spans = [(top + pitch * at + 33, 20) for at in range(len(bars))]
        spans = spans if narrow else [(top - 6, height - top)]
        parts += [line(x(value), y, x(value), y + long, css) for y, long in spans]
    middle = (left + right) / 2
    parts.append(text(middle, 12, "the best other engine's time / fastlstm's", "middle", "small"))
    for at, bar in enumerate(bars):
        y = top + pitch * at + (36 if narrow else 4)
        begin, end = sorted((x(1), x(bar.value)))
        good = "c-fastlstm" if bar.value >= 1 else "c-worse"
        shapes = [
            rect(begin, y, end - begin, 14, f"{good} fill" + (" faint" if bar.noisy else "")),
            line(x(bar.low), y + 7, x(bar.high), y + 7, "range"),
        ]
        if bar.asked:
            shapes.append(line(x(bar.asked), y - 3, x(bar.asked), y + 17, "asked"))
        words = f"{bar.label}: {bar.text()}; between {number(bar.low)} and {number(bar.high)}"
        parts.append(hover(words, *shapes))
        if narrow:
            parts.append(text(left, y - 21, bar.label, "start", "small strong"))
            parts.append(text(left, y - 6, bar.text(), "start", "small"))
        else:
            parts.append(text(left - 8, y + 11, bar.label, "end"))
            parts.append(text(right + 10, y + 11, bar.text()))
    return svg(width, height, "ratios", parts)


def roofline(width: int, points: list[plots.Point], roof: plots.Roof) -> str:
    """GFLOP/s over operations for each byte, under what was measured of one core's limits."""
    narrow = width < 600
    left, right, top, bottom = (40, width - 8, 12, 340) if narrow else (64, width - 16, 14, 440)
    low_x, high_x = plots.rounded(
        min(point.intensity for point in points) / 1.5, max(p.intensity for p in points) * 1.2
    )
    low_y, high_y = plots.rounded(min(point.gflops for point in points), roof.peak * 1.3)
    x, y = Log(low_x, high_x, left, right), Log(low_y, high_y, bottom, top)
    parts = []
    for value in plots.ticks(low_x, high_x):
        parts.append(line(x(value), top, x(value), bottom, "grid"))
        parts.append(tick(x(value), bottom + 16, value, width))
    for value in plots.ticks(low_y, high_y):
        parts.append(line(left, y(value), right, y(value), "grid"))
        parts.append(text(left - 5, y(value) + 4, f"{value:g}", "end", "small"))
    labels = []
    for at, (name, speed) in enumerate(roof.levels):
        # speed * intensity, from the left or lower edge up to the peak
        begin = max(low_x, low_y / speed)
        end = min(high_x, roof.peak / speed)
        if begin < end:
            ends = x(begin), y(speed * begin), x(end), y(speed * end)
            parts.append(hover(f"{name}: {number(speed)} GB/s", line(*ends, "roof")))
            words = name if narrow else f"{name} {speed:.0f} GB/s"
            close = at > 1 and roof.levels[at - 1][1] < 1.8 * speed
            along = 14 + close * (34 if narrow else 110)
            step = math.hypot(ends[2] - ends[0], ends[3] - ends[1])
            share = min(along / step, 0.8)
            place = (ends[at] + share * (ends[at + 2] - ends[at]) for at in (0, 1))
            turn = math.degrees(math.atan2(ends[3] - ends[1], ends[2] - ends[0]))
            # two levels may be as good as one line: above it and below it in turn
            label = text(0, 13 if at % 2 else -5, words, "start", "small halo")
            spot = " ".join(f"{each:.1f}" for each in place)
            labels.append(f'<g transform="translate({spot}) rotate({turn:.1f})">{label}</g>')
    ridge = max([low_x, *(min(high_x, roof.peak / speed) for _, speed in roof.levels[:1])])
    parts.append(line(x(ridge), y(roof.peak), right, y(roof.peak), "roof"))
    parts += labels
    parts.append(
        text(right - 4, y(roof.peak) - 6, f"FMA peak {roof.peak:.0f} GFLOP/s", "end", "small halo")
    )
    order = {name: at for at, name in enumerate(plots.ENGINES)}
    for point in sorted(points, key=lambda point: -order.get(point.engine, 99)):
        mark = (
            f'<path d="{MARKERS.get(point.engine, OTHER)}" class="{colour(point.engine)} mark" '
            f'transform="translate({x(point.intensity):.1f} {y(point.gflops):.1f})"/>'
        )
        parts.append(hover(point.label, mark))
    middle = (left + right) / 2
    parts.append(text(middle, bottom + 36, "operations for each byte", "middle", "small"))
    parts.append(text(left + 4, top + 12, "GFLOP/s", "start", "small halo"))
    return svg(width, bottom + 44, "roofline", parts)


def latencies(width: int, cases) -> str:
    """p1 to p99 as a thin line, the middle half thick, the median as a mark."""
    if not cases:
        return ""
    narrow = width < 600
    left, right, pitch = (122, width - 16, 17) if narrow else (170, width - 214, 19)
    highest = max(strip.quantiles[99] for _, _, strips in cases for strip in strips)
    x = Log(0.8, min(plots.MOST, max(3.0, highest)), left, right)
    parts, body, y = [], [], 24
    for name, unit, strips in cases:
        y += 20
        if narrow:
            body.append(text(4, y, name, "start", "small strong"))
            y += 15
            body.append(text(4, y, unit, "start", "small"))
        else:
            body.append(text(4, y, f"{name}: {unit}", "start", "strong"))
        for strip in strips:
            y += pitch
            q, css = strip.quantiles, colour(strip.engine)
            shapes = [line(x(q[1]), y - 4, x(q[99]), y - 4, f"{css} thin")]
            if q[25] < x.high:
                shapes.append(rect(x(q[25]), y - 8, x(q[75]) - x(q[25]), 8, f"{css} fill"))
            if q[50] < x.high:
                shapes.append(line(x(q[50]), y - 10, x(q[50]), y + 2, "thick"))
            if q[99] > x.high:
                tip = f"M{right + 1:.1f} {y - 8.5:.1f}l7 4.5l-7 4.5z"
                shapes.append(f'<path d="{tip}" class="{css} fill"/>')
            body.append(hover(f"{strip.who}: {strip.text}", *shapes))
            body.append(text(left - 8, y, strip.who, "end", "small"))
            if not narrow:
                body.append(text(right + 14, y, strip.text, "start", "small"))
        y += 8
    for value in plots.ticks(0.8, x.high):
        parts.append(line(x(value), 20, x(value), y, "grid"))
        parts.append(tick(x(value), 14, value, width))
    return svg(width, y + 6, "latencies", parts + body)


def legend(engines) -> str:
    """The marks and colours, in HTML."""
    parts = [
        f'<span><svg viewBox="-7 -7 14 14" class="key"><path d="{MARKERS.get(name, OTHER)}" '
        f'class="{colour(name)} mark"/></svg>{escape(name)}</span>'
        for name in engines
    ]
    return f'<p class="legend">{"".join(parts)}</p>'
