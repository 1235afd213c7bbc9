# SPDX-License-Identifier: MIT
"""How many steps a second the demo's LSTM takes, and PyTorch where it is installed."""

import time
from statistics import median

import numpy as np


def report_speed(model, ids, page, with_torch):
    """Time the LSTM alone over the embeddings of `ids` (T,), step by step, and print it.

    With `with_torch` PyTorch takes the same steps in turn with fastlstm, if it can be imported.
    """
    rows = model.embedding[ids]
    inputs, stream = [row[None] for row in rows], model.lstm.stream()
    y = np.empty((1, model.lstm.output_size), np.float32)

    def one_pass():
        stream.reset()
        start = time.perf_counter()
        for x in inputs:
            stream.step(x, out=y)
        return time.perf_counter() - start

    once = min(one_pass(), one_pass())
    seconds = median(one_pass() for _ in range(int(np.clip(0.3 / once, 5, 101))))
    page.line(
        f"Speed: {len(ids) / seconds:,.0f} steps a second, {seconds / len(ids) * 1e6:.1f} "
        f"microseconds each\n  ({model.lstm.isa}, one thread; the LSTM alone, without printing)."
    )
    if not with_torch:
        return
    try:
        from . import torch_speed
    except (ImportError, OSError):
        page.line("To compare with PyTorch on this machine: pip install torch, and run this again.")
        return
    seconds = torch_speed.compare(model.lstm.state_dict(), one_pass, rows)
    ours = seconds.pop("fastlstm")
    page.line(f"PyTorch {torch_speed.VERSION}, the same steps, by turns, one thread:")
    for name, theirs in seconds.items():
        page.line(
            f"  {name + ':':<13}{len(ids) / theirs:>8,.0f} steps a second; "
            f"fastlstm is {theirs / ours:.1f} times as fast."
        )
