# SPDX-License-Identifier: MIT
"""Formats that are recognised by their first bytes and not read, so that the error can name them.

Each has a function that looks at the first bytes of an open Source, and a sentence for the error.
"""

from .stored_zip import is_zip

_SAVE = "save `model.state_dict()` with a PyTorch of 1.6 or newer, or as safetensors"


def is_torch_tar(source):
    return source.head[257:262] == b"ustar" or source.head[:9] == b"sys_info\0"


def is_tflite(source):
    return source.head[4:8] == b"TFL3"


def is_npy(source):
    return source.head.startswith(b"\x93NUMPY")


def is_gzip(source):
    return source.head.startswith(b"\x1f\x8b")


# (name, f(source) -> whether the file has this format, sentence for the LoadError), as formats.py
# lists them. "zip" catches every zip archive that no reader knows.
REFUSED = (
    ("zip", is_zip, "a zip archive, but no checkpoint: it must have one <folder>/data.pkl"),
    ("torch-tar", is_torch_tar, f"the tar format of PyTorch before 0.1.10 is not read; {_SAVE}"),
    ("tflite", is_tflite, "TensorFlow Lite is not read"),
    ("npy", is_npy, "a NumPy .npy array has no names and is not read; use numpy.savez"),
    ("gzip", is_gzip, "a gzip archive is not read; unpack it first"),
)
