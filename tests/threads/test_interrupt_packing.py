# SPDX-License-Identifier: MIT
"""Ctrl-C while weights are packed, for forward and for backward: packing looks for it again and
again, ends in KeyboardInterrupt, and packing the same weights once more gives the same layer. The
panels that several threads pack have the bits of those of one."""

import numpy as np
import pytest
from test_threads_gil import HANDLERS, INTERRUPTS, watch

import fastlstm
from fastlstm.engine import backend

pytestmark = pytest.mark.needs("c")

SCRIPT = (
    HANDLERS
    + """
import time
import numpy as np, fastlstm
from fastlstm.engine import backend, int8
what, dtype, threads, count = {arguments!r}
side, most = 512, 0
# A call looks every 20 ms at most: the matrices grow until one was long enough to be seen to.
# Those of 4096 x 16384 take half a second of processor time with every kernel.
while most <= 3 and side < 4096:
    side *= 2
    net = backend.Net("lstm", side, side, 0, 1, 1, None, dtype=dtype)
    w = np.full((4 * side, side), 0.001, np.float32)
    if dtype == "int8":
        w = int8.Codes(np.ones(w.shape, np.int8), np.full(len(w), 0.001, np.float32))
    if what == "forward":
        call = lambda: net.set(0, 0, w, w, None, None, None, threads=threads)
    else:
        net.set(0, 0, w, w, None, None, None)
        net.weights = {{}}
        packed = backend.BackwardWeights(net)
        call = lambda: packed.set(net, 0, 0, w, w, None, threads=threads)
    most = handlers_during(call)
print("handlers in one call:", most, flush=True)

def bits():
    "Of a step through all panels, and of the gradient of its input where those are for backward."
    x = np.ones((1, 1, side), np.float32)
    if what == "forward":
        return net.forward(x, None, None, None, True, False, 1)[0].tobytes()
    y, _, tape = backend.forward_train(net, x, None, None, 0.0, 0, False, 1)
    grads = [[np.empty_like(w), np.empty_like(w), None, None, None]]
    dx, _ = backend.backward(packed, tape, y, (None, None), True, False, grads, 1)
    return dx.tobytes()

want = bits()
for _ in range(count):
    try:
        print("calling", flush=True)
        while True:
            call()
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), time.process_time(), flush=True)
    call()
    print("same" if bits() == want else "changed", flush=True)
"""
)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "what, dtype", [("forward", "float32"), ("forward", "int8"), ("backward", "float32")]
)
def test_ctrl_c(what, dtype, threads):
    watch(SCRIPT.format(arguments=(what, dtype, threads, INTERRUPTS)), threads)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_before", "rnn_tanh"])
def test_threads_pack_what_one_packs(cell, dtype, rng):
    """Both matrices are large enough for two threads, and 333 units fill no panel."""
    I, H, gates = 411, 333, {"lstm": 4, "rnn_tanh": 1}.get(cell, 3)
    draw = lambda *shape: rng.uniform(-0.1, 0.1, shape).astype(np.float32)  # noqa: E731
    weights = draw(gates * H, I), draw(gates * H, H), draw(gates * H), draw(gates * H), None
    x, made = draw(7, 3, I), []
    for threads in (1, 2, 3):
        net = backend.Net(cell, I, H, 0, 1, 1, None, dtype=dtype)
        net.set(0, 0, *weights, threads=threads)
        y, _ = net.forward(x, None, None, None, True, False, 1)
        made.append(y.tobytes())
    assert made[0] == made[1] == made[2]


def test_threads_pack_for_backward_what_one_packs(rng):
    made = []
    for threads in (1, 2):
        layer = fastlstm.LSTM(411, 333, num_threads=threads)
        draw = np.random.default_rng(1)
        layer.load_state_dict(
            {n: draw.uniform(-0.1, 0.1, a.shape).astype(np.float32)
             for n, a in layer.state_dict().items()}
        )  # fmt: skip
        x = draw.uniform(-1, 1, (5, 3, 411)).astype(np.float32)
        y, _, tape = layer.forward_train(x, num_threads=1)
        grads = layer.backward(tape, y, num_threads=1)
        made.append([g.tobytes() for g in (y, grads.x, *grads.params.values())])
    assert made[0] == made[1]
