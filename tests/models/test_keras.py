# SPDX-License-Identifier: MIT
"""Whole models of Keras files: the numbers are Keras'. The models lie in data/keras, with what Keras
3 computed (support/make_keras_graphs.py)."""

import json
import zipfile

import numpy as np
import pytest
from make_keras_graphs import FOLDER

from fastlstm.models import reference
from fastlstm.models.keras import read
from fastlstm.models.lower import TABLE
from fastlstm.models.model import Model

with zipfile.ZipFile(FOLDER / "models.zip") as archive:
    FILES = archive.namelist()
EXPECTED = dict(np.load(FOLDER / "expected.npz"))
BOUND = 1e-5  # of the largest number of an output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras")
    with zipfile.ZipFile(FOLDER / "models.zip") as archive:
        archive.extractall(path)
    return path


def arrays(name, what):
    """{name of an input, or number of an output: array} of a model in expected.npz."""
    start = f"{name}/{what}/"
    return {key.removeprefix(start): a for key, a in EXPECTED.items() if key.startswith(start)}


def given(graph, name, what="x"):
    """{input: array} of the types that the graph has; states are zeros."""
    found = arrays(name, what)
    batch = len(next(iter(found.values())))
    for value in graph.inputs:
        if value.name not in found:
            shape = [batch if n == "batch" else n for n in value.shape]
            found[value.name] = np.zeros(shape)
        found[value.name] = found[value.name].astype(value.dtype)
    return found


def assert_close(made, due, what):
    assert made.shape == due.shape, what
    scale = max(np.abs(due).max(initial=0), 1e-6)
    assert np.abs(made - due).max(initial=0) <= BOUND * scale, what


def assert_keras(graph, made, name, what="y"):
    due = arrays(name, what)
    assert len(made) == len(graph.outputs) >= len(due) > 0
    for i in range(len(due)):
        assert_close(made[i], due[str(i)], f"{name}: {graph.outputs[i].name}")


@pytest.mark.parametrize("file", FILES)
def test_the_numbers_are_keras(folder, file):
    graph, name = read(folder / file), file.partition(".")[0]
    made = reference.run(graph, given(graph, name))
    assert_keras(graph, made, name)


@pytest.mark.parametrize("file", FILES)
def test_a_model_gives_them_too(folder, file):
    """Planned and, with the C core, lowered."""
    graph, name = read(folder / file), file.partition(".")[0]
    model = Model(graph)
    assert_keras(graph, model.run(given(graph, name)), name)


assert json and TABLE
