# SPDX-License-Identifier: MIT
"""Weights in and out under torch's names, with torch's messages when they do not fit."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from cases import Case
from invalid_calls import plain

import fastlstm

CASES = [
    Case(I=3, H=4), Case(I=3, H=4, L=2), Case(I=5, H=6, D=2), Case(I=2, H=7, L=3, D=2, P=3),
    Case(I=4, H=5, P=1, bias=False), Case(I=1, H=1, L=2, D=2, bias=False),
]  # fmt: skip
every = pytest.mark.parametrize("case", CASES, ids=Case.name)


def module_of(case):
    return torch.nn.LSTM(
        case.I, case.H, case.L, case.bias, bidirectional=case.D == 2, proj_size=case.P
    )


@every
def test_names_shapes_and_order_are_torchs(case):
    theirs = module_of(case).state_dict()
    ours = fastlstm.LSTM(case.I, case.H, **case.options()).state_dict()
    assert list(ours) == list(theirs)
    assert {k: v.shape for k, v in ours.items()} == {k: tuple(v.shape) for k, v in theirs.items()}
    assert all(isinstance(v, np.ndarray) and v.dtype == np.float32 for v in ours.values())


@every
def test_round_trip_keeps_every_bit(case):
    layer = case.layer()
    params = case.params()
    for name, value in layer.state_dict().items():
        assert value.tobytes() == params[name].tobytes()
    again = fastlstm.LSTM.from_state_dict(layer.state_dict())
    for a, b in zip(layer.state_dict().items(), again.state_dict().items(), strict=True):
        assert a[0] == b[0]
        assert a[1].tobytes() == b[1].tobytes()


@every
def test_pickle_and_copies_keep_every_bit(case):
    layer = case.layer()
    x, _, _ = case.call_arrays()
    want = layer(x)[0].tobytes()
    for other in (pickle.loads(pickle.dumps(layer)), copy.copy(layer), copy.deepcopy(layer)):
        assert repr(other) == repr(layer)
        assert other(x)[0].tobytes() == want
        other.load_state_dict({k: v * 2 for k, v in other.state_dict().items()})
        assert layer(x)[0].tobytes() == want


@every
def test_from_state_dict_reads_the_sizes(case):
    ours = fastlstm.LSTM.from_state_dict(case.params(), batch_first=True)
    for name in ("input_size", "hidden_size", "num_layers", "bias", "bidirectional", "proj_size"):
        want = {"input_size": case.I, "hidden_size": case.H, "proj_size": case.P, **case.options()}
        assert getattr(ours, name) == want[name], name
    assert ours.batch_first is True
    assert ours.num_directions == case.D
    assert ours.output_size == case.D * (case.P or case.H)


def test_prefix_and_what_else_a_file_holds():
    case = CASES[2]
    sd = {"encoder.lstm." + k: v for k, v in case.params().items()}
    sd |= {
        "encoder.embed.weight": np.zeros((9, 5)),
        "head.weight": np.zeros((2, 12)),
        "steps": np.int64(3),
    }
    layer = fastlstm.LSTM.from_state_dict(sd, prefix="encoder.lstm.")
    for name, value in layer.state_dict().items():
        assert value.tobytes() == case.params()[name].tobytes()


def test_copies_both_ways():
    case = CASES[0]
    params = case.params()
    layer = fastlstm.LSTM(case.I, case.H)
    layer.load_state_dict(params)
    x = np.ones((2, 1, case.I), np.float32)
    want = layer(x)[0].tobytes()
    for value in (*params.values(), *layer.state_dict().values()):
        value[...] = 9
    assert layer(x)[0].tobytes() == want
    assert layer.state_dict()["bias_ih_l0"].tobytes() == case.params()["bias_ih_l0"].tobytes()


def test_values_of_other_types_are_converted():
    case = CASES[1]
    params = case.params()
    forms = {
        "float64": {k: v.astype(np.float64) for k, v in params.items()},
        "fortran": {k: np.asfortranarray(v) for k, v in params.items()},
        "strided": {k: np.repeat(v, 2, axis=-1)[..., ::2] for k, v in params.items()},
        "byte-swapped": {k: v.astype(">f4") for k, v in params.items()},
        "negative": {k: v[::-1].copy()[::-1] for k, v in params.items()},
        "torch": {k: torch.from_numpy(v) for k, v in params.items()},
    }
    for form, sd in forms.items():
        for layer in (fastlstm.LSTM(3, 4, 2), fastlstm.LSTM.from_state_dict(sd)):
            assert layer.load_state_dict(sd) == ([], []), form
            for name, value in layer.state_dict().items():
                assert value.tobytes() == params[name].tobytes(), (form, name)


def test_new_layers_begin_as_torchs_do():
    """U(-1/sqrt(H), 1/sqrt(H)), and not the same twice."""
    a, b = fastlstm.LSTM(20, 64).state_dict(), fastlstm.LSTM(20, 64).state_dict()
    for name, value in a.items():
        limit = 1 / np.sqrt(64)
        assert np.abs(value).max() <= limit
        assert 0.5 * limit**2 / 3 < value.var() < 1.5 * limit**2 / 3, name
        assert not np.array_equal(value, b[name])


# Errors


def theirs_and_ours(case, change, strict=True):
    """What torch says to a changed state dict, and what we say: the text, or what is returned."""
    params = change(dict(case.params()))
    texts = []
    tensors = {k: torch.from_numpy(np.asarray(v)) for k, v in params.items()}
    for layer, sd, error in (
        (module_of(case), tensors, RuntimeError),
        (case.layer(), params, ValueError),
    ):
        before = {k: np.asarray(v).tobytes() for k, v in layer.state_dict().items()}
        try:
            missing, unexpected = layer.load_state_dict(sd, strict=strict)
            texts.append((list(missing), list(unexpected)))
        except error as e:
            texts.append(plain(str(e)))
            if layer.__class__ is fastlstm.LSTM:
                after = {k: v.tobytes() for k, v in layer.state_dict().items()}
                assert after == before, "a refused load changed the weights"
    return texts


def without(*names):
    return lambda sd: {k: v for k, v in sd.items() if k not in names}


def with_(**values):
    return lambda sd: sd | values


def both(first, second):
    return lambda sd: second(first(sd))


ZERO = np.zeros((1, 2), np.float32)
CHANGES = {
    "one missing": without("weight_hh_l0"),
    "several missing": without("weight_hh_l0", "bias_ih_l1"),
    "one unexpected": with_(extra=ZERO),
    "several unexpected": with_(zebra=ZERO, apple=ZERO, weight_ih_l7=ZERO),
    "size": with_(weight_ih_l0=np.zeros((16, 4), np.float32)),
    "rank": with_(bias_ih_l0=np.zeros((16, 1), np.float32)),
    "scalar": with_(bias_hh_l1=np.zeros((), np.float32)),
    "empty": with_(weight_hh_l1=np.zeros((0, 4), np.float32)),
    "several sizes": with_(weight_ih_l0=ZERO, bias_ih_l1=ZERO),
    "everything": both(without("weight_ih_l0"), with_(extra=ZERO, bias_ih_l0=ZERO)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_message_is_torchs(name):
    theirs, ours = theirs_and_ours(Case(I=3, H=4, L=2), CHANGES[name])
    assert isinstance(theirs, str)
    assert ours == theirs


@pytest.mark.parametrize("name", CHANGES)
def test_not_strict_returns_or_says_what_torch_does(name):
    theirs, ours = theirs_and_ours(Case(I=3, H=4, L=2), CHANGES[name], strict=False)
    assert ours == theirs
    assert isinstance(ours, str) == (
        "siz" in name or name in ("rank", "scalar", "empty", "everything")
    )


def test_not_strict_loads_what_is_there():
    layer, other = CASES[0].layer(), Case(I=3, H=4, seed=1).params()
    before = layer.state_dict()
    missing, unexpected = layer.load_state_dict(
        {"weight_hh_l0": other["weight_hh_l0"], "x": ZERO}, strict=False
    )
    assert (sorted(missing), unexpected) == (["bias_hh_l0", "bias_ih_l0", "weight_ih_l0"], ["x"])
    after = layer.state_dict()
    assert after["weight_hh_l0"].tobytes() == other["weight_hh_l0"].tobytes()
    assert after["weight_ih_l0"].tobytes() == before["weight_ih_l0"].tobytes()
    fresh = fastlstm.LSTM.from_state_dict(after)
    x = np.ones((3, 2, 3), np.float32)
    assert layer(x)[0].tobytes() == fresh(x)[0].tobytes(), "the packed weights are the ones told of"


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "lstm.", "encoder.rnn."])
def test_a_prefix_is_pointed_out(prefix):
    """All names would fit under a prefix: torch's message, then which, and what to do about it."""
    case = CASES[1]
    sd = {prefix + k: v for k, v in case.params().items()}
    with pytest.raises(ValueError) as caught:
        case.layer().load_state_dict(sd)
    text = str(caught.value)
    assert text.startswith("Error(s) in loading state_dict for LSTM:")
    assert 'Missing key(s) in state_dict: "weight_ih_l0", "weight_hh_l0"' in text
    assert f'Unexpected key(s) in state_dict: "{prefix}weight_ih_l0"' in text
    assert re.search(
        rf"prefix.*{re.escape(prefix)}|{re.escape(prefix)}.*prefix", text.splitlines()[-1]
    )
    with pytest.raises(ValueError, match=re.escape(prefix)):
        fastlstm.LSTM.from_state_dict(sd)
    assert fastlstm.LSTM.from_state_dict(sd, prefix=prefix).hidden_size == 4


