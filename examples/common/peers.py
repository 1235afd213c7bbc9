# SPDX-License-Identifier: MIT
"""PyTorch and ONNX Runtime on the same network, for times: one thread each, ONNX Runtime's exported
by PyTorch."""

import io

from .export import export


def session(*parts):
    """An onnxruntime.InferenceSession of a PyTorch module; parts: as `export` takes them behind
    the file."""
    import onnxruntime

    file = io.BytesIO()
    export(file, *parts)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file.getvalue(), options)
