# SPDX-License-Identifier: MIT
"""torch.nn.LSTM (GRU, RNN) in eval mode, under no_grad and under inference_mode.

Without either of them PyTorch records a graph and runs another, slower kernel.
Ragged batches go through its packed sequences: "packed" is the call alone on a sequence that was
packed beforehand, "pad" includes packing the input and padding the output.
"""

from __future__ import annotations

import numpy as np

from . import Runner


def version() -> str:
    import torch

    return torch.__version__


def variants(shape, threads, carry=False, lengths=None) -> list[str]:
    modes = ["no_grad", "inference_mode"]
    if lengths is None:
        return modes
    return [f"{form} {mode}" for form in ("packed", "pad") for mode in modes]


class TorchRunner(Runner):
    def __init__(self, weights, shape, threads, variant, carry, lengths):
        import torch
        from torch.nn.utils import rnn

        torch.set_num_threads(threads)
        layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[shape.cell]
        lstm = layer(shape.I, shape.H, shape.L, bidirectional=shape.bidirectional).eval()
        lstm.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        self.torch = torch
        self.threads = threads
        self.shape = shape
        self.mode = getattr(torch, variant.split()[-1])
        self.form = variant.split()[0] if lengths is not None else "dense"
        self.lengths = None if lengths is None else torch.tensor(np.asarray(lengths))
        statement = {
            "dense": "y, s = lstm(x, s)" if carry else "y, s = lstm(x)",
            "packed": "y, s = lstm(x)",
            "pad": (
                "p, s = lstm(pack(x, lengths, enforce_sorted=False))\n"
                f"y, n = pad(p, total_length={shape.T})"
            ),
        }[self.form]
        if carry:
            self.setup = "s = start"
        super().__init__(
            statement,
            {
                "lstm": lstm,
                "lengths": self.lengths,
                "pack": rnn.pack_padded_sequence,
                "pad": rnn.pad_packed_sequence,
            },
        )

    def load(self, x, state=None):
        torch, names = self.torch, self.namespace
        names["x"] = torch.from_numpy(x)
        if self.form == "packed":
            names["x"] = names["pack"](names["x"], self.lengths, enforce_sorted=False)
        if state is None:
            state = [np.zeros(self.shape.state_shape(), np.float32)] * 2
        start = tuple(torch.from_numpy(part.copy()) for part in state)
        names["start"] = start if self.shape.cell == "lstm" else start[0]

    def context(self):
        self.torch.set_num_threads(self.threads)  # one setting for the whole process
        return self.mode()

    def output(self):
        y = self.namespace["y"]
        if self.form == "packed":
            y, _ = self.namespace["pad"](y, total_length=self.shape.T)
        return y.numpy()


def build(weights, shape, threads, variant=None, carry=False, lengths=None) -> Runner:
    return TorchRunner(weights, shape, threads, variant or "inference_mode", carry, lengths)
