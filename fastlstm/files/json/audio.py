# SPDX-License-Identifier: MIT
"""The recurrent layers of two kinds of models of audio effects, which are JSON.

RTNeural (its python/model_utils.py, and model_loader.h, which reads them):
    {"in_shape": [..., I], "layers": [{"type": "lstm", "activation": "", "shape": [..., H],
    "weights": [...]}, ...]} with the weights of Keras' layers, in Keras' layout: keras/cell.py

Neural Amp Modeler (.nam; nam/models/recurrent.py, and NeuralAmpModelerCore's lstm.cpp):
    {"architecture": "LSTM", "config": {"num_layers": L, "input_size": I, "hidden_size": H},
    "weights": [...]}
    the weights are one list; each layer has, in torch's order of gates,
        weight_ih and weight_hh side by side (4H, I + H), row by row; the sum of both biases (4H,);
        the h and the c that a run starts from (H,), (H,)
    and behind the layers stands the head, a linear layer of O outputs: weight (O, H), bias (O,)
    {"architecture": "Sequential", "config": {"models": [...]}} holds whole models

The layers of a file of RTNeural's are `layers.<n>.`, NAM's `lstm.`, with head.weight and head.bias.
"""

import numpy as np

from ..description import Layer
from ..keras.cell import Cell
from ..source import show
from .text import array_of

_TYPES = {"lstm": "LSTM", "gru": "GRU"}
_MAX_MODELS = 1000  # in a Sequential


def is_rtneural(value):
    layers = value.get("layers")
    return "in_shape" in value and isinstance(layers, list)


def is_nam(value):
    return all(key in value for key in ("architecture", "config", "weights"))


def _float32(array):
    with np.errstate(over="ignore"):  # what is too large is infinite, as in every other format
        return array.astype(np.float32)


def _problem(kind, text):
    return Layer(kind, problem=text), {}


def _rtneural_layer(kind, layer):
    """(Layer, weights) of one entry of "layers"."""
    stored = layer.get("weights")
    parts = [array_of(each) for each in stored] if isinstance(stored, list) else []
    parts = [each if each is None else _float32(each) for each in (*parts, None)[:3]]
    cell = Cell.of(parts) if len(parts) == 3 else None
    if cell is None or cell.kind != kind or cell.cudnn:
        shapes = [None if each is None else each.shape for each in parts]
        return _problem(
            kind, f"its weights {shapes} are not Keras' kernel, recurrent kernel and bias"
        )
    activation, shape = layer.get("activation") or "tanh", layer.get("shape")
    if activation != "tanh":
        return _problem(
            kind, f"its activation is {show(str(activation))}: RTNeural runs every {kind} with "
            "tanh, so that model and file differ",
        )  # fmt: skip
    if isinstance(shape, list) and shape and shape[-1] != cell.size:
        return _problem(
            kind, f"its shape ends in {show(str(shape[-1]))}, its weights in {cell.size}"
        )
    weights = cell.weights("_l0")
    separate = kind != "GRU" or cell.bias is None or cell.bias.ndim == 2
    return Layer(
        kind, cell.kernel.shape[0], cell.size, bias=cell.bias is not None, reset_after=separate
    ), weights


def add_rtneural(contents, value):
    """Add the layers of a model of RTNeural to `contents`."""
    for n, layer in enumerate(value["layers"]):
        kind = layer.get("type") if isinstance(layer, dict) else None
        kind = _TYPES.get(kind.lower()) if isinstance(kind, str) else None
        if kind:
            contents.add(f"layers.{n}", *_rtneural_layer(kind, layer))


def _nam_layer(model):
    """(Layer, {torch's name: array}, the head's weights) of an LSTM."""
    config, weights = model["config"], array_of(model["weights"])
    config = config if isinstance(config, dict) else {}
    sizes = [config.get(name) for name in ("num_layers", "input_size", "hidden_size")]
    if any(size.__class__ is not int or not 0 < size <= 10_000 for size in sizes):
        names = "num_layers, input_size and hidden_size"
        return *_problem(
            "LSTM", f"{names} must be ints from 1 to 10,000, not {show(str(sizes))}"
        ), {}
    if weights is None or weights.ndim != 1:
        return *_problem("LSTM", "its weights are no list of numbers"), {}
    layers, inputs, hidden = sizes
    weights, found, h, c, at = _float32(weights), {}, [], [], 0
    due = layers * (4 * hidden * (hidden + 1) + 2 * hidden) + 4 * hidden * (
        inputs + (layers - 1) * hidden
    )
    head = len(weights) - due
    if head <= 0 or head % (hidden + 1):
        return *_problem(
            "LSTM", f"{len(weights)} weights; its layers have {due}, and a head of {hidden} inputs "
            f"{hidden + 1} for each output",
        ), {}  # fmt: skip

    def take(*shape):
        nonlocal at
        at += int(np.prod(shape))
        return weights[at - int(np.prod(shape)) : at].reshape(shape)

    for n in range(layers):
        width = hidden if n else inputs
        both, bias = take(4 * hidden, width + hidden), take(4 * hidden)
        found[f"weight_ih_l{n}"], found[f"weight_hh_l{n}"] = both[:, :width], both[:, width:]
        found[f"bias_ih_l{n}"], found[f"bias_hh_l{n}"] = bias, np.zeros_like(bias)
        h.append(take(1, hidden))
        c.append(take(1, hidden))
    found["initial_h"], found["initial_c"] = np.stack(h), np.stack(c)
    outputs = head // (hidden + 1)
    layer = Layer("LSTM", inputs, hidden, 0, layers, initial_state=("initial_h", "initial_c"))
    return layer, found, {"head.weight": take(outputs, hidden), "head.bias": take(outputs)}


def add_nam(contents, value, name=""):
    """Add the layers of a NAM model, which is `name` in the file, to `contents`."""
    if value["architecture"] == "LSTM":
        layer, weights, head = _nam_layer(value)
        contents.add(f"{name}lstm", layer, weights)
        contents.arrays |= {name + end: array for end, array in head.items()}
    config = value["config"]
    models = config.get("models") if isinstance(config, dict) else None
    if value["architecture"] == "Sequential" and isinstance(models, list) and not name:
        for n, model in enumerate(models[:_MAX_MODELS]):
            if isinstance(model, dict) and is_nam(model):
                add_nam(contents, model, f"models.{n}.")
