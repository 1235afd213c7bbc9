# SPDX-License-Identifier: MIT
"""The table of formats: (name, test of the open file, reader or the sentence of a refusal).

The first test that holds decides, so the narrower tests come first. A reader is
f(source, options) -> Contents, or {name: array} where torch's names tell the layers.
"""

from .json import file as json
from .keras import file as keras
from .numpy import npz
from .numpy import pickle as numpy_pickle
from .onnx import file as onnx
from .refused import REFUSED, is_paddle
from .safetensors import file as safetensors
from .safetensors import layers as fastlstm
from .torch import nested as torch_nested
from .torch import packed as torch_packed
from .torch import pt2 as torch_pt2
from .torch import script as torch_script
from .torch import stream as torch_stream
from .torch import zip as torch_zip

FORMATS = (
    ("torchscript", torch_script.is_torchscript, torch_script.read),
    ("torch", torch_zip.is_torch_zip, torch_packed.read),
    ("torch-export", torch_pt2.is_pt2, torch_pt2.read),
    ("stable-baselines3", torch_nested.is_stable_baselines, torch_nested.read_stable_baselines),
    ("keras", keras.is_keras_zip, keras.read),
    ("npz", npz.is_npz, npz.read),
    ("hdf5", keras.is_hdf5, keras.read),
    ("torch-stream", torch_stream.is_torch_stream, torch_stream.read),
    ("pickle", numpy_pickle.is_pickle, numpy_pickle.read),
    ("json", lambda source: json.is_json(source) and not is_paddle(source), json.read),
    ("fastlstm", fastlstm.is_fastlstm, fastlstm.read),
    ("safetensors", safetensors.is_safetensors, safetensors.read),
    ("onnx", onnx.is_onnx, onnx.read),
    *REFUSED,
)
