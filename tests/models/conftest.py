# SPDX-License-Identifier: MIT
"""What runs a model: each test that has the argument `runner` runs with every one of them."""

import pytest
import small_models

from fastlstm.models import reference
from fastlstm.models.onnx import read


def of_reference(path):
    """f([arrays]) -> [arrays] of an ONNX file, by the interpreter in NumPy."""
    graph = read(path)
    names = [value.name for value in graph.inputs]
    return lambda arrays: reference.run(graph, dict(zip(names, arrays, strict=True)))


RUNNERS = {"reference": of_reference}


@pytest.fixture(params=RUNNERS)
def runner(request, tmp_path):
    """f(a ModelProto) -> (f([arrays]) -> [arrays])"""

    def made(model):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return RUNNERS[request.param](path)

    return made


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """f(name) -> (path of the ONNX file, torch module) of tests/support/small_models.py; once."""
    folder, made = tmp_path_factory.mktemp("small"), {}

    def of(name):
        if name not in made:
            made[name] = small_models.export(name, folder)
        return made[name]

    return of
