# SPDX-License-Identifier: MIT
"""Do a layer's outputs match a reference, and if not, which known mistake would explain it?

Weights that were converted by hand go wrong in a few ways: the gates' order, a transposed square
matrix, a bias left out or added twice, another activation. Each is tried on a part of the input, in
float64 NumPy written from the equations, one alone and then with another order of the gates.
"""

import dataclasses
import itertools

import numpy as np

from ..engine import arguments
from ..engine.variants import RELU, SIGMOID, TANH, Activation

MAX_STEPS, MAX_ROWS = 24, 2  # of the input that explanations are tried on (steps: one direction)
ROUNDED_ERROR = 0.03  # a difference that int8 or bfloat16 weights alone may make
_GATES = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "h"}
_KNOWN = {
    "ifgo": "PyTorch, Keras", "iofg": "ONNX", "figo": "OpenVINO", "igfo": "TensorFlow 1",
    "ifog": "Caffe", "rzn": "PyTorch", "zrn": "ONNX, Keras",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Verification:
    """What `verify` found; true if the outputs match.

    matches      is max_error at most the tolerance?
    max_error    the largest |ours - reference|; nan if either holds one
    explanation  a sentence
    would        the change that would make them match, in words; None if none is known or needed
    """

    matches: bool
    max_error: float
    explanation: str
    would: str | None = None

    def __bool__(self):
        return self.matches


# ---- the equations, float64

_FUNCTIONS = {
    "sigmoid": lambda z, a: 0.5 * (1 + np.tanh(0.5 * z)),
    "tanh": lambda z, a: np.tanh(z),
    "relu": lambda z, a: np.maximum(z, 0),
    "hard_sigmoid": lambda z, a: np.clip(a.alpha * z + a.beta, 0, 1),
}


def _apply(activation, z):
    return _FUNCTIONS[activation.name](z, activation)


def _step(guess, kind, z, r, bias, h, c):
    """h', c' of one step; z: the input product, r, bias: (gates H, K) and (gates H,)."""
    gate, candidate = guess.gate, guess.candidate
    if kind == "RNN":
        return _apply(candidate, z + h @ r.T + bias), c
    if kind == "LSTM":
        i, f, g, o = np.split(z + h @ r.T + bias, 4, axis=1)
        c = _apply(gate, f) * c + _apply(gate, i) * _apply(candidate, g)
        return _apply(gate, o) * _apply(candidate, c), c
    zr, zz, zn = np.split(z, 3, axis=1)
    rr, rz, rn = np.split(r, 3)
    br, bz, bn = np.split(bias, 3)
    reset, update = _apply(gate, zr + h @ rr.T + br), _apply(gate, zz + h @ rz.T + bz)
    if guess.reset_after:
        new = _apply(candidate, zn + reset * (h @ rn.T + bn))
    else:
        new = _apply(candidate, zn + (reset * h) @ rn.T + bn)
    return (1 - update) * new + update * h, c


def _run(layer, weights, guess, x, state):
    """y of the guess; x (T, B, I) and the state in float64."""
    kind = layer.kind
    h0, c0 = state
    directions = layer.num_directions
    for n in range(layer.num_layers):
        outputs = []
        for d in range(directions):
            end = f"_l{n}" + ("_reverse" if d else "")
            w, r, v, b, e = guess.weights(layer, weights, end)
            h, c = h0[n * directions + d], c0[n * directions + d]
            z = x @ w.T + b
            y = np.empty((*x.shape[:2], h.shape[1]))
            backwards = bool(d) != guess.reversed
            for t in reversed(range(len(x))) if backwards else range(len(x)):
                h, c = _step(guess, kind, z[t], r, e, h, c)
                if v is not None:
                    h = h @ v.T
                y[t] = h
            outputs.append(y)
        x = np.concatenate(outputs[::-1] if guess.swapped else outputs, axis=2)
    return x


# ---- the guesses


@dataclasses.dataclass(frozen=True)
class _Guess:
    """One way in which the weights may have been meant. text: what it says of them."""

    text: str = ""
    order: str | None = None
    ih: str = (
        ""  # "", "T": each gate's square matrix transposed, "reshape": (I, gates H) read as ours
    )
    hh: str = ""
    bias: str = ""
    gate: Activation = SIGMOID
    candidate: Activation = TANH
    reset_after: bool = True
    reversed: bool = False
    swapped: bool = False

    def weights(self, layer, found, end):
        """weight_ih, weight_hh, weight_hr or None, bias_ih, bias_hh, as torch has them."""
        w = np.asarray(found[f"weight_ih{end}"], np.float64)
        r = np.asarray(found[f"weight_hh{end}"], np.float64)
        v = found.get(f"weight_hr{end}")
        zeros = np.zeros(len(w))
        b, e = (
            np.asarray(found.get(f"{n}{end}", zeros), np.float64) for n in ("bias_ih", "bias_hh")
        )
        w, r = self._transposed(w, self.ih), self._transposed(r, self.hh)
        b, e = self._biases(b, e)
        if self.order:
            usual = _GATES[layer.kind]
            parts = [np.split(each, len(usual)) for each in (w, r, b, e)]
            where = [self.order.index(gate) for gate in usual]
            w, r, b, e = (np.concatenate([part[n] for n in where]) for part in parts)
        if self.bias == "forget":
            b = b.copy()
            b[layer.hidden_size : 2 * layer.hidden_size] += 1
        return w, r, None if v is None else np.asarray(v, np.float64), b, e

    def _transposed(self, w, how):
        rows, width = w.shape
        if how == "T" and rows % width == 0:
            return np.concatenate([each.T for each in np.split(w, rows // width)])
        if how == "reshape":
            return w.reshape(width, rows).T
        return w

    def _biases(self, b, e):
        zero = np.zeros_like(b)
        return {
            "none": (zero, zero), "ih": (b, zero), "hh": (zero, e), "twice": (2 * b, 2 * e),
            "half": (b / 2, e / 2),
        }.get(self.bias, (b, e))  # fmt: skip


def _singles(layer):
    """The guesses that change one thing."""
    usual = _usual(layer)
    gates = _GATES[layer.kind]
    change = lambda text, **values: dataclasses.replace(usual, text=text, **values)  # noqa: E731
    for order in map("".join, itertools.permutations(gates)):
        if order != gates:
            known = f" ({_KNOWN[order]})" if order in _KNOWN else ""
            yield change(f"the gates are in the order {', '.join(order)}{known}", order=order)
    yield from _transpositions(layer, usual)
    yield from _biases(layer, usual)
    for text, alpha, beta in (
        ("0.2 x + 0.5 (Keras 2, ONNX)", 0.2, 0.5), ("x / 6 + 0.5 (Keras 3)", 1 / 6, 0.5),
    ):  # fmt: skip
        if layer.kind != "RNN":
            hard = Activation("hard_sigmoid", alpha, beta)
            yield change(f"the gates' activation is the hard sigmoid {text}", gate=hard)
    for activation in (TANH, RELU, SIGMOID):
        if activation != usual.candidate:
            yield change(f"the activation is {activation} instead of {usual.candidate}",
                         candidate=activation)  # fmt: skip
    if layer.kind == "GRU":
        other = not usual.reset_after
        yield change(f"the GRU is one with reset_after={other}", reset_after=other)
    if layer.bidirectional:
        yield change("the two directions are exchanged in the output", swapped=True)
    yield change("time runs backwards", reversed=True)


def _transpositions(layer, usual):
    width = layer.proj_size or layer.hidden_size
    square = layer.input_size == layer.hidden_size and layer.num_layers * layer.num_directions == 1
    changes = [("hh", "T")] if width == layer.hidden_size else []
    changes += [("hh", "reshape"), ("ih", "reshape")] + ([("ih", "T")] if square else [])
    texts = {"T": "is transposed in each gate", "reshape": "was reshaped instead of transposed"}
    for part, how in changes:
        yield dataclasses.replace(usual, text=f"weight_{part} {texts[how]}", **{part: how})
    if square or len(changes) > 2:
        for how in ("T", "reshape") if square else ("reshape",):
            yield dataclasses.replace(
                usual, text=f"weight_ih {texts[how]}, and so is weight_hh", ih=how, hh=how
            )


def _biases(layer, usual):
    if layer.bias:
        for bias, text in (
            ("none", "there are no biases"), ("ih", "bias_hh is not there"),
            ("hh", "bias_ih is not there"),
            ("twice", "the biases are added twice"), ("half", "the biases are halved"),
        ):  # fmt: skip
            yield dataclasses.replace(usual, text=text, bias=bias)
    if layer.kind == "LSTM":
        text = "1 is added to the forget gate's bias (forget_bias of TensorFlow 1)"
        yield dataclasses.replace(usual, text=text, bias="forget")


def _pairs(layer):
    """Another order of the gates together with one of the other changes."""
    singles = list(_singles(layer))
    orders = [guess for guess in singles if guess.order]
    for guess in singles:
        if not guess.order and not guess.swapped:
            for order in orders:
                yield dataclasses.replace(
                    guess, order=order.order, text=f"{order.text}, and {guess.text}"
                )


def _usual(layer):
    relu = getattr(layer, "nonlinearity", "tanh") == "relu"
    return _Guess(candidate=RELU if relu else TANH, reset_after=getattr(layer, "reset_after", True))


# ---- the comparison


def _error(ours, theirs):
    with np.errstate(invalid="ignore"):
        return float(np.abs(ours - theirs).max(initial=0)) if ours.size else 0.0


def _part(layer, x, y, state):
    """x, y (T, B, ...) and states in float64, cut to what explanations are tried on. state: as
    arguments.states gives it."""
    if x.ndim == 2:
        x, y = x[:, None], y[:, None]
    elif layer.batch_first:
        x, y = x.swapaxes(0, 1), y.swapaxes(0, 1)
    rows = min(x.shape[1], MAX_ROWS)
    steps = len(x) if layer.bidirectional else min(len(x), MAX_STEPS)
    count, width = layer.num_layers * layer.num_directions, y.shape[2] // layer.num_directions
    if state is None:
        state = [np.zeros((count, rows, n)) for n in (width, layer.hidden_size)]
    else:
        state = [np.asarray(each, np.float64)[:, :rows] for each in state]
        state += [np.zeros((count, rows, 0))] if len(state) == 1 else []
    x, y = (np.asarray(each, np.float64) for each in (x, y))
    return x[:steps, :rows], y[:steps, :rows], state, (steps, rows)


def verify(layer, x, y, state=None, *, tolerance=1e-5):
    """A Verification of layer(x, state) against y. See LSTM.verify."""
    x, y = arguments.real("x", x), arguments.real("y", y)
    ours = layer(x, state)[0]
    batched = x.ndim == 3
    rows = x.shape[0 if layer.batch_first else 1] if batched else 1
    given = arguments.states(state, layer.state_shapes(rows), batched)
    if ours.shape != y.shape:
        swapped = y.shape == (ours.shape[1], ours.shape[0], *ours.shape[2:]) and ours.ndim == 3
        hint = "; is it (batch, time, features)? set batch_first" if swapped else ""
        raise ValueError(f"the reference has the shape {y.shape}, the outputs {ours.shape}{hint}")
    error = _error(ours, y)
    if error <= tolerance:
        text = f"the outputs match the reference: the largest difference is {error:.1e}"
        return Verification(True, error, text)
    start = f"the largest difference is {error:.2g}, more than {tolerance:g}"
    if layer.dtype in ("int8", "bfloat16") and error <= ROUNDED_ERROR:
        return Verification(
            False, error,
            f"{start}; the layer's weights are {layer.dtype}, whose outputs are often that far "
            "from float32's: verify the float32 layer, or raise the tolerance",
        )  # fmt: skip
    if not np.isfinite(error):
        return Verification(False, error, "the outputs or the reference are not finite")
    torchs = layer.output_order == "time" and layer.merge == "concat"
    if layer.variant or layer.initial_state is not None or not torchs:
        return Verification(
            False, error, f"{start}; known mistakes are looked for in torch's own cells alone"
        )
    px, py, pstate, cut = _part(layer, x, y, given)
    weights, tried = {n: a.astype(np.float32) for n, a in layer.packed.arrays.items()}, 0
    for guesses in (_singles(layer), _pairs(layer)):
        found = []
        for guess in guesses:
            if cut[0] > 10 * MAX_STEPS and tried >= 64:
                break  # both directions of a long sequence: the likely ones only
            tried += 1
            with np.errstate(over="ignore", invalid="ignore"):
                found.append((_error(_run(layer, weights, guess, px, pstate), py), guess))
        found = [(e, guess) for e, guess in found if e <= tolerance]
        if found:
            best, guess = min(found, key=lambda each: each[0])
            return Verification(
                False, error,
                f"{start}; it would be {best:.1e} if {guess.text}", guess.text,
            )  # fmt: skip
    return Verification(
        False, error, f"{start}, and none of {tried} known mistakes would explain it"
    )
