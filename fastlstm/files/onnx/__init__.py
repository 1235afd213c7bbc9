# SPDX-License-Identifier: MIT
"""ONNX models, read without the onnx and protobuf libraries.

file.py        the recurrent layers and tensors of a model
graph.py       graphs, nodes, and which values are constants
fold.py        the operators that constants may be computed by
attribute.py   AttributeProto
tensor.py      TensorProto
wire.py        the fields of protocol buffers
"""
