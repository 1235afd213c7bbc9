# SPDX-License-Identifier: MIT
"""Walk forward through the years: for each a small LSTM, trained on all days before it.

python train.py            # a few seconds of CPU; writes models/ and training.json
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import export, report  # noqa: E402
from common.beside import beside_pytorch, progress, set_rate, setup  # noqa: E402

from fastlstm.torch import accelerate  # noqa: E402
from stocks.data import FIRST, LAST, SCALED, Market  # noqa: E402
from stocks.deploy import MODELS, RUNNING  # noqa: E402

SEED, STRETCH, WARM, BATCH = 1999, 250, 50, 8


class Network(nn.Module):
    """features (T, B, 5), as deploy.Features makes them, and a state (1, B, 16), or none -> means
    and volatilities (T, B), in percent, and the next state."""

    def __init__(self, centre, scale, hidden=16, dropout=0.1):
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.lstm = nn.LSTM(5, hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, 2)
        nn.init.zeros_(self.head.weight)  # it begins with a mean of 0 and the running variance
        nn.init.zeros_(self.head.bias)

    def forward(self, features, h=None, c=None):
        state = None if h is None else (h, c)
        y, (h, c) = self.lstm((features - self.centre) / self.scale, state)
        mean, change = self.head(self.dropout(y)).unbind(-1)
        return 0.1 * mean, torch.exp((features[..., RUNNING] + change) / 2), h, c


def loss_of(model, batch):
    """The negative log likelihood of a normal distribution, less a constant. The first WARM days
    of a stretch only fill the state."""
    features, y = batch
    mean, volatility = (part[WARM:] for part in model(features)[:2])
    return (torch.log(volatility) + ((y[WARM:] - mean) / volatility) ** 2 / 2).mean()


def batches(tensors, days, epoch):
    """Stretches of STRETCH days out of the first `days`, a batch of them at a time."""
    rng = torch.Generator().manual_seed(SEED + epoch)
    offset = int(torch.randint(STRETCH, (), generator=rng))
    starts = torch.arange(offset, days - STRETCH, STRETCH - WARM)
    starts = starts[torch.randperm(len(starts), generator=rng)]
    for chosen in starts.split(BATCH):
        at = chosen + torch.arange(STRETCH)[:, None]
        yield tuple(tensor[at] for tensor in tensors)


def train_year(model, tensors, days, args):
    accelerate(model)
    optimizer = torch.optim.AdamW(model.parameters(), args.rate, weight_decay=args.decay)
    for epoch in range(args.epochs):
        set_rate(optimizer, args.rate, epoch, args.epochs, warm=5)
        for batch in batches(tensors, days, epoch):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    export.round_weights(model)


def deployed(model):
    """What common.export takes: any number of days and of rows, each row with its state."""
    state = torch.zeros(1, 1, model.lstm.hidden_size)
    inputs, outputs = ["features", "h", "c"], ["mean", "volatility", "next_h", "next_c"]
    free = {name: {1: "rows"} for name in (*inputs, *outputs)}
    for name in ("features", "mean", "volatility"):
        free[name][0] = "days"
    return model, (torch.zeros(2, 1, 5), state, state), inputs, outputs, free


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rate", type=float, default=5e-3, help="Adam's, falls along a cosine")
    parser.add_argument("--decay", type=float, default=1e-3, help="of the weights")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()

    setup(SEED)
    market = Market()
    early = market.x[market.year <= SCALED]
    scaling = [torch.from_numpy(a) for a in (early.mean(0), early.std(0))]
    tensors = (torch.from_numpy(market.x), torch.from_numpy(market.y).float())

    first = [b for epoch in range(20) for b in batches(tensors, len(market.y), epoch)][:50]
    beside = beside_pytorch(Network(*scaling), loss_of, first, args.rate)
    folder, seconds = args.out / MODELS.name, 0.0
    folder.mkdir(exist_ok=True)
    for year in progress(range(FIRST, LAST + 1), "years"):
        setup(SEED + year)
        model, start = Network(*scaling), time.process_time()
        # Day t's tomorrow is of the year before, so nothing of the year is seen.
        train_year(model, tensors, int((market.year < year).sum()), args)
        seconds += time.process_time() - start
        export.save(folder / f"{year}.safetensors", *deployed(model))
    parameters = sum(p.numel() for p in model.parameters())
    report.keep(
        args.out / "training.json", {"parameters": parameters, "cpu_seconds": seconds, **beside}
    )
    print(f"{LAST - FIRST + 1} years, {parameters:,} parameters each, {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
