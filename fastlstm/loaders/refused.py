# SPDX-License-Identifier: MIT
"""Formats that are recognised by their content and not read: one sentence for each.

A format leaves this module when a reader for it joins the table in `__init__.py`.
"""

from .stored_zip import directory, is_zip

_SAVE = "save `model.state_dict()` with a PyTorch of 1.6 or newer, or as safetensors"
_LEGACY_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa85019")  # LONG1 of torch's number 0x1950a8...


def is_torch_stream(source):
    return _LEGACY_MAGIC in source.head[:24]


def is_torch_tar(source):
    return source.head[257:262] == b"ustar" or source.head[:9] == b"sys_info\0"


def is_hdf5(source):
    return source.head.startswith(b"\x89HDF\r\n\x1a\n")


def is_tflite(source):
    return source.head[4:8] == b"TFL3"


def is_npy(source):
    return source.head.startswith(b"\x93NUMPY")


def is_gzip(source):
    return source.head.startswith(b"\x1f\x8b")


def is_pickle(source):
    return source.head[:1] == b"\x80" and source.head[1:2] in (b"\2", b"\3", b"\4", b"\5")


def is_torchscript(source):
    """Constants, or code, beside the pickle in the archive's one top folder."""
    names = directory(source).entries if is_zip(source) else ()
    below = {tuple(name.split("/")[1:2]) for name in names}
    return ("constants.pkl",) in below or {("data.pkl",), ("code",)} <= below


def is_npz(source):
    names = directory(source).entries if is_zip(source) else ()
    return len(names) > 0 and all(name.endswith(".npy") for name in names)


def is_keras(source):
    return is_zip(source) and "model.weights.h5" in directory(source).entries


# (name, test of the open file, sentence), the narrower tests first. TorchScript comes before
# torch.save's archives, which it resembles: the table in `__init__.py` keeps that order.
REFUSED_FIRST = (("torchscript", is_torchscript, f"a TorchScript archive is not read; {_SAVE}"),)
REFUSED = (
    ("npz", is_npz, "a NumPy .npz archive is not read"),
    ("keras", is_keras, "a Keras .keras archive is not read"),
    ("zip", is_zip, "a zip archive, but no checkpoint: it must have one <folder>/data.pkl"),
    ("torch-stream", is_torch_stream, f"the format of PyTorch before 1.6 is not read; {_SAVE}"),
    ("torch-tar", is_torch_tar, f"the tar format of PyTorch before 0.1.10 is not read; {_SAVE}"),
    ("hdf5", is_hdf5, "HDF5 (Keras .h5) is not read yet"),
    ("tflite", is_tflite, "TensorFlow Lite is not read"),
    ("npy", is_npy, "a NumPy .npy array has no names and is not read"),
    ("gzip", is_gzip, "a gzip archive is not read; unpack it first"),
    ("pickle", is_pickle, f"a plain pickle is not read; {_SAVE}"),
)
