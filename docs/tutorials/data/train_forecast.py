# SPDX-License-Identifier: MIT
"""Trains docs/tutorials/data/forecast.keras with Keras 3, and keeps what Keras computes with it.

    python docs/tutorials/data/train_forecast.py      # needs keras and one of its backends

The series is made: a daily and a weekly wave with noise, an hour a step. From 48 hours the network
says the next 24.
"""

from pathlib import Path

import keras
import numpy as np

HERE = Path(__file__).parent


def series(hours, rng):
    t = np.arange(hours)
    daily = np.sin(2 * np.pi * t / 24) + 0.4 * np.sin(4 * np.pi * t / 24 + 1)
    return (daily * (1 + 0.3 * np.sin(2 * np.pi * t / 168)) + rng.normal(0, 0.1, hours)).astype(
        "f4"
    )


def windows(values):
    cut = np.lib.stride_tricks.sliding_window_view(values, 72)
    return cut[:, :48, None], cut[:, 48:]


def main():
    keras.utils.set_random_seed(1)
    values = series(24 * 7 * 16, np.random.default_rng(1))
    x, y = windows(values)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((48, 1), name="hours"),
            layers.Conv1D(8, 5, padding="causal", activation="relu"),
            layers.GRU(24),
            layers.Dropout(0.1),
            layers.Dense(24, name="next_day"),
        ]
    )
    model.compile("adam", "mse")
    model.fit(x, y, batch_size=64, epochs=6, verbose=2)
    model.save(HERE / "forecast.keras")
    last = series(24 * 14, np.random.default_rng(2))
    x, y = windows(last)
    given = model.predict(x[::24], verbose=0)
    np.savez(HERE / "forecast.npz", x=x[::24], y=y[::24], keras=given)
    print("rms", np.sqrt(np.mean((given - y[::24]) ** 2)))


if __name__ == "__main__":
    main()
