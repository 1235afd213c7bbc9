# SPDX-License-Identifier: MIT
"""Malformed files, made by code: a generator of Cases for the tests and the fuzzer's seeds."""

import dataclasses

from . import chunks, headers, others, pickles, zips


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    data: bytes
    says: str  # a part of the LoadError's text; "" if any LoadError will do


def all_cases():
    """Every Case; the name begins with the kind."""
    for kind, cases in (
        ("zip", zips.cases()),
        ("format", zips.format_cases()),
        ("pickle", pickles.cases()),
        ("tensor", pickles.tensor_cases()),
        ("bomb", pickles.bombs()),
        ("safetensors", headers.cases()),
        ("onnx", others.onnx_cases()),
        ("onnx-bomb", others.onnx_bombs()),
        ("hdf5", others.hdf5_cases()),
        ("hdf5-bomb", others.hdf5_bombs()),
        ("chunk", chunks.cases()),
        ("chunk-bomb", chunks.bombs()),
        ("keras", others.keras_cases()),
        ("keras-bomb", others.keras_bombs()),
        ("npz", others.npz_cases()),
        ("numpy", others.pickle_cases()),
        ("stream", others.stream_cases()),
        ("script", others.script_cases()),
    ):
        for name, data, says in cases:
            yield Case(f"{kind}-{name}", data, says)
