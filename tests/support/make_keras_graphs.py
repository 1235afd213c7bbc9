# SPDX-License-Identifier: MIT
"""Writes tests/models/data/keras: small whole models by Keras 3, and what Keras computes with them.

    KERAS_BACKEND=torch python tests/support/make_keras_graphs.py [FOLDER]      needs keras, torch

models.zip with <model>.keras or <model>.h5 (which are mostly zeros), and expected.npz with
`<model>/x/<input>` and `<model>/y/<number>`. A stateful model has a second
call: `<model>/x2/<input>`, `<model>/y2/<number>`.
"""

import os
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
import numpy as np

FOLDER = Path(__file__).parents[1] / "models" / "data" / "keras"
H5 = {
    "dense_activations", "ethnicolr", "textgen", "gru_before", "bi_masked_concat", "nested_shared",
    "time_distributed_model", "batch_norms", "separable", "attention_masked", "seq2seq",
    "layer_norms", "stacked_cells", "frozen_nested", "stateful_lstm", "multi_head", "rms_scaling",
}  # fmt: skip


def models(keras):
    """{name: Keras model}. An average with padding that is not the same on both sides is left out:
    Keras counts the padding with torch below it, and does not with TensorFlow or JAX."""
    from keras import layers as kl

    found = {}

    def sequential(name, shape, *layers, dtype=None, batch=None):
        inputs = kl.Input(shape, batch_size=batch, dtype=dtype, name="x")
        found[name] = keras.Sequential([inputs, *layers])

    def tokens(name="tokens", count=11, width=5, mask=True, time=None):
        x = kl.Input((time,), dtype="int32", name=name)
        return x, kl.Embedding(count, width, mask_zero=mask)(x)

    names = (
        "relu", "leaky_relu", "relu6", "softmax", "elu", "celu", "selu", "softplus", "softsign",
        "squareplus", "soft_shrink", "hard_shrink", "sparse_plus", "silu", "gelu", "tanh",
        "tanh_shrink", "hard_tanh", "sigmoid", "sparse_sigmoid", "log_sigmoid", "exponential",
        "hard_sigmoid", "hard_silu", "mish", "log_softmax", "linear", "glu",
    )  # fmt: skip
    x = kl.Input((6,), name="x")
    found["activations"] = keras.Model(x, [kl.Activation(name)(x) for name in names])
    sequential("dense_activations", (6,), kl.Dense(8, "relu"), kl.Dropout(0.5),
               kl.Dense(7, "gelu", use_bias=False), kl.Dense(5, "hard_sigmoid"),
               kl.Dense(3, "softmax"))  # fmt: skip
    x = kl.Input((4, 5), name="x")
    found["activation_layers"] = keras.Model(x, [
        kl.ReLU()(x), kl.ReLU(max_value=1.0)(x), kl.ReLU(negative_slope=0.2)(x),
        kl.ReLU(max_value=0.9, negative_slope=0.1, threshold=0.3)(x),
        kl.ReLU(threshold=0.4)(x), kl.ReLU(max_value=6, negative_slope=0.25)(x),
        kl.LeakyReLU(0.15)(x), kl.ELU(0.7)(x), kl.PReLU()(x), kl.PReLU(shared_axes=[1])(x),
        kl.Softmax()(x), kl.Softmax(axis=1)(x), kl.Activation(kl.LeakyReLU(0.4))(x),
        kl.UnitNormalization()(x), kl.UnitNormalization(axis=1)(x), kl.Rescaling(0.5, -1.0)(x),
        kl.GaussianNoise(0.1)(x), kl.Identity()(x), kl.SpatialDropout1D(0.2)(x),
    ])  # fmt: skip
    # what the packages of the published models have
    sequential("ethnicolr", (None,), kl.Embedding(20, 6), kl.Conv1D(8, 3, activation="relu"),
               kl.MaxPooling1D(2), kl.LSTM(7, recurrent_dropout=0.2), kl.Dense(4, "softmax"),
               dtype="int32")  # fmt: skip
    x, e = tokens(mask=False)
    a = kl.LSTM(4, return_sequences=True)(e)
    b = kl.LSTM(4, return_sequences=True)(a)
    found["textgen"] = keras.Model(x, kl.Dense(11, "softmax")(
        kl.GlobalAveragePooling1D()(kl.Concatenate()([e, a, b]))))  # fmt: skip
    x, phase = kl.Input((20, 2), name="wave"), kl.Conv1D(6, 5, padding="same")
    y = kl.BatchNormalization()(phase(x))
    y = kl.AveragePooling1D(3, padding="same")(kl.ZeroPadding1D((1, 2))(y))
    y = kl.GRU(5, return_sequences=True)(y)
    found["compensation"] = keras.Model(x, kl.UnitNormalization()(kl.Dense(2)(y)))
    # recurrent layers
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        layer = getattr(kl, kind)
        x = kl.Input((None, 3), name="x")
        options = {"return_sequences": True, "return_state": True}
        plain, back = layer(4, **options)(x), layer(4, go_backwards=True, **options)(x)
        found[f"{kind.lower()}_all"] = keras.Model(x, [
            *plain, *back, layer(3)(x), layer(3, go_backwards=True)(x),
            layer(3, use_bias=False)(x),
        ])  # fmt: skip
        x = kl.Input((None, 3), name="x")
        m = kl.Masking()(x)
        found[f"{kind.lower()}_masked"] = keras.Model(x, [
            *layer(4, **options)(m), *layer(4, go_backwards=True, **options)(m),
            layer(3)(m), layer(3, go_backwards=True)(m),
            layer(3, return_sequences=True, zero_output_for_mask=True)(m),
            layer(3, zero_output_for_mask=True)(m),
        ])  # fmt: skip
    sequential("gru_before", (5, 3), kl.GRU(4, reset_after=False, return_sequences=True),
               kl.GRU(3, reset_after=False, use_bias=False))  # fmt: skip
    sequential("lstm_variants", (6, 3),
               kl.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid",
                       return_sequences=True),
               kl.GRU(4, activation="softsign", return_sequences=True),
               kl.SimpleRNN(3, activation="relu"))  # fmt: skip
    for merge in ("concat", "sum", "mul", "ave", None):
        x = kl.Input((None, 3), name="x")
        outs = []
        for layer in (kl.LSTM(4, return_sequences=True), kl.GRU(3)):
            made = kl.Bidirectional(layer, merge_mode=merge)(x)
            outs += made if isinstance(made, list | tuple) else [made]
        found[f"bi_{merge or 'none'}"] = keras.Model(x, outs)
        x, e = tokens()
        outs = []
        for layer in (kl.GRU(4, return_sequences=True), kl.LSTM(3)):
            made = kl.Bidirectional(layer, merge_mode=merge)(e)
            outs += made if isinstance(made, list | tuple) else [made]
        found[f"bi_masked_{merge or 'none'}"] = keras.Model(x, outs)
    x, e = tokens()
    y = kl.Bidirectional(kl.LSTM(4, return_sequences=True, return_state=True), name="bi")(e)
    z = kl.Bidirectional(kl.LSTM(4, return_sequences=True))(y[0])
    found["bi_states"] = keras.Model(x, [*y, z, kl.Bidirectional(kl.GRU(2))(z)])
    x, e = tokens(mask=False, time=6)
    h, c = kl.Input((4,), name="h"), kl.Input((4,), name="c")
    y = kl.LSTM(4, return_state=True, return_sequences=True)(e, initial_state=[h, c])
    z = kl.GRU(4)(y[0], initial_state=h)
    b = kl.Bidirectional(kl.GRU(4))(y[0], initial_state=[h, c])
    found["initial_states"] = keras.Model([x, h, c], [*y, z, b])
    x, e = tokens()
    h = kl.Input((4,), name="h")
    found["initial_masked"] = keras.Model([x, h], [
        kl.GRU(4)(e, initial_state=h), kl.GRU(4, return_sequences=True)(e, initial_state=h)
    ])  # fmt: skip
    cells = [kl.LSTMCell(4), kl.GRUCell(5), kl.SimpleRNNCell(3)]
    x = kl.Input((None, 3), name="x")
    y = kl.RNN(cells, return_sequences=True, return_state=True)(x)
    flat = keras.tree.flatten(y)
    found["stacked_cells"] = keras.Model(x, flat)
    x = kl.Input((None, 3), name="x")
    m = kl.Masking(mask_value=0.0)(x)
    stack = kl.RNN([kl.LSTMCell(4), kl.LSTMCell(4)], go_backwards=True, return_sequences=True)
    found["stacked_masked"] = keras.Model(x, [stack(m), kl.RNN(kl.GRUCell(3))(m)])
    sequential("stateful_lstm", (4, 3), kl.LSTM(4, stateful=True, return_sequences=True),
               kl.GRU(3, stateful=True), batch=2)  # fmt: skip
    sequential("stateful_bi", (4, 3), kl.Bidirectional(kl.LSTM(3, stateful=True)), batch=2)
    sequential("stateful_stack", (4, 3), kl.RNN([kl.LSTMCell(3), kl.GRUCell(4)], stateful=True),
               batch=2)  # fmt: skip
    x, e = tokens("source")
    states = kl.LSTM(6, return_state=True)(e)[1:]
    t, f = tokens("target", count=9)
    y = kl.LSTM(6, return_sequences=True)(f, initial_state=states)
    found["seq2seq"] = keras.Model([x, t], kl.TimeDistributed(kl.Dense(9, "softmax"))(y))
    # models in models, layers that are shared
    block = keras.Sequential([kl.Input((None, 3)), kl.Dense(4, "tanh"),
                              kl.GRU(4, return_sequences=True)], name="block")  # fmt: skip
    a, b = kl.Input((None, 3), name="a"), kl.Input((None, 3), name="b")
    shared = kl.LSTM(5)
    inner_x = kl.Input((None, 3), name="ix")
    inner = keras.Model(inner_x, [block(inner_x), kl.Dense(2)(inner_x)], name="inner")
    both = [inner(a), inner(b)]
    found["nested_shared"] = keras.Model([a, b], [
        shared(both[0][0]), shared(both[1][0]), kl.Subtract()([both[0][1], both[1][1]]),
    ])  # fmt: skip
    inner_x = kl.Input((5, 3), name="inner")
    y = kl.BatchNormalization()(kl.Dense(4)(inner_x))
    inner = keras.Model(inner_x, kl.LSTM(3)(kl.Dense(4)(y)), name="frozen")
    inner.layers[1].trainable = False
    x = kl.Input((5, 3), name="x")
    found["frozen_nested"] = keras.Model(x, kl.Dense(2)(inner(x)))
    words, e = tokens("words", count=8, mask=True)
    encoder = keras.Model(words, kl.Bidirectional(kl.LSTM(3))(e), name="encoder")
    x = kl.Input((4, 6), dtype="int32", name="sentences")
    y = kl.TimeDistributed(encoder)(x)
    found["time_distributed_model"] = keras.Model(x, kl.GRU(3)(y))
    x = kl.Input((3, 5, 4), name="x")
    found["time_distributed"] = keras.Model(x, [
        kl.TimeDistributed(kl.LSTM(3))(x), kl.TimeDistributed(kl.Conv1D(2, 3))(x),
        kl.TimeDistributed(kl.Flatten())(x), kl.TimeDistributed(kl.Dense(2, "relu"))(x),
    ])  # fmt: skip
    x, e = tokens(count=7)
    m = kl.TimeDistributed(kl.Dense(3))(kl.Dropout(0.1)(kl.LayerNormalization()(e)))
    found["mask_passed"] = keras.Model(x, [kl.GRU(3)(m), kl.GlobalAveragePooling1D()(m)])
    x, e = tokens()
    y = kl.Conv1D(4, 3, padding="same")(e)  # the mask ends here
    found["mask_stopped"] = keras.Model(x, [kl.LSTM(3)(y), kl.GlobalMaxPooling1D()(e),
                                            kl.GlobalAveragePooling1D()(y)])  # fmt: skip
    # merging
    a, b, c = (kl.Input((None, 4), name=name) for name in "abc")
    found["merges"] = keras.Model([a, b, c], [
        kl.Add()([a, b, c]), kl.Subtract()([a, b]), kl.Multiply()([a, b, c]),
        kl.Average()([a, b, c]), kl.Maximum()([a, b, c]), kl.Minimum()([a, b]),
        kl.Concatenate()([a, b, c]), kl.Concatenate(axis=1)([a, b]),
    ])  # fmt: skip
    (s, e), (t, f) = tokens("s", time=6), tokens("t", time=6)
    pool = kl.GlobalAveragePooling1D
    found["merges_masked"] = keras.Model([s, t], [
        pool()(layer([e, f]))
        for layer in (kl.Add(), kl.Multiply(), kl.Maximum(), kl.Minimum(), kl.Average(),
                      kl.Concatenate(), kl.Concatenate(axis=1))
    ] + [
        kl.Multiply()([e, f]), kl.Maximum()([e, f]), kl.GRU(3)(kl.Concatenate()([e, f])),
    ])  # fmt: skip
    a, b, v = kl.Input((5, 4), name="a"), kl.Input((3, 4), name="b"), kl.Input((4,), name="v")
    found["dots"] = keras.Model([a, b, v], [
        kl.Dot(2)([a, b]), kl.Dot((2, 2), normalize=True)([a, b]), kl.Dot((2, 1))([a, v]),
        kl.Dot(1)([v, v]), kl.Dot((1, 1))([a, a]), kl.Add()([a, v]),
    ])  # fmt: skip
    # attention
    q, k = kl.Input((None, 4), name="q"), kl.Input((None, 4), name="k")
    found["attention"] = keras.Model([q, k], [
        kl.Attention()([q, k]), kl.Attention(use_scale=True)([q, k, k]),
        kl.Attention(score_mode="concat")([q, k]),
        kl.Attention(score_mode="concat", use_scale=True)([q, k]),
        kl.AdditiveAttention()([q, k]), kl.AdditiveAttention(use_scale=False)([q, k]),
        kl.Attention()([q, q], use_causal_mask=True),
        *kl.Attention()([q, k], return_attention_scores=True),
    ])  # fmt: skip
    (s, e), (t, f) = tokens("s"), tokens("t")
    y = kl.Attention()([e, f])
    found["attention_masked"] = keras.Model([s, t], [
        y, kl.LSTM(3)(y), kl.AdditiveAttention()([e, f]),
        kl.Attention()([e, e], use_causal_mask=True),
    ])  # fmt: skip
    (s, e), (t, f) = tokens("s"), tokens("t", width=6)
    many = kl.MultiHeadAttention(2, 3, value_dim=4)(e, f)
    plain = kl.Input((None, 5), name="plain")
    found["multi_head"] = keras.Model([s, t, plain], [
        kl.GlobalAveragePooling1D()(many),
        kl.MultiHeadAttention(3, 2, use_bias=False)(plain, plain),
        kl.MultiHeadAttention(2, 2)(plain, plain, use_causal_mask=True),
        *kl.MultiHeadAttention(2, 2)(plain, plain, return_attention_scores=True),
    ])  # fmt: skip
    # convolutions and pools
    x = kl.Input((13, 4), name="x")
    found["conv1d"] = keras.Model(x, [
        kl.Conv1D(3, 3)(x), kl.Conv1D(3, 4, padding="same", strides=2)(x),
        kl.Conv1D(3, 3, padding="causal", dilation_rate=2, activation="relu")(x),
        kl.Conv1D(4, 3, groups=2, use_bias=False)(x),
        kl.Conv1D(3, 3, padding="same", dilation_rate=2)(x), kl.Conv1D(5, 1)(x),
    ])  # fmt: skip
    x = kl.Input((9, 10, 3), name="image")
    found["conv2d"] = keras.Model(x, [
        kl.Conv2D(4, 3)(x), kl.Conv2D(4, (3, 2), strides=(2, 1), padding="same")(x),
        kl.Conv2D(2, 3, dilation_rate=2, activation="elu")(x),
        kl.MaxPooling2D()(x), kl.MaxPooling2D(3, strides=2, padding="same")(x),
        kl.AveragePooling2D((3, 2), strides=(2, 2), padding="same")(x),
        kl.AveragePooling2D(3, strides=1)(x),
        kl.GlobalAveragePooling2D()(x), kl.GlobalMaxPooling2D(keepdims=True)(x),
        kl.DepthwiseConv2D(3, depth_multiplier=2)(x),
    ])  # fmt: skip
    x = kl.Input((9, 10, 3), name="image")
    y = kl.MaxPooling2D((2, 1))(kl.BatchNormalization()(kl.Conv2D(4, 3, padding="same")(x)))
    y = kl.Reshape((10, 16))(kl.Permute((2, 1, 3))(y))
    y = kl.Bidirectional(kl.GRU(5, return_sequences=True))(y)
    found["ocr"] = keras.Model(x, kl.Dense(7, "softmax")(y))
    x = kl.Input((None, 4), name="x")
    found["separable"] = keras.Model(x, [
        kl.SeparableConv1D(5, 3)(x), kl.SeparableConv1D(3, 3, depth_multiplier=2, padding="same",
                                                         activation="relu")(x),
        kl.DepthwiseConv1D(3, depth_multiplier=2, padding="same")(x),
    ])  # fmt: skip
    x = kl.Input((6, 4), name="x")
    found["transposed"] = keras.Model(x, [
        kl.Conv1DTranspose(3, 4, strides=2, padding="same")(x), kl.Conv1DTranspose(3, 3)(x),
        kl.Conv1DTranspose(2, 5, strides=3, padding="valid")(x),
        kl.Conv1DTranspose(2, 4, strides=4, padding="same", activation="tanh")(x),
    ])  # fmt: skip
    x = kl.Input((None, 3), name="x")
    found["pools"] = keras.Model(x, [
        kl.MaxPooling1D()(x), kl.MaxPooling1D(3, strides=1, padding="same")(x),
        kl.AveragePooling1D(2)(x), kl.AveragePooling1D(3, strides=2, padding="same")(x),
        kl.GlobalMaxPooling1D()(x), kl.GlobalAveragePooling1D(keepdims=True)(x),
    ])  # fmt: skip
    x = kl.Input((4, 6), name="signal")
    found["channels_first"] = keras.Model(x, [
        kl.Conv1D(3, 3, data_format="channels_first")(x),
        kl.MaxPooling1D(2, data_format="channels_first")(x),
        kl.GlobalAveragePooling1D(data_format="channels_first")(x),
        kl.Flatten(data_format="channels_first")(x),
    ])  # fmt: skip
    x, image = kl.Input((6, 4), name="x"), kl.Input((3, 4, 2), name="image")
    v = kl.Input((4,), name="v")
    found["shapes"] = keras.Model([x, image, v], [
        kl.RepeatVector(3)(v), kl.Reshape((3, 8))(x), kl.Reshape((-1, 2))(x), kl.Flatten()(image),
        kl.Permute((2, 1))(x), kl.Permute((3, 1, 2))(image), kl.ZeroPadding1D(2)(x),
        kl.ZeroPadding2D(((1, 0), (2, 3)))(image), kl.Cropping1D((1, 2))(x),
        kl.Cropping2D(((0, 1), (1, 1)))(image), kl.UpSampling1D(3)(x),
        kl.UpSampling2D((2, 3))(image),
    ])  # fmt: skip
    x = kl.Input((None, 4), name="x")
    found["shapes_free"] = keras.Model(x, [
        kl.UpSampling1D(2)(x), kl.ZeroPadding1D((2, 1))(x), kl.Cropping1D((1, 0))(x),
        kl.Reshape((-1, 2))(x), kl.RepeatVector(4)(kl.LSTM(3)(x)),
    ])  # fmt: skip
    x = kl.Input((4, 5, 2), name="image")
    found["bilinear"] = keras.Model(x, kl.UpSampling2D(2, interpolation="bilinear")(x))
    # normalisations
    x = kl.Input((5, 4), name="x")
    found["batch_norms"] = keras.Model(x, [
        kl.BatchNormalization()(x), kl.BatchNormalization(scale=False, epsilon=0.1)(x),
        kl.BatchNormalization(axis=1, center=False)(x),
        kl.Dense(3)(kl.BatchNormalization()(kl.Flatten()(x))),
    ])  # fmt: skip
    norm = kl.Normalization()
    fixed = kl.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 2.0, 3.0])
    found["layer_norms"] = keras.Model(x, [
        kl.LayerNormalization()(x), kl.LayerNormalization(axis=[1, 2], epsilon=0.01)(x),
        kl.LayerNormalization(center=False, scale=False)(x), kl.GroupNormalization(2)(x),
        kl.GroupNormalization(-1, scale=False)(x), norm(x), fixed(x),
    ])  # fmt: skip
    # operations beside layers
    x, y = kl.Input((None, 4), name="x"), kl.Input((None, 4), name="y")
    z = (x + y) * 2.0 - 1.0 / (y * y + 1.0)
    found["operations"] = keras.Model({"x": x, "y": y}, {
        "sum": z, "cut": z[:, 1:, ::2], "last": z[:, -1], "neg": -x, "part": kl.GRU(2)(z[..., :3]),
    })  # fmt: skip
    for name in ("rms_scaling", "rms_scaling_zipped"):  # Keras takes it for deprecated
        x = kl.Input((5, 4), name="x")
        found[name] = keras.Model(x, [
            kl.LayerNormalization(rms_scaling=True)(x),
            kl.LayerNormalization(axis=[1, 2], rms_scaling=True, scale=False, epsilon=0.1)(x),
        ])  # fmt: skip
    return found


