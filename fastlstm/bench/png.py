# SPDX-License-Identifier: MIT
"""The page's plots as PNG files, through matplotlib."""

from __future__ import annotations

from pathlib import Path

from . import plots
from .rows import Run

COLOURS = {
    "fastlstm": "#1663c7",
    "torch": "#cf4a1f",
    "onnxruntime": "#13855a",
    "openvino": "#a4479b",
    "ncnn": "#a87400",
}
MARKERS = {"fastlstm": "o", "torch": "s", "onnxruntime": "^", "openvino": "D", "ncnn": "v"}


def _axis(axis, low, high) -> None:
    axis.set_ticks(plots.ticks(low, high), [f"{value:g}" for value in plots.ticks(low, high)])
    axis.set_ticks([], minor=True)


def ratios(pyplot, run: Run):
    bars = plots.bars(run.rows)
    if not bars:
        return None
    figure, axes = pyplot.subplots(figsize=(10, 1.2 + 0.3 * len(bars)), layout="constrained")
    for at, bar in enumerate(bars):
        colour = COLOURS["fastlstm"] if bar.value >= 1 else "#b3261e"
        axes.barh(
            at, bar.value - 1, left=1, height=0.6, color=colour, alpha=0.45 if bar.noisy else 1
        )
        axes.plot([bar.low, bar.high], [at, at], color="#333333", linewidth=1)
        if bar.asked:
            axes.plot([bar.asked] * 2, [at - 0.4, at + 0.4], color="#b3261e", linewidth=2)
        axes.annotate(
            bar.text(), (1.01, at), xycoords=("axes fraction", "data"), va="center", fontsize=9
        )
    low = min(0.8, *(bar.low for bar in bars)) / 1.05
    high = max(1.5, *(max(bar.high, bar.asked or 0) for bar in bars)) * 1.05
    axes.set(xscale="log", xlim=(low, high), title="the best other engine's time over fastlstm's")
    _axis(axes.xaxis, low, high)
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars], fontsize=9)
    axes.invert_yaxis()
    axes.axvline(1, color="#333333", linewidth=1)
    return figure


def roofline(pyplot, run: Run, threads: int):
    roof, points = plots.roof(run, threads), plots.points(run.rows, threads)
    if not roof or not points:
        return None
    low, high = plots.rounded(
        min(p.intensity for p in points) / 1.5, max(p.intensity for p in points) * 1.2
    )
    figure, axes = pyplot.subplots(figsize=(10, 5.5), layout="constrained")
    for at, (name, speed) in enumerate(roof.levels):
        x = low, min(high, roof.peak / speed)
        axes.plot(x, [speed * each for each in x], color="#888888", linewidth=1)
        place = low * (high / low) ** (0.01 + 0.09 * at)  # two levels may be as good as one line
        axes.annotate(f"{name} {speed:.0f} GB/s", (place, speed * place), va="bottom", fontsize=8)
    axes.axhline(roof.peak, color="#888888", linewidth=1)
    axes.annotate(
        f"FMA peak {roof.peak:.0f} GFLOP/s", (high, roof.peak), ha="right", va="bottom", fontsize=8
    )
    for name in dict.fromkeys(point.engine for point in points):
        axes.plot(
            [p.intensity for p in points if p.engine == name],
            [p.gflops for p in points if p.engine == name],
            MARKERS.get(name, "P"),
            color=COLOURS.get(name, "#5d646d"),
            label=name,
            linestyle="",
        )
    axes.set(xscale="log", yscale="log", xlabel="operations for each byte", ylabel="GFLOP/s")
    axes.set(xlim=(low, high), title=f"{threads} thread{'s' * (threads > 1)}")
    axes.legend(frameon=False)
    return figure


def latencies(pyplot, run: Run):
    cases = plots.strips(run.rows)
    if not cases:
        return None
    lines = sum(len(strips) + 1 for _, _, strips in cases)
    figure, axes = pyplot.subplots(figsize=(10, 1 + 0.22 * lines), layout="constrained")
    y, labels = 0, []
    for name, unit, strips in cases:
        labels.append((y, f"{name}: {unit}", True))
        for strip in strips:
            y += 1
            q, colour = strip.quantiles, COLOURS.get(strip.engine, "#5d646d")
            axes.plot([q[1], q[99]], [y, y], color=colour, linewidth=1)
            axes.plot([q[25], q[75]], [y, y], color=colour, linewidth=5, solid_capstyle="butt")
            axes.plot([q[50]], [y], "|", color="#222222", markersize=8)
            labels.append((y, strip.who, False))
        y += 1
    axes.set_yticks([at for at, _, _ in labels], [words for _, words, _ in labels], fontsize=8)
    for label, (_, _, strong) in zip(axes.get_yticklabels(), labels, strict=True):
        label.set_fontweight("bold" if strong else "normal")
    axes.set(xscale="log", xlim=(0.8, plots.MOST), title="single calls, over the fastest median")
    _axis(axes.xaxis, 0.8, plots.MOST)
    axes.set_ylim(y, -1)
    return figure


def save(run: Run, output) -> list[Path]:
    """FILE.png -> FILE-ratios.png, FILE-roofline.png (one for each number of threads) and
    FILE-latencies.png, what there is to draw. ImportError that names the extra without matplotlib.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('PNG files need matplotlib: pip install "fastlstm[bench]"') from None
    output, written = Path(output), []
    made = {"ratios": ratios(pyplot, run), "latencies": latencies(pyplot, run)}
    for threads in plots.thread_counts(run.rows):
        tail = "" if threads == 1 else f"-{threads}-threads"
        made[f"roofline{tail}"] = roofline(pyplot, run, threads)
    for name, figure in made.items():
        if figure is not None:
            path = output.with_name(f"{output.stem}-{name}.png")
            figure.savefig(path, dpi=130)
            pyplot.close(figure)
            written.append(path)
    return written
