# SPDX-License-Identifier: MIT
"""RNN: its equations and arguments. The rest is recurrent.py's."""

from typing import ClassVar

from .recurrent import Recurrent


class RNN(Recurrent):
    """An Elman network, with torch.nn.RNN's arguments, shapes and weights.

        h' = tanh(W x + b + R h + d)    or    h' = max(W x + b + R h + d, 0)

    nonlinearity   "tanh" or "relu"
    activations    (of h',), as in LSTM: instead of nonlinearity
    The other arguments, and all that is said there, are LSTM's; there is no projection. The state
    is h alone, (L D, B, H).
    """

    kind = "RNN"
    cell_arguments: ClassVar = {"nonlinearity": "tanh"}

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        nonlinearity="tanh",
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        *,
        activations=None,
        clip=None,
        reverse=False,
        merge="concat",
        precision="float32",
        isa=None,
        num_threads=None,
    ):
        self._configure(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            isa=isa, num_threads=num_threads, nonlinearity=nonlinearity, activations=activations,
            clip=clip, reverse=reverse, merge=merge, precision=precision,
        )  # fmt: skip
        self.take_weights(self._random())

    def _check_cell_arguments(self):
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity {self.nonlinearity!r}. Select from 'tanh' or 'relu'."
            )

    def _set_variant(self, values):
        super()._set_variant(values)
        if self.activations is None:
            return
        if self.nonlinearity != "tanh":
            raise ValueError("nonlinearity and activations: give one of them")
        if {activation.name for (activation,) in self.activations} == {"relu"}:
            self.activations, self.nonlinearity = None, "relu"

    @property
    def cell(self):
        """Its cell's name in the engine. For this package's own use."""
        return f"rnn_{self.nonlinearity}"
