# SPDX-License-Identifier: MIT
"""A layer to a file: its description, in the words of files/, and its arrays."""

from ..engine.variants import RELU
from ..files.description import Layer
from ..files.safetensors.layers import write


def describe(layer):
    """The description of an LSTM, GRU or RNN."""
    relu = layer.kind == "RNN" and layer.nonlinearity == "relu"
    direction = "reverse" if layer.reverse else "forward"
    shapes, start = layer.weight_shapes(), ("initial_h", "initial_c")[: 1 + layer.has_c]
    return Layer(
        layer.kind, layer.input_size, layer.hidden_size, layer.proj_size, layer.num_layers,
        layer.bias, "bidirectional" if layer.bidirectional else direction,
        activations=((RELU,),) * layer.num_directions if relu else layer.activations or (),
        clip=layer.clip, input_forget=layer.input_forget,
        peepholes=tuple(name for name in shapes if name.startswith("peephole")),
        initial_state=() if layer.initial_state is None else start,
        output_order=layer.output_order, reset_after=getattr(layer, "reset_after", True),
        batch_first=layer.batch_first, dropout=layer.dropout, merge=layer.merge,
        dtype=layer.dtype, precision=layer.precision, inputs=layer.inputs,
    )  # fmt: skip


def save(layer, path):
    """Write one layer to a file that `fastlstm.load` maps. See LSTM.save."""
    description = describe(layer)
    parts = layer.state_parts(layer.initial_state)
    start = dict(zip(description.initial_state, parts, strict=True))
    write(path, {"": (description, layer.packed.arrays | start)})
