# SPDX-License-Identifier: MIT
"""What is not in the stubs of the package itself: modules that have their types in them. Never run
(test_typing.py)."""

from typing import assert_type

import fastlstm.dask
import fastlstm.onnxruntime
import fastlstm.ray
from fastlstm.score import score
from fastlstm.score.scorer import Scorer

assert_type(score("model.onnx", ["in.parquet"], "out.parquet", keep=["id"]), int)
fastlstm.ray.score(None, "model.onnx", workers=4)
fastlstm.dask.score(None, "model.onnx", column="x")
fastlstm.onnxruntime.register(None, quantized=True)
for node in fastlstm.onnxruntime.nodes("model.onnx"):
    assert_type(node, fastlstm.onnxruntime.Node)

assert_type(Scorer("model.onnx", "x", keep=["id"], constants={"sr": 16000}).keep, list[str])

Scorer("model.onnx", 5)  # type: ignore[arg-type]
score("model.onnx", "in.parquet", 5)  # type: ignore[arg-type]
