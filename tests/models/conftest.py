# SPDX-License-Identifier: MIT
"""What runs a model: each test that has the argument `runner` runs with every one of them."""

import pytest

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
