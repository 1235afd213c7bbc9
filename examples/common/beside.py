# SPDX-License-Identifier: MIT
"""The first updates of a training twice, batch by batch in turn: by PyTorch and through fastlstm.

Both models begin with the same weights and see the same batches and the same dropout. Losses that
stay together say that fastlstm's gradients are PyTorch's.
"""

import copy
import math
import time

import torch
from tqdm import tqdm

from fastlstm.torch import accelerate


def setup(seed, threads=1):
    """So many threads and the seed, for a training that can be repeated: on another number of
    threads PyTorch takes some sums in another order."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)


def progress(items, text):
    """The items, with a bar on a terminal that goes away at the end."""
    return tqdm(items, text, leave=False, disable=None)


def set_rate(optimizer, rate, done, total, warm=1):
    """The optimizer's rate for update number `done` of `total`: it rises to `rate` over the first
    `warm` updates and falls along a cosine to 0."""
    part = min(1, (done + 1) / warm) * (1 + math.cos(math.pi * done / total)) / 2
    for group in optimizer.param_groups:
        group["lr"] = rate * part


def beside_pytorch(model, loss, batches, rate, clip=1.0):
    """What the README's line on training says, measured over the list of batches on one thread.

    model     a module with torch.nn's layers; it is copied
    loss      f(model, batch) -> a scalar tensor
    rate      Adam's
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # processor time is measured, and threads that wait take some
    models = {"PyTorch": copy.deepcopy(model), "fastlstm": copy.deepcopy(model)}
    accelerate(models["fastlstm"])
    optimizers = {name: torch.optim.Adam(m.parameters(), rate) for name, m in models.items()}
    losses, taken = {name: [] for name in models}, {name: [] for name in models}
    for n, batch in enumerate(progress(batches, "beside PyTorch")):
        for name, each in models.items():
            torch.manual_seed(n)  # the same dropout
            start = time.process_time()
            optimizers[name].zero_grad()
            value = loss(each, batch)
            value.backward()
            torch.nn.utils.clip_grad_norm_(each.parameters(), clip)
            optimizers[name].step()
            taken[name].append(time.process_time() - start)
            losses[name].append(value.item())
    torch.set_num_threads(threads)
    pairs = list(zip(losses["PyTorch"], losses["fastlstm"], strict=True))
    # The first tenth warms caches and threads up.
    times = {name: sorted(values[len(values) // 10 :]) for name, values in taken.items()}
    return {
        "updates": len(batches),
        "loss_first": pairs[0][0],
        "loss_last": pairs[-1][0],
        "loss_difference": max(abs(a - b) for a, b in pairs),
        "torch_ms": 1e3 * times["PyTorch"][len(times["PyTorch"]) // 2],
        "fastlstm_ms": 1e3 * times["fastlstm"][len(times["fastlstm"]) // 2],
    }
