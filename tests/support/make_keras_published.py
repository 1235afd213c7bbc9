# SPDX-License-Identifier: MIT
"""Writes tests/models/data/keras_published.npz: what Keras 3 computes with the models of ethnicolr,
textgenrnn and ao-compensation-model, on names, sentences and a measured curve.

    KERAS_BACKEND=torch python tests/support/make_keras_published.py [FILE]      needs keras, torch

`<file>/x` and `<file>/y` for each. Keras 3 reads the .keras files itself. It refuses the h5 files,
whose layers have arguments that it no longer knows, and textgenrnn's is weights alone: their layers
are built here, of the configuration or of what the package describes, in float64; cuDNN's layout,
which Keras 3 no longer converts, and the hard_sigmoid of Keras 2 are written out.
"""

import csv
import io
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
import h5py
import numpy as np

FILE = Path(__file__).parents[1] / "models" / "data" / "keras_published.npz"
PEOPLE = ["Ibrahim Yusuf", "Nguyen Thi Lan", "Garcia Maria", "O'Brien Sean", "Tanaka Hiroshi", "Li"]
TEXTS = [
    "The quick brown fox jumps over the laz",
    "What is the best way to learn",
    "Ich glaube, da",
]
WINDOW, ROWS = 200, 128  # some of the curve's models were saved for this batch alone
KEPT = (0, ROWS - 1)  # the rows of their outputs that are stored
# The arguments that Keras 3 still has, of the layers in the h5 files.
ARGUMENTS = {
    "Embedding": ("input_dim", "output_dim", "mask_zero"),
    "Conv1D": ("filters", "kernel_size", "strides", "padding", "activation", "use_bias"),
    "MaxPooling1D": ("pool_size", "strides", "padding"),
    "LSTM": ("units", "activation", "recurrent_activation", "use_bias", "return_sequences"),
    "Dense": ("units", "activation", "use_bias"),
}


def indices(vocabulary, name, length):
    """(length,): the letters of a name in pairs, and in threes where the vocabulary has threes, as
    ethnicolr numbers them: 0 for what it does not know, zeros in front."""
    known = {gram: i for i, gram in enumerate(vocabulary)}
    longest = max(len(gram) for gram in vocabulary if gram != "UNK")
    name = name.title()
    grams = [name[i : i + n] for n in range(2, longest + 1) for i in range(len(name) - n + 1)]
    found = [known.get(gram, 0) for gram in grams][-length:]
    return [0] * (length - len(found)) + found


def built(keras, data):
    """The layers of an h5 file with their weights, in float64."""
    old_hard_sigmoid = lambda x: keras.ops.clip(0.2 * x + 0.5, 0, 1)  # noqa: E731
    with h5py.File(io.BytesIO(data)) as file:
        config = json.loads(file.attrs["model_config"])["config"]
        layers = []
        for layer in config["layers"]:
            kind, own = layer["class_name"], layer["config"]
            if kind in ("InputLayer", "Dropout"):
                continue
            given = {name: own[name] for name in ARGUMENTS[kind]}
            if given.get("recurrent_activation") == "hard_sigmoid":
                given["recurrent_activation"] = old_hard_sigmoid
            made = getattr(keras.layers, kind)(**given, dtype="float64")
            group = file["model_weights"][own["name"]]
            names = [n.decode() if isinstance(n, bytes) else n for n in group.attrs["weight_names"]]
            layers.append((made, [group[n][()] for n in names]))
        shape = next(
            s for s in (e["config"].get("batch_input_shape") for e in config["layers"]) if s
        )
    model = keras.Sequential([keras.Input(shape[1:], dtype="int32"), *(made for made, _ in layers)])
    for made, weights in layers:
        made.set_weights(weights)
    return model, shape[1]


def of_cudnn(kernel, recurrent, bias):
    """A cuDNN LSTM's weights in the layout of Keras' own LSTM: each gate's matrix is stored
    transposed, and there are two biases."""
    gates = np.hsplit(kernel, 4)
    kernel = np.hstack([g.T.reshape(g.shape, order="F") for g in gates])
    return [kernel, np.hstack([g.T for g in np.hsplit(recurrent, 4)]), sum(np.split(bias, 2))]


