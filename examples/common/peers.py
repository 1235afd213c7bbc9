# SPDX-License-Identifier: MIT
"""ONNX Runtime on the same network, for times: exported by PyTorch, one thread."""

import io
import warnings


def session(module, arguments, inputs, outputs, free):
    """An onnxruntime.InferenceSession of a PyTorch module.

    arguments   an example call's, a tuple of tensors
    free        {name: {axis: its name}} of axes that may have other sizes
    """
    import onnxruntime
    import torch

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), arguments, file, dynamo=False, input_names=inputs,
            output_names=outputs, dynamic_axes=free,
        )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file.getvalue(), options)
