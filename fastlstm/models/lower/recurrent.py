# SPDX-License-Identifier: MIT
"""Recurrent layers: the engine's own networks."""

from ...layers import GRU, LSTM, RNN
from ...layers.build import build, ready
from .builder import lowers

_CLASSES = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}


@lowers("Recurrent")
def recurrent(b, node):
    layer, arrays = node.attrs["layer"], node.attrs["weights"]
    b.charge(node, arrays.values())
    dtype = "float16" if b.format else "float32"
    dtype = layer.dtype if layer.dtype in ("int8", "bfloat16") else dtype
    options = {"isa": b.isa, "precision": b.precision if dtype == "float32" else "float32"}
    try:
        made = build(_CLASSES[layer.kind], layer, ready(layer, arrays, dtype, keep=True), options)
    except ValueError as error:
        raise node.error(str(error)) from None
    b.emit(node, b.core.recurrent(made.packed.net))
