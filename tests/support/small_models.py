# SPDX-License-Identifier: MIT
"""Small models with state, built in torch and exported to ONNX, for tests of the face."""

import warnings

import torch
from torch import nn


class LSTMStack(nn.Module):
    """x (T, B, 6), h and c (2, B, 12) -> y (T, B, 3), hn, cn"""

    def __init__(self):
        super().__init__()
        self.front, self.lstm, self.head = nn.Linear(6, 8), nn.LSTM(8, 12, 2), nn.Linear(12, 3)

    def forward(self, x, h, c):
        y, (hn, cn) = self.lstm(torch.relu(self.front(x)), (h, c))
        return torch.sigmoid(self.head(y)), hn, cn


class GRUStack(nn.Module):
    """x (T, B, 5), h (1, B, 7) -> y (T, B, 4), mean (T, B), hn"""

    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(5, 7), nn.Linear(7, 4)

    def forward(self, x, h):
        y, hn = self.gru(x, h)
        y = torch.tanh(self.head(y))
        return y, y.mean(-1), hn


class Wide(nn.Module):
    """x (T, B, 40) -> y (T, B, 8): enough weights that a file's size is theirs."""

    def __init__(self):
        super().__init__()
        self.front, self.lstm, self.head = nn.Linear(40, 96), nn.LSTM(96, 96), nn.Linear(96, 8)

    def forward(self, x):
        return self.head(self.lstm(torch.relu(self.front(x)))[0])


# name: (module, shapes of inputs for T, B, names of inputs, names of outputs)
MODELS = {
    "lstm": (LSTMStack, lambda T, B: [(T, B, 6), (2, B, 12), (2, B, 12)],
             ["x", "h", "c"], ["y", "hn", "cn"]),
    "gru": (GRUStack, lambda T, B: [(T, B, 5), (1, B, 7)], ["x", "h"], ["y", "mean", "hn"]),
    "wide": (Wide, lambda T, B: [(T, B, 40)], ["x"], ["y"]),
}  # fmt: skip


def export(name, folder):
    """(the path of an ONNX file, the torch module) of a model of MODELS, seeded."""
    kind, shapes, inputs, outputs = MODELS[name]
    torch.manual_seed(len(name))
    module = kind().eval()
    axes = {n: {0: "time", 1: "batch"} for n in ("x", "y")} | {"mean": {0: "time", 1: "batch"}}
    axes |= {n: {1: "batch"} for n in ("h", "c", "hn", "cn")}
    path = str(folder / f"{name}.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(torch.zeros(s) for s in shapes(3, 2)), path, input_names=inputs,
            output_names=outputs, dynamo=False,
            dynamic_axes={n: axes[n] for n in inputs + outputs},
        )  # fmt: skip
    return path, module


def drawn(name, T, B, rng):
    """Inputs of the model: float32 arrays."""
    return [rng.standard_normal(s).astype("float32") for s in MODELS[name][1](T, B)]
