# SPDX-License-Identifier: MIT
"""Malformed files of every format that is read, made by code: each breaks one rule.

The tests check that each is refused for that rule, and the fuzzers begin with them. h5py and torch
make the sound files that some of them are made from.

    build.py     zip archives, pickles and safetensors files, with single bytes to choose
    zips.py pickles.py headers.py chunks.py shared.py others.py archives.py texts.py
    wrong_types.py     the malformed files
    objects.py opaque.py     sound checkpoints with objects of every kind beside the tensors
    targets.py mutate.py     what a fuzzer's input is for each format, and how it is changed
    whole.py     files of whole models: those to begin with, changes, and what is done with one
    watch.py     loads files in a process of its own, and reports time, memory and audit events
"""

import dataclasses

from . import archives, chunks, headers, others, pickles, shared, texts, wrong_types, zips


@dataclasses.dataclass(frozen=True)
class Case:
    """name: its family and rule, unique; data: the file; says: a part of the LoadError's text, ""
    if every LoadError will do."""

    name: str
    data: bytes
    says: str


def all_cases():
    """Every Case. Its name begins with the family's, which is a format, or a format and "bomb" for
    files that ask for much more time or memory than their size."""
    for family, cases in (
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
        ("shared-bomb", shared.cases()),
        ("keras", others.keras_cases()),
        ("keras-bomb", others.keras_bombs()),
        ("npz", others.npz_cases()),
        ("numpy", others.pickle_cases()),
        ("stream", others.stream_cases()),
        ("script", others.script_cases()),
        ("pt2", archives.pt2_cases()),
        ("pt2-bomb", archives.pt2_bombs()),
        ("nested", archives.nested_cases()),
        ("nested-bomb", archives.nested_bombs()),
        ("onnx-type", wrong_types.onnx_cases()),
        ("keras-type", wrong_types.keras_cases()),
        ("fastlstm-type", wrong_types.own_cases()),
        ("script-type", wrong_types.script_cases()),
        ("json", texts.cases()),
        ("json-bomb", texts.bombs()),
        ("packed", texts.packed_cases()),
        ("frozen-bomb", texts.frozen_bombs()),
    ):
        for name, data, says in cases:
            yield Case(f"{family}-{name}", data, says)
