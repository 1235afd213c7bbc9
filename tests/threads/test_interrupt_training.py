# SPDX-License-Identifier: MIT
"""Ctrl-C in forward_train and backward: a call looks for it again and again while it works, ends in
KeyboardInterrupt, and all is as before. FASTLSTM_FULL=1 also asks how soon it comes."""

import pytest
from test_threads_gil import HANDLERS, INTERRUPTS, watch

SCRIPT = (
    HANDLERS
    + """
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
def call():
    if what == "backward":
        layer.backward(tape, y)
    else:
        layer.forward_train(x, checkpoint=checkpoint)
# A call looks every 20 ms at most: x gets longer until one was long enough to be seen to. Three
# that take two seconds of processor time and are not would never be.
while True:
    start = time.process_time()
    most = handlers_during(call)
    if most > 3 or time.process_time() - start > 2:
        break
    x = np.concatenate([x, x])
    if what == "backward":
        y, _, tape = layer.forward_train(x, checkpoint=checkpoint)
print("handlers in one call:", most, flush=True)
for _ in range(count):
    try:
        print("calling", flush=True)
        while True:
            call()
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), time.process_time(), flush=True)
    print("same" if bits() == want else "changed", flush=True)
"""
)


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
