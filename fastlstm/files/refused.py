# SPDX-License-Identifier: MIT
"""Formats that are recognised and not read, so that the error can name them and say what to load
instead.

Each has a function that looks at an open Source, and a sentence for the error. By what their own
libraries write: flatbuffers have an identifier in bytes 4 to 8; SavedModel (saved_model.proto of
TensorFlow), GraphDef (graph.proto), CoreML (Model.proto of coremltools) and Paddle's program
(framework.proto) are messages of protocol buffers, told by their first fields.
"""

import os
import re

from .source import show
from .stored_zip import directory, is_zip
from .top_fields import top_fields

_SAVE = "save `model.state_dict()` with a PyTorch of 1.6 or newer, or as safetensors"
_ORIGIN = "load the PyTorch, Keras or ONNX file that it was made from"
_KERAS = "save the Keras model with model.save('model.keras'), or convert it with tf2onnx"


def is_torch_tar(source):
    return source.head[257:262] == b"ustar" or source.head[:9] == b"sys_info\0"


def _begins(*signatures):
    """A test for files that begin with one of `signatures`."""
    return lambda source: source.head.startswith(signatures)


def _flatbuffer(pattern):
    """A test for flatbuffers whose identifier matches the regular expression `pattern`."""
    return lambda source: re.fullmatch(pattern, source.head[4:8]) is not None


def is_saved_model(source):
    """SavedModel: saved_model_schema_version 1, then meta_graphs 2, which begin with their
    meta_info_def 1."""
    if source.head[:3] != b"\x08\x01\x12":
        return False
    graphs = top_fields(source)[1:]
    return all(f.number == 2 and f.first[:1] == b"\x0a" for f in graphs) and len(graphs) > 0


def is_coreml(source):
    """Model of CoreML: specificationVersion 1, description 2, a message, then
    isUpdatable 10 or the model itself, whose number tells its kind, from 200 on."""
    fields = top_fields(source) if source.head[:1] == b"\x08" else []
    numbers = [f.number for f in fields[:3]]
    return (
        len(numbers) == 3
        and numbers[:2] == [1, 2]
        and (numbers[2] == 10 or numbers[2] >= 200)
        and not fields[1].is_text
    )


_NAME = rb"[\x21-\x7e]"  # a character of a TensorFlow name


def is_graph_def(source):
    """GraphDef: nodes 1, which begin with their name 1 and op 2."""
    node = re.match(rb"\x0a[\x80-\xff]*[\0-\x7f]\x0a([\x01-\x7f])", source.head)
    if node is None:
        return False
    rest = source.head[node.end() :]
    name, behind = rest[: node[1][0]], rest[node[1][0] :]
    return bool(re.fullmatch(_NAME + b"+", name) and re.match(rb"\x12[\x01-\x7f][A-Z_]", behind))


def is_paddle(source):
    """Paddle's program (blocks 1, the first with idx 0 and parent_idx -1), its parameters (tensors
    of version 0, each with a TensorDesc behind its length) or its newer program, in JSON."""
    head = source.head
    program = re.match(rb"\x0a[\x80-\xff]*[\0-\x7f]\x08\0\x10\xff{9}\x01", head)
    tensor = head[:16] == bytes(16) and 0 < int.from_bytes(head[16:20], "little") < 1024
    return bool(program or (tensor and head[20:21] == b"\x08") or b'"magic":"pir"' in head[:64])


def is_openvino(source):
    text = source.head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith((b"<?xml", b"<net ")) and b"<net " in text


def is_tensorrt(source):
    """An engine; some tools put a JSON text of known length in front."""
    at, head = 0, source.head
    if head[3:5] == b"\0{":
        at = 4 + int.from_bytes(head[:4], "little")
        head = source.read(at, 4) if at + 4 <= source.size else b""
    return head[:4] in (b"ptrt", b"ftrt")


def _zip_with(pattern):
    """A test for zip archives that have a record whose name matches the regular expression."""
    return lambda source: (
        is_zip(source) and any(re.search(pattern, name) for name in directory(source).entries)
    )


