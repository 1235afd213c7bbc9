# SPDX-License-Identifier: MIT
"""Draws the figures and writes RESULTS.md from results.json, which study.py measured.

python examples/memory/report.py
"""

import json
import math
from pathlib import Path

COLOURS = ("C3", "k", "C0", "C4", "C2")  # of the cells, in study.CELLS' order


def figure(width, height, columns):
    """matplotlib's figure and axes, side by side; sizes in inches. ImportError without it."""
    try:
        import matplotlib
    except ImportError:
        raise ImportError(
            'the figures need matplotlib: pip install "fastlstm[bench]", or matplotlib alone'
        ) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt.subplots(1, columns, figsize=(width, height), layout="constrained")


def save(fig, path):
    """Write the figure without matplotlib's name and version, so that the same numbers give the
    same file."""
    fig.savefig(path, dpi=110, metadata={"Software": None})


def gradients(curves, path, title):
    """The norms of three gradients against the lag, a panel for each.

    curves   {cell: (mean, low, high)} or {cell: (mean,)}: arrays of log10 of the norms, as
             study.flow gives them. A plain RNN and a GRU lack the third, the gradient to c.
    """
    fig, axes = figure(13, 5.2, 3)
    headings = ("to the input, |dL/dx|", "to the state, |dL/dh|", "to the LSTM's cell, |dL/dc|")
    for n, (axis, heading) in enumerate(zip(axes, headings)):
        for (name, arrays), colour in zip(curves.items(), COLOURS):
            if n >= len(arrays[0]):
                continue
            lags = range(len(arrays[0][n]))
            # The black curve, LSTM with forget bias 0, lies on the GRU's and would hide it.
            style = {"ls": "--", "zorder": 3} if colour == "k" else {}
            axis.plot(lags, arrays[0][n], color=colour, label=name if n == 0 else None, **style)
            if len(arrays) == 3:
                axis.fill_between(lags, arrays[1][n], arrays[2][n], color=colour, alpha=0.15, lw=0)
        axis.set(title=heading, xlabel="lag: steps before the last")
        axis.yaxis.set_major_formatter(lambda v, _: f"$10^{{{v:.0f}}}$")
        axis.grid(alpha=0.3)
    low = min(axis.get_ylim()[0] for axis in axes)
    for axis in axes:
        axis.set_ylim(low, -0.03 * low)
        if low < -50:
            axis.axhline(-45, color="0.5", ls=":", lw=1)
            axis.text(2, -44, "float32 ends here", color="0.4", fontsize=8)
    axes[0].set_ylabel("norm of the gradient of the last output")
    fig.legend(loc="outside lower center", ncols=5, fontsize=9)
    fig.suptitle(title, fontsize=11)
    save(fig, path)


def learning(results, path):
    """Updates until a task was solved against the lag, a panel for each task. Tasks that were not
    solved are crosses above the line at the most updates."""
    limit, lags = results["sizes"]["updates"], results["sizes"]["lags"]
    tasks = list(dict.fromkeys(r["task"] for r in results["runs"]))
    fig, axes = figure(12, 4.8, len(tasks))
    for axis, task in zip(axes, tasks):
        for n, (name, colour) in enumerate(zip(results["start"], COLOURS)):
            runs = {r["lag"]: r for r in results["runs"] if (r["cell"], r["task"]) == (name, task)}
            # The cells' marks at one lag stand side by side, so that they do not hide each other.
            x = {lag: lag * 2 ** ((n - 2) * 0.13) for lag in lags}
            for solved, mark in ((True, "o"), (False, "x")):
                chosen = [lag for lag in lags if runs[lag]["solved"] == solved]
                y = [runs[lag]["updates"] if solved else 1.3 * limit for lag in chosen]
                axis.plot([x[lag] for lag in chosen], y, mark, color=colour, ms=8, mew=2)
            axis.plot([], [], "o", color=colour, label=name if axis is axes[0] else None)
        axis.axhline(limit, color="0.5", ls=":", lw=1)
        axis.set(xscale="log", yscale="log", title=f"the {task} problem", xlabel="lag, steps")
        axis.set_xticks(lags, [str(lag) for lag in lags])
        axis.set_xticks([], minor=True)
        axis.set_ylim(0.08 * limit, 1.8 * limit)
        where = axis.get_yaxis_transform()
        axis.text(0.02, 1.5 * limit, f"x: not solved in {limit}", fontsize=9, transform=where)
        for gap in range(len(lags) - 1):
            axis.axvline(math.sqrt(lags[gap] * lags[gap + 1]), color="0.85", lw=1)
        ticks = [limit * 2.0**-n for n in range(4)]
        axis.set_yticks(ticks, [f"{tick:.0f}" for tick in ticks])
        axis.set_yticks([], minor=True)
        axis.grid(axis="y", alpha=0.3)
    axes[0].set_ylabel("updates until solved")
    fig.legend(loc="outside lower center", ncols=5, fontsize=9)
    save(fig, path)


