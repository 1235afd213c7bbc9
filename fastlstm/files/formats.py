# SPDX-License-Identifier: MIT
"""The table of formats: (name, test of the open file, reader or the sentence of a refusal).

The first test that holds decides, so the narrower tests come first. A reader is
f(source, options) -> Contents, or {name: array} where torch's names tell the layers.
"""

from . import keras_file, npz, numpy_pickle, onnx_file, own, torch_script, torch_stream, torch_zip
from . import safetensors_file as safetensors
from .refused import REFUSED

FORMATS = (
    ("torchscript", torch_script.is_torchscript, torch_script.read),
    ("torch", torch_zip.is_torch_zip, torch_zip.read),
    ("keras", keras_file.is_keras_zip, keras_file.read_zip),
    ("npz", npz.is_npz, npz.read),
    ("hdf5", keras_file.is_hdf5, keras_file.read_hdf5),
    ("torch-stream", torch_stream.is_torch_stream, torch_stream.read),
    ("pickle", numpy_pickle.is_pickle, numpy_pickle.read),
    ("fastlstm", own.is_own, own.read),
    ("safetensors", safetensors.is_safetensors, safetensors.read),
    ("onnx", onnx_file.is_onnx, onnx_file.read),
    *REFUSED,
)
