# SPDX-License-Identifier: MIT
"""ONNX models, read without the onnx and protobuf libraries.

file.py        the recurrent layers and tensors of a model
gates.py       a recurrent operator's weights and attributes, as torch has them
single_operators.py   cells that were written out, for an error that names them
graph.py       graphs, nodes, and which values are constants
fold.py        the operators that constants may be computed by
attribute.py   AttributeProto
tensor.py      TensorProto
wire.py        the fields of protocol buffers
"""
