# SPDX-License-Identifier: MIT
"""Small ONNX models for the tests."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), **attrs)


def graph_of(nodes, inputs, outputs, constants=None, name="g"):
    """A GraphProto. inputs: {name: array or shape (float32)}; outputs: names in one str."""
    given = [
        helper.make_tensor_value_info(
            n,
            helper.np_dtype_to_tensor_dtype(a.dtype) if isinstance(a, np.ndarray) else 1,
            list(a.shape if isinstance(a, np.ndarray) else a),
        )
        for n, a in inputs.items()
    ]
    results = [helper.make_tensor_value_info(n, 1, None) for n in outputs.split()]
    stored = [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()]
    return helper.make_graph(nodes, name, given, results, stored)


def model_of(graph, opset=21, functions=(), **domains):
    """A ModelProto. domains: {a domain with _ for its dots: version}"""
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(d.replace("_", "."), v) for d, v in domains.items()]
    return helper.make_model(
        graph, opset_imports=opsets, functions=list(functions), ir_version=10 if functions else 8
    )


def by_onnxruntime(model, inputs):
    """{name: array} in, [arrays] out. Output types, which graph_of calls float32, are inferred."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for output in model.graph.output:
        output.ClearField("type")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, inputs)
