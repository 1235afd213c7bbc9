# SPDX-License-Identifier: MIT
"""A Keras model in fastlstm and in Keras itself, whose `predict` people call for one sequence.

    python benchmarks/keras_predict.py [ROUNDS]      # needs keras and one of its backends

The model: an Embedding, three bidirectional LSTMs and a dense layer with softmax, of the sizes of
shakkala's, 315 letters. Keras runs as it is installed, with all threads that it takes; fastlstm
with one. Outputs are compared first; printed are medians of alternating calls.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import fastlstm


def build():
    layers = keras.layers
    parts = [keras.Input((315,), dtype="int32"), layers.Embedding(149, 288)]
    parts += [
        layers.Bidirectional(layers.LSTM(size, return_sequences=True)) for size in (288, 144, 96)
    ]
    return keras.Sequential([*parts, layers.Dense(28, activation="softmax")])


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    keras.utils.set_random_seed(1)
    theirs = build()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        theirs.save(path)
        ours = fastlstm.load_model(path, num_threads=1)
    x = np.random.default_rng(1).integers(0, 149, (1, 315)).astype(np.int32)
    calls = {
        "fastlstm": lambda: ours(x),
        "predict": lambda: theirs.predict(x, verbose=0),
        "call": lambda: np.asarray(theirs(x, training=False)),
    }
    due = calls["predict"]()
    assert np.abs(calls["fastlstm"]() - due).max() <= 1e-5, "the outputs differ"
    taken = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begin)
    ms = {name: 1e3 * statistics.median(times) for name, times in taken.items()}
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, {rounds} rounds")
    for name, each in ms.items():
        print(f"{name:10}{each:8.1f} ms, {each / ms['fastlstm']:.1f} x")


if __name__ == "__main__":
    main()
