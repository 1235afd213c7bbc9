# SPDX-License-Identifier: MIT
"""Writes tests/files/data/keras_models: files by Keras 3 of models whose recurrent layers stand in
wrappers, in other models and in classes of a user's own, and what those layers compute.

    KERAS_BACKEND=torch python tests/support/make_keras_models.py [FOLDER]      needs keras, torch

<model>.<ending>, and in expected.npz `<model>/<prefix>.x` (B, T, I) and `.y` (B, T, ...) for each
layer, under the prefix that it has in the files.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
import numpy as np

FOLDER = Path(__file__).parents[1] / "files" / "data" / "keras_models"
# model: the endings of its files
ENDINGS = {
    "time_distributed": ("keras", "h5", "weights.h5"),
    "nested": ("keras", "h5"),
    "stacked": ("keras", "h5", "weights.h5"),
    "stacked_back": ("keras",),
    "mixed": ("keras", "weights.h5"),
    "subclassed": ("keras", "h5", "weights.h5"),
    "loop": ("keras",),
    "bi_mul": ("keras",),
    "bi_ave": ("h5",),
    "bi_none": ("keras",),
    "conv_lstm": ("keras", "weights.h5"),
    "own_class": ("keras", "h5", "weights.h5"),
    "own_cell": ("keras", "weights.h5"),
    "own_name": ("keras",),
}


def models(keras):
    """{model: (the Keras model, {prefix: layer})}."""
    from keras import layers as kl

    register = keras.saving.register_keras_serializable("pkg")

    @register
    class MyLSTM(kl.LSTM):
        pass

    @register
    class MyCell(kl.LSTMCell):
        pass

    class LSTM(kl.LSTM):  # called as Keras', and not registered
        pass

    class Subclassed(keras.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.emb = kl.Dense(3)
            self.enc = kl.LSTM(4, return_sequences=True)
            self.bi = kl.Bidirectional(kl.GRU(5, return_sequences=True))
            self.blocks = [kl.SimpleRNN(n, return_sequences=True) for n in (3, 2)]
            self.stack = kl.RNN([kl.GRUCell(3), kl.GRUCell(3)], return_sequences=True)

        def call(self, x):
            x = self.bi(self.enc(self.emb(x)))
            for block in self.blocks:
                x = block(x)
            return self.stack(x)

    class Loop(keras.Model):
        """Calls cells itself; one has a weight beside it that no LSTM has."""

        def __init__(self, **options):
            super().__init__(**options)
            self.cell, self.out = kl.LSTMCell(4), kl.Dense(2)
            self.decoder = Decoder(name="decoder")

        def build(self, shape):
            self.cell.build((None, 3))
            self.out.build((None, 4))
            self.decoder.build((None, 3))
            self.built = True

        def call(self, x):
            return self.out(x)

    class Decoder(kl.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.cell, self.attention = kl.LSTMCell(4), kl.Dense(4)

        def build(self, shape):
            self.cell.build(shape)
            self.attention.build(shape)
            self.built = True

    def sequential(*layers, shape=(5, 3)):
        return keras.Sequential([kl.Input(shape), *layers])

    found = {}
    bi = kl.Bidirectional(kl.GRU(4, return_sequences=True, name="g"), name="ib")
    inner = keras.Sequential([kl.Input((5, 3)), kl.Dense(4), bi], name="inner")
    alone = kl.TimeDistributed(kl.LSTM(3, return_sequences=True, name="il"), name="td2")
    last = kl.Bidirectional(kl.LSTM(2, return_sequences=True), name="last")
    model = sequential(
        kl.TimeDistributed(inner, name="td"), alone, kl.Reshape((10, 3)), last, shape=(2, 5, 3)
    )
    layers = {"td/inner/ib.": bi, "td2/il.": alone.layer, "last.": last}
    found["time_distributed"] = model, layers

    a, b = (kl.LSTM(4, return_sequences=True, name=name) for name in "ab")
    block = keras.Sequential([kl.Input((5, 3)), a, b], name="block")
    x, gru = kl.Input((5, 3)), kl.GRU(2, return_sequences=True, name="g")
    middle = keras.Model(x, gru(block(x)), name="func")
    x = kl.Input((5, 3))
    layers = {"func/block/a.": a, "func/block/b.": b, "func/g.": gru}
    found["nested"] = keras.Model(x, middle(x)), layers

    for name, back in (("stacked", False), ("stacked_back", True)):
        cells = [kl.LSTMCell(4) for _ in range(12)]  # lstm_cell_10 comes before lstm_cell_2 as text
        rec = kl.RNN(cells, return_sequences=True, go_backwards=back, name="rec")
        found[name] = sequential(rec), {"rec.": rec}
    mixed = kl.RNN([kl.GRUCell(4), kl.LSTMCell(5)], return_sequences=True, name="rec")
    found["mixed"] = sequential(mixed), {}

    model = Subclassed()
    model(np.zeros((1, 5, 3), np.float32))
    # Keras has those after "layers" in the alphabet in a group called that
    names = ("enc", "bi", "blocks/simple_rnn", "blocks/simple_rnn_1", "rnn")
    layers = (model.enc, model.bi, *model.blocks, model.stack)
    layers = {f"{name}.": layer for name, layer in zip(names, layers, strict=True)}
    found["subclassed"] = model, layers
    model = Loop()
    model.build((None, 3))
    found["loop"] = model, {"cell.": kl.RNN(model.cell, return_sequences=True)}

    for mode in ("mul", "ave", None):
        rec = kl.Bidirectional(kl.GRU(4, return_sequences=True), merge_mode=mode, name="rec")
        x = kl.Input((5, 3))
        found[f"bi_{mode or 'none'}"] = keras.Model(x, rec(x)), {"rec.": rec}
    found["conv_lstm"] = sequential(kl.ConvLSTM1D(2, 3, name="rec"), shape=(4, 8, 3)), {}
    found["own_class"] = sequential(MyLSTM(4, name="rec")), {}
    found["own_cell"] = sequential(kl.RNN(MyCell(4), name="rec")), {}
    found["own_name"] = sequential(LSTM(4, name="rec")), {}
    return found


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    import keras

    rng, expected = np.random.default_rng(11), {}
    for name, (model, layers) in models(keras).items():
        model.set_weights(
            [(0.6 * rng.standard_normal(w.shape)).astype(np.float32) for w in model.get_weights()]
        )
        for ending in ENDINGS[name]:
            path = folder / f"{name}.{ending}"
            path.unlink(missing_ok=True)
            (model.save_weights if ending == "weights.h5" else model.save)(str(path))
        for prefix, layer in layers.items():
            shape = getattr(layer, "cell", getattr(layer, "layer", layer)).get_build_config()
            size = shape["input_shape"][-1]
            x = rng.standard_normal((2, 6, size)).astype(np.float32)
            y = keras.ops.convert_to_tensor(x)
            y = layer(y)
            y = y if not isinstance(y, list | tuple) else keras.ops.concatenate(y, axis=-1)
            expected[f"{name}/{prefix}x"] = x
            expected[f"{name}/{prefix}y"] = keras.ops.convert_to_numpy(y)
    np.savez(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main()
