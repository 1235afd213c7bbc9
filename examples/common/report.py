# SPDX-License-Identifier: MIT
"""training.json and results.json, and the tables of a README that are made of the latter.

{"verdict": the README's first sentence: better or worse than what?
 "scores": {metric: {"better": "higher" or "lower", "digits": 2,
                     "rows": {who: {group: {"value", "low", "high"}}}}},
 "training": what beside_pytorch gave, "parameters", "cpu_seconds",
 "deployed": {"file_kb", of several also "files", "float32_difference", "int8_difference"},
 "speed": {"what": "a sentence", "engines": {name: {"us", "spread"}}},
 "installed_mb": {package: megabytes}, "notes": [sentences], "made_with": {name: version},
 "row_of_run": who of the first table was trained by train.py, where that is not `OURS`}

from_nothing.py adds "from_nothing", out of times.json: seconds, of what and on which CPU.
"""

import importlib.metadata
import json
import platform
from pathlib import Path

from fastlstm.bench.machine import cpu_name

FIRST, BEGIN, END = "<!-- verdict -->", "<!-- from results.json -->", "<!-- end -->"
OURS = "this LSTM, float32"


def made_with(*packages):
    return {"cpu": cpu_name(), "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in ("numpy", *packages)
    }


def number(value, digits):
    return f"{value:.{digits}f}"


def score(entry, digits):
    """0.71 (0.69 to 0.73); a figure without an interval alone."""
    text = number(entry["value"], digits)
    if "low" in entry:
        text += f" ({number(entry['low'], digits)} to {number(entry['high'], digits)})"
    return text


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def listed(words):
    """a, b and c"""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def verdict(what, part, group, unit=""):
    """The README's first sentence: whom the LSTM is ahead of, level with and behind. Two are level
    if their 95 % intervals overlap."""
    own, sides = part["rows"][OURS][group], {"ahead of": [], "level with": [], "behind": []}
    for who, row in part["rows"].items():
        if who.startswith("this LSTM") or group not in row:
            continue
        other = row[group]
        above, below = own["low"] > other["high"], own["high"] < other["low"]
        if part["better"] == "lower":
            above, below = below, above
        side = "ahead of" if above else "behind" if below else "level with"
        sides[side].append(f"{who} ({number(other['value'], part['digits'])})")
    said = [f"{side} {listed(others)}" for side, others in sides.items() if others]
    own = number(own["value"], part["digits"])
    return f"**{what[0].upper()}{what[1:]}: {own}{unit}, {', '.join(said)}.**"


def score_table(metric, part):
    rows = part["rows"]
    groups = list(dict.fromkeys(group for row in rows.values() for group in row))
    body = [
        [who, *(score(row[g], part["digits"]) if g in row else "" for g in groups)]
        for who, row in rows.items()
    ]
    return [*table([f"{metric} ({part['better']} is better)", *groups], body), ""]


def training_lines(results):
    t = results["training"]
    ratio = t["torch_ms"] / t["fastlstm_ms"]
    yield (
        f"**Training**: {t['parameters']:,} parameters, {t['cpu_seconds']:.0f} seconds of CPU "
        f"through `fastlstm.torch.accelerate`. An update takes {t['fastlstm_ms']:.1f} ms of CPU, "
        f"by PyTorch alone {t['torch_ms']:.1f} ms ({ratio:.2f} times). Over the first "
        f"{t['updates']} updates, batch by batch in turn, the losses go from "
        f"{t['loss_first']:.4f} to {t['loss_last']:.4f} and never differ by more than "
        f"{t['loss_difference']:.0e}."
    )


def deployed_lines(results):
    d, speed = results["deployed"], results["speed"]
    many = f"{d['files']} files" if "files" in d else "a file"
    yield (
        f"**Deployed**: {many} of {d['file_kb']:.0f} kB. The outputs differ from PyTorch's by at "
        f"most {d['float32_difference']:.0e} in float32, {d['int8_difference']:.0e} in int8."
    )
    yield ""
    rows = [
        [name, f"{e['us']:.1f}" + (" (noisy)" if e["spread"] > 0.1 else "")]
        for name, e in speed["engines"].items()
    ]
    yield from table([f"one thread, microseconds of CPU for {speed['what']}", "us"], rows)
    sizes = results.get("installed_mb", {})
    if sizes:
        yield ""
        yield "Installed size in MB: " + ", ".join(f"{k} {v:.0f}" for k, v in sizes.items()) + "."


def from_nothing_line(results):
    t, (metric, part) = results["from_nothing"], next(iter(results["scores"].items()))
    said = (
        f"**From nothing**: in a fresh clone `make example` took {t['seconds']:.0f} seconds on "
        f"{t['cpus']} cores ({t['cpu']}, {t['date']}), after {t['environment']:.0f} for an "
        "environment with PyTorch."
    )
    if "score" not in t:  # it was timed, and its score not kept
        return said
    return f"{said} That run's score: {score(t['score'], part['digits'])} ({metric})."


def lines(results):
    """What stands between the two marks of a README: the first table, the rest folded."""
    first, *others = results["scores"].items()
    yield from score_table(*first)
    yield "<details><summary>More scores, training, outputs, speed, size</summary>"
    yield ""
    for metric, part in others:
        yield from score_table(metric, part)
    yield from training_lines(results)
    yield ""
    yield from deployed_lines(results)
    for note in results.get("notes", []):
        yield ""
        yield note
    made = results["made_with"]
    if "from_nothing" in results:
        yield ""
        yield from_nothing_line(results)
    yield ""
    yield (
        "Intervals: 95 %, by bootstrap over the test set, exact ones of counts. Made with "
        + ", ".join(f"{k} {v}" for k, v in made.items() if k != "cpu")
        + f" on one core of {made['cpu']}."
    )
    yield ""
    yield "</details>"


def between(text, begin, content):
    """The text with what stands between a mark and the next END made anew."""
    before, _, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the README has no part between {begin} and {END}")
    return f"{before}{begin}\n{content}\n{END}{after}"


def filled(readme, results):
    """The README's text with its first sentence and what stands between the marks made anew."""
    text = between(readme, FIRST, results["verdict"])
    return between(text, BEGIN, "\n".join(lines(results)))


def keep(path, values):
    """Values as a file of JSON."""
    Path(path).write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def write(folder, results):
    """results.json, and the README's tables."""
    folder = Path(folder)
    keep(folder / "results.json", results)
    readme = folder / "README.md"
    readme.write_text(filled(readme.read_text(), read(folder)))


def read(folder, name="results.json"):
    """A file of an example's folder; results.json with what times.json says of it."""
    folder = Path(folder)
    found, path = json.loads((folder / name).read_text()), folder.parent / "times.json"
    if name == "results.json" and path.exists():
        times = json.loads(path.read_text())
        if folder.name in times:
            found["from_nothing"] = {
                **times[folder.name],
                "environment": times["environment"]["seconds"],
            }
    return found
