# SPDX-License-Identifier: MIT
"""What runs a model. A test with the argument `runner` (tests/conftest.py) runs with each of them.

Each is f(path of an ONNX file) -> (f([arrays of its inputs]) -> [arrays of its outputs]).
"""


def of_reference(path):
    """By the interpreter in NumPy."""
    from fastlstm.models import onnx, reference

    graph = onnx.read(path)
    names = [value.name for value in graph.inputs]
    return lambda arrays: reference.run(graph, dict(zip(names, arrays, strict=True)))


def of_model(path):
    """As load_model runs it: planned, and in the C core where there is one."""
    from fastlstm.models.load import load_model

    model = load_model(path)
    names = [value.name for value in model.inputs]
    return lambda arrays: model.run(dict(zip(names, arrays, strict=True)))


RUNNERS = {"reference": of_reference, "model": of_model}
