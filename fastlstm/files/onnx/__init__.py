# SPDX-License-Identifier: MIT
"""ONNX models: the wire format, tensors, the graph with its constants folded, its layers."""