def power(log):
    """10 ** log as text, such as "1.2e-34", for logarithms far below those of floats too."""
    if not math.isfinite(log):
        return "0"
    exponent = math.floor(log)
    return f"{10 ** (log - exponent):.1f}e{exponent}" if exponent else f"{10**log:.1f}"


def remaining(curves, lag):
    """log10 of what is left of |dL/dh_t| `lag` steps back, against its value one step back."""
    return curves[1][lag - 1] - curves[1][0]


def longest(runs):
    """The longest lag that was solved; 0 if none was."""
    solved = [r["lag"] for r in runs if r["solved"]]
    return max(solved, default=0)


def tables(results):
    """Three tables in Markdown: one of everything, and the updates of each task."""
    sizes, lines = results["sizes"], []
    steps, flow_lag = sizes["steps"], sizes["flow_lag"]
    lines += [
        "Memory: steps until two pasts are 1 % apart. Gradient flow: what is left of |dL/dh|",
        f"{flow_lag} steps back. After: training on adding, lag {flow_lag}. Adding, copy:",
        "the longest lag solved; if none, the error or the share of symbols right at the shortest.",
        "",
        "| cell | memory, before | after | gradient flow, before | after | adding | copy |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, start in results["start"].items():
        runs = [r for r in results["runs"] if r["cell"] == name]
        after = next(r for r in runs if "flow" in r)
        counts = (start["kept"], after["kept"])
        memory = [f"{count:g}" if count < steps else f"over {steps}" for count in counts]
        flows = [power(remaining(curves, flow_lag)) for curves in (start["mean"], after["flow"])]
        ends = []
        for task in ("adding", "copy"):
            of_task = sorted((r for r in runs if r["task"] == task), key=lambda r: r["lag"])
            shortest = f"{of_task[0]['lag']}: {of_task[0]['scores'][-1]:.3g}"
            ends.append(str(longest(of_task)) if longest(of_task) else f"none; {shortest}")
        row = [name, *memory, *flows, *ends]
        lines.append(f"| {' | '.join(row)} |")
    for task, what in (("adding", "mean squared error"), ("copy", "share of symbols right")):
        lines += ["", f"The {task} problem, updates until solved, or the {what} at the end:", ""]
        lines.append("| cell | " + " | ".join(f"lag {lag}" for lag in sizes["lags"]) + " |")
        lines.append("|---|" + "---:|" * len(sizes["lags"]))
        for name in results["start"]:
            found = {r["lag"]: r for r in results["runs"] if (r["cell"], r["task"]) == (name, task)}
            row = [
                f"**{found[lag]['updates']}**"
                if found[lag]["solved"]
                else f"not solved in {found[lag]['updates']}: {found[lag]['scores'][-1]:.3f}"
                for lag in sizes["lags"]
            ]
            lines.append(f"| {name} | {' | '.join(row)} |")
    return "\n".join(lines)


def write(results, folder):
    """Write gradients.png, trained.png, learning.png and RESULTS.md into `folder`."""
    sizes = results["sizes"]
    starts = {n: (s["mean"], s["low"], s["high"]) for n, s in results["start"].items()}
    gradients(
        starts,
        folder / "gradients.png",
        f"Before training: H = {sizes['hidden']}, {sizes['seeds']} seeds "
        "(line: mean of the logarithms, band: least and most)",
    )
    trained = {r["cell"]: (r["flow"],) for r in results["runs"] if "flow" in r}
    gradients(
        {n: trained[n] for n in results["start"]},
        folder / "trained.png",
        f"After training on the adding problem of {sizes['flow_lag']} steps, solved or not",
    )
    learning(results, folder / "learning.png")
    made = {name: results[name] for name in MADE}
    text = TEXT.format(tables=tables(results), **sizes, **made)
    (folder / "RESULTS.md").write_text(text)


MADE = ("seconds", "date", "machine")  # of results: how they were measured
TEXT = """\
# What they remember: results

Written by `make study` on {date}: {machine}; {seconds} s.
What is measured, and what it says: [README.md](README.md).
One seed, and {updates} updates of {rows} sequences at most; the RNN has three learning rates, the
others one. "Not solved" is of that and no more:
[what longer runs change](README.md#what-not-solved-hides).

{tables}

![gradients before training](gradients.png)

![gradients after training](trained.png)

![updates until solved](learning.png)
"""


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    write(json.loads((here / "results.json").read_text()), here)
