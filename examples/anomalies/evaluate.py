# SPDX-License-Identifier: MIT
"""The detector beside a moving z-score and a matrix profile.

python evaluate.py         # writes results.json, README's tables, scores.png and tests' outputs
"""

import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import report, timing  # noqa: E402
from common.scores import interval  # noqa: E402

from anomalies.data import SEGMENT, read_all, with_faults  # noqa: E402
from anomalies.deploy import FAULTS, MODEL, SMOOTH, Detector, pulse, smoothed, surprise  # noqa: E402
from anomalies.train import ABOVE, WARM, Network, forecasts  # noqa: E402

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


def spans(over, gap):
    """[(first, after the last)] of alarms; those at most `gap` steps apart are one."""
    found = []
    for t in np.flatnonzero(over):
        if found and t - found[-1][1] <= gap:
            found[-1][1] = int(t) + 1
        else:
            found.append([int(t), int(t) + 1])
    return found


def alarms(scores, threshold, anomalies, period):
    """(anomalies found, false alarms): ranges that touch, a period's delay allowed."""
    found = spans(scores > threshold, max(SMOOTH, period))
    touched = [any(first < b + period and last > a for first, last in found) for a, b in anomalies]
    false = [
        (first, last)
        for first, last in found
        if not any(first < b + period and last > a for a, b in anomalies)
    ]
    return sum(touched), len(false)


def labelled(all_series):
    """{method: {series: anomalies found and false alarms in its test part}}. Every method's
    threshold is made as train.py makes the LSTM's."""
    counts = {}
    for name, series in all_series.items():
        for who, score in methods(name, series).items():
            held = score(series.held)[max(WARM, series.period) if who[0] == "m" else WARM :]
            threshold = ABOVE * held.max() if len(held) else np.inf
            found, false = alarms(score(series.test), threshold, series.anomalies, series.period)
            row = counts.setdefault(who, {})
            row[name] = {"found": found, "of": len(series.anomalies), "false": false}
    return counts


def located(name, series):
    """{method: [1 where the highest score of a segment is within NEAR steps of its fault]},
    kinds."""
    segments = with_faults(series)
    found = {}
    for who, score in methods(name, series).items():
        hits = []
        for values, at, length, _ in segments:
            top = int(np.argmax(score(values)))
            hits.append(at - NEAR <= top <= at + length + NEAR)
        found[who] = np.array(hits, float)
    return found, np.array([kind for *_, kind in segments])


def fault_table(all_series):
    """Percent located, by series and by kind, with intervals."""
    series_table, kind_hits, all_kinds = {}, {}, []
    for name, series in all_series.items():
        found, kinds = located(name, series)
        all_kinds.append(kinds)
        for who, hits in found.items():
            percent = interval(lambda i, h=hits: 100 * h[i].mean(), len(hits))
            series_table.setdefault(who, {})[name] = percent
            kind_hits.setdefault(who, []).append(hits)
    kinds, by_kind = np.concatenate(all_kinds), {}
    for who, parts in kind_hits.items():
        hits = np.concatenate(parts)
        series_table[who] = {
            "all": interval(lambda i, h=hits: 100 * h[i].mean(), len(hits)), **series_table[who]
        }  # fmt: skip
        for kind in FAULTS:
            own = hits[kinds == kind]
            by_kind.setdefault(who, {})[kind] = interval(
                lambda i, h=own: 100 * h[i].mean(), len(own)
            )
    return series_table, by_kind


def count_table(counts):
    """The labelled anomalies as plain figures."""
    rows = {}
    for who, row in counts.items():
        total = {key: sum(v[key] for v in row.values()) for key in ("found", "of", "false")}
        rows[who] = {
            "found, of " + str(total["of"]): {"value": total["found"]},
            "false alarms": {"value": total["false"]},
            **{f"{name}: found": {"value": v["found"]} for name, v in row.items()},
            **{f"{name}: false": {"value": v["false"]} for name, v in row.items()},
        }
    return rows


def torch_network(name):
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    network, prefix = Network(), f"{name}."
    weights = {k.removeprefix(prefix): v for k, v in load_file(MODEL).items()}
    network.load_state_dict({k: weights[k].float() for k in network.state_dict()})
    return network.eval()


def by_torch(name, values):
    """The scores of a series as PyTorch computes the network."""
    import torch

    detector = Detector(name)
    _, z = detector.inputs(values)
    said = forecasts(torch_network(name), torch.from_numpy(z))
    return smoothed(surprise(said, z, detector.calibration))


def said_difference(all_series, dtype):
    """The largest difference of the forecasts' means and log variances from PyTorch's."""
    import torch

    worst = 0.0
    for name, series in all_series.items():
        detector = Detector(name, dtype=dtype)
        x, z = detector.inputs(series.test)
        said = detector.lstm(x[:, None])[0][:, 0] @ detector.weight.T + detector.bias
        exact = forecasts(torch_network(name), torch.from_numpy(z)).reshape(len(z), -1)
        worst = max(worst, float(np.abs(said - exact).max()))
    return worst


