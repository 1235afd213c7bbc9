# SPDX-License-Identifier: MIT
"""What an LSTM, a GRU and a plain RNN remember: gradients over 400 steps and two tasks, measured.

    python examples/memory/study.py        # or: make study

Every number comes from fastlstm's own forward_train and backward and the Adam of train_numpy.py.
Writes results.json beside itself; report.py makes the figures and RESULTS.md of it.
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

INPUT, MARKS, SYMBOLS = 8, 3, 4  # features of random inputs; the copy problem's sequence, alphabet


class Sizes(NamedTuple):
    hidden: int = 64
    rows: int = 32  # of a batch
    lags: tuple = (50, 100, 200, 400)
    updates: int = 2500
    every: int = 50  # updates between tests
    steps: int = 400  # of the gradients
    seeds: int = 10  # of the gradients
    flow_lag: int = 200  # the adding networks of this lag are looked into after training


TINY = Sizes(8, 4, (6, 8), 20, 10, 12, 2, 8)


class Cell(NamedTuple):
    name: str
    kind: type
    forget: float | str = 0  # added to the forget gates' bias; "lag": log U(1, lag)
    rates: tuple = (1e-2,)  # Adam's; of several the one that did best counts


CELLS = (
    Cell("RNN (tanh)", fastlstm.RNN, rates=(1e-3, 3e-3, 1e-2)),
    Cell("LSTM, forget bias 0", fastlstm.LSTM),
    Cell("LSTM, forget bias 1", fastlstm.LSTM, 1),
    Cell("LSTM, forget bias log U(1, lag)", fastlstm.LSTM, "lag"),
    Cell("GRU", fastlstm.GRU),
)


def weights(cell, inputs, hidden, lag, rng):
    """torch's U(-1/sqrt(H), 1/sqrt(H)), and what the cell adds to its forget gates.

    "lag" is Tallec and Ollivier 2018, equation 16: b_f = log u, b_i = -b_f, u from U(1, lag)."""
    bound = 1 / math.sqrt(hidden)
    params = {
        n: rng.uniform(-bound, bound, p.shape).astype(np.float32)
        for n, p in cell.kind(inputs, hidden).state_dict().items()
    }
    i, f = slice(0, hidden), slice(hidden, 2 * hidden)
    if cell.forget == "lag":
        times = np.log(rng.uniform(1, lag, hidden))
        for bias, value in (("bias_ih_l0", times), ("bias_hh_l0", 0 * times)):
            params[bias][f], params[bias][i] = value, -value
    elif cell.forget:
        params["bias_ih_l0"][f] += cell.forget
    return params


def layer(cell, params):
    return cell.kind.from_state_dict(params, num_threads=1)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def like(state, arrays):
    return tuple(arrays) if isinstance(state, tuple) else arrays[0]


def norm(array):
    """The root of the mean over rows of |row|^2: array (..., B, n)."""
    return math.sqrt(float((array.astype(np.float64) ** 2).sum()) / array.shape[-2])


def flow(net, x, rng):
    """log10 |dL/dx_t|, |dL/dh_t| and, of an LSTM, |dL/dc_t| for lag T-1-t = 0 .. T-1.

    L = u . h_T, u a random unit vector for each row; x (T, B, I). dL/dh_t and dL/dc_t come from a
    backward call on the step from t, as gradients of its initial state. Between the calls they are
    scaled to 1 and the scale kept as a logarithm: backward is linear in them, and after 400 steps
    float32 would long have ended."""
    steps, rows, _ = x.shape
    state, tapes = None, []
    for t in range(steps):
        _, state, tape = net.forward_train(x[t : t + 1], state)
        tapes.append(tape)
    u = rng.standard_normal((1, rows, net.hidden_size)).astype(np.float32)
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    up = [u] + [np.zeros_like(u) for _ in parts(state)[1:]]
    logs, scale = [], 0.0
    for tape in reversed(tapes):
        grads = net.backward(tape, None, like(state, up))
        up = list(parts(grads.state))
        found = [norm(grads.x), *(norm(d) for d in up)]
        logs.append([scale + math.log10(n) if n else -math.inf for n in found])
        largest = max(found[1:])
        if not largest:
            raise ArithmeticError(f"the gradient is 0 after {len(logs)} steps")
        up = [d / np.float32(largest) for d in up]
        scale += math.log10(largest)
    return np.array(logs).T


def kept(net, pasts, x):
    """Steps of the same x (T, B, I) after two different pasts until the states that these left are
    1/100 as far apart as they were; T if that does not happen."""
    states = [net(past)[1] for past in pasts]

    def apart():
        return norm(np.concatenate([a - b for a, b in zip(*map(parts, states))], axis=-1))

    first = apart()
    for t in range(len(x)):
        states = [net(x[t : t + 1], state)[1] for state in states]
        if apart() < first / 100:
            return t + 1
    return len(x)


def at_start(cell, sizes):
    """Gradients of untrained networks on random input: mean over the seeds of the logarithms."""
    flows, lasts = [], []
    for seed in range(sizes.seeds):
        rng = np.random.default_rng(seed)
        net = layer(cell, weights(cell, INPUT, sizes.hidden, sizes.steps, rng))
        x = rng.standard_normal((sizes.steps, sizes.rows, INPUT)).astype(np.float32)
        flows.append(flow(net, x, rng))
        pasts = rng.standard_normal((2, 20, sizes.rows, INPUT)).astype(np.float32)
        lasts.append(kept(net, pasts, x))
    flows = np.array(flows)
    return {
        "mean": np.round(flows.mean(0), 4).tolist(),
        "low": np.round(flows.min(0), 4).tolist(),
        "high": np.round(flows.max(0), 4).tolist(),
        "kept": float(np.median(lasts)),
    }


def adding(lag, rows, rng):
    """x (lag, B, 2): numbers in 0..1 and two marks, one in each half; target (1, B, 1): the sum
    of the marked."""
    x = np.zeros((lag, rows, 2), np.float32)
    x[..., 0] = rng.random((lag, rows))
    for half in (0, lag // 2):
        x[half + rng.integers(lag // 2, size=rows), np.arange(rows), 1] = 1
    return x, (x[..., :1] * x[..., 1:]).sum(0)[None]


def copying(lag, rows, rng):
    """x (lag + 2 M, B, S + 1): M symbols of S, then nothing; the last feature says "now" for M
    steps, each symbol's cue `lag` + M steps behind it. target (M, B, S): the symbols, one-hot."""
    target = np.eye(SYMBOLS, dtype=np.float32)[rng.integers(SYMBOLS, size=(MARKS, rows))]
    x = np.zeros((lag + 2 * MARKS, rows, SYMBOLS + 1), np.float32)
    x[:MARKS, :, :SYMBOLS] = target
    x[-MARKS:, :, SYMBOLS] = 1
    return x, target


