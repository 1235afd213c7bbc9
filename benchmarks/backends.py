# SPDX-License-Identifier: MIT
"""The backends side by side: what a call takes through C, Numba and NumPy, and through PyTorch.

    python benchmarks/backends.py [--quick] [--train]

One process and one thread; the backends alternate, call by call, and the medians of their times are
compared. Outputs are checked against one another first. Also: what a process pays before its
first result, with nothing compiled yet and with Numba's cache there (each in a fresh process).
"""

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTLSTM_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402

from fastlstm.bench import model  # noqa: E402
from fastlstm.bench.shapes import Shape  # noqa: E402

GRID = [
    (1, 1, 64, 64), (1, 1, 128, 128), (1, 1, 256, 256), (1, 1000, 1, 16), (1, 1000, 1, 32),
    (1, 1000, 1, 64), (1, 1000, 80, 128), (1, 100, 128, 128), (1, 100, 256, 256),
    (1, 100, 512, 512), (1, 100, 1024, 1024), (4, 100, 256, 256), (8, 100, 512, 512),
    (32, 100, 128, 128), (32, 100, 256, 256), (32, 100, 512, 512), (128, 50, 256, 256),
    (128, 50, 512, 512), (32, 50, 1024, 1024),
]  # fmt: skip
TRAIN = [(1, 100, 128, 128), (16, 100, 64, 64), (32, 100, 128, 128), (32, 100, 256, 256)]
FIRST = """
import time
start = time.perf_counter()
import numpy as np  # noqa: E402
import fastlstm
lstm = fastlstm.LSTM(64, 64)
made = time.perf_counter()
x = np.zeros((1, 1, 64), np.float32)
lstm(x)
print(made - start, time.perf_counter() - made)
"""


def modules():
    """{name: module} of the backends that can be imported."""
    from fastlstm.engine import MODULES

    found = {}
    for name, path in MODULES.items():
        try:
            found[name] = importlib.import_module(path)
        except ImportError as e:
            print(f"{name}: {e}")
    return found


def nets(found, weights, I, H):
    """{backend's name: its Net with `weights`, in the order of Net.set}."""
    made = {}
    for name, backend in found.items():
        made[name] = net = backend.Net("lstm", I, H, 0, 1, 1, None)
        net.set(0, 0, *weights, None)
        net.weights = {"weight_ih_l0": weights[0]}
    return made


def torch_layer(weights, I, H):
    import torch

    torch.set_num_threads(1)
    lstm = torch.nn.LSTM(I, H)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    lstm.load_state_dict(dict(zip(names, map(torch.from_numpy, weights))))
    return lstm


def timed(calls, seconds):
    """{name: median seconds of a call}; the calls alternate for about `seconds` altogether."""
    for call in calls.values():
        call()
    start = time.perf_counter()
    for call in calls.values():
        call()
    rounds = int(np.clip(seconds / (time.perf_counter() - start), 5, 2000))
    taken = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    return {name: median(times) for name, times in taken.items()}


def problem(B, T, I, H):
    """Weights in the order of Net.set, and x."""
    shape = Shape(T, B, I, H)
    return list(model.make_weights(shape).values()), model.make_input(shape)


def forward_calls(found, B, T, I, H):
    import torch

    weights, x = problem(B, T, I, H)
    calls = {
        name: lambda net=net: net.forward(x, None, None, None, True, False, 1)
        for name, net in nets(found, weights, I, H).items()
    }
    lstm, xt = torch_layer(weights, I, H).eval(), torch.from_numpy(x)

    def run_torch():
        with torch.inference_mode():
            return lstm(xt)[0]

    want = run_torch().numpy()
    for name, call in calls.items():
        error = np.abs(call()[0] - want).max()
        assert error < 1e-4, f"{name} is {error} away from torch"
    return {**calls, "torch": run_torch}


def train_calls(found, B, T, I, H):
    import torch

    weights, x = problem(B, T, I, H)
    dy = np.random.default_rng(2).standard_normal((T, B, H)).astype(np.float32)
    calls = {}
    for name, net in nets(found, weights, I, H).items():
        backend = found[name]
        backward_weights = backend.BackwardWeights(net)
        backward_weights.set(net, 0, 0, weights[0], weights[1], None)

        def run(backend=backend, net=net, backward_weights=backward_weights):
            tape = backend.forward_train(net, x, None, None, 0.0, 0, False, 1)[-1]
            into = [np.empty_like(w) for w in weights]
            grads = [[*into, None]]
            backend.backward(backward_weights, tape, dy, (None, None), True, True, grads, 1)
            return into[1]

        calls[name] = run
    lstm = torch_layer(weights, I, H)
    xt, dyt = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)

    def run_torch():
        lstm.zero_grad()
        lstm(xt)[0].backward(dyt)
        return lstm.weight_hh_l0.grad.numpy()

    want = run_torch().copy()
    for name, call in calls.items():
        error = np.abs(call() - want).max() / np.abs(want).max()
        assert error < 1e-4, f"{name}'s gradient is {error} away from torch's"
    return {**calls, "torch": run_torch}


def print_table(title, grid, make, found, seconds):
    names = [*found, "torch"]
    print(f"\n{title}, microseconds a call (and as a multiple of c's)")
    print(f"{'B, T, I, H':>20}" + "".join(f"{name:>20}" for name in names) + "   numpy / numba")
    for sizes in grid:
        times = timed(make(found, *sizes), seconds)
        row = f"{', '.join(map(str, sizes)):>20}"
        for name in names:
            row += f"{times[name] * 1e6:>12.1f} ({times[name] / times['c']:.2f})".rjust(20)
        print(row + f"{times['numpy'] / times['numba']:>12.2f}", flush=True)


def first_results(found):
    print("\nseconds from `import fastlstm` to a layer, and its first call")
    with tempfile.TemporaryDirectory() as cache:
        for note, name in [("", n) for n in found] + [(", cached", "numba")]:
            env = os.environ | {"FASTLSTM_BACKEND": name, "NUMBA_CACHE_DIR": cache}
            done = subprocess.run(
                [sys.executable, "-c", FIRST], env=env, capture_output=True, text=True, check=True
            )
            made, first = map(float, done.stdout.split())
            print(f"{name + note:>20}{made:>10.3f}{first:>10.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few sizes, little time for each")
    parser.add_argument("--train", action="store_true", help="forward and backward as well")
    args = parser.parse_args()
    found = modules()
    grid, seconds = (GRID[::3], 0.5) if args.quick else (GRID, 4)
    print_table("forward", grid, forward_calls, found, seconds)
    if args.train:
        print_table("forward and backward", TRAIN, train_calls, found, seconds)
    first_results(found)


if __name__ == "__main__":
    main()
