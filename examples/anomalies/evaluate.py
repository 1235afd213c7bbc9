# SPDX-License-Identifier: MIT
"""The detector beside a moving z-score and a matrix profile.

python evaluate.py         # writes results.json, README's tables, the pictures, tests' outputs
"""

import sys
import warnings
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import pictures, report, timing  # noqa: E402
from common.scores import events, interval, mean_share, part_of  # noqa: E402

from anomalies.data import SEGMENT, read_all, with_faults  # noqa: E402
from anomalies.deploy import FAULTS, MODELS, SMOOTH, Detector, pulse  # noqa: E402
from anomalies.ranges import covered, harmonic, noticed, spans  # noqa: E402
from anomalies.train import ABOVE, AHEAD, WARM, Network, Watcher, deployed  # noqa: E402

LABELLED = ("pressure", "ecg")  # whose anomalies others have labelled
NEAR = 100  # steps from an anomaly at which a score still counts as its, as in the UCR archive


def moving_z(series):
    """f(values) -> how many deviations a value is from the mean of the last period."""
    width = series.period

    def scores(values):
        before = np.lib.stride_tricks.sliding_window_view(values, width)[:-1]
        found = np.zeros(len(values))
        found[width:] = np.abs(values[width:] - before.mean(1)) / (before.std(1) + 1e-9)
        return found

    return scores


def matrix_profile(series):
    """f(values) -> the distance of the last period of steps from the nearest in the clean part,
    both scaled to mean 0 and deviation 1 (stumpy)."""
    import stumpy

    def scores(values):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = stumpy.stump(
                np.asarray(values, np.float64), series.period, series.train, ignore_trivial=False
            )
        distances = found[:, 0].astype(np.float64)
        distances[~np.isfinite(distances)] = 0
        return np.concatenate([np.zeros(series.period - 1), distances])

    return scores


def lstm(name, dtype):
    return Detector(name, dtype=dtype).scores


def methods(name, series):
    return {
        "this LSTM, float32": lstm(name, "float32"),
        "this LSTM, int8": lstm(name, "int8"),
        "moving z-score": moving_z(series),
        "matrix profile": matrix_profile(series),
    }


def warm_of(who, series):
    """Steps at the beginning of a series before a method's scores mean something."""
    return WARM if who.startswith("this LSTM") else max(WARM, series.period)


def threshold_of(who, score, series):
    """Every method's threshold is made as train.py makes the LSTM's: from a clean part."""
    return ABOVE * score(series.held)[warm_of(who, series) :].max()


def ranges_over(who, scores, threshold, series):
    """The alarms as ranges; those less than a beat apart are one."""
    over = scores > threshold
    over[: warm_of(who, series)] = False
    return spans(over, max(SMOOTH, series.period))


def alarms(found, anomalies, period):
    """(anomalies found, false alarms): ranges that touch, a period's delay allowed."""
    later = [(a, b + period) for a, b in anomalies]

    def touches(own, others):
        return any(own[0] < b and own[1] > a for a, b in others)

    return sum(touches(a, found) for a in later), sum(not touches(a, later) for a in found)


def labelled(all_series):
    """(the labelled anomalies of the test parts: how many are found, how many alarms are false;
    precision and recall for ranges)."""
    counts, rows, ranges = {}, {}, {}
    for name, series in all_series.items():
        for who, score in methods(name, series).items():
            threshold = threshold_of(who, score, series)
            found = ranges_over(who, score(series.test), threshold, series)
            hits, false = alarms(found, series.anomalies, series.period)
            counts.setdefault(who, {})[name] = (hits, len(series.anomalies), false)
            if name in LABELLED:
                right = [covered(alarm, series.anomalies) for alarm in found]
                seen = [noticed(anomaly, found) for anomaly in series.anomalies]
                ranges.setdefault(who, {}).update({
                    f"{name}: precision": mean_share(right), f"{name}: recall": mean_share(seen),
                })  # fmt: skip
    for who, row in counts.items():
        hits, of, false = (sum(part) for part in zip(*row.values(), strict=True))
        rows[who] = {
            f"found, of {of}": part_of(hits, of),
            "false alarms": events(false),
            **{f"{name}: found, of {n}": part_of(k, n) for name, (k, n, _) in row.items()},
            **{f"{name}: false": events(k) for name, (_, _, k) in row.items()},
        }
    return rows, ranges


