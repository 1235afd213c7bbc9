# SPDX-License-Identifier: MIT
"""# A PyTorch checkpoint without PyTorch

A network was trained in PyTorch and saved with `torch.save(model.state_dict(), ...)`. It shall run
on a machine where PyTorch's gigabyte is not wanted. What is deployed in the end: NumPy, fastlstm
and a file of weights.

The checkpoint of this page is the one of `fastlstm demo` and is inside the package: a network that
read Jane Austen's novels letter by letter.

## Look into the file
"""

import tempfile
from pathlib import Path

import numpy as np

import fastlstm
import fastlstm.nn as nn
from fastlstm.demo import DATA

weights = fastlstm.read_state_dict(DATA / "austen.pt")
for name, array in weights.items():
    print(f"{name:28} {array.dtype} {array.shape}")

# %% `fastlstm inspect austen.pt` prints the same in a terminal. Nothing in the file is executed or
# imported: pickles are read by an interpreter that knows plain values and tensors only.
#
# ## Only the recurrent layer
#
# If the rest of the network is a lookup and a product, NumPy does that, and one line loads the
# layer. Its sizes are read off the weights.

lstm = fastlstm.load(DATA / "austen.pt")
print(lstm)

# %% ## The whole network
#
# A state dict holds weights and no computation: that is in the class of the model. `fastlstm.nn`
# has torch.nn's names, so the class runs with its imports changed.


class Letters(nn.Module):
    def __init__(self, letters: int, size: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, size)
        self.lstm = nn.LSTM(size, hidden)
        self.head = nn.Linear(hidden, letters)

    def forward(self, ids: nn.Tensor) -> nn.Tensor:
        y, _ = self.lstm(self.embedding(ids))
        logits: nn.Tensor = self.head(y)
        return logits


vocabulary = [chr(c) for c in weights.pop("model.vocab")]
model = Letters(75, 24, 192)
model.load_state_dict({name.removeprefix("model."): a for name, a in weights.items()})

# %% Is it the same network? The package also holds what PyTorch computed for a text of 400 letters:
# for each letter the logit that the network gave it beforehand.

reference = np.load(DATA / "austen_logits.npz")
ids = reference["ids"]
logits = model(ids[:-1])  # arrays in, arrays out
given = logits[np.arange(399), ids[1:]]
print(f"largest difference from PyTorch: {np.abs(given - reference['logits']).max():.1e}")
assert np.abs(given - reference["logits"]).max() < 1e-4

# %% Do this with a model of your own before anything else: compute a few outputs in PyTorch, keep
# them with `np.savez`, compare. If a layer's outputs differ, `lstm.verify(x, y)` names the mistake
# in the weights (the gates' order, a transposed matrix, a bias twice) that would explain it.
#
# ## Deploy
#
# `save` writes a layer, weights and configuration, to a safetensors file. `load` maps it, so that
# all processes of a machine share one copy. float16 is half the file, int8 a quarter, and both are
# for inference.

with tempfile.TemporaryDirectory() as folder:
    for dtype in ("float32", "float16", "int8"):
        file = Path(folder) / f"austen-{dtype}.safetensors"
        lstm.quantize(dtype).save(file)
        print(f"{dtype:8} {file.stat().st_size / 1024:5.0f} KiB")
        assert fastlstm.load(file).dtype == dtype

# %% ```text title="printed"
# float32    654 KiB
# float16    330 KiB
# int8       175 KiB
# ```
#
# Beside NumPy, fastlstm's [wheel](../wheels.md) of 1.38 MB and this file are all that is copied:
# 1.56 MB with int8, 2.05 MB with float32. 1 MB was the aim, and is missed by the wheel alone: it
# has kernels for every instruction set of its kind of CPU, in every format of numbers.
#
# The same without a program:
#
# ```sh
# fastlstm convert austen.pt austen.safetensors --dtype float16
# ```
#
# ## Write with it
#
# A stream keeps the state between letters; each step costs about a microsecond of Python.

stream = lstm.stream()
rng = np.random.default_rng(1)
head, bias = model.head.weight.numpy(), model.head.bias.numpy()
embedding = model.embedding.weight.numpy()

text = "It is a truth "
for letter in text[:-1]:
    stream.step(embedding[[vocabulary.index(letter)]])
while len(text) < 200:
    y = stream.step(embedding[[vocabulary.index(text[-1])]])
    odds = np.exp((y[0] @ head.T + bias) / 0.5)
    text += vocabulary[rng.choice(75, p=odds / odds.sum())]
print(text)

# %% Next: [is int8 good enough?](int8.py), [what runs from which file](../files.md),
# [fastlstm.nn in full](../nn.md).
