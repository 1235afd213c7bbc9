# SPDX-License-Identifier: MIT
"""A model like the demo's, of two layers, trained by PyTorch and through fastlstm: from the same
weights, on the same batches, loss and time side by side, and a plot of both.

    python compare.py r-cran-janeaustenr_*.deb --png compare.png

The two alternate batch by batch, so that whatever else the machine does befalls both.
"""

import argparse
import copy
import math
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from train import CharModel, columns, split_novels

import fastlstm
from fastlstm.torch import accelerate


class Run:
    """One of the two trainings."""

    def __init__(self, name, model, rate):
        self.name, self.model, self.state, self.losses = name, model, None, []
        self.optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        self.seconds = []  # of each epoch

    def update(self, chunk):
        start = time.perf_counter()
        logits, state = self.model(chunk[:-1], self.state)
        loss = F.cross_entropy(logits.flatten(0, 1), chunk[1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.state = tuple(s.detach() for s in state)
        self.losses.append(loss.item() / math.log(2))
        self.seconds[-1] += time.perf_counter() - start


def train(ids, args):
    torch.manual_seed(args.seed)
    model = CharModel(embedding=32, hidden=192, layers=2)
    runs = [Run("PyTorch", model, args.rate), Run("fastlstm", copy.deepcopy(model), args.rate)]
    assert accelerate(runs[1].model) == 1
    text = columns(ids, args.batch)[: args.updates * args.steps + 1]
    print("epoch  updates  bits/character: PyTorch  fastlstm  s/epoch: PyTorch  fastlstm")
    for epoch in range(1, args.epochs + 1):
        for run in runs:
            run.state, first = None, len(run.losses)
            run.seconds.append(0.0)
        for n, at in enumerate(range(0, len(text) - 1, args.steps)):
            for run in runs if n % 2 else runs[::-1]:
                run.update(text[at : at + args.steps + 1])
        means = (sum(run.losses[first:]) / (len(run.losses) - first) for run in runs)
        print(
            f"{epoch:5d}  {len(runs[0].losses):7d}  {next(means):23.5f}  {next(means):8.5f}  "
            f"{runs[0].seconds[-1]:16.2f}  {runs[1].seconds[-1]:8.2f}",
            flush=True,
        )
    differences = [abs(a - b) for a, b in zip(*(run.losses for run in runs), strict=True)]
    print(f"losses differ by at most {max(differences):.1e} bits in {len(differences)} updates")
    return runs


def plot(runs, path, title):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(2, 1))
    for run, style in zip(runs, ("-", "--"), strict=True):
        left.plot(run.losses, style, label=run.name, linewidth=2.5 if style == "-" else 1.2)
    left.set(xlabel="update", ylabel="bits per character", title="training loss")
    left.legend()
    names, times = [run.name for run in runs], [sum(r.seconds) / len(r.seconds) for r in runs]
    bars = right.bar(names, times, color=["C0", "C1"])
    right.bar_label(bars, fmt="%.2f s")
    right.margins(y=0.1)
    right.set(ylabel="seconds", title="time per epoch")
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, help="r-cran-janeaustenr_*.deb")
    parser.add_argument("--png", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--updates", type=int, default=40, help="in an epoch")
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", default="", help="for the plot's title")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    runs = train(split_novels(args.package)[0], args)
    if args.png:
        title = (
            f"2 layers of 192 units, {args.batch} x {args.steps} steps, {args.threads} thread(s); "
            f"PyTorch {torch.__version__}, fastlstm {fastlstm.__version__}"
        )
        plot(runs, args.png, f"{title}. {args.note}".rstrip(". "))


if __name__ == "__main__":
    main()
