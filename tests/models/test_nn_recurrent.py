# SPDX-License-Identifier: MIT
"""LSTM, GRU, RNN, their cells and MultiheadAttention of fastlstm.nn against torch.nn."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from nn_pairs import call, check, error_of, pair, tensors  # noqa: E402

import fastlstm.nn as nn  # noqa: E402

OPTIONS = [
    {}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "batch_first": True},
    {"num_layers": 3, "dropout": 0.3}, {"batch_first": True, "bidirectional": True},
]  # fmt: skip
KINDS = [("LSTM", {}), ("LSTM", {"proj_size": 3}), ("GRU", {}), ("RNN", {}),
         ("RNN", {"nonlinearity": "relu"})]  # fmt: skip
CASES = [(name, own | options) for (name, own), options in itertools.product(KINDS, OPTIONS)]


def state_of(rng, module, batch):
    """(h,) or (h, c) for a module of torch's; without a batch axis for None."""
    tracks = module.num_layers * (2 if module.bidirectional else 1)
    widths = [module.proj_size or module.hidden_size]
    widths += [module.hidden_size] * isinstance(module, torch.nn.LSTM)
    shapes = [(tracks, w) if batch is None else (tracks, batch, w) for w in widths]
    made = [rng.normal(0, 1, s).astype(np.float32) for s in shapes]
    return tuple(made) if len(made) > 1 else made[0]


@pytest.mark.parametrize("name, kwargs", CASES, ids=map(str, CASES))
def test_layer(name, kwargs, rng):
    theirs, mine = pair(name, 4, 5, **kwargs)
    assert repr(mine) == repr(theirs)
    assert [(k, v.shape) for k, v in mine.named_parameters()] == [
        (k, tuple(v.shape)) for k, v in theirs.named_parameters()
    ]
    mine.flatten_parameters()
    for shape in ((7, 3, 4), (1, 1, 4), (6, 4)):
        x = rng.normal(0, 1, shape).astype(np.float32)
        batch = None if len(shape) == 2 else shape[0 if theirs.batch_first else 1]
        state = state_of(rng, theirs, batch)
        check(mine(x), call(theirs, x))
        check(mine(x, state), call(theirs, x, state))
        check(mine(x.astype(np.float64)[::-1][::-1], state), call(theirs, x, state))
        y, after = mine(nn.tensor.tensor(x), state)
        assert type(y) is nn.Tensor and type(after) is (tuple if name == "LSTM" else nn.Tensor)


WRONG_INPUTS = [
    ((4,), None), ((2, 2, 2, 4), None), ((2, 3, 5), None), ((3, 5), None), ((2, 3, 4), (1, 5)),
    ((3, 4), (1, 1, 5)), ((2, 3, 4), (1, 2, 5)), ((2, 3, 4), (1, 3, 6)), ((2, 3, 4), (2, 3, 5)),
]  # fmt: skip


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("shape, state", WRONG_INPUTS)
def test_wrong_inputs_are_refused_in_torchs_words(name, shape, state):
    theirs, mine = pair(name, 4, 5)
    x = np.zeros(shape, np.float32)
    hx = None if state is None else np.zeros(state, np.float32)
    hx = (hx, hx) if hx is not None and name == "LSTM" else hx
    due = error_of(theirs, tensors(x), tensors(hx))
    assert due is not None
    assert error_of(mine, x, hx) == due


@pytest.mark.parametrize("args, kwargs", [
    ((0, 3), {}), ((3, 0), {}), ((3, 4, 0), {}), ((3, 4), {"dropout": 2}), ((3.5, 4), {}),
    ((3, 4), {"bias": 1}), ((3, 4), {"proj_size": 4}),
])  # fmt: skip
def test_wrong_arguments_are_refused_in_torchs_words(args, kwargs):
    """They go on in fastlstm's: what was given."""
    kind, text = error_of(torch.nn.LSTM, *args, **kwargs)
    found = error_of(nn.LSTM, *args, **kwargs)
    assert found[0] is kind and found[1].startswith(text)
    with pytest.raises(ValueError, match="proj_size argument is only supported for LSTM"):
        nn.GRU(3, 4, proj_size=2)
    with pytest.raises(ValueError, match="Unknown nonlinearity 'x'"):
        nn.RNN(3, 4, 1, "x")


