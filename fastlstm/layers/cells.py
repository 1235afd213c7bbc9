# SPDX-License-Identifier: MIT
"""LSTMCell, GRUCell, RNNCell: one step at a time, with the state in the caller's hands."""

from ..engine import arguments
from .gru import GRU
from .lstm import LSTM
from .rnn import RNN
from .weights import updated


class _Cell:
    """One step of a layer, which it keeps as `_layer`. `_class` is that of the layer."""

    def _configure(self, input_size, hidden_size, bias, isa, **cell_arguments):
        layer = self._class(
            input_size, hidden_size, bias=bias, isa=isa, num_threads=1, **cell_arguments
        )
        self._layer = layer
        self.input_size, self.hidden_size = layer.input_size, layer.hidden_size
        self.bias, self.isa = layer.bias, layer.isa
        self.__dict__.update({name: getattr(layer, name) for name in cell_arguments})

    @property
    def kind(self):
        """The class's name: "LSTMCell", "GRUCell" or "RNNCell"."""
        return f"{self._layer.kind}Cell"

    @property
    def dtype(self):
        """Of the weight matrices: "float32", "float16", "bfloat16" or "int8", as the
        layers have it."""
        return self._layer.dtype

    def __repr__(self):
        text = f"{self.kind}({self.input_size}, {self.hidden_size}"
        text += "" if self.bias else ", bias=False"
        for name, default in {**self._layer.cell_arguments, "dtype": "float32"}.items():
            value = getattr(self._layer, name)
            text += f", {name}={value!r}" if value != default else ""
        return text + f", isa={self.isa!r})"

    def state_dict(self):
        """{name: float32 array}, copies, under torch's names: weight_ih, weight_hh, bias_ih,
        bias_hh."""
        return {name[:-3]: array for name, array in self._layer.state_dict().items()}

    def load_state_dict(self, state_dict, strict=True):
        """As the layers' method of this name."""
        if self.dtype != "float32":
            raise TypeError(
                f"load_state_dict: this {self.kind} is {self.dtype}, which is for inference alone: "
                "load into a float32 cell, then quantize that"
            )
        shapes = {name[:-3]: shape for name, shape in self._layer.weight_shapes().items()}
        arrays, missing, unexpected = updated(
            self.kind, shapes, self.state_dict(), state_dict, strict
        )
        self._layer = self._layer.copy_with()  # copy.copy of this cell has the same layer
        self._layer.take_weights({f"{name}_l0": array for name, array in arrays.items()})
        return missing, unexpected

    def quantize(self, dtype, inputs="int16"):
        """A new cell with its weight matrices in `dtype`, as the layers' method of this name."""
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__, _layer=self._layer.quantize(dtype, inputs))
        return made

    def __call__(self, input, hx=None):
        """The state after one step: h, of an LSTMCell (h, c); float32.

        input   (B, I) or (I,); any real dtype
        hx      the state before it: h (B, H), of an LSTMCell (h, c); without the B axis if input is
                without; None: zeros

        ValueError or TypeError that name both shapes.
        """
        x = arguments.real("input", input)
        if x.ndim not in (1, 2):
            raise ValueError(
                f"{self.kind}: Expected input to be 1D or 2D, got {x.ndim}D instead: "
                f"shape {x.shape}"
            )
        if x.shape[-1] != self.input_size:
            raise ValueError(
                f"input has inconsistent input_size: got {x.shape[-1]}, expected "
                f"{self.input_size}: input has shape {x.shape}"
            )
        layer, batched = self._layer, x.ndim == 2
        rows = x if batched else x[None]
        parts = arguments.states(hx, layer.state_shapes(len(rows)), batched, tracks=False)
        state = None if parts is None else layer.state_from_parts(parts)
        _, state = layer(rows[None], state, return_sequences=False)
        return layer.state_from_parts(
            [s[0] if batched else s[0, 0] for s in layer.state_parts(state)]
        )


class LSTMCell(_Cell):
    """One step of an LSTM, with torch.nn.LSTMCell's arguments, shapes and weights:
    h, c = cell(x, (h, c)). Gates are as in fastlstm.LSTM, and so are the bits."""

    _class = LSTM

    def __init__(self, input_size, hidden_size, bias=True, *, isa=None):
        self._configure(input_size, hidden_size, bias, isa)


class GRUCell(_Cell):
    """One step of a GRU, with torch.nn.GRUCell's arguments, shapes and weights: h = cell(x, h).

    reset_after   keyword only; as in fastlstm.GRU
    """

    _class = GRU

    def __init__(self, input_size, hidden_size, bias=True, *, reset_after=True, isa=None):
        self._configure(input_size, hidden_size, bias, isa, reset_after=reset_after)


class RNNCell(_Cell):
    """One step of an RNN, with torch.nn.RNNCell's arguments, shapes and weights: h = cell(x, h).

    nonlinearity   "tanh" or "relu"
    """

    _class = RNN

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", *, isa=None):
        self._configure(input_size, hidden_size, bias, isa, nonlinearity=nonlinearity)
