# SPDX-License-Identifier: MIT
"""python model_run.py FOLDER RESULTS: runs every FOLDER/NAME.onnx on the inputs in FOLDER/NAME.npz,
by the backend that FASTLSTM_BACKEND names. test_model_backends.py compares.

Inputs are named "NUMBER INPUT", a number for each call; outputs in RESULTS "NAME NUMBER INDEX", and
"backend" is the name of the backend that computed them."""

import sys
from pathlib import Path

import numpy as np

import fastlstm
from fastlstm.engine import NAME


def calls(file):
    """{number: {input: array}}"""
    found = {}
    with np.load(file) as arrays:
        for key, array in arrays.items():
            number, _, name = key.partition(" ")
            found.setdefault(number, {})[name] = array
    return found


def main(folder, results):
    made = {"backend": np.array(NAME)}
    for path in sorted(Path(folder).glob("*.onnx")):
        model = fastlstm.load_model(path)
        for number, feeds in calls(path.with_suffix(".npz")).items():
            outputs = model.run(feeds)
            made |= {f"{path.stem} {number} {i}": a for i, a in enumerate(outputs)}
    np.savez(results, **made)


if __name__ == "__main__":
    main(*sys.argv[1:])
