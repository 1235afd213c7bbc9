# SPDX-License-Identifier: MIT
"""torch.nn.LSTM (GRU, RNN) in eval mode, under inference_mode and under no_grad.

Without either of them PyTorch records a graph and runs another, slower kernel.
bfloat16 is a module and inputs in it; int8 is `quantize_dynamic`, which has no RNN.
Ragged batches go through its packed sequences: "packed" is the call alone on a sequence that was
packed beforehand, "pad" includes packing the input and padding the output.
"""

from __future__ import annotations

import functools

import numpy as np

from .runner import Runner


def version() -> str:
    import torch

    return torch.__version__


def ways(shape, threads, carry=False, lengths=None, precision="float32"):
    import torch

    if precision != "float32" and (
        lengths is not None or (precision, shape.cell) == ("int8", "rnn")
    ):
        return {}

    modes = {"inference_mode": torch.inference_mode, "no_grad": torch.no_grad}
    if lengths is None:
        forms = {"": functools.partial(DenseRunner, carry=carry, precision=precision)}
    else:
        forms = {
            "packed ": functools.partial(PackedRunner, lengths=lengths),
            "pad ": functools.partial(PaddedRunner, lengths=lengths),
        }
    return {
        form + mode: functools.partial(make, shape=shape, threads=threads, mode=modes[mode])
        for form, make in forms.items()
        for mode in modes
    }


def layers() -> dict:
    """{cell: PyTorch's class}."""
    from torch import nn

    return {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def quantized(layer):
    """The layer with weights in int8."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it will move to another package
        whole = torch.nn.Sequential(layer)
        return torch.ao.quantization.quantize_dynamic(whole, {type(layer)}, dtype=torch.qint8)[0]


class TorchRunner(Runner):
    """What the ways to call PyTorch share. `mode` is a context manager's class, entered around the
    calls."""

    statement = ""  # of each subclass

    def __init__(self, weights, shape, threads, mode, precision="float32"):
        import torch
        from torch.nn.utils import rnn

        torch.set_num_threads(threads)
        layer = layers()[shape.cell]
        lstm = layer(shape.I, shape.H, shape.L, bidirectional=shape.bidirectional).eval()
        lstm.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        if precision == "int8":
            lstm = quantized(lstm)
        lstm.to(self.dtype)
        self.torch, self.threads, self.shape, self.mode = torch, threads, shape, mode
        names = {"lstm": lstm, "pack": rnn.pack_padded_sequence, "pad": rnn.pad_packed_sequence}
        super().__init__(self.statement, names)

    def load(self, x, state=None):
        torch, names = self.torch, self.namespace
        names["x"] = torch.from_numpy(x).to(self.dtype)
        if state is None:
            state = [np.zeros(self.shape.state_shape(), np.float32)] * 2
        start = tuple(torch.from_numpy(part.copy()).to(self.dtype) for part in state)
        names["start"] = start if self.shape.cell == "lstm" else start[0]

    def context(self):
        self.torch.set_num_threads(self.threads)  # one setting for the whole process
        return self.mode()

    def output(self):
        return self.namespace["y"].float().numpy()


class DenseRunner(TorchRunner):
    """Every row has T steps."""

    def __init__(self, weights, shape, threads, mode, carry, precision):
        self.statement = "y, s = lstm(x, s)" if carry else "y, s = lstm(x)"
        if carry:
            self.setup = "s = start"
        super().__init__(weights, shape, threads, mode, precision)


class PackedRunner(TorchRunner):
    """The call on a packed sequence; the output stays packed."""

    statement = "y, s = lstm(x)"

    def __init__(self, weights, shape, threads, mode, lengths):
        super().__init__(weights, shape, threads, mode)
        self.lengths = self.torch.tensor(np.asarray(lengths))

    def load(self, x, state=None):
        super().load(x, state)
        names = self.namespace
        names["x"] = names["pack"](names["x"], self.lengths, enforce_sorted=False)

    def output(self):
        y, _ = self.namespace["pad"](self.namespace["y"], total_length=self.shape.T)
        return y.numpy()


class PaddedRunner(TorchRunner):
    """From a padded input to a padded output."""

    def __init__(self, weights, shape, threads, mode, lengths):
        self.statement = (
            "p, s = lstm(pack(x, lengths, enforce_sorted=False))\n"
            f"y, n = pad(p, total_length={shape.T})"
        )
        super().__init__(weights, shape, threads, mode)
        self.namespace["lengths"] = self.torch.tensor(np.asarray(lengths))
