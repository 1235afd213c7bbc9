# SPDX-License-Identifier: MIT
"""The demo's comparison with PyTorch: the same steps of the same network, in turn.

fastlstm itself needs no PyTorch: fastlstm/torch/, the benchmark and this module alone import it.
`fastlstm demo` imports it at its very end, and where that raises ImportError there is no
comparison.
"""

import time
from statistics import median

import numpy as np
import torch
from torch import nn

VERSION = torch.__version__.split("+")[0]


def compare(state_dict, time_fastlstm, rows, seconds=1.5):
    """Time `rows` (T, I), one step at a time, by fastlstm and by PyTorch in inference mode.

    state_dict     the LSTM's arrays, by PyTorch's names (one direction, biases, no projection)
    time_fastlstm  () -> seconds of one pass over the same rows

    Returns {"fastlstm": s, "nn.LSTM": s, "nn.LSTMCell": s}: seconds of a pass, each the median of
    passes taken by turns, so that a change in the machine's load meets all three. PyTorch has two
    ways to take one step: the layer on a sequence of one, and a cell for each layer, which is more
    code and faster. Both run on one thread, with inputs ready as tensors, after a warm-up.
    """
    inputs = [torch.tensor(row)[None] for row in rows]  # (1, I): one step, or one row
    layers = sum(name.startswith("weight_ih_l") for name in state_dict)
    hidden = state_dict["weight_hh_l0"].shape[1]
    lstm = nn.LSTM(rows.shape[1], hidden, num_layers=layers).eval()
    lstm.load_state_dict({k: torch.tensor(v) for k, v in state_dict.items()})
    cells = []
    for layer in range(layers):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = {name: getattr(lstm, f"{name}_l{layer}").detach() for name in names}
        cells.append(nn.LSTMCell(weights["weight_ih"].shape[1], hidden).eval())
        cells[-1].load_state_dict(weights)

    def run_lstm():
        state = None
        for x in inputs:
            _, state = lstm(x, state)
        return state[0][-1]

    def run_cells():
        states = [None] * layers
        for x in inputs:
            for layer, cell in enumerate(cells):
                states[layer] = cell(x, states[layer])
                x = states[layer][0]
        return x[0]

    def timed(function):
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            torch.testing.assert_close(run_lstm(), run_cells())  # the warm-up, and the same network
            once = timed(run_lstm) + timed(run_cells) + time_fastlstm()
            passes = int(np.clip(seconds / once, 5, 101))
            turns = [(time_fastlstm(), timed(run_lstm), timed(run_cells)) for _ in range(passes)]
    finally:
        torch.set_num_threads(threads)
    medians = [median(column) for column in zip(*turns, strict=True)]
    return dict(zip(("fastlstm", "nn.LSTM", "nn.LSTMCell"), medians, strict=True))
