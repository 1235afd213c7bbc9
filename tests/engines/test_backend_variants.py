# SPDX-License-Identifier: MIT
"""Variants on the backends without C, through their Net itself, against variant_oracle.py: forward
by its values, gradients by its differences along random directions, all in float64."""

import importlib
import importlib.util
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import variant_oracle
from conftest import FULL

from fastlstm.variants import USUAL, Activation, Layer

DRAWN = 300 if FULL else 60
VALUE, GRADIENT = 2e-6, 1e-5  # to the largest of 1 and the array's elements; to its largest
CELLS = {"LSTM": ["lstm"], "GRU": ["gru", "gru_before"], "RNN": ["rnn_tanh"]}
ACTIVATIONS = [
    Activation("sigmoid"), Activation("tanh"), Activation("relu"), Activation("affine", 0.7, 0.1),
    Activation("leaky_relu", 0.1), Activation("thresholded_relu", 0.3),
    Activation("scaled_tanh", 1.2, 0.8), Activation("hard_sigmoid", 0.2, 0.5),
    Activation("elu", 0.9), Activation("softsign"), Activation("softplus"), Activation("selu"),
    Activation("gelu"), Activation("silu"), Activation("exponential"),
]  # fmt: skip

BOUNDED = [a for a in ACTIVATIONS if a.name in ("hard_sigmoid", "sigmoid", "softsign", "tanh")]


@pytest.fixture(params=["numba", "numpy"])
def backend(request):
    if request.param == "numba" and not importlib.util.find_spec("numba"):
        pytest.skip("Numba is not there")
    return importlib.import_module(f"fastlstm.engine.{request.param}.backend")


def draw(rng, n):
    """Layer, cell's name, Variant, weights, in the order of Net.set for each direction."""
    kind = ("LSTM", "LSTM", "GRU", "RNN")[n % 4]
    direction = ("forward", "reverse", "bidirectional")[n % 3]
    I, H, dirs = int(rng.integers(1, 20)), int(rng.integers(1, 40)), 1 + (direction[0] == "b")
    clip = float(rng.uniform(0.2, 1)) if rng.integers(2) else None
    # what grows without bound would grow past float32 too: the clip holds it, but not the last
    choices = [BOUNDED if clip is None or place == 2 else ACTIVATIONS for place in range(3)]
    choices = choices[: len(USUAL[kind])]
    acts = tuple(tuple(some[rng.integers(len(some))] for some in choices) for _ in range(dirs))
    cell = CELLS[kind][n // 4 % len(CELLS[kind])]
    coupled = kind == "LSTM" and bool(rng.integers(2))
    peepholes = kind == "LSTM" and bool(rng.integers(2))
    layer = Layer(
        kind, I, H, direction=direction, activations=acts, clip=clip, input_forget=coupled,
        reset_after=cell != "gru_before",
    )  # fmt: skip
    variant = SimpleNamespace(
        activations=acts, clip=clip, input_forget=coupled, peepholes=peepholes,
        reverse=direction == "reverse",
    )  # fmt: skip
    G = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind] * H
    weights = {}
    for end in ("_l0", "_l0_reverse")[:dirs]:
        shapes = {"weight_ih": (G, I), "weight_hh": (G, H), "bias_ih": (G,), "bias_hh": (G,)}
        if peepholes:
            shapes["peephole"] = (3 * H,)
        for name, shape in shapes.items():
            scale = 0.5 if name == "peephole" else 1 / np.sqrt(H)
            weights[name + end] = (scale * rng.uniform(-1, 1, shape)).astype(np.float32)
    return layer, cell, variant, weights


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "peephole")


def net(backend, layer, cell, variant, weights):
    dirs = layer.num_directions
    made = backend.Net(cell, layer.input_size, layer.hidden_size, 0, 1, dirs, None, variant=variant)
    made.weights = weights
    backward_weights = backend.BackwardWeights(made)
    for d, end in enumerate(("_l0", "_l0_reverse")[:dirs]):
        own = [weights.get(name + end) for name in NAMES]
        made.set(0, d, *own)
        backward_weights.set(made, 0, d, *own[:2], None)
    return made, backward_weights


