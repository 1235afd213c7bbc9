# SPDX-License-Identifier: MIT
"""Training without PyTorch: fastlstm's gradients and twenty lines of Adam in NumPy.

    python examples/train_numpy.py

The adding problem (Hochreiter and Schmidhuber 1997): 50 pairs of a number in 0..1 and a mark; two
of the marks are 1, and the answer is the sum of the numbers beside them. To say 1 always has a mean
squared error of 1/6; to do better the network must keep a number through dozens of steps.
"""

import argparse
import math
import time

import numpy as np

import fastlstm

STEPS, BATCH, HIDDEN = 50, 64, 32


class Adam:
    """Kingma and Ba 2015, algorithm 1; changes the arrays of `params`, {name: array}, in place."""

    def __init__(self, params, rate=3e-3, decay=(0.9, 0.999), epsilon=1e-8):
        self.params, self.rate, self.decay, self.epsilon = params, rate, decay, epsilon
        self.mean = {name: np.zeros_like(p) for name, p in params.items()}
        self.square = {name: np.zeros_like(p) for name, p in params.items()}
        self.t = 0

    def step(self, grads, clip=1.0):
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
    """x (T, B, 2), target (B,)."""
    x = np.zeros((STEPS, BATCH, 2), np.float32)
    x[..., 0] = rng.random((STEPS, BATCH))
    rows = np.arange(BATCH)
    for half in (0, STEPS // 2):  # one mark in each half
        x[half + rng.integers(STEPS // 2, size=BATCH), rows, 1] = 1
    return x, (x[..., 0] * x[..., 1]).sum(0)


def main(argv=None):
    """The mean squared error of the last 50 updates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)

    lstm = fastlstm.LSTM(2, HIDDEN)
    params = {
        n: rng.uniform(-0.2, 0.2, p.shape).astype(np.float32) for n, p in lstm.state_dict().items()
    }
    params["bias_ih_l0"][HIDDEN : 2 * HIDDEN] += 1  # forget gates that begin open
    params["head"] = rng.uniform(-0.2, 0.2, HIDDEN + 1).astype(np.float32)
    adam, errors, start = Adam(params), [], time.perf_counter()
    for update in range(1, args.updates + 1):
        lstm.load_state_dict({n: p for n, p in params.items() if n != "head"})
        x, target = batch(rng)
        _, (h, _), tape = lstm.forward_train(x)
        features = np.concatenate([h[0], np.ones((BATCH, 1), np.float32)], axis=1)
        off = features @ params["head"] - target
        errors.append(float((off**2).mean()))
        d_off = 2 * off / BATCH
        dh = np.outer(d_off, params["head"][:-1])[None]
        grads = lstm.backward(tape, None, (dh, None), input_grad=False).params
        adam.step({**grads, "head": features.T @ d_off})
        if update % 100 == 0 or update == args.updates:
            print(
                f"{update:5d} updates  error {np.mean(errors[-50:]):.5f}  "
                f"{time.perf_counter() - start:.1f} s",
                flush=True,
            )
    return float(np.mean(errors[-50:]))


if __name__ == "__main__":
    main()
