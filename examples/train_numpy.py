# SPDX-License-Identifier: MIT
"""Training without PyTorch: gradients from fastlstm, and Adam in twenty lines of NumPy.

    python examples/train_numpy.py

The network learns the adding problem (Hochreiter and Schmidhuber 1997). A sequence has 50 pairs of
a number in 0..1 and a mark. Two of the marks are 1, the others 0, and the answer is the sum of the
two numbers with a mark. Always to answer 1 has a mean squared error of 1/6; to do better the
network must keep a number for dozens of steps.
"""

import argparse
import math
import time

import numpy as np

import fastlstm

STEPS, BATCH, HIDDEN = 50, 64, 32


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1).

    params   {name: array}, changed in place        rate     the paper's alpha
    decay    the paper's beta_1 and beta_2          epsilon  the paper's epsilon
    mean, square   its m and v: moving averages of the gradients and of their squares
    t        updates so far
    """

    def __init__(self, params, rate=3e-3, decay=(0.9, 0.999), epsilon=1e-8):
        self.params, self.rate, self.decay, self.epsilon = params, rate, decay, epsilon
        self.mean = {name: np.zeros_like(p) for name, p in params.items()}
        self.square = {name: np.zeros_like(p) for name, p in params.items()}
        self.t = 0

    def step(self, grads, clip=1.0):
        """One update by `grads`, {name: array}, scaled down if their norm is above `clip`."""
        norm = math.sqrt(sum(float((g * g).sum()) for g in grads.values()))
        scale = min(1.0, clip / (norm + 1e-12))
        self.t += 1
        for name, g in grads.items():
            m, v = self.mean[name], self.square[name]
            m += (1 - self.decay[0]) * (scale * g - m)
            v += (1 - self.decay[1]) * ((scale * g) ** 2 - v)
            m_hat, v_hat = (a / (1 - d**self.t) for a, d in zip((m, v), self.decay, strict=True))
            self.params[name] -= self.rate * m_hat / (np.sqrt(v_hat) + self.epsilon)


def batch(rng):
    """BATCH sequences: x (T, B, 2), numbers and marks; target (B,), the sums."""
    x = np.zeros((STEPS, BATCH, 2), np.float32)
    x[..., 0] = rng.random((STEPS, BATCH))
    rows = np.arange(BATCH)
    for half in (0, STEPS // 2):  # one mark in each half
        x[half + rng.integers(STEPS // 2, size=BATCH), rows, 1] = 1
    return x, (x[..., 0] * x[..., 1]).sum(0)


def main(argv=None):
    """Train and print the error every 100 updates; give the mean squared error of the last 50."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)

    lstm = fastlstm.LSTM(2, HIDDEN)
    params = {
        n: rng.uniform(-0.2, 0.2, p.shape).astype(np.float32) for n, p in lstm.state_dict().items()
    }
    params["bias_ih_l0"][HIDDEN : 2 * HIDDEN] += 1  # the forget gates are open in the beginning
    # The answer is a linear function of the last h: H weights and a bias.
    params["head"] = rng.uniform(-0.2, 0.2, HIDDEN + 1).astype(np.float32)
    adam, errors, start = Adam(params), [], time.perf_counter()
    for update in range(1, args.updates + 1):
        lstm.load_state_dict({n: p for n, p in params.items() if n != "head"})
        x, target = batch(rng)
        _, (h, _), tape = lstm.forward_train(x)
        features = np.concatenate([h[0], np.ones((BATCH, 1), np.float32)], axis=1)
        difference = features @ params["head"] - target
        errors.append(float((difference**2).mean()))
        d_answer = 2 * difference / BATCH
        dh = np.outer(d_answer, params["head"][:-1])[None]
        grads = lstm.backward(tape, None, (dh, None), input_grad=False).params
        adam.step({**grads, "head": features.T @ d_answer})
        if update % 100 == 0 or update == args.updates:
            print(
                f"{update:5d} updates  error {np.mean(errors[-50:]):.5f}  "
                f"{time.perf_counter() - start:.1f} s",
                flush=True,
            )
    return float(np.mean(errors[-50:]))


if __name__ == "__main__":
    main()
