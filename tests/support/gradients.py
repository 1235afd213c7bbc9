# SPDX-License-Identifier: MIT
"""References for gradients, in float64: torch's autograd, and finite differences of the oracle."""

import warnings

import cases
import numpy as np
import oracle
import torch
import variant_cases
from hypothesis import strategies as st

SMALL = 1e-24  # gradients that have vanished below this count as zero; the engine's bound is 2^-96

UPSTREAM = st.sets(st.sampled_from(("dy", "dh", "dc")), min_size=1).map(sorted)


def zeros_for(case, x):
    """The initial states a call without any starts from."""
    rows = () if case.B is None else (case.B,)
    tracks = case.L * case.D
    return (
        np.zeros((tracks, *rows, case.P or case.H), np.float32),
        np.zeros((tracks, *rows, case.C), np.float32),
    )


def draw_upstream(case, outputs, names):
    """dy, dh, dc for the outputs y, h, c: random where named, else None."""
    rng = case.rng("upstream")
    drawn = [rng.uniform(-1, 1, a.shape).astype(np.float32) for a in outputs]
    return [d if n in names else None for d, n in zip(drawn, ("dy", "dh", "dc"), strict=True)]


def train(layer, case, names=("dy", "dh", "dc"), **options):
    """(outputs, upstream, named gradients) of a Case: the engine's."""
    x, state, lengths = case.call_arrays()
    y, (h, c), tape = layer.forward_train(x, state, lengths=lengths, **options)
    options.pop("seed", None)
    up = draw_upstream(case, (y, h, c), names)
    dstate = None if up[1] is None and up[2] is None else tuple(up[1:])
    return (y, h, c), up, named(layer.backward(tape, up[0], dstate, **options))


def reset_before_gradients(case, x, state, lengths, upstream, dtype=torch.float64):
    """What torch_gradients gives, of the GRU that resets before its product. torch has no module
    of it: variant_cases.py writes its equations in torch's operations, and autograd does the rest.
    """
    rows = 1 if case.B is None else case.B
    leaf = lambda a: torch.from_numpy(np.array(a)).to(dtype).requires_grad_()  # noqa: E731
    weights = {name: leaf(array) for name, array in case.params().items()}
    zeros = torch.zeros(3 * case.H, dtype=dtype)
    biases = {n.replace("weight", "bias"): zeros for n in weights} if not case.bias else {}
    x, (h0, c0) = leaf(x), map(leaf, zeros_for(case, x) if state is None else state)
    seen, h = (x[:, None], h0[:, None]) if case.B is None else (x, h0)
    seen = seen.swapaxes(0, 1) if case.batch_first and case.B is not None else seen
    described = variant_cases.Case(
        "GRU", case.I, case.H, 0, case.L, case.D, case.T, rows, case.batch_first, False, {},
        case.params(), x, None, lengths, upstream,
    )  # fmt: skip
    y, (h, _) = variant_cases.torch_network(described, weights | biases, seen, (h, 0 * h))
    y = y.swapaxes(0, 1) if case.batch_first and case.B is not None else y
    y, h = (y[:, 0], h[:, 0]) if case.B is None else (y, h)
    loss = (0 * c0).sum() + sum(
        (out * torch.from_numpy(up)).sum()
        for out, up in zip((y, h), upstream, strict=False)
        if up is not None
    )
    loss.backward()
    named = {"x": x, "h0": h0, "c0": c0, **weights}
    return {n: np.zeros(p.shape) if p.grad is None else p.grad.numpy() for n, p in named.items()}


def torch_gradients(case, x, state, lengths, upstream, dtype=torch.float64):
    """{name: gradient} by torch in float64: x, h0, c0 and every weight under torch's name."""
    if case.cell == "gru_before":
        return reset_before_gradients(case, x, state, lengths, upstream, dtype)
    module = cases.torch_module(case, dtype)
    module.load_state_dict({n: torch.from_numpy(p) for n, p in case.params().items()})
    x = torch.from_numpy(x.copy()).to(dtype).requires_grad_()
    state = zeros_for(case, x) if state is None else state
    h0, c0 = (torch.from_numpy(s.copy()).to(dtype).requires_grad_() for s in state)

    def call(x):
        if case.cell == "lstm":
            return module(x, (h0, c0))
        y, h = module(x, h0)
        return y, (h, 0 * c0)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections is not supported")
        if lengths is None:
            y, (h, c) = call(x)
        else:
            packed = torch.nn.utils.rnn.pack_padded_sequence(
                x, torch.from_numpy(lengths), case.batch_first, enforce_sorted=False
            )
            y, (h, c) = call(packed)
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, case.batch_first, total_length=case.T)
        loss = sum(
            (out * torch.from_numpy(up)).sum()
            for out, up in zip((y, h, c), upstream, strict=True)
            if up is not None
        )
        loss.backward()
    named = {"x": x, "h0": h0, "c0": c0, **dict(module.named_parameters())}
    return {n: np.zeros(p.shape) if p.grad is None else p.grad.numpy() for n, p in named.items()}


def difference_gradients(case, x, state, lengths, upstream, step=1e-5):
    """The same by central differences of the oracle, one element at a time."""
    arrays = {"x": x}
    arrays["h0"], arrays["c0"] = zeros_for(case, x) if state is None else state
    arrays |= case.params()
    arrays = {n: a.astype(np.float64) for n, a in arrays.items()}

    def loss():
        params = {n: a for n, a in arrays.items() if n not in ("x", "h0", "c0")}
        outputs = oracle.network(
            params, arrays["x"], (arrays["h0"], arrays["c0"]),
            cell=case.cell, batch_first=case.batch_first, lengths=lengths,
        )  # fmt: skip
        return sum(
            (out * up).sum() for out, up in zip(outputs, upstream, strict=True) if up is not None
        )

    gradients = {}
    for name, array in arrays.items():
        gradients[name] = gradient = np.empty(array.shape)
        for at in np.ndindex(array.shape):
            middle = array[at]
            array[at] = middle + step
            above = loss()
            array[at] = middle - step
            gradient[at] = (above - loss()) / (2 * step)
            array[at] = middle
    return gradients


def named(grads):
    """{name: gradient} of what LSTM.backward returned."""
    h0, c0 = grads.state
    return {"x": grads.x, "h0": h0, "c0": c0, **grads.params}


def relative_errors(ours, reference):
    """{name: error as a part of the reference's largest element}."""
    return {
        n: np.abs(ours[n] - want).max(initial=0.0) / (np.abs(want).max(initial=0.0) + SMALL)
        for n, want in reference.items()
    }


def assert_close(ours, reference, tolerance=1e-5):
    """Every gradient within `tolerance` of the reference's largest element."""
    assert list(ours) == list(reference)
    for name, want in reference.items():
        got = ours[name]
        assert got.dtype == np.float32, name
        assert got.shape == want.shape, name
        limit = tolerance * np.abs(want).max(initial=0.0) + SMALL
        error = np.abs(got - want).max(initial=0.0)
        assert error <= limit, f"{name}: error {error:.2e}, allowed {limit:.2e}"
