# SPDX-License-Identifier: MIT
"""Measures what an LSTM, a GRU and a plain RNN remember, before and after training on two tasks.

    python examples/memory/study.py        # or: make study

    gradient flow   norms of the gradients of a last output to the inputs and states before it
    memory          steps until two different pasts make no difference any more
    tasks           the adding problem and the copy problem, at lags from 50 to 400

README.md beside this file explains them. Every number comes from fastlstm's forward_train and
backward and the Adam of train_numpy.py. Writes results.json beside itself, from which report.py
makes the figures and RESULTS.md.
"""

import argparse
import json
import math
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastlstm

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from train_numpy import Adam  # noqa: E402

INPUT = 8  # features of the random inputs on which gradients are measured before training
MARKS, SYMBOLS = 3, 4  # the copy problem: symbols to copy, and how many different ones there are


class Sizes(NamedTuple):
    """The sizes of a study."""

    hidden: int = 64
    rows: int = 32  # of a batch
    lags: tuple = (50, 100, 200, 400)  # of the tasks
    updates: int = 2500  # of one training, at most
    every: int = 50  # updates between tests whether a task is solved
    steps: int = 400  # of the random inputs
    seeds: int = 10  # of the random inputs and weights
    flow_lag: int = 200  # gradients are measured in networks trained on adding at this lag


TINY = Sizes(8, 4, (6, 8), 20, 10, 12, 2, 8)  # for tests


class Cell(NamedTuple):
    """One of the networks that are compared."""

    name: str
    layer_class: type
    forget: float | str = 0  # added to the forget gates' bias; "lag": log U(1, lag)
    rates: tuple = (1e-2,)  # Adam's; if there are several, the one that does best counts


CELLS = (
    Cell("RNN (tanh)", fastlstm.RNN, rates=(1e-3, 3e-3, 1e-2)),
    Cell("LSTM, forget bias 0", fastlstm.LSTM),
    Cell("LSTM, forget bias 1", fastlstm.LSTM, 1),
    Cell("LSTM, forget bias log U(1, lag)", fastlstm.LSTM, "lag"),
    Cell("GRU", fastlstm.GRU),
)


def weights(cell, inputs, hidden, lag, rng):
    """The initial weights of a Cell, a state dict: torch's U(-1/sqrt(H), 1/sqrt(H)), and what the
    cell adds to its forget gates.

    With "lag" the biases are those of Tallec and Ollivier 2018, equation 16: b_f = log u with u
    from U(1, lag), and b_i = -b_f."""
    bound = 1 / math.sqrt(hidden)
    params = {
        n: rng.uniform(-bound, bound, p.shape).astype(np.float32)
        for n, p in cell.layer_class(inputs, hidden).state_dict().items()
    }
    i, f = slice(0, hidden), slice(hidden, 2 * hidden)
    if cell.forget == "lag":
        times = np.log(rng.uniform(1, lag, hidden))
        for bias, value in (("bias_ih_l0", times), ("bias_hh_l0", 0 * times)):
            params[bias][f], params[bias][i] = value, -value
    elif cell.forget:
        params["bias_ih_l0"][f] += cell.forget
    return params


def make_layer(cell, params):
    """fastlstm's layer of a Cell with these weights."""
    return cell.layer_class.from_state_dict(params, num_threads=1)


def parts(state):
    """The arrays of a state: (h,), or (h, c) of an LSTM."""
    return state if isinstance(state, tuple) else (state,)


def like(state, arrays):
    """`arrays` in the form of `state`: a tuple for an LSTM, else the only array."""
    return tuple(arrays) if isinstance(state, tuple) else arrays[0]


def norm(array):
    """For an array (..., B, n), whose rows have n numbers: sqrt(sum of all squares / B)."""
    return math.sqrt(float((array.astype(np.float64) ** 2).sum()) / array.shape[-2])


def flow(net, x, rng):
    """log10 of the norms |dL/dx_t|, |dL/dh_t| and, of an LSTM, |dL/dc_t|: an array with a row for
    each, and a column for each lag T - 1 - t from 0 to T - 1.

    L = u . h_T, with a random unit vector u for each row; x is (T, B, I). One backward call goes
    back by one step; dL/dh_t and dL/dc_t are its gradients to the state before the step. Between
    the calls they are scaled to 1, which is right because backward is linear in them, and the
    logarithm of the scale is kept: after 400 steps they are far below the smallest float32."""
    steps, rows, _ = x.shape
    state, tapes = None, []
    for t in range(steps):
        _, state, tape = net.forward_train(x[t : t + 1], state)
        tapes.append(tape)
    u = rng.standard_normal((1, rows, net.hidden_size)).astype(np.float32)
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    d_state = [u] + [np.zeros_like(u) for _ in parts(state)[1:]]
    logs, scale = [], 0.0
    for tape in reversed(tapes):
        grads = net.backward(tape, None, like(state, d_state))
        d_state = list(parts(grads.state))
        found = [norm(grads.x), *(norm(d) for d in d_state)]
        logs.append([scale + math.log10(n) if n else -math.inf for n in found])
        largest = max(found[1:])
        if not largest:
            raise ArithmeticError(f"the gradient is 0 after {len(logs)} steps")
        d_state = [d / np.float32(largest) for d in d_state]
        scale += math.log10(largest)
    return np.array(logs).T


