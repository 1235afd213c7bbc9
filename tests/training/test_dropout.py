# SPDX-License-Identifier: MIT
"""Dropout between layers: its masks, its gradients, and that inference has none."""

import dataclasses

import gradients
import numpy as np
import torch
from cases import Case
from conftest import FULL
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlstm

DROPOUT = 60 if FULL else 12


def dropout_mask(seed, rate, layer, *shape):
    """(T, B, D K) of 0 and 1: what forward_train keeps of a layer's outputs."""
    mask = np.ones(shape, np.float32)
    fastlstm.engine.backend.drop(mask, rate, seed, layer)
    return (mask != 0).astype(np.float32)


def dropped_reference(case, rate, x, state, masks, up):
    """Gradients by torch in float64, layer by layer, with the given masks between them."""
    params = {n: torch.from_numpy(p).double().requires_grad_() for n, p in case.params().items()}
    x = torch.from_numpy(x).double().requires_grad_()
    h0, c0 = (torch.from_numpy(s).double().requires_grad_() for s in state)
    y, hs, cs = x, [], []
    for layer in range(case.L):
        own = {n.replace(f"_l{layer}", "_l0"): p for n, p in params.items() if f"_l{layer}" in n}
        m = torch.nn.LSTM(
            y.shape[-1], case.H, 1, case.bias, bidirectional=case.D == 2, proj_size=case.P
        ).double()
        tracks = slice(layer * case.D, (layer + 1) * case.D)
        y, (h, c) = torch.func.functional_call(m, own, (y, (h0[tracks], c0[tracks])))
        hs.append(h)
        cs.append(c)
        if layer + 1 < case.L:
            y = y * torch.from_numpy(masks[layer]).double() / (1 - rate)
    outs = y, torch.cat(hs), torch.cat(cs)
    sum((o * torch.from_numpy(u)).sum() for o, u in zip(outs, up, strict=True)).backward()
    named = {"x": x, "h0": h0, "c0": c0, **params}
    return [o.detach().numpy() for o in outs], {n: p.grad.numpy() for n, p in named.items()}


@settings(max_examples=DROPOUT)
@given(
    L=st.integers(2, 3), D=st.integers(1, 2), P=st.sampled_from((0, 3)), B=st.integers(1, 5),
    T=st.integers(1, 6), H=st.integers(4, 20), seed=st.integers(0, 2**64 - 1),
    rate=st.sampled_from((0.1, 0.5, 0.9)),
)  # fmt: skip
def test_dropout_gradients(L, D, P, B, T, H, seed, rate):
    """Against torch, given the engine's masks."""
    case = Case(I=3, H=H, L=L, D=D, P=P, T=T, B=B, state=True, seed=seed % 2**32)
    x, state, _ = case.as_seen()
    row = D * (P or H)
    masks = [dropout_mask(seed, rate, layer, T, B, row) for layer in range(L - 1)]
    layer = case.layer(dropout=rate)
    y, (h, c), tape = layer.forward_train(x, state, seed=seed)
    up = gradients.draw_upstream(case, (y, h, c), ("dy", "dh", "dc"))
    outs, reference = dropped_reference(case, rate, x, state, masks, up)
    for ours, theirs in zip((y, h, c), outs, strict=True):
        assert np.abs(ours - theirs).max() <= 2e-6 / (1 - rate)
    ours = gradients.named(layer.backward(tape, up[0], up[1:]))
    gradients.assert_close(ours, reference)


def test_dropout_masks_look_random():
    T, B, row = 50, 40, 96
    for rate in (0.1, 0.5, 0.8):
        a = dropout_mask(1, rate, 0, T, B, row)
        assert set(np.unique(a)) == {0, 1}
        n = a.size
        assert abs(a.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / n)
        others = [
            dropout_mask(2, rate, 0, T, B, row),
            dropout_mask(1, rate, 1, T, B, row),
            np.roll(a, 1, 0), np.roll(a, 1, 1), np.roll(a, 1, 2), np.roll(a, 7, 2),
        ]  # fmt: skip
        for b in others:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(n)
        for axes in ((0, 1), (0, 2), (1, 2)):  # no row, step or feature is favoured
            part = a.mean(axis=axes)
            spread = np.sqrt(rate * (1 - rate) * part.size / n)
            assert np.abs(part - (1 - rate)).max() < 5.5 * spread


def test_dropout_is_for_training_alone():
    case = Case(I=4, H=8, L=2, T=5, B=3)
    x, _, _ = case.as_seen()
    plain, dropping = case.layer(), case.layer(dropout=0.5)
    assert dropping(x)[0].tobytes() == plain(x)[0].tobytes()
    y, _, _ = dropping.forward_train(x, seed=1)
    assert y.tobytes() != plain(x)[0].tobytes()
    assert y.tobytes() == dropping.forward_train(x, seed=1)[0].tobytes()
    assert y.tobytes() != dropping.forward_train(x, seed=2)[0].tobytes()
    assert dropping.forward_train(x)[0].tobytes() != dropping.forward_train(x)[0].tobytes()
    none = case.layer(dropout=0.0)
    assert none.forward_train(x)[0].tobytes() == plain(x)[0].tobytes()
    all_gone = case.layer(dropout=1.0)
    y, _, tape = all_gone.forward_train(x, seed=3)
    assert not all_gone.backward(tape, y).x.any()
    single = dataclasses.replace(case, L=1)
    x, _, _ = single.as_seen()
    assert single.layer(dropout=0.5).forward_train(x)[0].tobytes() == single.layer()(x)[0].tobytes()
