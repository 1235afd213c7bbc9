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
side, most, draw = 1024, 0, np.random.default_rng(1)

def matrices(draw):
    "So small that no gate saturates; no two rows or columns are alike, or few."
    rows, columns = (draw.integers(-11, 12, n, np.int8) for n in (4 * side, side))
    if dtype == "int8":
        return int8.Codes(np.outer(rows, columns), np.full(len(rows), 1e-4, np.float32))
    return np.outer(rows * np.float32(1e-4), columns.astype(np.float32))

def pack(w):
    if what == "forward":
        net.set(0, 0, w, w, None, None, None, threads=threads)
    else:
        packed.set(net, 0, 0, w, w, None, threads=threads)

def bits():
    "Of a step through all panels, and of the gradient of its input where those are for backward."
    x = np.ones((1, 1, side), np.float32)
    if what == "forward":
        return net.forward(x, None, None, None, True, False, 1)[0].tobytes()
    y, _, tape = backend.forward_train(net, x, None, None, 0.0, 0, False, 1)
    grads = [[np.empty_like(good), np.empty_like(good), None, None, None]]
    dx, _ = backend.backward(packed, tape, y, (None, None), True, False, grads, 1)
    return dx.tobytes()

# A call looks every 20 ms at most: the matrices grow until one was long enough to be seen to.
# Those of 4096 x 16384 take half a second of processor time with every kernel.
while most <= 3 and side < 4096:
    side *= 2
    net = backend.Net("lstm", side, side, 0, 1, 1, None, dtype=dtype)
    good, other = matrices(draw), matrices(draw)
    if what == "backward":
        net.set(0, 0, good, good, None, None, None)
        net.weights = {{}}
        packed = backend.BackwardWeights(net)
    most = handlers_during(lambda: pack(good))
print("handlers in one call:", most, flush=True)
want = bits()
for _ in range(count):
    pack(other)  # what follows packs some of it again, or nothing
    try:
        print("calling", flush=True)
        while True:
            pack(other)
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), time.process_time(), flush=True)
    assert bits() != want
    pack(good)
    print("same" if bits() == want else "changed", flush=True)
"""
)


@pytest.mark.parametrize(
    "what, dtype, threads",
    [
        ("forward", "float32", 2),
        ("forward", "int8", 1),
        ("backward", "float32", 1),
        ("backward", "bfloat16x3", 2),
    ],
)
def test_ctrl_c(what, dtype, threads):
    watch(SCRIPT.format(arguments=(what, dtype, threads, INTERRUPTS)), threads)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_before", "rnn_tanh"])
def test_threads_pack_what_one_packs(cell, dtype, rng):
    """Both matrices are large enough for two threads, and 1,433 units fill no panel."""
    I, H, gates = 2111, 1433, {"lstm": 4, "rnn_tanh": 1}.get(cell, 3)
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
        layer = fastlstm.LSTM(1111, 833, num_threads=threads)
        draw = np.random.default_rng(1)
        layer.load_state_dict(
            {n: draw.uniform(-0.1, 0.1, a.shape).astype(np.float32)
             for n, a in layer.state_dict().items()}
        )  # fmt: skip
        x = draw.uniform(-1, 1, (5, 3, 1111)).astype(np.float32)
        y, _, tape = layer.forward_train(x, num_threads=1)
        grads = layer.backward(tape, y, num_threads=1)
        made.append([g.tobytes() for g in (y, grads.x, *grads.params.values())])
    assert made[0] == made[1]
