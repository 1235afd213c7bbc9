# SPDX-License-Identifier: MIT
"""The node tests of the ONNX package: every file of them, every case."""

import functools
import importlib
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.backend.test.case import node as cases
from refused_nodes import COARSE, REFUSED

from fastlstm.models.graph import ModelError

pytestmark = pytest.mark.once
FILES = sorted(
    path.stem for path in Path(cases.__file__).parent.glob("*.py") if path.stem[0] != "_"
)
# Elements of fewer bits: bfloat16 is computed as float32; sums of float16 round often.
SHORT = {"float16": 2e-3, "bfloat16": 1e-2}


@functools.cache
def cases_of(file):
    """The cases of one file of the ONNX package, which puts them into a list as it is imported: a
    list of their own, whoever else has imported it."""
    name = f"{cases.__name__}.{file}"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(cases, "_NodeTestCases", [])
        patch.setattr(cases, "_existing_names", {})
        patch.delitem(sys.modules, name, raising=False)
        importlib.import_module(name)
        return cases._NodeTestCases


def array(value):
    value = onnx.numpy_helper.to_array(value) if hasattr(value, "dims") else np.asarray(value)
    return value.astype(np.float32) if value.dtype.name == "bfloat16" else value


def compare(case, found, expected):
    for y, due in zip(found, expected, strict=True):
        short = [SHORT.get(str(np.asarray(e).dtype), 0) for e in expected]
        due = array(due)
        assert (y.dtype, y.shape) == (due.dtype, due.shape)
        tolerance = max(1e-5, *short, COARSE.get(case.name, (0,))[0])
        scale = np.abs(due[np.isfinite(due)]).max(initial=0) if due.dtype.kind == "f" else 0
        np.testing.assert_allclose(y, due, rtol=tolerance, atol=0.1 * tolerance * scale)


@pytest.mark.parametrize("file", FILES)
def test_node_tests(file, runner):
    refused = REFUSED.get(file, [])
    used, wrong, count = set(), [], 0
    for case in cases_of(file):
        words = next((said for pattern, said in refused if re.search(pattern, case.name)), None)
        used |= {pattern for pattern, _ in refused if re.search(pattern, case.name)}
        try:
            run = runner(case.model)
            for inputs, expected in case.data_sets:
                compare(case, run([array(x) for x in inputs]), expected)
            if words is not None:
                wrong.append(f"{case.name}: runs, and is to be refused")
        except ModelError as error:
            if words is None or words not in str(error):
                wrong.append(f"{case.name}: {error}")
        except AssertionError as error:
            wrong.append(f"{case.name}: {' '.join(str(error).split())[:300]}")
        count += 1
    assert not wrong, "\n".join(wrong)
    assert count, "no case was found"
    assert used == {pattern for pattern, _ in refused}, "a pattern that matches no case"


def test_what_is_refused_is_in_files_that_exist():
    assert set(REFUSED) <= set(FILES)
