# SPDX-License-Identifier: MIT
"""Drawn layers of every variant, and what torch in float64 makes of them: outputs and gradients.

The equations are composed by hand of torch's functions (nn.LSTM knows no variants); forward they
are held to variant_oracle.py, which knows no torch.
"""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
import variant_oracle

import fastlstm
from fastlstm.variants import DEFAULTS, USUAL, Activation, Layer

KINDS = ("LSTM", "GRU", "RNN")
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FUNCTIONS = {
    "sigmoid": lambda z, a: torch.sigmoid(z),
    "tanh": lambda z, a: torch.tanh(z),
    "relu": lambda z, a: F.relu(z),
    "affine": lambda z, a: a.alpha * z + a.beta,
    "leaky_relu": lambda z, a: F.leaky_relu(z, a.alpha),
    "thresholded_relu": lambda z, a: F.threshold(z, a.alpha, 0.0),
    "scaled_tanh": lambda z, a: a.alpha * torch.tanh(a.beta * z),
    "hard_sigmoid": lambda z, a: torch.clamp(a.alpha * z + a.beta, 0, 1),
    "elu": lambda z, a: F.elu(z, a.alpha),
    "softsign": lambda z, a: F.softsign(z),
    "softplus": lambda z, a: F.softplus(z, threshold=50),
    "selu": lambda z, a: F.selu(z),
    "silu": lambda z, a: F.silu(z),
    "gelu": lambda z, a: F.gelu(z),
    "exponential": lambda z, a: torch.exp(z),
}
BOUNDED = ("sigmoid", "tanh", "scaled_tanh", "hard_sigmoid", "softsign")


def activation(rng, names=tuple(DEFAULTS)):
    """One with drawn numbers."""
    name = str(rng.choice(names))
    numbers = [None if d is None else float(rng.uniform(0.2, 0.9)) for d in DEFAULTS[name]]
    return Activation(name, *numbers)


@dataclasses.dataclass
class Case:
    kind: str
    I: int
    H: int
    P: int
    L: int
    D: int
    T: int
    B: int
    batch_first: bool
    reset_after: bool
    options: dict
    weights: dict
    x: np.ndarray
    state: tuple | None
    lengths: np.ndarray | None
    upstream: list  # dy, dh, dc

    def layer(self, isa=None, **more):
        kind = getattr(fastlstm, self.kind)
        own = {"reset_after": self.reset_after} if self.kind == "GRU" else {}
        own |= {"proj_size": self.P} if self.P else {}
        layer = kind(
            self.I, self.H, self.L, batch_first=self.batch_first, bidirectional=self.D == 2,
            isa=isa, **own, **self.options, **more,
        )  # fmt: skip
        assert layer.load_state_dict(self.weights) == ([], [])
        return layer

    def given(self):
        """The state as a call takes it."""
        if self.state is None:
            return None
        return self.state if self.kind == "LSTM" else self.state[0]

    def description(self, layer):
        """A variants.Layer of one of its layers, for variant_oracle."""
        acts = self.options.get("activations") or (USUAL[self.kind],) * self.D
        reverse = "reverse" if self.options.get("reverse") else "forward"
        return Layer(
            self.kind, self.I, self.H, direction="bidirectional" if self.D == 2 else reverse,
            activations=acts, reset_after=self.reset_after, clip=self.options.get("clip"),
            input_forget=self.options.get("input_forget", False),
        )  # fmt: skip


