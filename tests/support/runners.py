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


RUNNERS = {"reference": of_reference}
