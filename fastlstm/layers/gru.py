# SPDX-License-Identifier: MIT
"""GRU: its equations and arguments. The rest is recurrent.py's."""

from typing import ClassVar

from .recurrent import Recurrent
from .variants import flag


class GRU(Recurrent):
    """A network of gated recurrent units, with torch.nn.GRU's arguments, shapes and weights.

        r = sigmoid(W_r x + b_r + R_r h + d_r)          b: bias_ih, d: bias_hh
        z = sigmoid(W_z x + b_z + R_z h + d_z)
        n = tanh(W_n x + b_n + r (R_n h + d_n))         reset_after=True, as torch has it
        n = tanh(W_n x + b_n + R_n (r h) + d_n)         reset_after=False (Cho et al. 2014)
        h' = (1 - z) n + z h

    reset_after   is the reset gate applied after the recurrent product? False is what Keras calls
                  reset_after=False and ONNX linear_before_reset=0; it takes two products each step
    activations   (of r and z; of n), as in LSTM
    The other arguments, and all that is said there, are LSTM's; there is no projection. The state
    is h alone, (L D, B, H).
    """

    kind = "GRU"
    cell_arguments: ClassVar = {"reset_after": True}

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        *,
        reset_after=True,
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
            isa=isa, num_threads=num_threads, reset_after=reset_after, activations=activations,
            clip=clip, reverse=reverse, merge=merge, precision=precision,
        )  # fmt: skip
        self.take_weights(self._random())

    def _check_cell_arguments(self):
        self.reset_after = flag("reset_after", self.reset_after)

    @property
    def cell(self):
        """Its cell's name in the engine. For this package's own use."""
        return "gru" if self.reset_after else "gru_before"
