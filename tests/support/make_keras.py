# SPDX-License-Identifier: MIT
"""Writes tests/files/data/keras: small files by Keras 3 and tf_keras (Keras 2), and their outputs.

    python tests/support/make_keras.py [FOLDER]      needs tensorflow, keras, tf_keras

For each case and kind of file <case>.<keras|tf_keras>.<ending>, and in expected.npz
`<case>.<keras|tf_keras>.x` (B, T, I) and `.y`, the outputs of the layer `rec` inside.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import numpy as np

FOLDER = Path(__file__).parents[1] / "files" / "data" / "keras"
ENDINGS = ("keras", "h5", "weights.h5")
# name: (class, arguments, in Bidirectional with this merge_mode or None)
CASES = {
    "lstm": ("LSTM", {}, None),
    "lstm_nobias": ("LSTM", {"use_bias": False}, None),
    "lstm_hard": ("LSTM", {"recurrent_activation": "hard_sigmoid"}, None),
    "lstm_relu": ("LSTM", {"activation": "relu"}, None),
    "lstm_back": ("LSTM", {"go_backwards": True}, None),
    "gru": ("GRU", {}, None),
    "gru_before": ("GRU", {"reset_after": False}, None),
    "rnn": ("SimpleRNN", {}, None),
    "rnn_relu": ("SimpleRNN", {"activation": "relu"}, None),
    "bi_lstm": ("LSTM", {}, "concat"),
    "bi_gru": ("GRU", {}, "concat"),
    "bi_rnn": ("SimpleRNN", {}, "concat"),
    "bi_sum": ("LSTM", {}, "sum"),
}


def build(keras, case, seed):
    """(model whose last layer is `rec`, x)."""
    name, arguments, merge = CASES[case]
    rng = np.random.default_rng(seed)
    layer = getattr(keras.layers, name)(
        4, return_sequences=True, name="rec" if merge is None else "inner", **arguments
    )
    if merge is not None:
        layer = keras.layers.Bidirectional(layer, merge_mode=merge, name="rec")
    model = keras.Sequential([keras.layers.Input((6, 3)), layer])
    model.set_weights(
        [(0.6 * rng.standard_normal(w.shape)).astype(np.float32) for w in model.get_weights()]
    )
    return model, rng.standard_normal((2, 6, 3)).astype(np.float32)


def write(keras, which, folder, expected):
    for seed, case in enumerate(CASES):
        model, x = build(keras, case, seed)
        for ending in ENDINGS:
            path = folder / f"{case}.{which}.{ending}"
            path.unlink(missing_ok=True)
            (model.save_weights if ending == "weights.h5" else model.save)(str(path))
        expected[f"{case}.{which}.x"] = x
        expected[f"{case}.{which}.y"] = np.asarray(model(x))
    if which == "tf_keras":  # the layout that weights alone had before .weights.h5
        for case in ("lstm", "bi_gru"):
            model, _ = build(keras, case, list(CASES).index(case))
            model.save_weights(str(folder / f"{case}.{which}.old.hdf5"), save_format="h5")


def published(keras, expected):
    """textgenrnn's layers, whose weights are in cuDNN's layout, as tf_keras converts them: one
    after the other over its own embedding of random characters, in float64: float32 of TensorFlow
    and of other engines differ by 1e-4 in these trained weights."""
    from published import path_of

    keras.backend.set_floatx("float64")
    rng, path = np.random.default_rng(9), str(path_of("textgenrnn_weights.hdf5"))
    layers = keras.layers
    model = keras.Sequential([
        layers.Input((12,)), layers.Embedding(465, 100, name="embedding"),
        layers.LSTM(128, return_sequences=True, name="rnn_1"),
        layers.LSTM(128, return_sequences=True, name="rnn_2"),
    ])  # fmt: skip
    model.load_weights(path, by_name=True)
    y = rng.integers(0, 465, (2, 12))
    for layer in model.layers:
        x, y = y, np.asarray(layer(y))
        if layer.name.startswith("rnn"):
            expected[f"textgenrnn.{layer.name}.x"] = x
            expected[f"textgenrnn.{layer.name}.y"] = y
    keras.backend.set_floatx("float32")


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    import keras
    import tf_keras

    expected = {}
    write(keras, "keras", folder, expected)
    write(tf_keras, "tf_keras", folder, expected)
    published(tf_keras, expected)
    np.savez(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main()