@pytest.mark.parametrize("name, kwargs", [
    ("LSTMCell", {}), ("GRUCell", {"bias": False}), ("RNNCell", {}),
    ("RNNCell", {"nonlinearity": "relu", "bias": False}),
])  # fmt: skip
def test_cell(name, kwargs, rng):
    theirs, mine = pair(name, 4, 5, **kwargs)
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for batch in ((3,), (), (0,)):
        x = rng.normal(0, 1, (*batch, 4)).astype(np.float32)
        h, c = (rng.normal(0, 1, (*batch, 5)).astype(np.float32) for _ in "hc")
        state = (h, c) if name == "LSTMCell" else h
        check(mine(x), call(theirs, x))
        check(mine(x, state), call(theirs, x, state))
    for x, state in (((2, 5), (2, 5)), ((2, 4), (2, 6)), ((2, 4), (1, 5)), ((2, 4), (2, 1, 5)),
                     ((1, 2, 4), (2, 5))):  # fmt: skip
        x, h = np.zeros(x, np.float32), np.zeros(state, np.float32)
        state = (h, h) if name == "LSTMCell" else h
        due = error_of(theirs, tensors(x), tensors(state))
        assert due is not None and error_of(mine, x, state) == due


def test_a_new_weight_is_packed_anew(rng):
    theirs, mine = pair("LSTM", 4, 5)
    x = rng.normal(0, 1, (6, 2, 4)).astype(np.float32)
    mine(x)
    weight = rng.normal(0, 1, (20, 5)).astype(np.float32)
    mine.weight_hh_l0 = nn.Parameter(weight)
    theirs.weight_hh_l0 = torch.nn.Parameter(torch.from_numpy(weight))
    check(mine(x), call(theirs, x))


ATTENTION = [
    {}, {"bias": False}, {"batch_first": True}, {"kdim": 3, "vdim": 5, "batch_first": True},
]  # fmt: skip


@pytest.mark.parametrize("kwargs", ATTENTION, ids=map(str, ATTENTION))
def test_attention(kwargs, rng):
    theirs, mine = pair("MultiheadAttention", 6, 2, **kwargs)
    assert repr(mine) == repr(theirs).replace(
        "NonDynamicallyQuantizableLinear",
        "Linear",  # torch's private class
    )
    kdim, vdim = kwargs.get("kdim", 6), kwargs.get("vdim", 6)
    batch, steps, sources = 2, 3, 4
    q, k, v = (
        rng.normal(0, 1, s).astype(np.float32)
        for s in ((batch, steps, 6), (batch, sources, kdim), (batch, sources, vdim))
    )
    if not kwargs.get("batch_first"):
        q, k, v = (np.ascontiguousarray(a.swapaxes(0, 1)) for a in (q, k, v))
    causal = ~np.tri(steps, sources, dtype=bool)
    added = rng.normal(0, 1, (batch * 2, steps, sources)).astype(np.float32)
    padding = np.array([[False] * sources, [False, False, True, True]])
    for options in (
        {}, {"need_weights": False}, {"average_attn_weights": False}, {"attn_mask": causal},
        {"attn_mask": added, "key_padding_mask": padding},
    ):  # fmt: skip
        if "key_padding_mask" in options:  # torch wants both of one type
            float_padding = np.where(padding, -np.inf, 0).astype(np.float32)
            due = call(theirs, q, k, v, **options | {"key_padding_mask": float_padding})
        else:
            due = call(theirs, q, k, v, **options)
        check(mine(q, k, v, **options), due)
    if not kwargs:
        check(mine(q, q, q), call(theirs, q, q, q))
        check(mine(q[:, 0], k[:, 0], v[:, 0]), call(theirs, q[:, 0], k[:, 0], v[:, 0]))


def test_attention_of_other_widths_packs_once(rng):
    theirs, mine = pair("MultiheadAttention", 6, 2, kdim=3, vdim=5)
    q, k, v = (rng.normal(0, 1, (4, 2, n)).astype(np.float32) for n in (6, 3, 5))
    for _ in range(3):
        check(mine(q, k, v), call(theirs, q, k, v))
    for weight in (mine.q_proj_weight, mine.k_proj_weight, mine.v_proj_weight):
        assert len(weight._plans) == 1
    new = rng.normal(0, 1, 18).astype(np.float32)
    mine.in_proj_bias = nn.Parameter(new)
    theirs.in_proj_bias = torch.nn.Parameter(torch.from_numpy(new))
    check(mine(q, k, v), call(theirs, q, k, v))


def test_what_is_not_supported_is_refused_by_name():
    with pytest.raises(NotImplementedError, match="add_bias_kv and add_zero_attn"):
        nn.MultiheadAttention(4, 2, add_zero_attn=True)
    rnn = nn.utils.rnn
    for function in (rnn.pack_padded_sequence, rnn.pad_packed_sequence, rnn.pack_sequence):
        with pytest.raises(NotImplementedError, match=f"{function.__name__}: packed sequences"):
            function(np.zeros((2, 2)), [2, 1])
    with pytest.raises(NotImplementedError, match="weight_norm and spectral_norm"):
        nn.utils.weight_norm(nn.Linear(2, 2))
