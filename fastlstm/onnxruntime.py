# SPDX-License-Identifier: MIT
"""ONNX Runtime with this package's LSTM, GRU and RNN in it, without a change to the model:

    import onnxruntime as ort, fastlstm.onnxruntime

    options = ort.SessionOptions()
    fastlstm.onnxruntime.register(options)
    session = ort.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
"""

from typing import Any

from .engine import backend

__all__ = ["register"]
def register(session_options: Any) -> None:
    threads = session_options.intra_op_num_threads
    if threads:
        session_options.add_session_config_entry("fastlstm.threads", str(threads))
    session_options.register_custom_ops_library(backend.__file__)
