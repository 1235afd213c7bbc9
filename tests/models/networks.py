# SPDX-License-Identifier: MIT
"""Networks drawn after the structures of published models, as torch modules, for the tests.

Each class says its inputs' shapes, "B" the batch and "T" the time, and how large integers may be:

    inputs   {name: (shape, most)}; most 0: floats       outputs   names
"""

import dataclasses
import functools
import io
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

NETWORKS = {}


@dataclasses.dataclass
class Network:
    """make: f() -> module; inputs, outputs: this module's head. sizes: (B, T) to be tried; those of
    None are free in the file, others fixed."""

    make: type
    inputs: dict
    outputs: str
    sizes: tuple

    def axes(self, name, time=True):
        """{axis: its name} of the free axes of an input; time: is the time free too?"""
        shape, _ = self.inputs[name]
        free = {"B": "batch"} | ({"T": "time"} if time else {})
        return {i: free[n] for i, n in enumerate(shape) if n in free}

    def feeds(self, rng, batch, time):
        """{name: array}"""
        made = {}
        for name, (shape, most) in self.inputs.items():
            sizes = [{"B": batch, "T": time}.get(n, n) for n in shape]
            if most:
                made[name] = rng.integers(0, most, sizes)
            else:
                made[name] = rng.standard_normal(sizes).astype(np.float32)
        return made

    def module(self):
        """The module with the weights of one seed, in inference; BatchNorms as after training."""
        torch.manual_seed(11)
        made = self.make().eval()
        for part in made.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(part.running_mean, 0, 0.3)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
                nn.init.uniform_(part.weight, 0.5, 1.5)
        return made


EXPORTERS = ("script", "dynamo")
# What torch's newer exporter does not export with a free time, and the words in which it says so,
# for torch 2.13; ONNX Runtime's if the file has the traced time in a Reshape behind an LSTM whose
# first axis is the time, so that it takes no other.
TRACED = "Non-zero status code returned while running Reshape node"
FIXED_TIME = {
    "VoiceSequence": TRACED,
    "TextLine": TRACED,
    "Projected": TRACED,
    "Recording": TRACED,
    "Gated": "tracing inferred a static shape of 13 for dimension inputs",
    "SpeechQuality": r"The size of tensor a \(12\) must match the size of tensor b \(36\)",
    "Pooled": r"The size of tensor a \(9\) must match the size of tensor b \(27\)",
    "Denoiser": "stack expects each tensor to be equal size",
}


def sizes_of(name, how):
    sizes = NETWORKS[name].sizes
    fixed = how == "dynamo" and name in FIXED_TIME
    return [(b, sizes[-1][1]) for b in (1, 3)] if fixed else sizes


def forget_exports():
    """Makes the next export that of a new process. torch keeps how it has written out an LSTM, GRU
    or RNN with its operators, so that a second export in a process may write out step by step what
    the first one writes as one node."""
    for layer in (torch.ops.aten.lstm, torch.ops.aten.gru, torch.ops.aten.rnn_tanh):
        layer.input._dispatch_cache.clear()
    torch.ops.aten.rnn_relu.input._dispatch_cache.clear()


@functools.cache
def exported(name, how):
    """(the ONNX file as bytes, torch's module). how: one of EXPORTERS, or "dynamo, free time" for
    the newer one without regard to FIXED_TIME."""
    network = NETWORKS[name]
    module = network.module()
    feeds = network.feeds(np.random.default_rng(3), 2, network.sizes[-1][1])
    arguments = tuple(torch.from_numpy(a) for a in feeds.values())
    names = {"input_names": list(feeds), "output_names": network.outputs.split()}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "script":
            axes = {n: network.axes(n) for n in feeds}
            torch.onnx.export(module, arguments, file, dynamo=False, dynamic_axes=axes,
                              opset_version=17, **names)  # fmt: skip
        else:
            free = how == "dynamo, free time" or name not in FIXED_TIME
            shapes = tuple(
                dict.fromkeys(network.axes(n, free), torch.export.Dim.DYNAMIC) for n in feeds
            )
            forget_exports()
            program = torch.onnx.export(module, arguments, dynamo=True, dynamic_shapes=shapes,
                                        verbose=False, **names)  # fmt: skip
            program.save(file)
    return file.getvalue(), module


ALL = ((1, 1), (3, 1), (1, 7), (3, 8), (2, 13))


