# SPDX-License-Identifier: MIT
"""Writing a safetensors file: whole, or not at all."""

import json
import os
import tempfile

import numpy as np

from ...engine.bfloat16 import Bfloat16
from .file import CONFIG

_ALIGN = 64  # of the data in the file; arrays follow each other without holes
_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16",
    "uint8": "U8", "bool": "BOOL", "bfloat16": "BF16",
}  # fmt: skip


def write_arrays(path, config, arrays):
    """Writes {name: contiguous array or Bfloat16} and the text `config`, which file.py finds under
    CONFIG. In the data arrays of larger items come first, so that each is aligned to its own.
    What was at `path` stays if anything fails."""
    header = {"__metadata__": {CONFIG: config}}
    size = lambda item: -item[1].dtype.itemsize  # noqa: E731
    ordered = dict(sorted(arrays.items(), key=size))  # which is stable
    ends = dict(zip(ordered, np.cumsum([0, *(a.nbytes for a in ordered.values())])[1:].tolist()))
    for name, array in arrays.items():
        header[name] = {
            "dtype": _NAMES[array.dtype.name], "shape": list(array.shape),
            "data_offsets": [ends[name] - array.nbytes, ends[name]],
        }  # fmt: skip
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGN)
    path = os.path.realpath(os.fsdecode(path))
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".fastlstm-")
    try:
        with open(handle, "wb") as file:
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            file.write(len(text).to_bytes(8, "little") + text)
            for array in ordered.values():
                array = array.bits if isinstance(array, Bfloat16) else array
                file.write(memoryview(array.reshape(-1)).cast("B") if array.size else b"")
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
