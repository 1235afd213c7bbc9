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
from refused_nodes import COARSE, CONSTANT, PLANNED, REFUSED
from runners import RUNNERS

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


def with_constants(case, names):
    """[(model, inputs, outputs)] of a case's data, where the inputs that `names` has are constants
    of the model."""
    for inputs, expected in case.data_sets:
        if not names:
            yield case.model, inputs, expected
            continue
        model = onnx.ModelProto.FromString(case.model.SerializeToString())
        given = list(model.graph.input)
        fixed = [i for i, info in enumerate(given) if info.name in names]
        for i in fixed:
            model.graph.initializer.append(
                onnx.numpy_helper.from_array(array(inputs[i]), given[i].name)
            )
            model.graph.input.remove(given[i])
        yield model, [x for i, x in enumerate(inputs) if i not in fixed], expected


@pytest.mark.parametrize("file", FILES)
def test_node_tests(file, tmp_path):
    """By every runner in one test, since to import the cases takes longer than to run them."""
    wrong, count = [], 0
    for kind, made in RUNNERS.items():
        refused = REFUSED.get(file, []) + (PLANNED.get(file, []) if kind == "model" else [])
        used = set()
        for case in cases_of(file):
            words = next((said for pattern, said in refused if re.search(pattern, case.name)), None)
            used |= {pattern for pattern, _ in refused if re.search(pattern, case.name)}
            try:
                for model, inputs, expected in with_constants(case, CONSTANT.get(file)):
                    path = tmp_path / "model.onnx"
                    path.write_bytes(model.SerializeToString())
                    compare(case, made(path)([array(x) for x in inputs]), expected)
                if words is not None:
                    wrong.append(f"{case.name}: runs by the {kind}, and is to be refused")
            except ModelError as error:
                if words is None or words not in str(error):
                    wrong.append(f"{case.name} by the {kind}: {error}")
            except AssertionError as error:
                wrong.append(f"{case.name} by the {kind}: {' '.join(str(error).split())[:300]}")
            count += 1
        assert used == {pattern for pattern, _ in refused}, "a pattern that matches no case"
    assert not wrong, "\n".join(wrong)
    assert count, "no case was found"


def test_what_is_refused_is_in_files_that_exist():
    assert {*REFUSED, *PLANNED, *CONSTANT} <= set(FILES)