def case(n):
    rng = np.random.default_rng(n)
    layer, cell, variant, weights = draw(rng, n)
    T, B = int(rng.integers(1, 12)), int(rng.integers(1, 9))

    def some(*shape):
        return rng.uniform(-1, 1, shape).astype(np.float32)

    shape = layer.num_directions, B, layer.hidden_size
    values = {"x": some(T, B, layer.input_size), "h0": some(*shape)}
    if layer.kind == "LSTM":
        values["c0"] = some(*shape)
    lengths = rng.integers(0, T + 1, B) if n % 2 else None
    up = [some(T, B, layer.num_directions * layer.hidden_size), some(*shape), some(*shape)]
    if lengths is not None:
        up[0][np.arange(T)[:, None] >= lengths] = 0
    return rng, layer, cell, variant, weights, values, lengths, up


def oracle(layer, values, weights, lengths):
    state = values["h0"], values.get("c0", values["h0"])
    return variant_oracle.run(layer, weights, values["x"], state, lengths)[
        : 3 if "c0" in values else 2
    ]


def loss(layer, values, weights, lengths, up, which, step):
    """The oracle's, with `step` added to one of the values or weights."""
    moved = {
        k: v.astype(np.float64) + (step if k == which else 0) for k, v in (values | weights).items()
    }
    return sum((a * b).sum() for a, b in zip(oracle(layer, moved, moved, lengths), up))


@pytest.mark.parametrize("part", range(4))
def test_values_and_gradients(backend, part):
    for n in range(part, DRAWN, 4):
        rng, layer, cell, variant, weights, values, lengths, up = case(n)
        made, backward_weights = net(backend, layer, cell, variant, weights)
        x, *state = values.values()
        given = tuple(state) if layer.kind == "LSTM" else state[0]
        y, got = made.forward(x, given, None, lengths, True, False, 1)
        got = [y, *(got if layer.kind == "LSTM" else [got])]
        for a, want in zip(got, oracle(layer, values, weights, lengths), strict=True):
            error = np.abs(a - want).max(initial=0)
            assert error <= VALUE * max(1, np.abs(want).max(initial=0)), (n, layer)
        last, _ = made.forward(x, given, None, lengths, False, False, 1)
        assert last.tobytes() == np.concatenate(list(got[1]), 1).tobytes()
        y2, final, tape = backend.forward_train(made, x, tuple(state), lengths, 0.0, 0, False, 1)
        for a, b in zip([y2, *final], got, strict=True):
            assert a.tobytes() == b.tobytes()

        gradients = [
            [None if (w := weights.get(name + end)) is None else np.empty_like(w) for name in NAMES]
            for end in ("_l0", "_l0_reverse")[: layer.num_directions]
        ]
        down = tuple(up[1 : len(values)])
        dx, dstate = backend.backward(backward_weights, tape, up[0], down, True, True, gradients, 1)
        got = dict(zip(values, (dx, *dstate), strict=True))
        for end, track in zip(("_l0", "_l0_reverse"), gradients):
            got |= {name + end: a for name, a in zip(NAMES, track) if a is not None}

        for name, d in got.items():
            for _ in range(2):
                step = 1e-6 * rng.standard_normal(d.shape)
                above, below = (
                    loss(layer, values, weights, lengths, up, name, s) for s in (step, -step)
                )
                want = (above - below) / 2
                size = max(np.abs(d).max(initial=0) * np.sqrt(d.size), 1e-3)
                assert abs((d * step).sum() - want) / 1e-6 <= GRADIENT * size, (n, name, layer)
        if layer.input_forget:
            H = layer.hidden_size
            assert not any(track[0][H : 2 * H].any() for track in gradients)


def test_every_activation_in_every_place(backend):
    rng = np.random.default_rng(7)
    for kind, act in itertools.product(CELLS, ACTIVATIONS):
        for place, cell in itertools.product(range(len(USUAL[kind])), CELLS[kind]):
            acts = tuple(act if i == place else one for i, one in enumerate(USUAL[kind]))
            layer = Layer(kind, 3, 5, activations=(acts,), reset_after=cell != "gru_before")
            G = 5 * {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
            weights = {
                f"{name}_l0": rng.uniform(-0.3, 0.3, shape).astype(np.float32)
                for name, shape in zip(NAMES, ((G, 3), (G, 5), (G,), (G,)))
            }
            variant = SimpleNamespace(
                activations=(acts,), clip=None, input_forget=False, peepholes=False, reverse=False
            )
            made, _ = net(backend, layer, cell, variant, weights)
            x = rng.uniform(-1, 1, (4, 2, 3)).astype(np.float32)
            want = variant_oracle.run(layer, weights, x)[0]
            got = made.forward(x, None, None, None, True, False, 1)[0]
            assert np.abs(got - want).max() <= VALUE * max(1, np.abs(want).max()), (kind, acts)