def _refuse_zip(source, options=None):
    """What to say of a zip archive that no reader knows."""
    said = "a zip archive, but no checkpoint: it must have one <folder>/data.pkl"
    inside = re.compile(
        r"\.(pt|pth|ckpt|onnx|keras|h5|hdf5|safetensors|npz|pkl|bin)$", re.IGNORECASE
    )
    found = [name for name in directory(source).entries if inside.search(name)]
    if found:
        said += f"; {show(found[0])} is in it: unpack it, and load that"
    raise source.error("file", said)


# (name, f(source) -> whether the file has this format, sentence for the LoadError), as formats.py
# lists them. "zip" catches every zip archive that no reader knows.
REFUSED = (
    ("coreml", _zip_with(r"(^|/)com\.apple\.CoreML/"), f"a CoreML package is not read; {_ORIGIN}"),
    ("saved-model", _zip_with(r"(^|/)saved_model\.pb$"),
     f"a zipped TensorFlow SavedModel is not read; {_KERAS}"),
    ("stable-baselines", _zip_with(r"^parameter_list$"),
     "a model of Stable Baselines 2 (TensorFlow) is not read; its weights are the .npz "
     "'parameters' inside: unpack it, and give them torch's names and order of gates"),
    ("zip", is_zip, _refuse_zip),
    ("torch-tar", is_torch_tar, f"the tar format of PyTorch before 0.1.10 is not read; {_SAVE}"),
    ("tflite", _flatbuffer(rb"TFL3"), f"TensorFlow Lite is not read; {_ORIGIN}"),
    ("executorch", _flatbuffer(rb"ET\d\d"),
     f"ExecuTorch's program (.pte) is not read; {_SAVE}, of the model that it was made from"),
    ("torch-mobile", _flatbuffer(rb"PTMF"),
     f"TorchScript for mobile as a flatbuffer (.ptl) is not read; {_SAVE}, of the model that it "
     "was made from"),
    ("ort", _flatbuffer(rb"ORTM"), "ONNX Runtime's own format (.ort) is not read; load the .onnx "
     "file that it was made from"),
    ("saved-model", is_saved_model,
     f"TensorFlow's SavedModel (saved_model.pb) is not read, and its weights are not in this file; "
     f"{_KERAS}"),
    ("coreml", is_coreml, f"CoreML (.mlmodel) is not read; {_ORIGIN}"),
    ("graph-def", is_graph_def, f"a frozen graph of TensorFlow (.pb) is not read; {_KERAS}"),
    ("paddle", is_paddle,
     "PaddlePaddle's inference model is not read; convert it with paddle2onnx, and load that"),
    ("openvino", is_openvino,
     f"OpenVINO's model (.xml, its weights in a .bin beside it) is not read; {_ORIGIN}"),
    ("ncnn", _begins(b"7767517", b"\xdd\x85v\0"),
     f"ncnn's model (.param, its weights in a .bin beside it) is not read; {_ORIGIN}"),
    ("gguf", _begins(b"GGUF"), "GGUF is not read; load the safetensors or PyTorch file that it was "
     "made from"),
    ("tensorrt", is_tensorrt, "a TensorRT engine is compiled for one GPU and is not read; load the "
     "ONNX file that it was built from"),
    ("npy", _begins(b"\x93NUMPY"),
     "a NumPy .npy array has no names and is not read; use numpy.savez"),
    ("gzip", _begins(b"\x1f\x8b"), "a gzip archive is not read; unpack it first"),
)  # fmt: skip

# {a file or folder inside: what is said of a folder that has it}
_FOLDERS = {
    "saved_model.pb": f"a TensorFlow SavedModel, which is not read; {_KERAS}",
    os.path.join("Data", "com.apple.CoreML"): f"a CoreML package, which is not read; {_ORIGIN}",
    "coremldata.bin": f"a compiled CoreML model, which is not read; {_ORIGIN}",
}


def refused_folder(path):
    """What is said of the folder `path` if it is a model that is not read; None if it is not."""
    for inside, sentence in _FOLDERS.items():
        if os.path.isdir(path) and os.path.exists(os.path.join(os.fsdecode(path), inside)):
            return sentence
    return None
