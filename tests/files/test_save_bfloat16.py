# SPDX-License-Identifier: MIT
"""Files of bfloat16 layers: the same bits after loading, half the bytes, read by PyTorch's
safetensors and by read_state_dict; convert and inspect."""

import copy
import os
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch

import fastlstm
from fastlstm import load, load_all, read_state_dict
from fastlstm.cli import main as cli

F = np.float32
LAYERS = {
    "lstm": lambda: fastlstm.LSTM(17, 33, 2, bidirectional=True),
    "projected": lambda: fastlstm.LSTM(5, 20, proj_size=7, batch_first=True),
    "gru before": lambda: fastlstm.GRU(16, 16, reset_after=False, bias=False),
    "rnn": lambda: fastlstm.RNN(3, 70, nonlinearity="relu"),
    "variant": lambda: fastlstm.LSTM(5, 8, peepholes=True, clip=2.0, reverse=True),
}


def outputs(layer, x):
    y, state = layer(x)
    return [a.tobytes() for a in (y, *(state if isinstance(state, tuple) else (state,)))]


@pytest.mark.parametrize("name", LAYERS)
def test_a_saved_layer_gives_the_same_bits(rng, tmp_path, name):
    layer = LAYERS[name]()
    quick = layer.quantize("bfloat16")
    quick.save(tmp_path / "x")
    again = load(tmp_path / "x")
    assert again.dtype == "bfloat16" and repr(again) == repr(quick)
    x = F(rng.standard_normal((6, 4, layer.input_size)))
    due = outputs(quick, x)
    for other in (again, pickle.loads(pickle.dumps(quick)), copy.deepcopy(quick),
                  load(tmp_path / "x", dtype="float32").quantize("bfloat16")):  # fmt: skip
        assert outputs(other, x) == due
    numbers, found = quick.state_dict(), read_state_dict(tmp_path / "x")
    for n, a in layer.state_dict().items():
        matrix = n.startswith("weight")
        want = torch.from_numpy(a).bfloat16().float().numpy() if matrix else a
        assert numbers[n].dtype == F and np.array_equal(numbers[n], want)
        assert found[n].dtype == F and np.array_equal(found[n], want)
    assert load(tmp_path / "x", dtype="int8").dtype == "int8"


def test_half_of_the_file_and_pytorch_reads_it(tmp_path):
    layer = fastlstm.LSTM(200, 128)
    layer.save(tmp_path / "large")
    layer.quantize("bfloat16").save(tmp_path / "small")
    assert os.path.getsize(tmp_path / "small") < 0.51 * os.path.getsize(tmp_path / "large")
    found = safetensors.torch.load_file(tmp_path / "small")
    assert (
        found["weight_ih_l0"].dtype == torch.bfloat16 and found["bias_ih_l0"].dtype == torch.float
    )
    due = torch.from_numpy(layer.state_dict()["weight_ih_l0"]).bfloat16()
    assert torch.equal(found["weight_ih_l0"], due)


def test_a_torch_file_s_bfloat16_layer(rng, tmp_path):
    """A model that was saved in bfloat16 loses nothing in a bfloat16 layer."""
    module = torch.nn.LSTM(5, 6).bfloat16()
    torch.save(module.state_dict(), tmp_path / "m.pt")
    layer = load(tmp_path / "m.pt", dtype="bfloat16")
    due = {n: a.float().numpy() for n, a in module.state_dict().items()}
    assert all(np.array_equal(layer.state_dict()[n], a) for n, a in due.items())
    assert load(tmp_path / "m.pt").dtype == "float32"


def test_convert_and_inspect(tmp_path, capsys):
    layer, (a, b, c) = fastlstm.GRU(9, 31), (str(tmp_path / name) for name in "abc")
    layer.save(a)
    assert cli.main(["convert", a, b, "--dtype", "bfloat16"]) == 0
    assert cli.main(["convert", b, c]) == 0
    x = np.ones((3, 2, 9), F)
    due = outputs(layer.quantize("bfloat16"), x)
    assert outputs(load(b), x) == due == outputs(load(c), x)
    assert outputs(load_all(a, dtype="bfloat16")[""], x) == due
    capsys.readouterr()
    assert cli.main(["inspect", b]) == 0
    out = capsys.readouterr().out
    assert "GRU(9, 31, dtype='bfloat16')" in out and "bfloat16 (93, 9)" in out
    assert cli.main(["inspect", "--json", b]) == 0
    assert '"bfloat16"' in capsys.readouterr().out


def test_weights_of_another_shape_are_refused(tmp_path):
    layer = fastlstm.GRU(3, 4).quantize("bfloat16")
    layer.save(tmp_path / "x")
    raw = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(raw.replace(b'"shape":[12,3]', b'"shape":[3,12]'))
    with pytest.raises(fastlstm.LoadError, match="weight_ih_l0 has the shape"):
        load(tmp_path / "x")