def memory(net, pasts, x):
    """How many steps the net remembers which of two pasts it has seen.

    It runs on each of the two inputs `pasts`, and after both on the same x (T, B, I). Gives the
    number of steps of x until the distance between the two states is 1/100 of what it was; T if
    that does not happen."""
    states = [net(past)[1] for past in pasts]

    def distance():
        return norm(np.concatenate([a - b for a, b in zip(*map(parts, states))], axis=-1))

    first = distance()
    for t in range(len(x)):
        states = [net(x[t : t + 1], state)[1] for state in states]
        if distance() < first / 100:
            return t + 1
    return len(x)


def at_start(cell, sizes):
    """Gradient flow and memory of untrained networks on random input: mean, least and largest of
    the flows' logarithms over the seeds, and the median of the memories ("kept")."""
    flows, memories = [], []
    for seed in range(sizes.seeds):
        rng = np.random.default_rng(seed)
        net = make_layer(cell, weights(cell, INPUT, sizes.hidden, sizes.steps, rng))
        x = rng.standard_normal((sizes.steps, sizes.rows, INPUT)).astype(np.float32)
        flows.append(flow(net, x, rng))
        pasts = rng.standard_normal((2, 20, sizes.rows, INPUT)).astype(np.float32)
        memories.append(memory(net, pasts, x))
    flows = np.array(flows)
    return {
        "mean": np.round(flows.mean(0), 4).tolist(),
        "low": np.round(flows.min(0), 4).tolist(),
        "high": np.round(flows.max(0), 4).tolist(),
        "kept": float(np.median(memories)),
    }


