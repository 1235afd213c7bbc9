# SPDX-License-Identifier: MIT
"""BeatNet's class over fastlstm.nn beside ONNX Runtime on the same weights, one thread.

    python benchmarks/nn_beats.py [ROUNDS]     # pip install -e ".[test]"

Three ways: the module of tests/support/nn_models.py, whose imports alone were changed, the stream
of `fastlstm.load_model`, and ONNX Runtime, whose caller hands the state on. A call is one frame of
a stream, or 1,500 frames at once. Outputs are compared first, to 1e-5 of their scale. Each round
calls all three, one after the other, for a block of calls of about 2 ms or one call, beginning with
another each time. Printed are the medians in us of a call, and the median over the rounds of ONNX
Runtime's time over each: above 1 it is faster than ONNX Runtime.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from nn_models import OURS, models  # noqa: E402

import fastlstm  # noqa: E402
from fastlstm.bench import networks  # noqa: E402

BLOCK = 0.002  # s, of the module's calls
WIDTH, LAYERS, CELLS = 272, 2, 150


def module():
    """f(x) -> y; it keeps its state, as its authors' class does."""
    made = models(OURS)["BeatTracker"]().eval()
    made.load_state_dict(fastlstm.read_state_dict(networks.fetch(*networks.BEATNET)))
    return lambda x: np.asarray(made(x))


def stream():
    return fastlstm.load_model(networks.beatnet(), num_threads=1).stream().step


def session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    theirs = onnxruntime.InferenceSession(
        str(networks.beatnet()), options, providers=["CPUExecutionProvider"]
    )
    h = c = np.zeros((LAYERS, 1, CELLS), np.float32)

    def step(x):
        nonlocal h, c
        y, h, c = theirs.run(None, {"x": x, "h": h, "c": c})
        return y

    return step


WAYS = {"fastlstm.nn": module, "fastlstm.load_model": stream, "ONNX Runtime": session}


def seconds(step, x, count):
    begin = time.perf_counter()
    for _ in range(count):
        step(x)
    return (time.perf_counter() - begin) / count


def compare(x):
    """The largest difference from ONNX Runtime, of the scale of its outputs, over 20 calls."""
    made = {
        name: [step(x) for _ in range(20)] for name, step in ((n, w()) for n, w in WAYS.items())
    }
    due = np.array(made.pop("ONNX Runtime"))
    error = max(np.abs(np.array(y) - due).max() for y in made.values()) / np.abs(due).max()
    assert error <= 1e-5, f"the outputs differ by {error:.1e} of their scale"
    return error


def main(rounds):
    fastlstm.set_num_threads(1)
    rng = np.random.default_rng(5)
    for frames in (1, 1500):
        x = rng.uniform(0, 1, (1, frames, WIDTH)).astype(np.float32)
        error, steps = compare(x), {name: way() for name, way in WAYS.items()}
        count = max(1, round(BLOCK / min(seconds(steps["fastlstm.nn"], x, 3) for _ in range(5))))
        turns = rounds if count > 1 else max(1, rounds // 10)
        times = {name: [] for name in WAYS}
        for turn in range(turns):
            names = list(WAYS)
            for name in names[turn % 3 :] + names[: turn % 3]:
                times[name].append(seconds(steps[name], x, count))
        print(f"{frames} frame{'s' * (frames > 1)}, {turns} rounds of {count} calls, {error:.1e}")
        for name, taken in times.items():
            ratios = [a / b for a, b in zip(times["ONNX Runtime"], taken, strict=True)]
            quartiles = statistics.quantiles(ratios, n=4) if turns > 1 else ratios * 3
            print(
                f"  {name:20}{1e6 * statistics.median(taken):12.1f} us"
                f"{statistics.median(ratios):8.2f}   ({quartiles[0]:.2f} to {quartiles[2]:.2f})"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
