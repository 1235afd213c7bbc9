# SPDX-License-Identifier: MIT
"""More networks, as networks.py has them: written-out cells, normalisations, several inputs."""

import torch
from networks import network
from torch import nn
from torch.nn import functional as F


@network({"x": ("B", "T", 16)})
class Residual(nn.Module):
    """LSTMs between LayerNorms, each with its input added."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(3))
        self.lstms = nn.ModuleList(nn.LSTM(16, 16, batch_first=True) for _ in range(3))
        self.head = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x):
        for norm, lstm in zip(self.norms, self.lstms, strict=True):
            x = x + lstm(norm(x))[0]
        return x + self.head(x)


@network({"x": ("B", 6, "T")})
class Dilated(nn.Module):
    """Causal dilated Conv1ds with residuals, then a GRU."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(i, 12, 3, dilation=d) for i, d in ((6, 1), (12, 2), (12, 4))
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(12) for _ in range(3))
        self.gru, self.head = nn.GRU(12, 10, batch_first=True), nn.Linear(10, 4)

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            z = F.elu(norm(conv(F.pad(x, (2 * conv.dilation[0], 0)))))
            x = z + x if z.shape[1] == x.shape[1] else z
        return self.head(self.gru(x.transpose(1, 2))[0])


STEPS = 6


@network({"x": ("B", STEPS, 12)}, "y hn cn", sizes=((1, 1), (3, 1)))
class LstmLoop(nn.Module):
    """As many inputs as states, so that the cell's two products look alike."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTMCell(12, 12), nn.Linear(12, 4)

    def forward(self, x):
        h, c, made = x.new_zeros(x.shape[0], 12), x.new_zeros(x.shape[0], 12), []
        for i in range(STEPS):
            h, c = self.cell(x[:, i], (h, c))
            made.append(self.head(h))
        return torch.stack(made, 1), h, c


@network({"x": (STEPS, "B", 10), "h": ("B", 12)}, "y", sizes=((1, 1), (3, 1)))
class GruLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(10, 12)

    def forward(self, x, h):
        made = []
        for step in x.unbind(0):
            h = self.cell(step, h)
            made.append(h)
        return torch.stack(made)


@network({"x": ("B", STEPS, 10), "h": ("B", 12)}, "y hn", sizes=((1, 1), (3, 1)))
class RnnLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.RNNCell(10, 12)

    def forward(self, x, h):
        made = []
        for i in range(STEPS):
            h = self.cell(x[:, i], h)
            made.append(h)
        return torch.stack(made, 1).sum(1), h


@network({"x": ("B", 5)}, "y", sizes=((1, 1), (3, 1)))
class TwoCells(nn.Module):
    """A loop whose step is two cells, the second of what the first gives."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.LSTMCell(5, 8), nn.GRUCell(8, 8), nn.Linear(8, 5)

    def forward(self, x):
        zeros = x.new_zeros(x.shape[0], 8)
        h, c, g = zeros, zeros, zeros
        for _ in range(3):
            h, c = self.one(x, (h, c))
            g = self.two(h, g)
            x = x + torch.tanh(self.head(g))
        return x


@network({"x": ("T", "B", 9), "h": (2, "B", 6), "c": (2, "B", 14)}, "y hn cn")
class Projected(nn.Module):
    """proj_size is not in ONNX: without it the exporters refuse, so it is written by hand: each
    layer's output goes through a Linear."""

    def __init__(self):
        super().__init__()
        self.lstms = nn.ModuleList(nn.LSTM(i, 14) for i in (9, 6))
        self.down = nn.ModuleList(nn.Linear(14, 6, bias=False) for _ in range(2))
        self.up = nn.Linear(6, 14, bias=False)

    def forward(self, x, h, c):
        ends = []
        for i, (lstm, down) in enumerate(zip(self.lstms, self.down, strict=True)):
            y, (hn, cn) = lstm(x, (self.up(h[i : i + 1]), c[i : i + 1]))
            x = down(y)
            ends.append((down(hn), cn))
        return x, torch.cat([e[0] for e in ends]), torch.cat([e[1] for e in ends])