def drawn(seed, kind=None, wide=40, steps=9, batch=6, **fixed):
    """A Case. fixed: values of its fields that are not drawn."""
    rng = np.random.default_rng([11, seed])
    kind = kind or KINDS[seed % 3]
    choose = lambda *options: options[int(rng.integers(len(options)))]  # noqa: E731
    n = {"I": int(rng.integers(1, wide)), "H": int(rng.integers(1, wide))}
    n |= {"T": int(rng.integers(1, steps)), "B": int(rng.integers(1, batch))}
    n |= {"L": choose(1, 1, 2, 3), "D": choose(1, 2), "P": 0}
    if kind == "LSTM" and n["H"] > 1 and rng.random() < 0.2:
        n["P"] = int(rng.integers(1, n["H"]))
    n |= {name: value for name, value in fixed.items() if name in n}
    options, count = {}, len(USUAL[kind])
    if rng.random() < 0.8:
        names = BOUNDED if rng.random() < 0.4 else tuple(DEFAULTS)
        each = [tuple(activation(rng, names) for _ in range(count)) for _ in range(n["D"])]
        options["activations"] = tuple(each)
    if rng.random() < 0.4:
        options["clip"] = float(rng.uniform(0.3, 1.5))
    if kind == "LSTM":
        options["input_forget"] = bool(rng.random() < 0.3)
        options["peepholes"] = bool(rng.random() < 0.5)
    if n["D"] == 1:
        options["reverse"] = bool(rng.random() < 0.4)
    options |= {name: value for name, value in fixed.items() if name not in n}
    wild = not all(a.name in BOUNDED for each in options.get("activations", ()) for a in each)
    scale = (0.25 if wild else 0.8) / np.sqrt(n["H"])
    real = lambda scale, *shape: rng.uniform(-scale, scale, shape).astype(np.float32)  # noqa: E731
    width, gates, weights = n["P"] or n["H"], GATES[kind] * n["H"], {}
    for layer in range(n["L"]):
        for end in (f"_l{layer}", f"_l{layer}_reverse")[: n["D"]]:
            wide_in = n["D"] * width if layer else n["I"]
            weights[f"weight_ih{end}"] = real(scale, gates, wide_in)
            weights[f"weight_hh{end}"] = real(scale, gates, width)
            weights[f"bias_ih{end}"], weights[f"bias_hh{end}"] = real(0.5, gates), real(0.5, gates)
            if n["P"]:
                weights[f"weight_hr{end}"] = real(scale, n["P"], n["H"])
            if options.get("peepholes"):
                weights[f"peephole{end}"] = real(0.5, 3 * n["H"])
    first = bool(rng.integers(2))
    x = real(1, *((n["B"], n["T"]) if first else (n["T"], n["B"])), n["I"])
    tracks = n["L"] * n["D"]
    state = (real(1, tracks, n["B"], width), real(1, tracks, n["B"], n["H"]))
    state = state[: 2 if kind == "LSTM" else 1] if rng.random() < 0.5 else None
    lengths = rng.integers(0, n["T"] + 1, n["B"]) if rng.random() < 0.5 else None
    upstream = [real(1, *x.shape[:2], n["D"] * width), real(1, tracks, n["B"], width)]
    upstream += [real(1, tracks, n["B"], n["H"])] if kind == "LSTM" else []
    return Case(
        kind, **n, batch_first=first, reset_after=bool(rng.integers(2)), options=options,
        weights=weights, x=x, state=state, lengths=lengths, upstream=upstream,
    )  # fmt: skip


# ---- torch, float64


def _step(case, acts, w, x, h, c):
    clip, options = case.options.get("clip"), case.options

    def act(which, z):
        z = z if clip is None else torch.clamp(z, -clip, clip)
        return FUNCTIONS[acts[which].name](z, acts[which])

    z = x @ w["weight_ih"].T + w["bias_ih"]
    if case.kind == "RNN":
        return act(0, z + h @ w["weight_hh"].T + w["bias_hh"]), c
    if case.kind == "GRU":
        (zr, zz, zn), (dr, dz, dn) = z.chunk(3, 1), w["bias_hh"].chunk(3)
        rr, rz, rn = w["weight_hh"].chunk(3)
        reset, update = act(0, zr + h @ rr.T + dr), act(0, zz + h @ rz.T + dz)
        inner = reset * (h @ rn.T + dn) if case.reset_after else (reset * h) @ rn.T + dn
        new = act(1, zn + inner)
        return (1 - update) * new + update * h, c
    zi, zf, zg, zo = (z + h @ w["weight_hh"].T + w["bias_hh"]).chunk(4, 1)
    pi, pf, po = w["peephole"].chunk(3) if options["peepholes"] else (0, 0, 0)
    i = act(0, zi + pi * c)
    f = 1 - i if options["input_forget"] else act(0, zf + pf * c)
    c = f * c + i * act(1, zg)
    h = act(0, zo + po * c) * FUNCTIONS[acts[2].name](c, acts[2])
    return (h @ w["weight_hr"].T if case.P else h), c


