# SPDX-License-Identifier: MIT
"""Learns what the clean part of each series looks like.

python train.py            # some 20 seconds of CPU; writes model.safetensors and training.json
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import report  # noqa: E402
from common.beside import beside_pytorch, progress, set_rate, setup  # noqa: E402

from anomalies.data import read_all  # noqa: E402
from anomalies.deploy import smoothed, surprise  # noqa: E402
from fastlstm.torch import accelerate  # noqa: E402

SEED, AHEAD, STRETCH, WARM, BATCH = 135, 8, 240, 40, 16
ABOVE = 1.25  # the threshold over the highest score of the clean part held out


class Network(nn.Module):
    """deploy.Detector's network in PyTorch: x (T, B, 2) -> means and log variances (T, B, 2, K)."""

    def __init__(self, hidden=48):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden)
        self.head = nn.Linear(hidden, 2 * AHEAD)

    def forward(self, x):
        said = self.head(self.lstm(x)[0])
        return said.view(*x.shape[:2], 2, AHEAD)


def loss_of(model, z):
    """The negative log likelihood of the next values of stretches z (T, B), less a constant."""
    x = torch.stack([z, torch.diff(z, dim=0, prepend=z[:1])], -1)
    said, steps = model(x)[WARM:-AHEAD], len(z) - AHEAD - WARM
    due = torch.stack([z[WARM + k + 1 : WARM + k + 1 + steps] for k in range(AHEAD)], -1)
    logs = said[:, :, 1].clamp(min=-9)
    return 0.5 * (logs + (due - said[:, :, 0]) ** 2 * torch.exp(-logs)).mean()


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
    with torch.no_grad():  # as the file holds them
        for p in model.parameters():
            p.copy_(p.half())
    return model


@torch.inference_mode()
def forecasts(model, z):
    x = torch.stack([z, torch.diff(z, prepend=z[:1])], -1)
    return model(x[:, None])[:, 0].numpy()


def calibrated(model, z):
    """(calibration, threshold) from a clean part that was not trained on."""
    said, values = forecasts(model, z), z.numpy()
    usual = [
        np.mean(
            (values[WARM + k + 1 :] - said[WARM : len(z) - k - 1, 0, k]) ** 2
            * np.exp(-said[WARM : len(z) - k - 1, 1, k])
        )
        for k in range(AHEAD)
    ]
    scores = smoothed(surprise(said, values, usual))
    return np.array(usual, np.float32), np.float32(ABOVE * scores[WARM:].max())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--updates", type=int, default=1200)
    parser.add_argument("--rate", type=float, default=4e-3, help="Adam's, falls along a cosine")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()

    weights, seconds, beside = {}, 0.0, None
    for name, series in read_all().items():
        setup(SEED)
        centre, scale = series.train.mean(), series.train.std()
        z, held = (
            torch.from_numpy(((part - centre) / scale).astype(np.float32))
            for part in (series.train, series.held)
        )
        if beside is None:
            rng = torch.Generator().manual_seed(SEED)
            first = [batch_of(z, rng) for _ in range(50)]
            beside = beside_pytorch(Network(), loss_of, first, args.rate)
        start = time.process_time()
        model = train_one(z, name, args)
        seconds += time.process_time() - start
        calibration, threshold = calibrated(model, held)
        own = {k: v.half() for k, v in model.state_dict().items()}
        for key, value in (("centre", centre), ("scale", scale), ("threshold", threshold)):
            own[key] = torch.tensor(float(value))
        own["calibration"] = torch.from_numpy(calibration)
        weights |= {f"{name}.{key}": value for key, value in own.items()}
    save_file(weights, args.out / "model.safetensors")
    parameters = sum(p.numel() for p in model.parameters())
    report.keep(
        args.out / "training.json", {"parameters": parameters, "cpu_seconds": seconds, **beside}
    )
    print(f"{parameters:,} parameters for each series, {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
