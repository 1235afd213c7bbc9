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


def one_step(network):
    """(a PyTorch module, an onnxruntime.InferenceSession, its first state) of one step of a network
    that is an `lstm` and a `head`: x (1, 1, I), h, c -> y, h1, c1."""
    import torch
    from torch import nn

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = network.lstm, network.head

        def forward(self, x, h, c):
            y, (h, c) = self.lstm(x, (h, c))
            return self.head(y), h, c

    step, lstm = Step().eval(), network.lstm
    zeros = torch.zeros(lstm.num_layers, 1, lstm.hidden_size)
    example = (torch.zeros(1, 1, lstm.input_size), zeros, zeros)
    return step, session(step, example, ["x", "h", "c"], ["y", "h1", "c1"], {}), zeros