class Tried(NamedTuple):
    """A method's answers to the segments with a fault each."""

    hit: list  # 1 where the highest score is within NEAR steps of the fault
    noticed: list  # what each fault adds to recall
    right: list  # for each segment, how much of each of its alarms is the fault


def tried(name, series):
    """({method: Tried}, kind of each segment's fault)."""
    segments, found = with_faults(series), {}
    for who, score in methods(name, series).items():
        threshold, own = threshold_of(who, score, series), Tried([], [], [])
        for values, at, length, _ in segments:
            scores = score(values)
            top, fault = int(np.argmax(scores)), (at, at + length)
            own.hit.append(float(at - NEAR <= top <= at + length + NEAR))
            over = ranges_over(who, scores, threshold, series)
            own.noticed.append(noticed(fault, over))
            own.right.append([covered(alarm, [fault]) for alarm in over])
        found[who] = own
    return found, [kind for *_, kind in segments]


def range_row(own):
    """Precision (without an alarm 1), recall and F1 for ranges; draws whole segments."""
    right = np.array([sum(each) for each in own.right])
    count = np.array([len(each) for each in own.right])
    found = np.array(own.noticed)

    def precision(i):
        return right[i].sum() / count[i].sum() if count[i].any() else 1.0

    def f1(i):
        return harmonic(precision(i), found[i].mean())

    statistics = {"precision": precision, "recall": lambda i: found[i].mean(), "F1": f1}
    return {name: interval(of, len(found)) for name, of in statistics.items()}


def percent(hits):
    hits = np.asarray(hits)
    return interval(lambda i: 100 * hits[i].mean(), len(hits))


def fault_tables(all_series):
    """(percent located by series, by kind of fault; precision and recall for ranges)."""
    answers = {name: tried(name, series) for name, series in all_series.items()}
    kinds = np.concatenate([kinds for _, kinds in answers.values()])
    by_series, by_kind, ranges = {}, {}, {}
    for who in next(iter(answers.values()))[0]:
        own = {name: found[who] for name, (found, _) in answers.items()}
        every = Tried(*(list(chain(*parts)) for parts in zip(*own.values(), strict=True)))
        by_series[who] = {"all": percent(every.hit)} | {n: percent(t.hit) for n, t in own.items()}
        hits = np.array(every.hit)
        by_kind[who] = {kind: percent(hits[kinds == kind]) for kind in FAULTS}
        ranges[who] = range_row(every) | {
            f"{name}: F1": range_row(part)["F1"] for name, part in own.items()
        }
    return by_series, by_kind, ranges


def watcher(name):
    """train.Watcher with the weights of the file."""
    import torch
    from common.export import weights_of

    torch.set_num_threads(1)
    found, module = weights_of(file_of(name)), Watcher(Network(), 0.0, 1.0)
    module.load_state_dict({key: found[key] for key in module.state_dict()})
    return module.eval()


def file_of(name):
    return MODELS / f"{name}.safetensors"


def forecasts_differ(all_series, dtype):
    """The largest difference from PyTorch of the forecasts' means and log variances, which are in
    the state: it holds those of the last AHEAD steps."""
    import torch

    worst = 0.0
    for name, series in all_series.items():
        exact, stream = watcher(name), Detector(name, dtype).stream
        state, values = exact.state(), series.test.astype(np.float32)
        for first in range(0, len(values) - AHEAD, AHEAD):
            part = values[first : first + AHEAD + 1]
            stream.step(part)
            with torch.inference_mode():
                _, *state = exact(torch.from_numpy(part), *state)
            ours, due = stream.state["due"], state[2].numpy()
            worst = max(
                worst,
                float(np.abs(ours[:, 0] - due[:, 0]).max()),
                float(np.abs(np.log(ours[:, 1] / due[:, 1])).max()),
            )
    return worst