def test_no_hint_where_a_prefix_would_not_help():
    sd = {"module." + k: v for k, v in CASES[0].params().items()}
    with pytest.raises(ValueError) as caught:
        CASES[1].layer().load_state_dict(sd)  # two layers wanted, one there
    assert "prefix" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"weight_hh_l0": (16, 3)}, {"weight_hh_l0": (15, 4)}, {"weight_ih_l0": (12, 3)},
        {"bias_ih_l0": (12,)}, {"weight_ih_l0": (16,)}, {"weight_hh_l0": (0, 0)},
        {"weight_ih_l0": (16, 0)}, {"bias_hh_l0": None}, {"weight_hh_l0": None},
        {"weight_hr_l0": (2, 4)}, {"weight_ih_l1": (16, 4)},
    ],
    ids=str,
)  # fmt: skip
def test_from_state_dict_refuses_sizes_that_disagree(change):
    sd = dict(CASES[0].params())
    for name, shape in change.items():
        if shape is None:
            del sd[name]
        else:
            sd[name] = np.zeros(shape, np.float32)
    with pytest.raises(ValueError) as caught:
        fastlstm.LSTM.from_state_dict(sd)
    text = plain(str(caught.value))
    for name, shape in change.items():
        assert name in text or name.rpartition("_")[0] in text
        assert shape is None or str(shape) in text or name == "weight_ih_l1"