def speed(series):
    """Microseconds for a step that comes alone."""
    import torch
    from common.peers import session
    from torch import nn

    values, network = series.test[:1000], torch_network("ecg")

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = network.lstm, network.head

        def forward(self, x, h, c):
            y, (h, c) = self.lstm(x, (h, c))
            return self.head(y), h, c

    step, zeros = Step().eval(), torch.zeros(1, 1, network.lstm.hidden_size)
    example = (torch.zeros(1, 1, 2), zeros, zeros)
    onnx = session(step, example, ["x", "h", "c"], ["y", "h1", "c1"], {})

    class Other(Detector):
        """deploy's detector with another engine's network."""

        def __init__(self, run, state):
            self.run, self.first = run, state
            super().__init__("ecg")

        def reset(self):
            super().reset()
            self.state, self.weight, self.stream = self.first, np.eye(16, dtype=np.float32), self
            self.bias = np.zeros(16, np.float32)

        def step(self, value):
            if isinstance(value, np.ndarray):  # the network's step, of Detector.step
                y, *self.state = self.run(value[None], *self.state)
                return np.asarray(y)[0]
            return super().step(value)

    @torch.inference_mode()
    def torch_run(x, h, c):
        return step(torch.from_numpy(x), h, c)

    def onnx_run(x, h, c):
        return onnx.run(None, {"x": x, "h": h, "c": c})

    detectors = {
        "fastlstm, float32": Detector("ecg"),
        "fastlstm, int8": Detector("ecg", dtype="int8"),
        "ONNX Runtime": Other(onnx_run, (zeros.numpy(), zeros.numpy())),
        "PyTorch": Other(torch_run, (zeros, zeros)),
    }

    def watch(detector):
        def run():
            detector.reset()
            return [detector.step(value) for value in values.tolist()]

        return run

    np.testing.assert_allclose(
        watch(detectors["PyTorch"])(), watch(detectors["fastlstm, float32"])(), rtol=2e-3
    )
    engines = {n: timing.passes(watch(d), len(values)) for n, d in detectors.items()}
    return {"what": "a step of the ecg", "engines": timing.microseconds(engines)}


def picture(all_series, path):
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    windows = {"pressure": (2600, 3400), "ecg": (6300, 7200), "pulse": (5200, 6300)}
    figure, axes = plt.subplots(
        2, 3, figsize=(9, 3), layout="constrained", sharex="col", height_ratios=[2, 1]
    )
    for (top, bottom), (name, (a, b)) in zip(axes.T, windows.items(), strict=True):
        detector = Detector(name)
        scores = detector.scores(all_series[name].test)
        top.plot(np.arange(a, b), all_series[name].test[a:b], lw=0.7)
        bottom.semilogy(np.arange(a, b), scores[a:b], lw=0.8, color="C3")
        bottom.axhline(detector.threshold, color="0.4", lw=0.8, ls="--")
        for first, last in all_series[name].anomalies:
            for axis in (top, bottom):
                axis.axvspan(first, last, color="C1", alpha=0.35, lw=0)
        top.set(title=name, xlim=(a, b), yticks=[])
    axes[1, 0].set_ylabel("score")
    figure.savefig(path, dpi=100)


def main():
    all_series = read_all()
    by_series, by_kind = fault_table(all_series)
    where = f"located, % of 200 segments of {SEGMENT} steps with one fault"
    results = {
        "scores": {
            where: {"better": "higher", "digits": 0, "rows": by_series},
            "located, %, by kind of fault": {"better": "higher", "digits": 0, "rows": by_kind},
            "labelled anomalies": {
                "better": "found: higher, false alarms: lower", "digits": 0,
                "rows": count_table(labelled(all_series)),
            },
        },
        "training": report.read(HERE, "training.json"),
        "deployed": {
            "file_kb": MODEL.stat().st_size / 1e3,
            "float32_difference": said_difference(all_series, "float32"),
            "int8_difference": said_difference(all_series, "int8"),
        },
        "speed": speed(all_series["ecg"]),
        "installed_mb": timing.installed("fastlstm", "numpy", "onnxruntime", "torch", "stumpy"),
        "made_with": report.made_with("torch", "onnxruntime", "stumpy"),
    }  # fmt: skip
    own = pulse(600, 3, [(400, 20, "reversed")])
    report.keep(HERE / "outputs.json", {"scores": by_torch("pulse", own).tolist()})
    picture(all_series, HERE / "scores.png")
    report.write(HERE, results)
    print("\n".join(report.lines(results)))


if __name__ == "__main__":
    main()
