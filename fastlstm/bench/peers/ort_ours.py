# SPDX-License-Identifier: MIT
"""ONNX Runtime whose LSTM, GRU and RNN are this package's: fastlstm.onnxruntime.register."""

from __future__ import annotations

from ...engine import NAME
from . import ort


def version() -> str:
    if NAME != "c":
        raise ImportError("fastlstm.onnxruntime needs the C core")
    return ort.version()


def ways(shape, threads, carry=False, lengths=None, precision="float32"):
    from ...onnxruntime import register

    return ort.ways(shape, threads, carry, lengths, precision, register)
