# SPDX-License-Identifier: MIT
"""Losses while a network is trained in several precisions, laid over each other.

    apt-get download r-cran-janeaustenr
    python benchmarks/training_curves.py r-cran-janeaustenr_*.deb [--out STEM]

Two tasks, each trained in float32, bfloat16x3 and bfloat16 from the same first weights, on the same
batches, through fastlstm.torch.accelerate(model, precision=), one thread:

    austen   the character model of `fastlstm demo` over an epoch of its text (examples/charlm)
    copy     a sequence of 10 symbols of 8 is to be repeated 200 blank steps later, by an LSTM of
             192 units whose forget gates are open at first; --hidden 128 has fewer recurrent
             weights than the 2^17 from which bfloat16x3 runs by parts

STEM.json has the losses, averaged over 50 updates, STEM-light.png and STEM-dark.png the picture. Of
an earlier STEM.json the tasks that are not asked for stay.
Printed is, for each task and precision, the mean of the last tenth of the losses and the largest
distance of its curve from float32's. Two runs in float32 whose sums have another order, the second
being PyTorch's own, part as well: that is how far a curve may be from another by rounding alone.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import fastlstm
from fastlstm.torch import accelerate

ROOT = Path(__file__).parents[1]
PRECISIONS = ("float32", "float32, other order", "bfloat16x3", "bfloat16")
SMOOTH = 50  # updates of one point of a curve
LAG, SYMBOLS, KINDS = 200, 10, 8


def made(model, precision):
    """The model as it trains in one of PRECISIONS. In another order float32's sums are torch's."""
    if not precision.endswith("other order"):
        accelerate(model, precision=precision)
    return model


def austen(args, precision):
    """Losses in bits a character, of every update of one epoch."""
    sys.path.insert(0, str(ROOT / "examples" / "charlm"))
    import train as charlm

    ids, _ = charlm.split_novels(args.source)
    torch.manual_seed(1775)
    model = made(charlm.CharModel(), precision)
    text, losses, state = charlm.columns(ids, 16), [], None
    optimizer = torch.optim.Adam(model.parameters(), 3e-3, fused=True)
    total = min(args.updates, (len(text) - 1) // 64)
    for i in range(total):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (i + 1) / 200) * (1 + math.cos(math.pi * i / total)) / 2
        chunk = text[64 * i : 64 * i + 65]
        optimizer.zero_grad()
        logits, state = model(chunk[:-1], state)
        loss = F.cross_entropy(logits.flatten(0, 1), chunk[1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state = tuple(s.detach() for s in state)
        losses.append(loss.item() / math.log(2))
    return losses


class Copier(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.lstm, self.head = nn.LSTM(KINDS + 2, hidden), nn.Linear(hidden, KINDS)
        with torch.no_grad():  # forget gates that keep for about LAG steps (Tallec, Ollivier 2018)
            spans = torch.rand(hidden) * (LAG - 1) + 1
            self.lstm.bias_hh_l0.zero_()
            self.lstm.bias_ih_l0.zero_()
            self.lstm.bias_ih_l0[hidden : 2 * hidden] = spans.log()
            self.lstm.bias_ih_l0[:hidden] = -spans.log()

    def forward(self, x):
        return self.head(self.lstm(x)[0][-SYMBOLS:])


def copy(args, precision):
    """Losses in bits a symbol of every update; knowing nothing has 3."""
    torch.manual_seed(1997)
    model, rng, losses = made(Copier(args.hidden), precision), torch.Generator().manual_seed(1), []
    optimizer = torch.optim.Adam(model.parameters(), 3e-3, fused=True)
    for _ in range(args.copies):
        symbols = torch.randint(KINDS, (SYMBOLS, 32), generator=rng)
        ids = torch.full((2 * SYMBOLS + LAG, 32), KINDS)
        ids[:SYMBOLS], ids[-SYMBOLS] = symbols, KINDS + 1
        optimizer.zero_grad()
        logits = model(F.one_hot(ids, KINDS + 2).float())
        loss = F.cross_entropy(logits.flatten(0, 1), symbols.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item() / math.log(2))
    return losses


TASKS = {"austen": austen, "copy": copy}


def smoothed(losses):
    whole = len(losses) // SMOOTH * SMOOTH
    return np.asarray(losses[:whole]).reshape(-1, SMOOTH).mean(1)


def draw(plt, colours, curves):
    figure, axes = plt.subplots(
        2, len(curves), figsize=(9, 6), sharex="col", layout="constrained", squeeze=False
    )
    for column, (task, runs) in zip(axes.T, curves.items(), strict=True):
        exact = np.asarray(runs["float32"])
        x = (np.arange(len(exact)) + 0.5) * SMOOTH
        for (name, losses), style in zip(runs.items(), ("-", ":", "--", "-."), strict=False):
            column[0].plot(x, losses, style, label=name, linewidth=1.4)
            column[1].plot(x, np.asarray(losses) - exact, style, linewidth=1.1)
        column[0].set_title(task)
        column[0].set_ylabel("bits")
        column[1].set_ylabel("over float32's")
        column[1].set_xlabel("updates")
        column[0].legend(frameon=False)
    return figure


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument(
        "source", nargs="?", help="for austen: r-cran-janeaustenr_*.deb, or its unpacked folder"
    )
    p.add_argument("--out", type=Path, default=Path("training-curves"), metavar="STEM")
    p.add_argument("--updates", type=int, default=1_000_000, help="of the text, at most")
    p.add_argument("--tasks", default=",".join(TASKS), help="by comma")
    p.add_argument("--copies", type=int, default=2500, help="updates of the copy task")
    p.add_argument("--hidden", type=int, default=192, help="units of the copy task's LSTM")
    args = p.parse_args()
    torch.set_num_threads(1)
    fastlstm.set_num_threads(1)
    path, curves, seconds = args.out.with_suffix(".json"), {}, {}
    if path.exists():
        earlier = json.loads(path.read_text())
        curves, seconds = earlier["curves"], earlier["cpu_seconds"]
    for task in args.tasks.split(","):
        curves[task], seconds[task] = {}, {}
        for precision in PRECISIONS:
            begun = time.process_time()
            curves[task][precision] = smoothed(TASKS[task](args, precision)).tolist()
            seconds[task][precision] = round(time.process_time() - begun)
            mine, exact = (np.asarray(curves[task][n]) for n in (precision, "float32"))
            end = mine[-max(1, len(mine) // 10) :].mean()
            print(f"{task}, {precision}: {end:.4f} bits at the end, at most "
                  f"{np.abs(mine - exact).max():.4f} from float32's curve", flush=True)  # fmt: skip
            path.write_text(
                json.dumps({"smooth": SMOOTH, "curves": curves, "cpu_seconds": seconds})
            )
    sys.path.insert(0, str(ROOT / "examples"))
    from common import pictures

    pictures.save(args.out, lambda plt, colours: draw(plt, colours, curves))


if __name__ == "__main__":
    main()
