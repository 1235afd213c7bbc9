# SPDX-License-Identifier: MIT
"""One step of one row through PyTorch: torch.nn's modules, and the same ones accelerated.

    python benchmarks/torch_step.py [ROUNDS]     # pip install -e ".[bench]"

Inference is a call of one step under torch.inference_mode, the state handed on: the module as it
is, accelerated, and frozen, which saves comparing its weights. Training is a call of one step, its
loss and backward, the weights unchanged; cells train in PyTorch and have no such row. One thread.
Outputs are compared first, to 1e-5. A sample is as many calls as take 2 ms; rounds call all ways
one after the other, from another one on in each round. Printed are medians in us, and the medians
over the rounds of PyTorch's time over each.
"""

import copy
import statistics
import sys
import time

import torch

import fastlstm.torch

SIZES = (64, 128, 256)
KINDS = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")
SAMPLE = 0.002  # s


def inference(module, x):
    """A call of one step, with the state of the call before it."""
    state = [None]

    def call():
        found = module(x, state[0])
        state[0] = found if module.__class__.__name__.endswith("Cell") else found[1]
        return found

    return call


def training(module, x):
    x = x.clone().requires_grad_()

    def call():
        for t in (x, *module.parameters()):
            t.grad = None
        y = module(x)[0]
        y.sum().backward()
        return y

    return call


def ways(kind, size):
    """{name: call} of inference, and of training."""
    torch.manual_seed(size)
    theirs = getattr(torch.nn, kind)(size, size).eval()
    ours, frozen = copy.deepcopy(theirs), copy.deepcopy(theirs)
    for module in (ours, frozen):
        fastlstm.torch.accelerate(module)
    fastlstm.torch.freeze(frozen)
    x = torch.randn(1, size) if kind.endswith("Cell") else torch.randn(1, 1, size)
    modules = {"PyTorch": theirs, "accelerated": ours}
    trained = {} if kind.endswith("Cell") else {n: training(m, x) for n, m in modules.items()}
    modules["frozen"] = frozen
    return {name: inference(module, x) for name, module in modules.items()}, trained


def outputs(call):
    found = call()
    while isinstance(found, tuple):
        found = found[0]
    return found


def measured(calls, rounds):
    """{name: (median in us, PyTorch's time over it)}."""
    base = outputs(calls["PyTorch"])
    for name, call in calls.items():
        error = float((outputs(call) - base).detach().abs().max()) if name != "PyTorch" else 0.0
        assert error <= 1e-5, f"{name}: {error}"
    counts, times = {}, {name: [] for name in calls}
    for name, call in calls.items():
        begin = time.perf_counter()
        for _ in range(20):
            call()
        counts[name] = max(1, round(20 * SAMPLE / (time.perf_counter() - begin)))
    names = list(calls)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            call, count = calls[name], counts[name]
            begin = time.perf_counter()
            for _ in range(count):
                call()
            times[name].append((time.perf_counter() - begin) / count)
    return {
        name: (
            statistics.median(each) * 1e6,
            statistics.median(b / t for b, t in zip(times["PyTorch"], each, strict=True)),
        )
        for name, each in times.items()
    }


def row(kind, size, what, found):
    cells = []
    for name in ("PyTorch", "accelerated", "frozen"):
        us, ratio = found.get(name, (0, 0))
        cells.append(f"{us:.1f}" + f" ({ratio:.2f})" * (name != "PyTorch") if us else "")
    print(f"| {kind} | {size} | {what} | {' | '.join(cells)} |", flush=True)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    torch.set_num_threads(1)
    fastlstm.set_num_threads(1)
    print("| module | I = H | | PyTorch, us | accelerated | frozen |")
    print("|---|---:|---|---:|---:|---:|")
    for kind in KINDS:
        for size in SIZES:
            steps, trained = ways(kind, size)
            with torch.inference_mode():
                row(kind, size, "step", measured(steps, rounds))
            if trained:
                row(kind, size, "training", measured(trained, rounds))


if __name__ == "__main__":
    main()