def torch_network(case, w, x, state):
    """y, [h, c] of float64 tensors; x (T, B, I)."""
    lengths = torch.as_tensor(np.full(case.B, case.T) if case.lengths is None else case.lengths)
    acts = case.options.get("activations") or (USUAL[case.kind],) * case.D
    hs, cs = [], []
    for layer in range(case.L):
        outputs = []
        for d in range(case.D):
            end, track = f"_l{layer}" + ("_reverse" if d else ""), layer * case.D + d
            own = {n.removesuffix(end): v for n, v in w.items() if n.endswith(end)}
            h, c = state[0][track], state[1][track]
            back = d == 1 or case.options.get("reverse", False)
            ys = [None] * case.T
            for t in reversed(range(case.T)) if back else range(case.T):
                live = (lengths > t)[:, None]
                new_h, new_c = _step(case, acts[d], own, x[t], h, c)
                h, c = torch.where(live, new_h, h), torch.where(live, new_c, c)
                ys[t] = torch.where(live, h, torch.zeros_like(h))
            outputs.append(torch.stack(ys))
            hs.append(h), cs.append(c)
        x = torch.cat(outputs, 2)
    return x, [torch.stack(hs), torch.stack(cs)]


def torch_results(case, dtype=np.float64):
    """[y, h, (c)] and {name: gradient} of the loss that case.upstream is the gradient of."""
    leaf = lambda a: torch.from_numpy(np.array(a, dtype)).requires_grad_()  # noqa: E731
    tracks, width = case.L * case.D, case.P or case.H
    zeros = np.zeros((tracks, case.B, width)), np.zeros((tracks, case.B, case.H))
    state = [leaf(s) for s in (case.state or zeros)]
    state += [torch.zeros((tracks, case.B, case.H), dtype=state[0].dtype)] * (2 - len(state))
    w = {name: leaf(array) for name, array in case.weights.items()}
    x = leaf(case.x)
    y, end = torch_network(case, w, x.swapaxes(0, 1) if case.batch_first else x, state)
    y = y.swapaxes(0, 1) if case.batch_first else y
    outputs = [y, *end[: len(case.upstream) - 1]]
    pairs = zip(outputs, case.upstream, strict=True)
    sum((out * torch.from_numpy(up)).sum() for out, up in pairs).backward()
    named = {"x": x, "h0": state[0], "c0": state[1], **w}
    if case.kind != "LSTM":
        del named["c0"]
    grads = {n: np.zeros(p.shape) if p.grad is None else p.grad.numpy() for n, p in named.items()}
    return [out.detach().numpy() for out in outputs], grads


def oracle_results(case):
    """y, h, c by variant_oracle.py, layer by layer; no projection."""
    x = np.float64(case.x.swapaxes(0, 1) if case.batch_first else case.x)
    hs, cs = [], []
    for layer in range(case.L):
        own = {n.replace(f"_l{layer}", "_l0"): w for n, w in case.weights.items()
               if f"_l{layer}" in n}  # fmt: skip
        state = None
        if case.state is not None:
            part = slice(layer * case.D, (layer + 1) * case.D)
            state = [case.state[0][part], case.state[-1][part]]
        x, h, c = variant_oracle.run(case.description(layer), own, x, state, case.lengths)
        hs.append(h), cs.append(c)
    return x.swapaxes(0, 1) if case.batch_first else x, np.concatenate(hs), np.concatenate(cs)


# ---- the engine


def engine_results(case, layer=None, isa=None, **options):
    """The same as torch_results gives, of fastlstm."""
    layer = layer or case.layer(isa)
    y, end, tape = layer.forward_train(case.x, case.given(), lengths=case.lengths, **options)
    parts = tuple(end) if case.kind == "LSTM" else (end,)
    up = tuple(case.upstream[1:]) if case.kind == "LSTM" else case.upstream[1]
    grads = layer.backward(tape, case.upstream[0], up)
    state = dict(zip(("h0", "c0"), grads.state if case.kind == "LSTM" else (grads.state,),
                     strict=False))  # fmt: skip
    return [y, *parts], {"x": grads.x, **state, **grads.params}
