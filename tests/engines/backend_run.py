# SPDX-License-Identifier: MIT
"""python backend_run.py FILE COUNT: results of drawn layers of every kind, by the backend that
FASTLSTM_BACKEND names, into an .npz file. The same draws each time: test_backends.py compares."""

import sys

import numpy as np

import fastlstm


def layer(rng, n):
    I, H = int(rng.integers(1, 40)), int(rng.integers(1, 70))
    options = {
        "num_layers": int(rng.integers(1, 4)), "bias": n % 4 > 0, "batch_first": n % 7 == 0,
        "bidirectional": bool(rng.integers(2)), "dropout": 0.3 if n % 3 == 0 else 0.0,
    }  # fmt: skip
    kind = n % 5
    if kind == 0:
        made = fastlstm.LSTM(I, H, **options, proj_size=int(rng.integers(0, H)))
    elif kind < 3:
        made = fastlstm.GRU(I, H, **options, reset_after=kind == 1)
    else:
        made = fastlstm.RNN(I, H, **options, nonlinearity=("tanh", "relu")[kind - 3])
    weights = {
        k: (rng.uniform(-1, 1, v.shape) / np.sqrt(H)).astype(np.float32)
        for k, v in made.state_dict().items()
    }
    made.load_state_dict(weights)
    return made


def flat(state):
    return state if isinstance(state, tuple) else (state,)


def results(n):
    """{name: array}, names beginning with "forward" or "gradient"."""
    rng = np.random.default_rng(n)
    net = layer(rng, n)
    T, B = int(rng.integers(1, 25)), int(rng.integers(1, 12))

    def draw(*shape):
        return rng.uniform(-1, 1, shape).astype(np.float32)

    x = draw(*((B, T) if net.batch_first else (T, B)), net.input_size)
    lengths = rng.integers(0, T + 1, B) if n % 3 == 0 else None
    first = tuple(draw(*s.shape) for s in flat(net(x)[1]))
    up = tuple(draw(*s.shape) for s in first)
    first, up = (s if isinstance(net, fastlstm.LSTM) else s[0] for s in (first, up))
    y, state = net(x, first if n % 2 else None, lengths=lengths)
    y2, state2, tape = net.forward_train(x, first, lengths=lengths, seed=n)
    grads = net.backward(tape, draw(*y.shape), up)
    forward = [y, *flat(state), y2, *flat(state2)]
    if net.num_directions == 1:
        stream = net.stream(batch_size=B)
        forward += [stream(x), *flat(stream.state)]
    gradients = [grads.x, *flat(grads.state), *grads.params.values()]
    named = {f"forward {n} {i}": a for i, a in enumerate(forward)}
    return named | {f"gradient {n} {i}": a for i, a in enumerate(gradients)}


if __name__ == "__main__":
    found = {}
    for n in range(int(sys.argv[2])):
        found |= results(n)
    np.savez(sys.argv[1], **found)
