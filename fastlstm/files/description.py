# SPDX-License-Identifier: MIT
"""What a recurrent layer of any file is, in plain values: one description for every format.

Readers make a Layer; its weights stand beside it under torch's names and in torch's gate order
(LSTM i, f, g, o; GRU r, z, n), whatever the file's own.
"""

import dataclasses

from ..engine.variants import RELU, USUAL, Activations

DTYPES = ("float32", "float16", "bfloat16", "int8")  # that a layer's weight matrices may have
PRECISIONS = ("float32", "bfloat16x3", "bfloat16x6")  # of products of float32 weights
# Of a layer's. Calls in one part are those of dtype "bfloat16", whose weights take half the memory:
# it is for training.
LAYER_PRECISIONS = (*PRECISIONS, "bfloat16")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A recurrent layer, or a stack of `num_layers` of them.

    direction       "forward", "reverse" (alone; its weights have no `_reverse` in their names) or
                    "bidirectional"
    activations     one tuple for each direction, as in USUAL; () for the usual ones
    reset_after     GRU: r multiplies the recurrent product (torch), not the state before it
    clip            z is cut to [-clip, clip] before each activation
    input_forget    LSTM: f = 1 - i
    peepholes       names of the arrays (3 H,), order i, f, o, without the prefix
    initial_state   names of the arrays (directions, B, H) that the file starts from, h then c
    batch_first     the file's layout: torch's files do not tell, and say False
    dropout         between layers in training, where fastlstm's own file says so; else 0
    output_order    "time": y[t] belongs to x[t]; "processing": a reverse layer whose y[0] is its
                    first result, for the last step of x (Keras' go_backwards)
    merge           what becomes of two directions' outputs: "concat", or Keras' sum, mul, ave, none
    cell            the names have no `_l0` (torch's LSTMCell, GRUCell, RNNCell)
    dtype           of the weight matrices as the layer computes with them: "float32", or "float16",
                    "bfloat16" or "int8" where fastlstm's own file says so; whatever the arrays of
                    other files are
    precision       of the products of float32 weights: one of LAYER_PRECISIONS
    inputs          of an int8 layer: the codes of its first layer's inputs, "int16" or "int8"
    problem         why the weights do not fit together, or None
    assumed         what the file does not say and is taken to be the usual, by the names of the
                    arguments with which a caller of `load` would say otherwise
    """

    kind: str
    input_size: int = 0
    hidden_size: int = 0
    proj_size: int = 0
    num_layers: int = 1
    bias: bool = True
    direction: str = "forward"
    activations: tuple[Activations, ...] = ()
    reset_after: bool = True
    clip: float | None = None
    input_forget: bool = False
    peepholes: tuple[str, ...] = ()
    initial_state: tuple[str, ...] = ()
    batch_first: bool = False
    dropout: float = 0.0
    output_order: str = "time"
    merge: str = "concat"
    cell: bool = False
    dtype: str = "float32"
    precision: str = "float32"
    inputs: str = "int16"
    problem: str | None = None
    assumed: tuple[str, ...] = ()

    @property
    def bidirectional(self) -> bool:
        return self.direction == "bidirectional"

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def directions(self) -> tuple[Activations, ...]:
        """activations, spelled out for each direction."""
        return self.activations or (USUAL[self.kind],) * self.num_directions

    def __str__(self) -> str:
        if self.problem:
            return f"{self.kind}, unusable: {self.problem}"
        text = f"{self.kind}({self.input_size}, {self.hidden_size}"
        if self.num_layers > 1:
            text += f", num_layers={self.num_layers}"
        if not self.bias:
            text += ", bias=False"
        if self.dropout:
            text += f", dropout={self.dropout!r}"
        if self.bidirectional:
            text += ", bidirectional=True"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.kind == "GRU" and not self.reset_after:
            text += ", reset_after=False"
        if self.kind == "RNN" and set(self.directions) == {(RELU,)}:
            text += ", nonlinearity='relu'"
        if self.dtype != "float32":
            text += f", dtype={self.dtype!r}"
        if self.precision != "float32":
            text += f", precision={self.precision!r}"
        if self.inputs != "int16":
            text += f", inputs={self.inputs!r}"
        found = variants(self)
        text += f") with {', '.join(found)}" if found else ")"
        return text + (f"; assumed: {', '.join(self.assumed)}" if self.assumed else "")


def _variant_activations(layer: Layer) -> list[str]:
    usual = {USUAL[layer.kind]} | ({(RELU,)} if layer.kind == "RNN" else set())
    found = dict.fromkeys(layer.directions)
    if len(found) == 1 and set(found) <= usual:
        return []
    return [f"the activations {' / '.join(', '.join(map(str, each)) for each in found)}"]


def variants(layer: Layer) -> list[str]:
    """The variants of `layer`, what torch's modules do not have, in words; [] for torch's own."""
    found = []
    if layer.direction == "reverse":
        found.append("a reverse direction alone")
    if layer.output_order == "processing":
        found.append("outputs in the order of processing (go_backwards)")
    if layer.merge != "concat":
        found.append(f"directions merged by {layer.merge}")
    found += _variant_activations(layer)
    if layer.clip is not None:
        found.append(f"gates clipped at {layer.clip:g}")
    if layer.input_forget:
        found.append("coupled input and forget gates")
    if layer.peepholes:
        found.append("peepholes")
    if layer.initial_state:
        found.append("an initial state of its own")
    return found