def network(inputs, outputs="y", sizes=ALL):
    """Registers a module class."""

    def register(made):
        given = {n: (v if isinstance(v[0], tuple) else (v, 0)) for n, v in inputs.items()}
        NETWORKS[made.__name__] = Network(made, given, outputs, sizes)
        return made

    return register


@network({"x": ("B", 96), "state": (2, "B", 24)}, "p next", sizes=((1, 1), (3, 1)))
class VoiceFrame(nn.Module):
    """A frame of a voice detector: reflected ends, a Fourier transform as a Conv1d, magnitudes,
    Conv1ds, an LSTMCell whose state is one tensor, a head."""

    def __init__(self):
        super().__init__()
        self.basis = nn.Conv1d(1, 34, 32, stride=16, bias=False)
        self.layers = nn.ModuleList(
            nn.Conv1d(i, o, 3, stride=s, padding=1)
            for i, o, s in ((17, 24, 1), (24, 16, 2), (16, 24, 2))
        )
        self.cell = nn.LSTMCell(24, 24)
        self.head = nn.Conv1d(24, 1, 1)

    def forward(self, x, state):
        z = self.basis(F.pad(x.unsqueeze(1), (0, 16), mode="reflect"))
        z = torch.sqrt(z[:, :17] ** 2 + z[:, 17:] ** 2)
        for layer in self.layers:
            z = torch.relu(layer(z))
        h, c = self.cell(z[:, :, -1], (state[0], state[1]))
        p = torch.sigmoid(self.head(torch.relu(h).unsqueeze(-1)))
        return p.squeeze(1).mean(1, keepdim=True), torch.stack([h, c])


@network({"x": ("T", 40), "h": (1, 1, 24), "c": (1, 1, 24)}, "p hn cn", sizes=((1, 1), (1, 9)))
class VoiceSequence(nn.Module):
    """Frames as the batch of a Conv1d, then as the steps of an LSTM."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 24, 10, stride=10)
        self.lstm, self.head = nn.LSTM(24, 24), nn.Linear(24, 1)

    def forward(self, x, h, c):
        z = torch.relu(self.conv(x.unsqueeze(1))).mean(-1)
        y, (h, c) = self.lstm(z.unsqueeze(1), (h, c))
        return torch.sigmoid(self.head(y.squeeze(1))), h, c


@network({"x": ("B", "T", 30)})
class Beats(nn.Module):
    """Of each frame a Conv1d and its maxima, then two layers of LSTM."""

    def __init__(self):
        super().__init__()
        self.conv, self.first = nn.Conv1d(1, 2, 10), nn.Linear(20, 16)
        self.lstm, self.last = nn.LSTM(16, 16, 2, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        batch, time, width = x.shape
        z = F.max_pool1d(torch.relu(self.conv(x.reshape(-1, 1, width))), 2)
        z = self.first(z.reshape(-1, 20)).reshape(batch, time, 16)
        return torch.softmax(self.last(self.lstm(z)[0]), -1).transpose(1, 2)


@network({"x": ("B", 2, "T", 16), "h": (1, "B", 32)}, "mask hn")
class DeepFilter(nn.Module):
    """Depthwise and pointwise Conv2ds, causal in time, a grouped Linear as einsum, a GRU, and
    ConvTranspose2ds."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 8, (3, 3), padding=(0, 1), bias=False)
        self.depth = nn.Conv2d(8, 8, (1, 3), (1, 2), (0, 1), groups=8, bias=False)
        self.point, self.norm = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.grouped = nn.Parameter(torch.randn(4, 16, 8) * 0.25)
        self.gru, self.back = nn.GRU(32, 32, batch_first=True), nn.Linear(32, 64)
        self.up = nn.ConvTranspose2d(8, 8, (1, 3), (1, 2), (0, 1), (0, 1), groups=8, bias=False)
        self.out, self.norm2 = nn.Conv2d(8, 1, (1, 3), padding=(0, 1)), nn.BatchNorm2d(8)

    def forward(self, x, h):
        e0 = torch.relu(self.first(F.pad(x, (0, 0, 2, 0))))
        e1 = torch.relu(self.norm(self.point(self.depth(e0))))
        z = e1.permute(0, 2, 1, 3).flatten(2)
        z = torch.einsum("btgi,gih->btgh", z.reshape(z.shape[0], z.shape[1], 4, 16), self.grouped)
        y, h = self.gru(torch.relu(z.flatten(2)), h)
        y = torch.relu(self.back(y))
        d = y.reshape(y.shape[0], y.shape[1], 8, 8).permute(0, 2, 1, 3) + e1
        return torch.sigmoid(self.out(torch.relu(self.norm2(self.up(d))) + e0)), h


