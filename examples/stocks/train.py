# SPDX-License-Identifier: MIT
"""Walk forward through the years: for each a small LSTM, trained on all days before it.

python train.py            # a few seconds of CPU; writes model.safetensors and training.json
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import report  # noqa: E402
from common.beside import beside_pytorch, progress, set_rate, setup  # noqa: E402

from fastlstm.torch import accelerate  # noqa: E402
from stocks.data import FIRST, LAST, SCALED, Market  # noqa: E402

SEED, STRETCH, WARM, BATCH = 1999, 250, 50, 8


class Network(nn.Module):
    """deploy.Forecaster's network in PyTorch: x (T, B, 5), base (T, B) -> means, log variances."""

    def __init__(self, hidden=16, dropout=0.1):
        super().__init__()
        self.lstm = nn.LSTM(5, hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, 2)
        nn.init.zeros_(self.head.weight)  # it begins with a mean of 0 and the running variance
        nn.init.zeros_(self.head.bias)

    def forward(self, x, base):
        mean, change = self.head(self.dropout(self.lstm(x)[0])).unbind(-1)
        return 0.1 * mean, base + change


def loss_of(model, batch):
    """The negative log likelihood of a normal distribution, less a constant. The first WARM days
    of a stretch only fill the state."""
    x, base, y = batch
    mean, log_variance = (part[WARM:] for part in model(x, base))
    return 0.5 * (log_variance + (y[WARM:] - mean) ** 2 * torch.exp(-log_variance)).mean()


def batches(tensors, days, epoch):
    """Stretches of STRETCH days out of the first `days`, a batch of them at a time."""
    rng = torch.Generator().manual_seed(SEED + epoch)
    offset = int(torch.randint(STRETCH, (), generator=rng))
    starts = torch.arange(offset, days - STRETCH, STRETCH - WARM)
    starts = starts[torch.randperm(len(starts), generator=rng)]
    for chosen in starts.split(BATCH):
        at = chosen + torch.arange(STRETCH)[:, None]
        yield tuple(tensor[at] for tensor in tensors)


def train_year(tensors, days, args):
    model = Network()
    accelerate(model)
    optimizer = torch.optim.AdamW(model.parameters(), args.rate, weight_decay=args.decay)
    for epoch in range(args.epochs):
        set_rate(optimizer, args.rate, epoch, args.epochs, warm=5)
        for batch in batches(tensors, days, epoch):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model


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
    centre, scale = early.mean(0), early.std(0)
    x = torch.from_numpy((market.x - centre) / scale)
    base, y = (torch.from_numpy(a).float() for a in (market.base, market.y))
    tensors = (x, base, y)

    first = [b for epoch in range(20) for b in batches(tensors, len(y), epoch)][:50]
    beside = beside_pytorch(Network(), loss_of, first, args.rate)
    weights = {"centre": torch.from_numpy(centre), "scale": torch.from_numpy(scale)}
    start = time.process_time()
    for year in progress(range(FIRST, LAST + 1), "years"):
        setup(SEED + year)
        # Day t's tomorrow is of the year before, so nothing of the year is seen.
        model = train_year(tensors, int((market.year < year).sum()), args)
        weights |= {f"{year}.{k}": v.half() for k, v in model.state_dict().items()}
    seconds = time.process_time() - start
    save_file(weights, args.out / "model.safetensors")
    parameters = sum(p.numel() for p in model.parameters())
    report.keep(
        args.out / "training.json", {"parameters": parameters, "cpu_seconds": seconds, **beside}
    )
    print(f"{LAST - FIRST + 1} years, {parameters:,} parameters each, {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
