# SPDX-License-Identifier: MIT
"""A run as one HTML page that needs nothing else: no network, no script, light and dark."""

from __future__ import annotations

from html import escape

from . import figures, machine, plots, tables
from .peers import OURS
from .rows import Run

# The page's colours, beside those of its figures.
LIGHT = {"paper": "#fbfbfa", "head": "#f1f2f4", "tint": "#eef4fc", "good": "#1a7340"}
DARK = {"paper": "#14171a", "head": "#23282d", "tint": "#1c2733", "good": "#6fd39b"}
CSS = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; line-height: 1.2; margin: 8px 0 4px; }
h2 { font-size: 19px; margin: 40px 0 6px; }
p { margin: 6px 0 12px; max-width: 46em; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.facts { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0; }
.facts div { background: var(--panel); border: 1px solid var(--edge); border-radius: 8px;
  padding: 8px 14px; }
.facts b { display: block; font-size: 20px; line-height: 1.25; }
.facts span { color: var(--soft); font-size: 13px; }
.box, .plot { background: var(--panel); border: 1px solid var(--edge); border-radius: 8px; }
.box { overflow-x: auto; max-width: 100%; }
.plot { padding: 12px; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: left; white-space: nowrap; vertical-align: top;
  border-bottom: 1px solid var(--edge); }
tr:last-child td { border-bottom: 0; }
th { background: var(--head); font-weight: 600; }
td.n, th.n { text-align: right; }
td:first-child { position: sticky; left: 0; background: var(--panel); }
tr.ours td { background: var(--tint); }
th.case { padding: 12px 10px 4px; background: var(--panel); }
th.case span { position: sticky; left: 10px; }
.met { color: var(--good); } .missed, .wrong { color: var(--bad); }
pre { margin: 0; padding: 12px 14px; font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; }
svg { display: block; width: 100%; height: auto; stroke-linejoin: round; }
svg text { paint-order: stroke; stroke: var(--panel); stroke-width: 4px; }
.narrow { display: none; }
@media (max-width: 640px) { td:first-child { white-space: normal; min-width: 9.5em; }
   .wide { display: none; } .narrow { display: block; }
  main { padding: 14px 12px 40px; } .plot { padding: 8px 6px; } h1 { font-size: 22px; } }
"""


def colours() -> str:
    """CSS variables, light and dark."""
    light = "".join(f"--{name}: {value}; " for name, value in (LIGHT | figures.LIGHT).items())
    dark = "".join(f"--{name}: {value}; " for name, value in (DARK | figures.DARK).items())
    return (
        f":root {{ color-scheme: light dark; {light}}}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}"
    )


def table(columns, classes=None, above=None) -> str:
    """columns as tables.columns_of gives them; classes: one for each line; above: {line: words}."""
    heads = "".join(
        f"<th{' class=n' * right}>{escape(heading)}</th>" for heading, _, right in columns
    )
    lines = []
    for at in range(len(columns[0][1])):
        cells = []
        if above and at in above:
            lines.append(
                f'<tr><th class="case" colspan="{len(columns)}">'
                f"<span>{escape(above[at])}</span></th></tr>"
            )
        for heading, texts, right in columns:
            css = "n" if right else ""
            if heading == "verdict":
                css = texts[at].split(",")[0].split()[0]
            cells.append(f"<td{f' class={css}' if css else ''}>{escape(texts[at])}</td>")
        opening = f'<tr class="{classes[at]}">' if classes and classes[at] else "<tr>"
        lines.append(f"{opening}{''.join(cells)}</tr>")
    return (
        f'<div class="box"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def rows_table(rows) -> str:
    """One table, a line above the rows of each case; the ratio beside the name."""
    classes, above, last = [], {}, None
    for at, row in enumerate(rows):
        if row.who != "fastlstm, 1 thread" and last != (last := plots.title(row)):
            above[at] = last
        classes.append(" ".join(["ours"] * (row.who == "fastlstm") + ["wrong"] * row.wrong))
    columns = {column[0]: column for column in tables.columns_of(rows)}
    first = [columns.pop(name) for name in ("who", "ratio", "interval", "of") if name in columns]
    for name in ("case", "T, B, I, H", "threads"):
        columns.pop(name, None)
    return table([*first, *columns.values()], classes, above)


def facts(run: Run) -> str:
    """The few numbers at the top."""
    targets = [target for row in run.rows for target in row.targets]
    peers = [name for name in run.machine["peers"] if name not in OURS]
    found = [(str(len(plots.groups(run.rows))), "cases"), (str(len(peers)), "other engines")]
    if targets:
        met = sum(target.met is True for target in targets)
        found.append((f"{met} of {len(targets)}", "targets met"))
    noisy = sum(bool(row.noisy) for row in run.rows)
    found.append((f"{noisy} of {len(run.rows)}", "rows noisy"))
    if run.roofline.get("peak"):
        found.append((f"{run.roofline['peak']:.0f} GFLOP/s", "FMA peak of a core, measured"))
    cells = "".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in found)
    return f'<div class="facts">{cells}</div>'


def section(heading: str, words: str, body: str) -> str:
    return (
        f"<h2>{escape(heading)}</h2>\n<p class=soft>{escape(words)}</p>\n{body}\n" if body else ""
    )


def plot(body: str) -> str:
    return f'<div class="plot">{body}</div>' if body else ""


def rooflines(run: Run) -> str:
    """A roofline for each number of threads."""
    parts = []
    for threads in plots.thread_counts(run.rows):
        roof, points = plots.roof(run, threads), plots.points(run.rows, threads)
        if roof and points:
            on = f"{threads} threads" if threads > 1 else "one thread"
            drawn = plot(figures.both(f"roofline, {on}", figures.draw_roofline, points, roof))
            parts.append(f"<p><b>{on}</b></p>{drawn}")
    return "".join(parts)


def configuration(run: Run) -> str:
    """show_config() and the machine, as lines."""
    config = dict(run.config)
    isas = config.pop("isas", {})
    pairs = [*config.items(), *((f"  {name}", state) for name, state in isas.items())]
    machine = dict(run.machine)
    machine["caches"] = ", ".join(f"{k} {v >> 10} KiB" for k, v in machine["caches"].items())
    pairs += [(k, v) for k, v in machine.items() if k not in (*config, "peers", "settings")]
    peers = run.machine["peers"].items()
    pairs += [*(pair for pair in peers if pair[0] not in config), *run.machine["settings"].items()]
    pairs += [(f"reading {level['name']}", f"{level['bytes'] / 1024:.0f} KiB at "
               f"{level['gbs']:.0f} GB/s") for level in run.roofline.get("levels", [])]  # fmt: skip
    pairs += [(name, f"left out: {why}") for name, why in run.settings["left_out"].items()]
    pairs += [(key, run.settings[key]) for key in ("suite", "rounds", "seconds")
              if run.settings.get(key) is not None]  # fmt: skip
    width = max(len(str(key)) for key, _ in pairs) + 2
    lines = (f"{key!s:<{width}}{value}" for key, value in pairs)
    return f'<div class="box"><pre>{escape(chr(10).join(lines))}</pre></div>'


def page(run: Run) -> str:
    """The whole page. ImportError that names the extra without matplotlib."""
    found = tables.verdicts(run.rows)
    targets = ""
    if found:
        columns = zip(tables.VERDICT_HEADINGS, zip(*found, strict=True), strict=True)
        targets = table([(h, cells, h in ("threads", "asked", "found")) for h, cells in columns])
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>fastlstm bench, {escape(run.created)}</title>",
        f"<style>{colours()}{CSS}</style></head><body><main>",
        "<h1>LSTM on the CPU</h1>",
        f"<p class=soft>fastlstm bench, {escape(run.created)}. "
        f"{escape(machine.line(run.machine, run.roofline))}</p>",
        facts(run),
        section(
            "Ratios",
            "The best other engine's time over ours, in the same rounds: right of 1 fastlstm is "
            "faster. The thin line is the interval it lies in, judged by the passes of the run; a "
            "red mark is the target; a pale bar is a noisy row.",
            plot(figures.both("ratios", figures.draw_ratios, plots.bars(run.rows))),
        ),
        section("Targets", tables.counted(run.rows), targets),
        section(
            "Roofline",
            "Every dense case of every engine: speed over the operations it does for each byte it "
            "must read or write, at least. The lines are this machine's limits, measured in the "
            "same run.",
            rooflines(run),
        ),
        section(
            "Latencies",
            "Single calls, in multiples of the fastest median of the case: p1 to p99 thin, the "
            "middle half thick, the median marked.",
            plot(figures.both("latencies", figures.draw_latencies, plots.strips(run.rows))),
        ),
        section(
            "All rows",
            "p50 is the median over rounds; p90 and p99 are of single calls. CPU is all threads' "
            "processor time for a call. Shares are of limits measured in the same run.",
            rows_table(run.rows),
        ),
        section("Machine and settings", "What fastlstm info says, and what else ran.",
                configuration(run)),
        "</main></body></html>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"
