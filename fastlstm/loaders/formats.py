# SPDX-License-Identifier: MIT
"""The table of formats: (name, test of the open file, reader or the sentence of a refusal).

The first test that holds decides, so the narrower tests come first. A reader is
f(source, options) -> Contents, or {name: array} where torch's names tell the layers.
"""

from . import onnx_file
from .refused import REFUSED, REFUSED_FIRST
from .safetensors_file import is_safetensors
from .safetensors_file import read as read_safetensors
from .torch_zip import is_torch_zip
from .torch_zip import read as read_torch_zip

FORMATS = (
    *REFUSED_FIRST,
    ("torch", is_torch_zip, read_torch_zip),
    ("safetensors", is_safetensors, read_safetensors),
    ("onnx", onnx_file.is_onnx, onnx_file.read),
    *REFUSED,
)
