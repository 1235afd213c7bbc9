# SPDX-License-Identifier: MIT
"""What layers refuse of activations, clip, input_forget, peepholes, reverse and merge, and in which
words; and what is no variant after all."""

import numpy as np
import pytest

import fastlstm
from fastlstm.variants import Activation

WRONG = [
    ({"activations": "tanh"}, TypeError, "activations must be a tuple"),
    ({"activations": ("tanh",) * 2}, ValueError, "has 3 activations"),
    ({"activations": ("tanh", "tanh", 3)}, TypeError, "a str or an Activation, got int"),
    ({"activations": ("tanh", "tanh", "swish")}, ValueError, "'swish' is not known"),
    ({"activations": ((("tanh",) * 3),) * 2}, ValueError, "for 2 directions, the layer has 1"),
    ({"activations": (Activation("tanh", 1.0),) * 3}, ValueError, "tanh takes no alpha"),
    ({"activations": (Activation("elu", float("nan")),) * 3}, ValueError, "finite"),
    ({"activations": (Activation("elu", "1"),) * 3}, TypeError, "must be a number"),
    ({"activations": (Activation("affine", 1.0, 1e39),) * 3}, ValueError, "finite in float32"),
    ({"clip": 0}, ValueError, "greater than zero, got 0"),
    ({"clip": -1.0}, ValueError, "greater than zero, got -1"),
    ({"clip": float("inf")}, ValueError, "finite"),
    ({"clip": True}, TypeError, "got bool"),
    ({"clip": "1"}, TypeError, "got str"),
    ({"input_forget": 1}, TypeError, "input_forget must be a bool, got int"),
    ({"peepholes": None}, TypeError, "peepholes must be a bool, got NoneType"),
    ({"reverse": "yes"}, TypeError, "reverse must be a bool, got str"),
    ({"reverse": True, "bidirectional": True}, ValueError, "has a reverse direction already"),
    ({"merge": None}, TypeError, "merge must be a str, got NoneType"),
    ({"merge": "max"}, ValueError, "'max' is not known; there are: concat, sum, mul, ave"),
    ({"merge": "sum"}, ValueError, "needs two directions to merge: bidirectional=True"),
]


@pytest.mark.parametrize("options, error, text", WRONG, ids=lambda v: str(v)[:40])
def test_wrong_arguments(options, error, text):
    with pytest.raises(error, match=text):
        fastlstm.LSTM(3, 4, **options)
    if "bidirectional" not in options:
        weights = fastlstm.LSTM(3, 4).state_dict()
        with pytest.raises(error, match=text):
            fastlstm.LSTM.from_state_dict(weights, **options)


def test_more_wrong_arguments():
    with pytest.raises(TypeError, match="peepholes"):
        fastlstm.GRU(3, 4, peepholes=True)
    with pytest.raises(TypeError, match="has no argument 'input_forget'"):
        fastlstm.RNN.from_state_dict(fastlstm.RNN(3, 4).state_dict(), input_forget=True)
    with pytest.raises(TypeError, match="'reverse'"):
        fastlstm.LSTMCell(3, 4, reverse=True)
    with pytest.raises(ValueError, match="nonlinearity and activations"):
        fastlstm.RNN(3, 4, nonlinearity="relu", activations=("elu",))
    with pytest.raises(ValueError, match=r"peephole_l0 has the shape \(5,\), \(12,\) is due"):
        weights = fastlstm.LSTM(3, 4, peepholes=True).state_dict()
        fastlstm.LSTM.from_state_dict(weights | {"peephole_l0": np.zeros(5)})
    with pytest.raises(ValueError, match="peephole_l0 is missing"):
        fastlstm.LSTM.from_state_dict(fastlstm.LSTM(3, 4).state_dict(), peepholes=True)
    with pytest.raises(ValueError, match=r"Missing key.*peephole_l0"):
        fastlstm.LSTM(3, 4, peepholes=True).load_state_dict(fastlstm.LSTM(3, 4).state_dict())


def test_an_initial_state_is_given_as_a_calls_state():
    """In every form that a call takes; what a call refuses is refused here, and changes nothing."""
    torch = pytest.importorskip("torch")
    h, c = (np.arange(n, n + 4, dtype=np.float32).reshape(1, 1, 4) for n in (0, 4))
    for each in (
        np.float64, np.ndarray.tolist, torch.from_numpy,
        lambda a: torch.nn.Parameter(torch.from_numpy(a)),
        lambda a: torch.from_numpy(a).bfloat16(),
    ):  # fmt: skip
        lstm, gru = fastlstm.LSTM(3, 4), fastlstm.GRU(3, 4)
        lstm.initial_state, gru.initial_state = [each(h), each(c)], each(h)
        assert [part.tolist() for part in lstm.initial_state] == [h.tolist(), c.tolist()]
        assert gru.initial_state.tolist() == h.tolist()
    for layer, wrong, error, says in (
        (lstm, 5, TypeError, r"initial_state must be a pair \(h0, c0\), got int"),
        (lstm, np.stack([h, c]), TypeError, "a pair .*, got ndarray"),
        (lstm, (), TypeError, "a pair .*, got tuple of 0"),
        (lstm, (h, "c"), TypeError, "must hold real numbers"),
        (lstm, ("h", c), TypeError, "initial_state must hold real numbers"),
        (lstm, (h, c[0]), ValueError, r"size \(1, 1, 4\), got \(1, 4\)"),
        (gru, 5, ValueError, r"size \(1, 4\), got \(\)"),
        (gru, [[1], [2, 3]], TypeError, "initial_state is not an array of numbers"),
    ):
        with pytest.raises(error, match=says):
            layer.initial_state = wrong
    assert gru.initial_state.tolist() == h.tolist()


def test_the_usual_is_no_variant():
    """Spelled out, torch's own activations and defaults run on the cells' own kernels."""
    layer = fastlstm.LSTM(3, 4, activations=("sigmoid", "tanh", "tanh"), clip=None, reverse=False)
    assert layer.activations is None and layer.variant is None
    assert repr(layer) == repr(fastlstm.LSTM(3, 4))


def test_arrays_of_a_spelled_out_byte_order(rng):
    layer, x = fastlstm.GRU(3, 4), rng.standard_normal((5, 2, 3)).astype(np.float32)
    odd = np.frombuffer(x.tobytes(), np.dtype(np.float32).newbyteorder("<")).reshape(x.shape)
    h = np.zeros((1, 2, 4), np.dtype(np.float32).newbyteorder("<"))
    assert layer(odd, h)[0].tobytes() == layer(x)[0].tobytes()