def writer(keras, data):
    """textgenrnn's network of its weights: f(x) -> the probabilities of the next character."""
    with h5py.File(io.BytesIO(data)) as file:

        def weights(layer):
            names = [n.decode() for n in file[layer].attrs["weight_names"]]
            return [file[layer][n][()].astype(np.float64) for n in names]

        (table,), (attention,), dense = map(weights, ("embedding", "attention", "output"))
        recurrent = [of_cudnn(*weights(name)) for name in ("rnn_1", "rnn_2")]
    x = keras.Input((40,), dtype="int32")
    options = {"dtype": "float64"}
    embedding = keras.layers.Embedding(*table.shape, **options)
    lstms = [keras.layers.LSTM(len(w[1]), return_sequences=True, **options) for w in recurrent]
    values = [embedding(x)]
    for lstm in lstms:
        values.append(lstm(values[-1]))
    parts = keras.Model(x, values)
    for layer, its in zip((embedding, *lstms), ([table], *recurrent), strict=True):
        layer.set_weights(its)

    def run(x):
        v = np.concatenate([np.asarray(value.detach()) for value in parts(x)], axis=-1)
        share = np.exp(v @ attention - (v @ attention).max(1, keepdims=True))
        v = (v * share).sum(1) / (share.sum(1) + 1e-7)  # Keras' epsilon
        z = v @ dense[0] + dense[1]
        e = np.exp(z - z.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return run


def curve(read):
    """(327, 2) of a hip's angle and its velocity, scaled by their quartiles as the package does."""
    rows = read("ao_compensation_model/dataset/test/test.csv").decode().splitlines()[3000:3327]
    values = np.array([[float(v) for v in row.split(";")[1:3]] for row in rows])
    low, middle, high = np.percentile(values, (25, 50, 75), axis=0)
    return ((values - middle) / (high - low)).astype(np.float32)


def windows(values):
    """(ROWS, WINDOW, 2): the curve from its first sample on, from its second, ..."""
    return np.stack([values[i : i + WINDOW] for i in range(ROWS)])


def main():
    import keras
    from fetch import package
    from published import COMPENSATION, CURVES, ETHNICOLR, NAMES, TEXTGENRNN, path_of

    found = {}
    with package(*ETHNICOLR) as read:
        for file in NAMES:
            folder, _, name = file.partition("/")
            # the model of Hispanic names has the vocabulary of the other of the same registers
            words = name.replace("_hispanic", "").replace("_lstm", "_vocab").replace(".h5", ".csv")
            data = read(f"ethnicolr/models/{folder}/lstm/{words}").decode()
            vocabulary = [row[0] for row in csv.reader(io.StringIO(data))][1:]
            model, length = built(keras, path_of(name).read_bytes())
            x = np.array([indices(vocabulary, person, length) for person in PEOPLE], np.int16)
            found[f"{name}/x"], found[f"{name}/y"] = x, model.predict(x, verbose=0)
    with package(*TEXTGENRNN) as read:
        known = json.loads(read("textgenrnn-2.0.0/textgenrnn/textgenrnn_vocab.json"))
        x = np.zeros((len(TEXTS), 40), np.int16)
        for row, text in zip(x, TEXTS, strict=True):
            row[-len(text) :] = [known[c] for c in text]
        name = "textgenrnn_weights.hdf5"
        found[f"{name}/x"] = x
        found[f"{name}/y"] = writer(keras, path_of(name).read_bytes())(x)
    with package(*COMPENSATION) as read:
        found["curve"] = curve(read)
    for name in CURVES:
        model = keras.models.load_model(path_of(f"{name}.keras"), compile=False)
        y = model.predict(windows(found["curve"]), batch_size=ROWS, verbose=0)
        found[f"{name}.keras/y"] = y[list(KEPT)]
    for key, array in found.items():
        if array.dtype == np.float64:
            found[key] = array.astype(np.float32)
    np.savez_compressed(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE, **found)


if __name__ == "__main__":
    main()