def speed(series):
    """Microseconds for a step that comes alone."""
    import torch
    from common.peers import session

    values, module = series.test[:1000], watcher("ecg")
    module, arguments, inputs, *names = deployed(module)
    onnx = session(module, arguments, inputs, *names)

    class Stream:
        """A stream of another engine's, for deploy's detector: run(values, *state) -> the answer
        and the next state."""

        def __init__(self, run, state):
            self.run, self.state = run, state

        def step(self, values):
            answer, *self.state = self.run(values, *self.state)
            return answer

    @torch.inference_mode()
    def torch_run(values, *state):
        return module(torch.from_numpy(values), *state)

    def onnx_run(*given):
        return onnx.run(None, dict(zip(inputs, given, strict=True)))

    def watch(dtype="float32", run=None, state=None):
        detector = Detector("ecg", dtype)

        def each():
            detector.reset()
            if run is not None:
                detector.stream = Stream(run, state)
            return [detector.step(value) for value in values.tolist()]

        return each

    zeros = arguments[1:]
    runs = {
        "fastlstm, float32": watch(),
        "fastlstm, int8": watch("int8"),
        "ONNX Runtime": watch(run=onnx_run, state=[part.numpy() for part in zeros]),
        "PyTorch": watch(run=torch_run, state=zeros),
    }
    for other in ("ONNX Runtime", "PyTorch"):
        np.testing.assert_allclose(runs[other](), runs["fastlstm, float32"](), rtol=2e-3)
    engines = {name: timing.passes(run, len(values)) for name, run in runs.items()}
    return {"what": "a step of the ecg", "engines": timing.microseconds(engines)}


def draw(all_series):
    """A drawing of a stretch of each signal with its score, for common.pictures."""
    windows = {"pressure": (2600, 3400), "ecg": (6300, 7200), "pulse": (5200, 6300)}

    def drawn(plt, colours):
        figure, axes = plt.subplots(
            2, 3, figsize=(9, 3.4), layout="constrained", sharex="col", height_ratios=[2, 1]
        )
        for (top, bottom), (name, (a, b)) in zip(axes.T, windows.items(), strict=True):
            values = all_series[name].test
            scores, steps = Detector(name).scores(values), np.arange(a, b)
            top.plot(steps, values[a:b], lw=0.8, label="signal")
            bottom.semilogy(steps, scores[a:b], lw=0.9, color=colours.lines[1], label="score")
            bottom.axhline(1, color=colours.faint, lw=1, ls="--", label="threshold")
            for n, (first, last) in enumerate(all_series[name].anomalies):
                for axis in (top, bottom):
                    label = "labelled anomaly" if axis is top and n == 0 else None
                    axis.axvspan(first, last, color=colours.mark, lw=0, zorder=0, label=label)
            top.set(title=name, xlim=(a, b), yticks=[])
            bottom.set(xlabel="step")
        axes[0, 0].set_ylabel("signal")
        axes[1, 0].set_ylabel("score")
        handles = [h for axis in axes[:, 0] for h in axis.get_legend_handles_labels()[0]]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
        return figure

    return drawn


def scored(all_series):
    by_series, by_kind, ranges = fault_tables(all_series)
    counts, labelled_ranges = labelled(all_series)
    where = f"located, % of 200 segments of {SEGMENT} steps with one fault"
    rows = {
        where: ("higher", 0, by_series),
        "alarms and faults as ranges of steps (Tatbul), the same segments": ("higher", 2, ranges),
        "located, %, by kind of fault": ("higher", 0, by_kind),
        "labelled anomalies": ("found: higher, false alarms: lower", 0, counts),
        "labelled anomalies and alarms as ranges": ("higher", 2, labelled_ranges),
    }
    return {
        name: {"better": better, "digits": digits, "rows": part}
        for name, (better, digits, part) in rows.items()
    }


def main():
    all_series = read_all()
    scores = scored(all_series)
    results = {
        "verdict": report.verdict("faults located", next(iter(scores.values())), "all", " %"),
        "scores": scores,
        "training": report.read(HERE, "training.json"),
        "deployed": {
            "file_kb": file_of("ecg").stat().st_size / 1e3,
            "float32_difference": forecasts_differ(all_series, "float32"),
            "int8_difference": forecasts_differ(all_series, "int8"),
        },
        "speed": speed(all_series["ecg"]),
        "installed_mb": timing.installed("fastlstm", "numpy", "onnxruntime", "torch", "stumpy"),
        "made_with": report.made_with("torch", "onnxruntime", "stumpy"),
    }
    own = pulse(600, 3, [(400, 20, "reversed")])
    report.keep(HERE / "outputs.json", {"scores": watcher("pulse").scores(own).tolist()})
    pictures.save(HERE / "scores", draw(all_series))
    report.write(HERE, results)
    print("\n".join(report.lines(results)))


if __name__ == "__main__":
    main()
