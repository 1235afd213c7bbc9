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


CELLS = ("lstm", "gru", "gru_before", "rnn_tanh", "rnn_relu")  # of number n: CELLS[n % 5]


def flat(state):
    return state if isinstance(state, tuple) else (state,)


class Draw:
    """Number n: a layer `net`; x; lengths, or None; the initial state `first`; dy and `up`, the
    gradients of y and of the final state. States are tuples."""

    def __init__(self, n):
        rng = np.random.default_rng(n)
        self.net = net = layer(rng, n)
        T, B = int(rng.integers(1, 25)), int(rng.integers(1, 12))

        def draw(*shape):
            return rng.uniform(-1, 1, shape).astype(np.float32)

        tracks, width = net.num_layers * net.num_directions, getattr(net, "proj_size", 0)
        shapes = [(tracks, B, width or net.hidden_size)]
        shapes += [(tracks, B, net.hidden_size)] if isinstance(net, fastlstm.LSTM) else []
        self.x = draw(*((B, T) if net.batch_first else (T, B)), net.input_size)
        self.lengths = rng.integers(0, T + 1, B) if n % 3 == 0 else None
        self.first = tuple(draw(*shape) for shape in shapes)
        self.up = tuple(draw(*shape) for shape in shapes)
        self.dy = draw(*self.x.shape[:2], net.num_directions * shapes[0][2])

    def state(self, parts):
        """A state as the layer takes it."""
        return parts if len(parts) == 2 else parts[0]


def states(drawn, n):
    """[(h, c)] of each track, (T + 1, B, K or H) of float32: the states before each of its steps
    and the last one. A tape of segments of one step keeps them."""
    net, T = drawn.net, drawn.x.shape[1 if drawn.net.batch_first else 0]
    y, final, tape = net.forward_train(
        drawn.x, drawn.state(drawn.first), lengths=drawn.lengths, seed=n, checkpoint=1
    )
    found = []
    for i in range(net.num_layers * net.num_directions):
        stacks = tape._kept.stacks
        if tape._kept.by_track:
            stack, row = stacks[i // net.num_directions][i % net.num_directions], 0
        else:
            stack, row = stacks[0][0], i
        assert len(stack.starts) == T
        parts = [
            np.stack([*(start[k][row] for start in stack.starts), end[i]])
            for k, end in enumerate(flat(final))
        ]
        found.append((parts[0], parts[1] if len(parts) == 2 else parts[0][..., :0]))
    return y, found


def results(n):
    """{name: array}, names beginning with "forward", "gradient" or "state"."""
    drawn = Draw(n)
    net, x, lengths, first = drawn.net, drawn.x, drawn.lengths, drawn.state(drawn.first)
    y, state = net(x, first if n % 2 else None, lengths=lengths)
    y2, state2, tape = net.forward_train(x, first, lengths=lengths, seed=n)
    grads = net.backward(tape, drawn.dy, drawn.state(drawn.up))
    forward = [y, *flat(state), y2, *flat(state2)]
    if net.num_directions == 1:
        stream = net.stream(batch_size=len(drawn.first[0][0]))
        forward += [stream(x), *flat(stream.state)]
    by_steps, of_tracks = states(drawn, n)
    forward.append(by_steps)
    gradients = {"x": grads.x, **dict(zip(("h0", "c0"), flat(grads.state), strict=False))}
    named = {f"forward {n} {i}": a for i, a in enumerate(forward)}
    named |= {f"gradient {n} {k}": a for k, a in (gradients | grads.params).items()}
    named |= {f"state {n} {i} {k}": a for i, t in enumerate(of_tracks) for k, a in enumerate(t)}
    return named


if __name__ == "__main__":
    found = {}
    for n in range(int(sys.argv[2])):
        found |= results(n)
    np.savez(sys.argv[1], **found)
