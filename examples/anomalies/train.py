# SPDX-License-Identifier: MIT
"""Learns what the clean part of each series looks like.

python train.py            # some 20 seconds of CPU; writes models/ and training.json
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import export, report  # noqa: E402
from common.beside import beside_pytorch, progress, set_rate, setup  # noqa: E402

from anomalies.data import read_all  # noqa: E402
from anomalies.deploy import MODELS, STATE, smoothed  # noqa: E402
from fastlstm.torch import accelerate  # noqa: E402

SEED, AHEAD, STRETCH, WARM, BATCH = 135, 8, 240, 40, 16
ABOVE = 1.25  # the threshold over the highest score of the clean part held out


def inputs(z):
    """Values (1 + T, ...) -> of all but the first the value and its change (T, ..., 2)."""
    return torch.stack([z[1:], z[1:] - z[:-1]], -1)


class Network(nn.Module):
    """Inputs (T, B, 2) and a state (1, B, 48), or none -> means and log variances of the next K
    values (T, B, K), and the next state."""

    def __init__(self, hidden=48):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden)
        self.head = nn.Linear(hidden, 2 * AHEAD)

    def forward(self, x, h=None, c=None):
        y, (h, c) = self.lstm(x, None if h is None else (h, c))
        means, logs = self.head(y).chunk(2, -1)
        return means, logs, h, c


class Watcher(nn.Module):
    """What deploy.py runs: the last value before and T new ones (1 + T,) -> of each new one how far
    off the forecasts made for it were (T,): the mean of their squared errors over their variances,
    over what is usual.

    h, c     the network's state
    due      (K, 2, K): of the last K steps their forecasts' means and weights. A weight is one over
             variance and what is usual, 0 before the first step
    usual    (K,): what a clean part has, times a threshold: a mean over it is above 1
    """

    def __init__(self, network, centre, scale):
        super().__init__()
        self.network = network
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("usual", torch.ones(AHEAD))

    def state(self):
        """h, c and due before the first step."""
        zeros = torch.zeros(1, 1, self.network.lstm.hidden_size)
        return zeros, zeros, torch.zeros(AHEAD, 2, AHEAD)

    def forward(self, values, h, c, due):
        z = (values - self.centre) / self.scale
        means, logs, h, c = self.network(inputs(z)[:, None], h, c)
        due = torch.cat([due, torch.cat([means, torch.exp(-logs) / self.usual], 1)])
        # What was said of each step, by the step before it, the one before that, ...
        said = torch.stack([due[AHEAD - 1 - k : -1 - k, :, k] for k in range(AHEAD)], -1)
        means, weights = said.unbind(1)
        squares = (z[1:, None] - means) ** 2 * weights
        count = (weights > 0).float().sum(1).clamp(min=1)
        return squares.sum(1) / count, h, c, due[-AHEAD:]

    @torch.inference_mode()
    def scores(self, values):
        """The scores (T,) of a series, an array, from its beginning."""
        values = torch.from_numpy(np.concatenate([values[:1], values]).astype(np.float32))
        return smoothed(self(values, *self.state())[0])

    @torch.inference_mode()
    def calibrate(self, values):
        """Sets what is usual, by a clean series that was not trained on."""
        z = (torch.from_numpy(values).float() - self.centre) / self.scale
        means, logs, *_ = self.network(inputs(torch.cat([z[:1], z]))[:, None])
        for k in range(AHEAD):
            said = slice(WARM, len(z) - k - 1)
            squares = (z[WARM + k + 1 :] - means[said, 0, k]) ** 2
            self.usual[k] = (squares * torch.exp(-logs[said, 0, k])).mean()
        self.usual *= ABOVE * self.scores(values)[WARM:].max()


def deployed(watcher):
    """What common.export takes: any number of new values."""
    free = {"values": {0: "values"}, "surprise": {0: "steps"}}
    names = ["values", *STATE], ["surprise", *STATE.values()]
    return watcher, (torch.zeros(3), *watcher.state()), *names, free


def loss_of(model, z):
    """The negative log likelihood of the next values of stretches z (T, B), less a constant."""
    means, logs = (part[WARM:-AHEAD] for part in model(inputs(torch.cat([z[:1], z])))[:2])
    steps, logs = len(means), logs.clamp(min=-9)
    due = torch.stack([z[WARM + k + 1 : WARM + k + 1 + steps] for k in range(AHEAD)], -1)
    return 0.5 * (logs + (due - means) ** 2 * torch.exp(-logs)).mean()


def batch_of(z, rng):
    """Random stretches (STRETCH, BATCH), a little louder or softer and shifted, with a little
    noise, so that few clean beats are not learned by heart."""
    starts = torch.randint(len(z) - STRETCH, (BATCH,), generator=rng)
    found = z[starts + torch.arange(STRETCH)[:, None]]
    louder = 1 + 0.05 * torch.randn(1, BATCH, generator=rng)
    shift = 0.05 * torch.randn(1, BATCH, generator=rng)
    return found * louder + shift + 0.02 * torch.randn(found.shape, generator=rng)


def train_one(z, name, args):
    model, rng = Network(), torch.Generator().manual_seed(SEED)
    accelerate(model)
    optimizer = torch.optim.Adam(model.parameters(), args.rate)
    for n in progress(range(args.updates), name):
        set_rate(optimizer, args.rate, n, args.updates, warm=20)
        optimizer.zero_grad()
        loss = loss_of(model, batch_of(z, rng))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    print(f"{name}: loss {loss.item():.3f}", flush=True)
    export.round_weights(model)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--updates", type=int, default=1200)
    parser.add_argument("--rate", type=float, default=4e-3, help="Adam's, falls along a cosine")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()

    seconds, beside, folder = 0.0, None, args.out / MODELS.name
    folder.mkdir(exist_ok=True)
    for name, series in read_all().items():
        setup(SEED)
        centre, scale = series.train.mean(), series.train.std()
        z = torch.from_numpy(((series.train - centre) / scale).astype(np.float32))
        if beside is None:
            rng = torch.Generator().manual_seed(SEED)
            first = [batch_of(z, rng) for _ in range(50)]
            beside = beside_pytorch(Network(), loss_of, first, args.rate)
        start = time.process_time()
        model = train_one(z, name, args)
        seconds += time.process_time() - start
        watcher = Watcher(model, centre, scale)
        watcher.calibrate(series.held)
        export.save(folder / f"{name}.safetensors", *deployed(watcher))
    parameters = sum(p.numel() for p in model.parameters())
    report.keep(
        args.out / "training.json", {"parameters": parameters, "cpu_seconds": seconds, **beside}
    )
    print(f"{parameters:,} parameters for each series, {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
