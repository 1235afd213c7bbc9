# SPDX-License-Identifier: MIT
"""The public API as typed programs use it; test_typing.py runs mypy --strict over it. Lines marked
with an error code must have that error: a type that says nothing would not."""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import fastlstm

Array = NDArray[np.float32]
x = np.zeros((5, 2, 3), np.float32)

lstm = fastlstm.LSTM(3, 4, num_layers=2, bidirectional=True, isa="generic", num_threads=2)
y, (h, c) = lstm(x, lengths=[5, 3], out=np.empty((5, 2, 8), np.float32))
assert_type(y, Array)
assert_type(c, Array)
y, state = lstm(x.tolist(), (h, c), return_sequences=False, num_threads=1)
assert_type(state, tuple[Array, Array])
y, state = lstm(x, hx=(h, c))
y, state, tape = lstm.forward_train(x, seed=1, checkpoint=True)
grads = lstm.backward(tape, y, (None, c), input_grad=False)
assert_type(tape, fastlstm.Tape)
assert_type(tape.nbytes, int)
assert_type(grads, fastlstm.Grads)
assert_type(grads.x, Array | None)
assert_type(grads.params, dict[str, Array])
missing, unexpected = lstm.load_state_dict(lstm.state_dict(), strict=False)
assert_type(missing, list[str])
assert_type(fastlstm.LSTM.from_state_dict(lstm.state_dict(), prefix="a."), fastlstm.LSTM)
found = lstm.verify(x, y, tolerance=1e-4)
assert_type(found, fastlstm.Verification)
assert_type(found.would, str | None)
lstm.save("weights.safetensors")
half = lstm.quantize("float16")
assert_type(half, fastlstm.LSTM)
assert_type(fastlstm.GRUCell(3, 4).quantize("float32"), fastlstm.GRUCell)
if half.dtype == "float16":
    half.quantize("int4")  # type: ignore[arg-type]

gru = fastlstm.GRU(3, 4, reset_after=False)
y, h = gru(x)
y, h, tape = gru.forward_train(x, h)
gru.backward(tape, dstate=h)
rnn = fastlstm.RNN(3, 4, nonlinearity="relu")
assert_type(rnn(x), tuple[Array, Array])

stream = gru.stream(batch_size=2)
assert_type(stream, fastlstm.Stream)
assert_type(stream.step(x[0]), Array)
assert_type(stream(x), Array)
stream.state = h
stream.reset(rows=[0, 1])

assert_type(fastlstm.LSTMCell(3, 4)(x[0]), tuple[Array, Array])
assert_type(fastlstm.GRUCell(3, 4)(x[0], h[0]), Array)
assert_type(fastlstm.RNNCell(3, 4, nonlinearity="relu")(x[0]), Array)

with lstm.pool(10, max_delay=2e-3, idle=60) as pool:
    assert_type(pool.open(), int)
    pool.step({0: [0.0, 1.0, 2.0]})
    pool.submit(0, x[0, 0]).result()
    assert_type(len(pool), int)
    assert_type(pool, fastlstm.Pool)

layer = fastlstm.load("model.pt", prefix="encoder.", dtype="float16", batch_first=True)
assert_type(layer, fastlstm.LSTM | fastlstm.GRU | fastlstm.RNN)
assert_type(layer(x)[0], Array)
for prefix, each in fastlstm.load_all("model.pt").items():
    print(prefix, each.hidden_size)
arrays = fastlstm.read_state_dict("model.onnx", external_data=True)
print(arrays["w"].shape, fastlstm.config_dict()["isa"], fastlstm.__version__)
fastlstm.set_num_threads(fastlstm.get_num_threads())
fastlstm.set_num_threads(None)
assert_type(fastlstm.runnable_isas(), list[str])
fastlstm.show_config()
fastlstm.warmup()
try:
    fastlstm.load(b"model.pt")
except fastlstm.LoadError as error:
    print(error)

model = fastlstm.load_model("model.onnx", dtype="float16")
assert_type(model, fastlstm.Model)
assert_type(model.stream(sr=16000), fastlstm.ModelStream)
print([value.name for value in model.inputs])
fastlstm.LSTM(3, "4")  # type: ignore[arg-type]
fastlstm.LSTM(3, 4, reset_after=True)  # type: ignore[call-arg]
fastlstm.RNN(3, 4, nonlinearity="sin")  # type: ignore[arg-type]
lstm(x, h)  # type: ignore[arg-type]
lstm(x, out=np.zeros(3))  # type: ignore[arg-type]
gru(x, h, x)  # type: ignore[call-arg]
lstm.backward(y)  # type: ignore[arg-type]
lstm.hidden_sizes  # type: ignore[attr-defined]  # noqa: B018
