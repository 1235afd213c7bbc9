# SPDX-License-Identifier: MIT
"""Drawn graphs of 3 to 12 nodes, of every operator set from 7 to 22, with free, ragged and empty
axes, against ONNX Runtime, or ONNX's own evaluator where ONNX Runtime refuses one."""

import draw_layers  # noqa: F401 (it registers its drawers)
import numpy as np
import pytest
from conftest import FULL
from draw_graph import DRAWERS, drawn
from onnx.reference import ReferenceEvaluator
from onnx_models import by_onnxruntime

import fastlstm

COUNT = 500 if FULL else 100
PARTS = 10


def expected(model, inputs):
    """[arrays], or None if no engine runs the model. ONNX's evaluator does not know lengths of
    rows, nor all that operators meant before set 13."""
    engines = [by_onnxruntime]
    layers = any(node.op_type in ("LSTM", "GRU", "RNN") for node in model.graph.node)
    if model.opset_import[0].version >= 13 and not layers:
        engines.append(lambda m, x: ReferenceEvaluator(m).run(None, x))
    for run in engines:
        try:
            with np.errstate(all="ignore"):
                return [np.asarray(a) for a in run(model, inputs)]
        except Exception:  # whatever they raise
            continue
    return None


def same(y, due):
    """Within 1e-5 of the largest finite magnitude; infinities and NaN in the same places."""
    if (y.dtype, y.shape) != (due.dtype, due.shape):
        return False
    if due.dtype.kind != "f":
        return np.array_equal(y, due)
    finite = np.isfinite(due)
    if not np.array_equal(y[~finite], due[~finite], equal_nan=True):
        return False
    scale = max(1.0, np.abs(due[finite]).max(initial=0))
    return bool((np.abs(y[finite] - due[finite]) <= 1e-5 * scale).all())


def check(seed, path):
    """1 if the drawn model was compared, 0 if no engine runs it."""
    model, inputs = drawn(seed)
    due = expected(model, inputs)
    if due is None:
        return 0
    path.write_bytes(model.SerializeToString())
    made = fastlstm.load_model(path).run(inputs)
    for value, y, want in zip(model.graph.output, made, due, strict=True):
        text = f"seed {seed}, output {value.name}: {y.dtype} {y.shape}, {want.dtype} {want.shape}"
        assert same(y, want), f"{text}\n{y}\n{want}"
    return 1


@pytest.mark.parametrize("part", range(PARTS))
def test_drawn_graphs(part, tmp_path):
    seeds = range(part * COUNT // PARTS, (part + 1) * COUNT // PARTS)
    compared = sum(check(seed, tmp_path / "drawn.onnx") for seed in seeds)
    assert compared >= 0.95 * len(seeds)


def test_every_drawer_is_used():
    """By the graphs that CI draws, of all operators that they can draw."""
    ops = {node.op_type for seed in range(100) for node in drawn(seed)[0].graph.node}
    assert len(ops) >= 75 and len(DRAWERS) >= 38
