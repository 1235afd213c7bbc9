# SPDX-License-Identifier: MIT
"""A layer to a file: what it is, in the words of files/, and its arrays."""

from ..engine.variants import RELU
from ..files.description import Layer
from ..files.safetensors.layers import write

_STATE = ("initial_h", "initial_c")


def layer_of_model(model):
    """The Layer that says what an LSTM, GRU or RNN is."""
    kind = type(model).__name__
    relu = kind == "RNN" and getattr(model, "nonlinearity", "tanh") == "relu"
    count = model.num_directions
    direction = "reverse" if model.reverse else "forward"
    return Layer(
        kind, model.input_size, model.hidden_size, getattr(model, "proj_size", 0),
        model.num_layers, model.bias, "bidirectional" if model.bidirectional else direction,
        activations=((RELU,),) * count if relu else model.activations or (),
        clip=model.clip, input_forget=model.input_forget,
        peepholes=tuple(name for name in model._weights if name.startswith("peephole")),
        initial_state=_STATE[: len(model._start)] if model._start else (),
        output_order=model.output_order,
        reset_after=getattr(model, "reset_after", True), batch_first=model.batch_first,
    )  # fmt: skip


def save(model, path):
    """Write one layer to a file that `fastlstm.load` maps. See LSTM.save."""
    start = dict(zip(_STATE, model._start or (), strict=False))
    write(path, {"": (layer_of_model(model), model._weights | start)})