def given(model, rng, name):
    """{input: array} that fits a model: free times are 7, of several inputs 7, 8 ...; tokens have
    zeros at their ends, in between and, in a row, everywhere."""
    found = {}
    for i, x in enumerate(model.inputs):
        shape = [n or (3 if axis == 0 else 7) for axis, n in enumerate(x.shape)]
        several = name in ("attention", "attention_masked", "multi_head", "seq2seq")
        if several and x.shape[1] is None:
            shape[1] += i
        if x.dtype.startswith("int"):
            tokens = rng.integers(1, 7, shape)
            tokens[0, ..., -2:] = 0
            if "bi" not in name and "nonlast" not in name:
                tokens[1, ..., 2] = 0
            if shape[0] > 2 and name in ("bi_masked_concat", "initial_masked", "gru_masked"):
                tokens[2] = 0
            found[x.name] = tokens.astype(np.int32)
        else:
            found[x.name] = rng.standard_normal(shape).astype(np.float32)
            if name.endswith("_masked") and len(shape) == 3:
                found[x.name][0, -3:], found[x.name][1, [0, 3]] = 0, 0
    return found


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    import keras

    with (
        tempfile.TemporaryDirectory() as made_in,
        zipfile.ZipFile(
            folder / "models.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9
        ) as zipped,
    ):
        expected = _saved(keras, made_in, zipped)
    np.savez_compressed(folder / "expected.npz", **expected)


def _saved(keras, made_in, archive):
    """Saves all models; {name in expected.npz: array}."""
    rng, expected = np.random.default_rng(5), {}
    for name, model in models(keras).items():
        arrays = []
        for w in model.weights:
            array = 0.5 * rng.standard_normal(w.shape)
            array = np.abs(array) + 0.5 if "variance" in w.path else array
            arrays.append(array.astype(np.float32))
        model.set_weights(arrays)
        path = Path(made_in) / f"{name}.{'h5' if name in H5 else 'keras'}"
        model.save(str(path))
        archive.write(path, path.name)
        for call in ("", "2") if name.startswith("stateful") else ("",):
            inputs = given(model, rng, name)
            for key, array in inputs.items():
                expected[f"{name}/x{call}/{key}"] = array
            values = list(inputs.values())
            made = model(inputs if name == "operations" else
                         values[0] if len(values) == 1 else values)  # fmt: skip
            if isinstance(made, dict):  # Keras sorts its names
                made = [made[key] for key in model.output]
            made = keras.tree.flatten(made)
            for i, y in enumerate(made):
                expected[f"{name}/y{call}/{i}"] = keras.ops.convert_to_numpy(y)
    return expected


if __name__ == "__main__":
    main()
