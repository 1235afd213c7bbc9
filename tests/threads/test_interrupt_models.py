# SPDX-License-Identifier: MIT
"""Ctrl-C in a call of a whole model: long operators look for it, and so does a program of many
short ones. The call ends in KeyboardInterrupt, and the model computes as before."""

import pytest
from test_threads_gil import HANDLERS, INTERRUPTS, watch

pytestmark = pytest.mark.needs("c")

SCRIPT = (
    HANDLERS
    + """
import numpy as np
from fastlstm.models.graph import Graph, Node, Value
from fastlstm.models.model import Model
what, threads, count = {arguments!r}
F = np.dtype(np.float32)
rng = np.random.default_rng(1)
w = {{
    "linear": rng.standard_normal((512, 512)).astype(F) / 30,
    "conv": rng.standard_normal((32, 32, 3)).astype(F) / 10,
    "axes": np.array([1]),
}}
nodes, shape, name = [], ("n", 512), "x"
def add(op, inputs, **attrs):
    global name
    nodes.append(Node(op, [name, *inputs], [f"v{{len(nodes)}}"], attrs))
    name = nodes[-1].outputs[0]
if what == "linear":
    for _ in range(4):
        add("Linear", ["linear", ""])
elif what == "conv":
    shape = ("n", 32, 64)
    add("Conv", ["conv"], pads=[1, 1])
elif what == "elementwise":
    for _ in range(20):
        add("Tanh", [])
        add("Exp", [])
elif what == "moves":
    for _ in range(4):
        add("Transpose", [], perm=[1, 0])
        add("Softmax", [], axis=0)
elif what == "steps":  # 5,000 of a few hundred nanoseconds
    shape = ("n", 4)
    for _ in range(2500):
        add("ReduceMax", ["axes"], keepdims=1)
        add("Softmax", [], axis=0)
graph = Graph([Value("x", F, shape)], [Value(name, F, None)], nodes, w)
model = Model(graph, num_threads=threads, max_bytes=1 << 32)
short = rng.standard_normal([3, *shape[1:]]).astype(F)
want = model(short).tobytes()
x = short[:1].repeat({{"conv": 4000, "steps": 1}}.get(what, 8000), 0)
def call():
    model(x)
# x gets longer until one call is long enough to be seen to look for signals.
import time
while True:
    start = time.process_time()
    most = handlers_during(call)
    if most > 3 or time.process_time() - start > 2:
        break
    x = np.concatenate([x, x])
print("handlers in one call:", most, flush=True)
for _ in range(count):
    try:
        print("calling", flush=True)
        while True:
            call()
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), time.process_time(), flush=True)
    print("same" if model(short).tobytes() == want else "changed", flush=True)
"""
)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("what", ["linear", "conv", "elementwise", "moves", "steps"])
def test_ctrl_c(what, threads):
    watch(SCRIPT.format(arguments=(what, threads, INTERRUPTS)), threads)
