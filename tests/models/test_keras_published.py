# SPDX-License-Identifier: MIT
"""Keras files of published packages, loaded without Keras: the numbers are those of Keras 3, on
names, sentences and a measured curve, in data/keras_published.npz (support/make_keras_published.py,
which says where Keras could not read the file itself)."""

import numpy as np
import pytest
from conftest import FULL
from make_keras_published import FILE, KEPT, windows
from nn_models import OURS, models
from published import CURVES, NAMES, path_of

import fastlstm
from fastlstm.engine import NAME
from fastlstm.models.graph import WeightsAlone

EXPECTED = dict(np.load(FILE))
BOUND = 1e-5  # of the largest number of the output


def assert_keras(made, name):
    due = EXPECTED[f"{name}/y"]
    assert made.shape == due.shape and made.dtype == np.float32
    error = np.abs(made - due).max() / np.abs(due).max()
    print(f"{name}: {error:.1e}")
    assert error <= BOUND


def assert_rows(model, x, made):
    """A row is what it is by itself: every bit in the C core; elsewhere products are BLAS's."""
    for row, expected in zip(x, made, strict=True):
        assert np.array_equal(model(row[None])[0], expected) or NAME != "c"


@pytest.mark.skipif(not FULL, reason="downloads 40 MB; with FASTLSTM_FULL=1")
@pytest.mark.parametrize("file", NAMES)
def test_ethnicolr(file):
    """Six names at once, and one alone."""
    name = file.partition("/")[2]
    model, x = fastlstm.load_model(path_of(name)), EXPECTED[f"{name}/x"].astype(np.int64)
    made = model(x)
    assert_keras(made, name)
    assert_rows(model, x, made)


@pytest.mark.parametrize("folder", CURVES)
def test_ao_compensation_model(folder):
    model = fastlstm.load_model(path_of(f"{folder}.keras"))
    x = windows(EXPECTED["curve"])
    made = model(x)
    assert_keras(made[list(KEPT)], f"{folder}.keras")
    assert_rows(model, x[:3], made[:3])


def test_textgenrnn():
    """Its file is weights alone, so its layers are a class; fastlstm reads cuDNN's layout and gives
    the recurrent layers' weights torch's names."""
    name = "textgenrnn_weights.hdf5"
    with pytest.raises(WeightsAlone, match="the file holds weights alone"):
        fastlstm.load_model(path_of(name))
    read = fastlstm.read_state_dict(path_of(name))
    model = models(OURS)["Writer"]().eval()
    weights = {k: v for k, v in read.items() if k.startswith("rnn") and "/" not in k}
    model.load_state_dict(weights | {
        "embedding.weight": read["embedding/embedding/embeddings:0"],
        "attention.weight": read["attention/attention/attention_W:0"].T,
        "output.weight": read["output/output/kernel:0"].T,
        "output.bias": read["output/output/bias:0"],
    })  # fmt: skip
    assert_keras(np.asarray(model(EXPECTED[f"{name}/x"].astype(np.int64))), name)
