# SPDX-License-Identifier: MIT
"""# A Keras model without TensorFlow

`load_model` reads `.keras` and `.h5` files with parsers of its own and runs the whole graph: no
Keras, no TensorFlow, no conversion. The file of this page was trained by Keras 3
([how](data/train_forecast.py)): a convolution, a GRU and a dense layer that say the next day of a
series from the last two, hour by hour.

```sh
python docs/tutorials/keras_model.py
```
"""

import tempfile
from pathlib import Path

import numpy as np

import fastlstm

DATA = Path(__file__).parent / "data"
model = fastlstm.load_model(DATA / "forecast.keras")
print(model)

# %% The axis `batch` is free. What the model is made of, and what a call will cost, is told by
#
# ```sh
# fastlstm inspect docs/tutorials/data/forecast.keras
# ```
#
# ## Compare with Keras once
#
# Beside the file are 12 windows of two days and what Keras predicted for them. Keep such a file for
# your own model: `np.savez("check.npz", x=x, keras=model.predict(x))`.

check = np.load(DATA / "forecast.npz")
y = model(check["x"])
print(f"largest difference from Keras: {np.abs(y - check['keras']).max():.1e}")
assert np.abs(y - check["keras"]).max() < 1e-5

# %% ## Call it
#
# Arrays in, arrays out, of any batch; integers, float64 and lists are converted if nothing is lost.
# Dropout and the like are what they are in `predict`. One window at a time is as good as many: a
# call has no fixed cost of milliseconds as `predict` has, and a row's bits do not depend on its
# batch (on the C core).

tomorrow = model(check["x"][:1])[0]
print("the next six hours:", np.round(tomorrow[:6], 2))

# %% ## Take it elsewhere
#
# `save` writes graph and weights to one safetensors file that `load_model` maps; with
# `dtype="float16"` it is about half as large.

half = fastlstm.load_model(DATA / "forecast.keras", dtype="float16")
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "forecast.safetensors"
    half.save(file)
    again = fastlstm.load_model(file)
    print(f"float16: {file.stat().st_size / 1024:.0f} KiB")
    assert np.array_equal(again(check["x"]), half(check["x"]))

# %% ## What is covered
#
# Functional and Sequential models of Keras 2 and 3, models inside models, masks, stateful layers,
# Bidirectional and TimeDistributed, attention, convolutions ([the list](../guides/from_keras.md)).
# A layer that is not covered is a `ModelError` that names it. Classes of your own (`class
# Model(keras.Model)`) and files of weights alone do not say how they compute: their recurrent
# layers load with `fastlstm.load`.
