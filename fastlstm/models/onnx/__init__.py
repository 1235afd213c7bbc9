# SPDX-License-Identifier: MIT
"""ONNX files as graphs. Nothing here computes.

read.py         a file's graphs, branches and functions to one Graph
attributes.py   the attributes of nodes as plain values, their types checked
target.py       a Graph while it is made
older.py        operators of ONNX's operator sets 1 to 28, in the forms that graph.OPSET has
microsoft.py    operators of ONNX Runtime's own, com.microsoft; quantized.py: those of codes
"""

from .read import read

__all__ = ["read"]