@network({"x": ("B", 1, 32, "T")}, sizes=((1, 8), (3, 15), (1, 33)))
class TextLine(nn.Module):
    """OCR: Conv2ds with BatchNorm and pools until one row is left, BiLSTMs over the columns."""

    def __init__(self):
        super().__init__()
        parts, before = [], 1
        for width, pool in ((6, 2), (8, 2), (12, 0), (12, (2, 1)), (16, 0), (16, (2, 1))):
            parts += [nn.Conv2d(before, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU()]
            parts += [nn.MaxPool2d(pool, pool)] if pool else []
            before = width
        self.front = nn.Sequential(*parts, nn.Conv2d(16, 16, (2, 1)), nn.ReLU())
        self.lstms = nn.ModuleList(nn.LSTM(i, 12, bidirectional=True) for i in (16, 24))
        self.head = nn.Linear(24, 11)

    def forward(self, x):
        z = self.front(x).squeeze(2).permute(2, 0, 1)
        for lstm in self.lstms:
            z = lstm(z)[0]
        return torch.softmax(self.head(z), 2)


@network({"ids": (("B", "T"), 50)})
class LanguageId(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 12, padding_idx=0)
        self.gru = nn.GRU(12, 16, bidirectional=True, batch_first=True)
        self.head = nn.Linear(32, 7)

    def forward(self, ids):
        return torch.log_softmax(self.head(self.gru(self.embedding(ids))[0].mean(1)), 1)


@network({"ids": (("B", "T"), 40)}, "tags all")
class Morphology(nn.Module):
    """One LSTM over letters, its sum and its last state, two heads."""

    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(40, 10), nn.LSTM(10, 14, batch_first=True)
        self.one, self.two = nn.Linear(14, 5), nn.Linear(14, 9)

    def forward(self, ids):
        y, (h, _) = self.lstm(self.embedding(ids))
        return torch.softmax(self.one(h[-1]), -1), self.two(y.sum(1))


@network({"ids": (("B", "T"), 30)}, "hn")
class GraphemeEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.gru = nn.Embedding(30, 16), nn.GRU(16, 16, batch_first=True)

    def forward(self, ids):
        return self.gru(self.embedding(ids))[1].squeeze(0)


@network({"token": (("B",), 30), "h": ("B", 16)}, "logits best next", sizes=((1, 1), (3, 1)))
class PhonemeStep(nn.Module):
    """One step of a decoder: the caller has the loop."""

    def __init__(self):
        super().__init__()
        self.embedding, self.cell = nn.Embedding(30, 16), nn.GRUCell(16, 16)
        self.head = nn.Linear(16, 30)

    def forward(self, token, h):
        h = self.cell(self.embedding(token), h)
        logits = self.head(h)
        return logits, logits.argmax(-1), h


@network({"x": ("B", 1, "T", 24)}, sizes=((1, 8), (3, 9), (2, 31)))
class SpeechQuality(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in ((1, 6), (6, 8)))
        self.gru, self.head = nn.GRU(48, 12, 2, batch_first=True), nn.Linear(12, 1)

    def forward(self, x):
        for conv in self.convs:
            x = F.max_pool2d(F.leaky_relu(conv(x), 0.2), 2)
        y = self.gru(x.permute(0, 2, 1, 3).flatten(2))[0]
        return 1 + 4 * torch.sigmoid(self.head(y)).mean(1)


@network({"x": ("B", "T", 10)})
class Consensus(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(10, 16, 2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return torch.softmax(self.head(self.gru(x)[0]), -1)


@network({"x": ("B", "T", 8)}, "y weights")
class Attention(nn.Module):
    """The average of an LSTM's outputs, weighted by what a small network says of each."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 12, bidirectional=True, batch_first=True)
        self.score, self.head = (
            nn.Sequential(nn.Linear(24, 6), nn.Tanh(), nn.Linear(6, 1)),
            nn.Linear(24, 3),
        )

    def forward(self, x):
        y = self.lstm(x)[0]
        weights = torch.softmax(self.score(y), 1)
        return self.head(torch.bmm(weights.transpose(1, 2), y).squeeze(1)), weights
