# SPDX-License-Identifier: MIT
"""# int8, and how to know it is good enough

With int8 weights a layer takes a quarter of the memory, and is faster where reading weights is what
a step waits for: with AVX2 1.5 to 3.4 times for one row. Its outputs differ from float32's by some
1e-3. Whether that matters depends on what is done with them, so it is never done unasked, and this
page measures it twice: on the layer's outputs, and on what the network is for.
"""

import numpy as np

import fastlstm
from fastlstm.demo import DATA
from fastlstm.demo.model import CharModel

model = CharModel(DATA / "austen.pt")  # the demo's network: letters in, odds of the next one out
lstm = model.lstm

# %% ## Quantize
#
# `quantize` gives a new layer; the old one stays as it is. Each row of a weight matrix has a scale
# of its own. Inputs and states become codes as they are read, row by row: there is nothing to
# calibrate. The sums are sums of integers, exact, and so the same bits on every CPU.

int8 = lstm.quantize("int8")
half = lstm.quantize("float16")
print(int8.dtype, int8.inputs)

# %% `inputs="int8"` takes codes of 8 bits for the layer's own inputs too, in place of 16:
# a little faster, less exact.

coarse = lstm.quantize("int8", inputs="int8")

# %% ## How far on your own data
#
# `error` compares with the layer that was quantized: `.max`, `.rms`, and `.where` the largest
# difference is. Give it data like that of production, not noise: what large weights do to rounding
# depends on it.

text = np.load(DATA / "austen_logits.npz")["ids"]
x = model.embedding[text][:, None]  # (T, 1, 24)
for name, layer in (("float16", half), ("int8", int8), ("int8, inputs int8", coarse)):
    error = layer.error(x)
    print(f"{name:18} max {error.max:.1e}  rms {error.rms:.1e}  at {error.where}")
    assert error.rms < 0.05

# %% ```text title="printed"
# float16            max 0.0e+00  rms 0.0e+00  at (0, 0, 0)
# int8               max 6.8e-02  rms 4.8e-03  at (255, 0, 28)
# int8, inputs int8  max 1.4e-01  rms 5.6e-03  at (95, 0, 107)
# ```
#
# (This checkpoint's weights were rounded to float16 when it was saved, so float16 changes nothing.)
# Outputs of an LSTM are at most 1 in magnitude. This network magnifies small differences, and the
# largest error is 14 times the typical one: whether that matters, only its purpose tells.
#
# ## How far for the purpose
#
# A difference in outputs is no answer yet. Here the purpose is to say which letter comes next, so
# the measure is the perplexity: e to the mean of -log of the odds that the right letter was given.


def perplexity(layer: fastlstm.LSTM | fastlstm.GRU | fastlstm.RNN) -> float:
    y, _ = layer(x[:-1])
    logits = model.logits(y[:, 0])
    logits -= logits.max(axis=1, keepdims=True)
    log_odds = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(np.exp(-log_odds[np.arange(len(text) - 1), text[1:]].mean()))


exact = perplexity(lstm)
for name, layer in (("float32", lstm), ("float16", half), ("int8", int8)):
    print(f"{name:8} perplexity {perplexity(layer):.4f}")
    assert abs(perplexity(layer) - exact) < 0.02 * exact

# %% ```text title="printed"
# float32  perplexity 2.6754
# float16  perplexity 2.6754
# int8     perplexity 2.6747
# ```
#
# If the measure moves by less than it moves between two trainings of the same network, int8 is
# good enough. If not, float16 is: half the memory, and an error that is hard to measure.
#
# ## Is it faster here?
#
# It depends on the CPU and the shape; ask the machine:
#
# ```sh
# fastlstm bench --shape 100,1,256,256 100,32,256,256 --precision float32,int8 --vs none
# ```
#
# What was found on others is in [benchmarks](../../benchmarks/README.md#fewer-bits). Then keep it:
# `int8.save("model.safetensors")`, or in one step `fastlstm.load("model.pt", dtype="int8")`.
