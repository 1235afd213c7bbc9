# SPDX-License-Identifier: MIT
"""Ctrl-C in forward_train and backward: KeyboardInterrupt within 100 ms, and all as before."""

import pytest
from test_threads_gil import INTERRUPTS, watch

SCRIPT = """
import time
import numpy as np, fastlstm
what, I, H, L, D, P, B, T, threads, checkpoint, count = {arguments!r}
layer = fastlstm.LSTM(I, H, L, bidirectional=D == 2, proj_size=P, num_threads=threads)
x = np.full((T, B, I), 0.1, np.float32)
short = x[:5]
def bits():
    y, _, tape = layer.forward_train(short, checkpoint=checkpoint and 2)
    grads = layer.backward(tape, y)
    return [g.tobytes() for g in (grads.x, *grads.state, *grads.params.values())]
want = bits()
y, _, tape = layer.forward_train(x, checkpoint=checkpoint)
for _ in range(count):
    print("calling", flush=True)
    try:
        while True:
            if what == "backward":
                layer.backward(tape, y)
            else:
                layer.forward_train(x, checkpoint=checkpoint)
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), time.process_time(), flush=True)
    print("same" if bits() == want else "changed", flush=True)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "what, I, H, L, D, P, B, T, checkpoint",
    [
        ("backward", 64, 128, 2, 1, 0, 32, 400, None),
        ("backward", 64, 128, 2, 2, 0, 32, 200, 20),
        ("backward", 768, 768, 1, 1, 0, 64, 20, None),  # mostly one product
        ("backward", 256, 16, 1, 2, 0, 32, 2000, None),  # mostly sums of two directions' dx
        ("backward", 16, 24, 2, 1, 5, 64, 3000, None),
        ("forward", 256, 16, 1, 1, 0, 64, 2000, None),  # mostly copies of x
    ],
)
def test_ctrl_c(what, I, H, L, D, P, B, T, checkpoint, threads):
    watch(
        SCRIPT.format(arguments=(what, I, H, L, D, P, B, T, threads, checkpoint, INTERRUPTS)),
        threads,
    )