def adding(lag, rows, rng):
    """A batch of the adding problem. x (lag, B, 2): numbers in 0..1, and marks of 1 at two of them,
    one in each half; target (1, B, 1): the sum of the two."""
    x = np.zeros((lag, rows, 2), np.float32)
    x[..., 0] = rng.random((lag, rows))
    for half in (0, lag // 2):
        x[half + rng.integers(lag // 2, size=rows), np.arange(rows), 1] = 1
    return x, (x[..., :1] * x[..., 1:]).sum(0)[None]


def copying(lag, rows, rng):
    """A batch of the copy problem. x (lag + 2 M, B, S + 1): M symbols out of S, one-hot, then
    zeros; at the last M steps the last feature is 1 and asks for the symbols, each lag + M steps
    after it was seen. target (M, B, S): the symbols, one-hot."""
    target = np.eye(SYMBOLS, dtype=np.float32)[rng.integers(SYMBOLS, size=(MARKS, rows))]
    x = np.zeros((lag + 2 * MARKS, rows, SYMBOLS + 1), np.float32)
    x[:MARKS, :, :SYMBOLS] = target
    x[-MARKS:, :, SYMBOLS] = 1
    return x, target


def squared(out, target):
    """The mean squared error, and its gradient to `out`."""
    difference = out - target
    return float((difference**2).mean()), 2 * difference / difference.size


def entropy(out, target):
    """The mean cross-entropy of softmax(out) in nats, and its gradient to `out`."""
    out = out - out.max(-1, keepdims=True)
    p = np.exp(out)
    p /= p.sum(-1, keepdims=True)
    rows = target[..., 0].size
    return float(-(target * np.log(p + 1e-12)).sum() / rows), (p - target) / rows


def squared_error(out, target):
    return squared(out, target)[0]


def share_right(out, target):
    """The share of symbols for which the largest output is the right one."""
    return float((out.argmax(-1) == target.argmax(-1)).mean())


class Task(NamedTuple):
    """What a network is trained on."""

    name: str
    batch: callable  # f(lag, rows, rng) -> x (T, B, features), target (steps, B, outputs)
    features: int
    outputs: int
    loss: callable  # f(out, target) -> loss, its gradient
    score: callable  # f(out, target) -> float
    sign: int  # 1 if a smaller score is better, -1 if a larger one is
    enough: float  # the score at which the task is solved

    def solved(self, score):
        return self.sign * score <= self.sign * self.enough


TASKS = (
    Task("adding", adding, 2, 1, squared, squared_error, 1, 0.01),
    Task("copy", copying, SYMBOLS + 1, SYMBOLS, entropy, share_right, -1, 0.99),
)


def train(cell, task, lag, sizes, rate, seed=0):
    """Train one network on one task until a test on 128 sequences that it has not seen finds the
    task solved, or for sizes.updates. Gives a dict of what happened; of the adding network of lag
    sizes.flow_lag also its gradient flow and memory ("flow", "kept").

    The answer is a linear function of the outputs of the last steps: params["head"], H weights and
    a bias for each output."""
    rng = np.random.default_rng([seed, lag])
    params = weights(cell, task.features, sizes.hidden, lag, rng)
    bound = 1 / math.sqrt(sizes.hidden)
    params["head"] = rng.uniform(-bound, bound, (sizes.hidden + 1, task.outputs))
    params["head"] = params["head"].astype(np.float32)
    net = make_layer(cell, {n: p for n, p in params.items() if n != "head"})
    adam = Adam(params, rate=rate)
    tests = task.batch(lag, 128, np.random.default_rng([1, lag]))
    scores, start = [], time.process_time()
    for update in range(1, sizes.updates + 1):
        x, target = task.batch(lag, sizes.rows, rng)
        y, _, tape = net.forward_train(x)
        last = len(target)
        features = np.concatenate([y[-last:], np.ones((*y[-last:].shape[:2], 1), np.float32)], -1)
        d_out = task.loss(features @ params["head"], target)[1]
        dy = np.zeros_like(y)
        dy[-last:] = d_out @ params["head"][:-1].T
        grads = net.backward(tape, dy, input_grad=False).params
        adam.step({**grads, "head": np.tensordot(features, d_out, ([0, 1], [0, 1]))})
        net.load_state_dict({n: p for n, p in params.items() if n != "head"})
        if update % sizes.every == 0 or update == sizes.updates:
            y = net(tests[0])[0][-last:]
            out = y @ params["head"][:-1] + params["head"][-1]
            scores.append(task.score(out, tests[1]))
            if task.solved(scores[-1]):
                break
    result = {
        "cell": cell.name,
        "task": task.name,
        "lag": lag,
        "rate": rate,
        "updates": update,
        "solved": task.solved(scores[-1]),
        "scores": [round(s, 5) for s in scores],
        "cpu": round(time.process_time() - start, 1),
    }
    if task.name == "adding" and lag == sizes.flow_lag:
        result["flow"] = np.round(flow(net, task.batch(lag, sizes.rows, rng)[0], rng), 4).tolist()
        # Memory of the first half of a sequence, with its mark, when numbers without marks follow.
        pasts = [task.batch(lag, sizes.rows, rng)[0][: lag // 2] for _ in range(2)]
        x = task.batch(sizes.steps, sizes.rows, rng)[0]
        x[..., 1] = 0
        result["kept"] = memory(net, pasts, x)
    return result


def best(cell, task, lag, sizes):
    """The training, of those with each of the cell's rates, that solved the task in the fewest
    updates; if none did, the one with the best score."""
    runs = [train(cell, task, lag, sizes, rate) for rate in cell.rates]
    return min(runs, key=lambda r: (not r["solved"], r["updates"], task.sign * r["scores"][-1]))


def run(job):
    """Call job[0] with the rest of the tuple as arguments, in a process of the pool."""
    function, *args = job
    return function(*args)


def study(sizes, processes):
    """Measure everything; gives a dict that report.py reads, and prints a line for each training.
    Long trainings come first, so that none is alone at the end."""
    starts = [(at_start, cell, sizes) for cell in CELLS]
    runs = [
        (best, cell, task, lag, sizes)
        for lag in sorted(sizes.lags, reverse=True)
        for task in TASKS
        for cell in CELLS
    ]
    results = {"sizes": sizes._asdict(), "start": {}, "runs": []}
    with ProcessPoolExecutor(processes) as pool:
        found = pool.map(run, starts + runs)
        for cell in CELLS:
            results["start"][cell.name] = next(found)
        for r in found:
            print(
                f"{r['task']:7s} lag {r['lag']:4d}  {r['cell']:32s} "
                f"{'solved' if r['solved'] else 'not solved'} in {r['updates']:5d} updates, "
                f"score {r['scores'][-1]:.5f}, rate {r['rate']:g}, {r['cpu']:.1f} s of CPU",
                flush=True,
            )
            results["runs"].append(r)
    return results


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="seconds, and learns nothing")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument(
        "--once",
        nargs=5,
        metavar=("CELL", "TASK", "LAG", "RATE", "UPDATES"),
        help='one training alone: "LSTM, forget bias 1" copy 50 1e-3 18000',
    )
    args = parser.parse_args(argv)
    if args.once:
        name, task, lag, rate, updates = args.once
        cell = {cell.name: cell for cell in CELLS}[name]
        task = {task.name: task for task in TASKS}[task]
        r = train(cell, task, int(lag), Sizes(updates=int(updates)), float(rate))
        for at in (min(Sizes().updates, r["updates"]), r["updates"]):
            print(f"after {at} updates: {r['scores'][math.ceil(at / Sizes().every) - 1]}")
        return
    start = time.perf_counter()
    results = study(TINY if args.tiny else Sizes(), args.processes)
    results["seconds"] = round(time.perf_counter() - start)
    results["date"] = time.strftime("%Y-%m-%d")
    results["machine"] = (
        f"{os.cpu_count()} CPUs ({platform.machine()}, {fastlstm.LSTM(1, 1).isa} kernels), "
        f"{args.processes} processes of one thread"
    )
    (args.out / "results.json").write_text(json.dumps(results) + "\n")
    import report

    report.write(results, args.out)


if __name__ == "__main__":
    main()
