# SPDX-License-Identifier: MIT
"""Files of int8 layers: the same bits after loading, a quarter of the bytes, other libraries read
the codes; and files whose codes or scales are not what they must be."""

import json
import os
import pickle

import numpy as np
import pytest
import safetensors.numpy
from load_corpus.build import safetensors_bytes

import fastlstm
from fastlstm import LoadError, load, load_all
from fastlstm.cli import main as cli

F = np.float32
LAYERS = {
    "lstm": lambda: fastlstm.LSTM(17, 33, 2, bidirectional=True),
    "projected": lambda: fastlstm.LSTM(5, 20, proj_size=7, batch_first=True),
    "gru": lambda: fastlstm.GRU(9, 31, 2),
    "gru before": lambda: fastlstm.GRU(16, 16, reset_after=False, bias=False),
    "rnn": lambda: fastlstm.RNN(3, 70, nonlinearity="relu"),
    "variant": lambda: fastlstm.LSTM(5, 8, peepholes=True, clip=2.0, reverse=True),
}


def outputs(layer, x):
    y, state = layer(x)
    return [a.tobytes() for a in (y, *(state if isinstance(state, tuple) else (state,)))]


@pytest.mark.parametrize("inputs", ["int16", "int8"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_saved_layer_gives_the_same_bits(rng, tmp_path, name, inputs):
    layer = LAYERS[name]()
    quick = layer.quantize("int8", inputs)
    quick.save(tmp_path / "x")
    again = load(tmp_path / "x")
    assert (again.dtype, again.inputs) == ("int8", inputs) and repr(again) == repr(quick)
    x = F(rng.standard_normal((6, 4, layer.input_size)))
    assert outputs(again, x) == outputs(quick, x)
    assert outputs(pickle.loads(pickle.dumps(quick)), x) == outputs(quick, x)
    with pytest.warns(UserWarning, match="code \\* scale, not those that it was made of"):
        numbers = quick.state_dict()
    back = load(tmp_path / "x", dtype="float32").state_dict()
    assert all(np.array_equal(back[n], a) for n, a in numbers.items())
    for n, a in layer.state_dict().items():  # within half a step of the codes
        step = np.abs(a).max(1, keepdims=True) / 127 if a.ndim == 2 else 0
        assert (np.abs(numbers[n] - a) <= 0.501 * step).all()


def test_a_quarter_of_the_file_and_other_libraries_read_it(tmp_path):
    layer = fastlstm.LSTM(200, 128)
    layer.save(tmp_path / "large")
    layer.quantize("int8").save(tmp_path / "small")
    assert os.path.getsize(tmp_path / "small") < 0.28 * os.path.getsize(tmp_path / "large")
    arrays = safetensors.numpy.load_file(tmp_path / "small")
    assert arrays["weight_ih_l0"].dtype == np.int8
    assert arrays["weight_ih_l0_scale"].shape == (512,)
    found = arrays["weight_ih_l0"] * arrays["weight_ih_l0_scale"][:, None]
    assert np.abs(found - layer.state_dict()["weight_ih_l0"]).max() < 1e-3


def test_convert_and_inspect(tmp_path, capsys):
    layer = fastlstm.GRU(9, 31)
    layer.save(tmp_path / "a")
    assert cli.main(["convert", str(tmp_path / "a"), str(tmp_path / "b"), "--dtype", "int8"]) == 0
    assert load(tmp_path / "b").dtype == "int8"
    assert cli.main(["convert", str(tmp_path / "b"), str(tmp_path / "c")]) == 0
    x = np.ones((3, 2, 9), F)
    due = outputs(layer.quantize("int8"), x)
    assert outputs(load(tmp_path / "b"), x) == due == outputs(load(tmp_path / "c"), x)
    assert outputs(load_all(tmp_path / "a", dtype="int8")[""], x) == due
    capsys.readouterr()
    assert cli.main(["inspect", str(tmp_path / "b")]) == 0
    assert "GRU(9, 31, dtype='int8')" in capsys.readouterr().out


def change(path, header=None, **arrays):
    """Rewrites a file of a layer, with `arrays` in place of those of their names."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    described, data = json.loads(raw[8 : 8 + length]), bytearray(raw[8 + length :])
    for name, array in arrays.items():
        begin, end = described[name]["data_offsets"]
        assert array.nbytes == end - begin
        data[begin:end] = array.tobytes()
    text = json.dumps(header(described) if header else described, separators=(",", ":"))
    path.write_bytes(safetensors_bytes(text, bytes(data)))


BAD = {
    "a code of -128": {"weight_hh_l0": np.full((12, 4), -128, np.int8)},
    "a scale that is NaN": {"weight_ih_l0_scale": np.full(12, np.nan, F)},
    "an infinite scale": {"weight_ih_l0_scale": np.full(12, np.inf, F)},
    "a negative scale": {"weight_ih_l0_scale": np.full(12, -1, F)},
}


@pytest.mark.parametrize("name", BAD)
def test_codes_that_cannot_be(tmp_path, name):
    fastlstm.GRU(3, 4).quantize("int8").save(tmp_path / "x")
    change(tmp_path / "x", **BAD[name])
    with pytest.raises(LoadError, match=r"weight_.h_l0 needs codes of"):
        load(tmp_path / "x")


def test_scales_that_are_missing_or_of_another_shape(tmp_path):
    fastlstm.GRU(3, 4).quantize("int8").save(tmp_path / "x")

    def without(described):
        described["other"] = described.pop("weight_hh_l0_scale")
        return described

    change(tmp_path / "x", without)
    with pytest.raises(LoadError, match=r"weight_.h_l0 needs codes of"):
        load(tmp_path / "x")
    fastlstm.GRU(3, 4).quantize("int8").save(tmp_path / "x")

    def reshaped(described):
        described["weight_hh_l0_scale"]["shape"] = [4, 3]
        return described

    change(tmp_path / "x", reshaped)
    with pytest.raises(LoadError, match=r"weight_.h_l0 needs codes of"):
        load(tmp_path / "x")


def test_an_error_needs_its_reference(tmp_path):
    quick = fastlstm.LSTM(3, 4).quantize("int8")  # its float32 layer is gone
    x = np.ones((5, 2, 3), F)
    with pytest.raises(ValueError, match="was quantized from is gone; pass it as reference"):
        quick.error(x)
    layer = fastlstm.LSTM(3, 4)
    quick = layer.quantize("int8")
    assert quick.error(x).max < 0.02 and len(quick.error(x).where) == 3
    with pytest.raises(ValueError, match="the reference's outputs have the shape"):
        quick.error(x, reference=fastlstm.LSTM(3, 5))
    with pytest.raises(ValueError, match="inputs 'int4' is not known; there are: int16, int8"):
        layer.quantize("int8", inputs="int4")
    assert layer.quantize("float16", inputs="int8").inputs == "int16"  # they are int8's alone
    with pytest.raises(TypeError, match="inputs must be a str, got int"):
        layer.quantize("int8", inputs=8)
    text = quick.verify(x, layer(x)[0] + 1e-3, tolerance=1e-6).explanation
    assert "the layer's weights are int8" in text