@network({"x": ("B", 4, "T")}, sizes=((1, 4), (3, 9), (2, 16)))
class Normalised(nn.Module):
    """GroupNorm and InstanceNorm in front of a GRU."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv1d(4, 8, 3, padding=1), nn.Conv1d(8, 8, 3, padding=1)
        self.group, self.instance = nn.GroupNorm(4, 8), nn.InstanceNorm1d(8, affine=True)
        self.gru = nn.GRU(8, 8, batch_first=True)

    def forward(self, x):
        x = F.silu(self.group(self.one(x)))
        x = F.softplus(self.instance(self.two(x)))
        return self.gru(x.transpose(1, 2))[0]


@network({"x": ("B", 1, "T")}, sizes=((1, 16), (3, 32), (2, 48)))
class Denoiser(nn.Module):
    """Conv1d down, an LSTM, ConvTranspose1d up with the ways around it added."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv1d(i, o, 8, 4, 2) for i, o in ((1, 8), (8, 16)))
        self.lstm = nn.LSTM(16, 16, 2, batch_first=True)
        self.up = nn.ModuleList(nn.ConvTranspose1d(i, o, 8, 4, 2) for i, o in ((16, 8), (8, 1)))

    def forward(self, x):
        kept = []
        for down in self.down:
            x = torch.relu(down(x))
            kept.append(x)
        x = self.lstm(x.permute(0, 2, 1))[0].permute(0, 2, 1)
        x = torch.relu(self.up[0](x + kept[1]))
        return torch.tanh(self.up[1](x + kept[0]))


@network(
    {"audio": ("B", "T", 6), "speaker": (("B",), 9), "level": ("B", 1), "h": (1, "B", 12)},
    "y energy hn",
)
class Conditioned(nn.Module):
    """Several inputs and outputs: an embedding stretched over time and joined to the frames."""

    def __init__(self):
        super().__init__()
        self.embedding, self.gru = nn.Embedding(9, 4), nn.GRU(11, 12, batch_first=True)
        self.head = nn.Linear(12, 6)

    def forward(self, audio, speaker, level, h):
        who = torch.cat([self.embedding(speaker), level], 1).unsqueeze(1)
        z = torch.cat([audio, who.expand(-1, audio.shape[1], -1)], 2)
        y, h = self.gru(z, h)
        y = self.head(y) * level.unsqueeze(1)
        return y, (y**2).mean((1, 2)), h


@network({"x": ("B", "T", 8)})
class Gated(nn.Module):
    """A gated Linear, an RNN of relu, a chain of elementwise work."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(8, 24)
        self.rnn = nn.RNN(12, 10, nonlinearity="relu", batch_first=True, bidirectional=True)

    def forward(self, x):
        y = self.rnn(F.glu(self.gate(x), -1))[0]
        return torch.clamp(torch.exp(-y.abs()) * 2 - 0.5, -0.25, 1.0) + F.hardtanh(y) / 3


@network({"x": ("B", "T", 12)})
class SelfAttention(nn.Module):
    """Heads of attention over the outputs of a BiLSTM."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(12, 8, bidirectional=True, batch_first=True)
        self.qkv, self.out, self.norm = nn.Linear(16, 48), nn.Linear(16, 16), nn.LayerNorm(16)

    def forward(self, x):
        y = self.lstm(x)[0]
        batch, time, _ = y.shape
        q, k, v = self.qkv(y).reshape(batch, time, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        scores = torch.softmax(q @ k.transpose(-1, -2) / 8**0.5, -1)
        return self.norm(y + self.out((scores @ v).transpose(1, 2).reshape(batch, time, 16)))


@network({"x": ("B", "T", 7), "state": (2, 2, "B", 11)}, "y next")
class StackedState(nn.Module):
    """Two layers whose h and c are one tensor (2, L, B, H)."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(7, 11, 2, batch_first=True), nn.Linear(11, 2)

    def forward(self, x, state):
        y, (h, c) = self.lstm(x, (state[0].contiguous(), state[1].contiguous()))
        return torch.sigmoid(self.head(y)), torch.stack([h, c])


@network({"x": ("B", "T", 20)}, sizes=((1, 2), (3, 4), (2, 11)))
class Pooled(nn.Module):
    """Average pools over time, a GRU, the largest of its outputs and their mean, side by side."""

    def __init__(self):
        super().__init__()
        self.conv, self.gru = nn.Conv1d(20, 8, 3, padding=1), nn.GRU(8, 9, batch_first=True)
        self.head = nn.Linear(18, 2)

    def forward(self, x):
        z = F.avg_pool1d(torch.relu(self.conv(x.transpose(1, 2))), 2)
        y = self.gru(z.transpose(1, 2))[0]
        return self.head(torch.cat([y.max(1).values, y.mean(1)], 1))


@network({"x": ("B", 3, "T"), "h": (1, "B", 9), "c": (1, "B", 9)}, "p hn cn")
class Recording(nn.Module):
    """Conv1ds over single steps, so that a stream may cut anywhere, around an LSTM."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv1d(3, 8, 1), nn.Conv1d(9, 2, 1)
        self.norm, self.lstm = nn.BatchNorm1d(8), nn.LSTM(8, 9)

    def forward(self, x, h, c):
        z = F.elu(self.norm(self.conv(x)))
        y, (h, c) = self.lstm(z.permute(2, 0, 1), (h, c))
        return torch.softmax(self.out(y.permute(1, 2, 0)), 1).transpose(1, 2), h, c