def squared(out, target):
    """Mean squared error and its gradient."""
    off = out - target
    return float((off**2).mean()), 2 * off / off.size


def entropy(out, target):
    """Mean cross-entropy of softmax(out), in nats, and its gradient."""
    out = out - out.max(-1, keepdims=True)
    p = np.exp(out)
    p /= p.sum(-1, keepdims=True)
    rows = target[..., 0].size
    return float(-(target * np.log(p + 1e-12)).sum() / rows), (p - target) / rows


def error(out, target):
    return squared(out, target)[0]


def right(out, target):
    """The share of symbols right."""
    return float((out.argmax(-1) == target.argmax(-1)).mean())


class Task(NamedTuple):
    name: str
    batch: callable
    features: int
    outputs: int
    loss: callable
    score: callable
    sign: int  # of the score: 1 if less is better
    enough: float

    def solved(self, score):
        return self.sign * score <= self.sign * self.enough


TASKS = (
    Task("adding", adding, 2, 1, squared, error, 1, 0.01),
    Task("copy", copying, SYMBOLS + 1, SYMBOLS, entropy, right, -1, 0.99),
)


def train(cell, task, lag, sizes, rate, seed=0):
    """One network on one task: until a test of 128 fresh sequences says solved, or to the end."""
    rng = np.random.default_rng([seed, lag])
    params = weights(cell, task.features, sizes.hidden, lag, rng)
    bound = 1 / math.sqrt(sizes.hidden)
    params["head"] = rng.uniform(-bound, bound, (sizes.hidden + 1, task.outputs))
    params["head"] = params["head"].astype(np.float32)
    net, adam = layer(cell, {n: p for n, p in params.items() if n != "head"}), None
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
        # what is kept of a first half, with its mark, when numbers without marks follow
        pasts = [task.batch(lag, sizes.rows, rng)[0][: lag // 2] for _ in range(2)]
        x = task.batch(sizes.steps, sizes.rows, rng)[0]
        x[..., 1] = 0
        result["kept"] = kept(net, pasts, x)
    return result


def best(cell, task, lag, sizes):
    """Of the cell's rates the one that solved it in the fewest updates, or came nearest."""
    runs = [train(cell, task, lag, sizes, rate) for rate in cell.rates]
    return min(runs, key=lambda r: (not r["solved"], r["updates"], task.sign * r["scores"][-1]))


def run(job):
    function, *args = job
    return function(*args)


def study(sizes, processes):
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
        help='one run, on its own: "LSTM, forget bias 1" copy 50 1e-3 18000',
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
