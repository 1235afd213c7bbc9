# SPDX-License-Identifier: MIT
"""LSTM, GRU, RNN and their cells with torch.nn's calls, over fastlstm's own layers."""

import numpy as np

from ... import layers as own
from ...layers.weights import as_dtype
from .. import init
from ..array import Parameter, Tensor, floats, lock, wrap
from ..module import Layer

_view = np.ndarray.view


class _Recurrent(Layer):
    """What they share. `_class` is fastlstm's layer; the Parameters are copies under torch's
    names, of which it is made at the first call."""

    _class, _names = None, ()

    def _configure(self, arguments, fan):
        super().__init__()
        made = self._class.without_weights(**arguments)
        for name in self._names:
            setattr(self, name, getattr(made, name))
        for name, shape in self._shapes(made).items():
            self.register_parameter(name, Parameter(init.default(shape, fan)))

    def _shapes(self, layer):
        return layer.weight_shapes()

    @property
    def _matrices(self):
        return [name for name in self._parameters if name.startswith("weight_")]

    def _arguments(self):
        return {name: getattr(self, name) for name in self._names}

    def _own(self):
        """fastlstm's layer with the Parameters as they are."""
        ready = self._ready  # a weight that another thread assigns meanwhile makes a new one
        layer = self._class.without_weights(**self._arguments())
        names = list(layer.weight_shapes())
        for p in self._parameters.values():
            lock(p)
        dtype = self._few.get("dtype", "float32")
        layer.inputs = self._few["inputs"] if dtype == "int8" else layer.inputs
        layer.precision = self._few.get("precision", layer.precision)
        arrays = zip(names, self._parameters.values(), strict=True)
        layer.take_weights({n: as_dtype(n, p.numpy(), dtype, keep=True) for n, p in arrays})
        ready["layer"] = layer
        return layer


class _Sequence(_Recurrent):
    def _configure(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
                   dropout=0.0, bidirectional=False, proj_size=0, device=None, dtype=None,
                   **others):  # fmt: skip
        for name, value in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element being zeroed"
            )
        arguments = dict(
            input_size=input_size, hidden_size=hidden_size, num_layers=num_layers, bias=bias,
            batch_first=batch_first, dropout=dropout, bidirectional=bidirectional, **others,
        )  # fmt: skip
        if self._class.has_c:
            arguments["proj_size"] = proj_size
        super()._configure(arguments, hidden_size)
        self.proj_size, self.mode = proj_size, self._class.kind

    def flatten_parameters(self):
        """Nothing: weights are packed at the first call."""

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0,
            "bidirectional": False,
        }.items():  # fmt: skip
            value = getattr(self, name)
            text += f", {name}={value}" if value != default else ""
        return text

    def forward(self, input, hx=None):
        """y, (h, c) of an LSTM; y, h of a GRU or RNN."""
        layer = self._ready.get("layer") or self._own()
        try:
            done = layer.packed.net.forward(input, hx, None, None, True, self.batch_first, 0)
        except (TypeError, AttributeError, ValueError):
            done = None
        if done is None:
            done = self._checked(layer, input, hx)
        y, state = done
        if type(state) is tuple:
            h, c = state
            return _view(y, Tensor), (_view(h, Tensor), _view(c, Tensor))
        return _view(y, Tensor), _view(state, Tensor)

    def _checked(self, layer, input, hx):
        """The call of what is not canonical, or an error in torch's words."""
        kind, lstm = layer.kind, layer.has_c
        if not hasattr(input, "ndim"):
            raise TypeError(f"{kind}: an array is due, got {type(input).__name__}")
        if input.ndim not in (2, 3):
            raise ValueError(
                f"{kind}: Expected input to be 2D or 3D, got {input.ndim}D "
                f"{'tensor ' if kind == 'RNN' else ''}instead"
            )
        x, batched = floats(input), input.ndim == 3
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{x.shape[-1]}"
            )
        if hx is not None:
            if lstm and (isinstance(hx, np.ndarray) or len(hx) != 2):
                raise TypeError(f"{kind}: hx must be a pair (h_0, c_0)")
            parts = [floats(part) for part in (hx if lstm else (hx,))]
            self._check_state(layer, x, parts, batched)
            hx = tuple(parts) if lstm else parts[0]
        try:
            return layer(x, hx)
        except ValueError as error:
            raise RuntimeError(str(error).partition(": input has shape")[0]) from None

    def _check_state(self, layer, x, parts, batched):
        due = 3 if batched else 2
        if any(p.ndim != due for p in parts):
            what = "For batched 3-D input, hx" if batched else "For unbatched 2-D input, hx"
            if layer.has_c:
                sizes = ", ".join(f"{p.ndim}-D" for p in parts)
                raise RuntimeError(
                    f"{what} and cx should also be {due}-D but got ({sizes}) tensors"
                )
            raise RuntimeError(f"{what} should also be {due}-D but got {parts[0].ndim}-D tensor")
        batch = x.shape[0 if self.batch_first else 1] if batched else 1
        shapes = layer.state_shapes(batch)
        for i, (part, shape) in enumerate(zip(parts, shapes, strict=True)):
            got = part.shape if batched else (part.shape[0], 1, part.shape[1])
            if got != shape:
                name = f"hidden[{i}]" if layer.has_c else "hidden"
                raise RuntimeError(f"Expected {name} size {shape}, got {list(got)}")


_SEQUENCE = (
    "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
)  # fmt: skip


class LSTM(_Sequence):
    """torch.nn.LSTM: x (T, B, I), or (B, T, I) with batch_first, or (T, I) -> y, (h, c)."""

    _class, _names = own.LSTM, (*_SEQUENCE, "proj_size")

    def __init__(self, *args, **kwargs):
        self._configure(*args, **kwargs)


class GRU(_Sequence):
    """torch.nn.GRU: x (T, B, I), or (B, T, I) with batch_first, or (T, I) -> y, h."""

    _class, _names = own.GRU, _SEQUENCE

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        self._configure(*args, **kwargs)


class RNN(_Sequence):
    """torch.nn.RNN: x (T, B, I), or (B, T, I) with batch_first, or (T, I) -> y, h."""

    _class, _names = own.RNN, (*_SEQUENCE, "nonlinearity")

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        self._configure(
            input_size, hidden_size, num_layers, *args, nonlinearity=nonlinearity, **kwargs
        )


class _Cell(_Recurrent):
    """One step: x (B, I) or (I,), and the state before it."""

    _names = ("input_size", "hidden_size", "bias")

    def _configure(self, input_size, hidden_size, bias=True, **others):
        arguments = dict(input_size=input_size, hidden_size=hidden_size, bias=bias, **others)
        super()._configure(arguments, hidden_size)

    def _shapes(self, layer):
        return {name.removesuffix("_l0"): s for name, s in layer.weight_shapes().items()}

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        text += f", bias={self.bias}" if not self.bias else ""
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text + (f", nonlinearity={nonlinearity}" if nonlinearity != "tanh" else "")

    def forward(self, input, hx=None):
        """(h, c) of an LSTMCell; h of a GRUCell or RNNCell."""
        layer = self._ready.get("layer") or self._own()
        kind, lstm = type(self).__name__, layer.has_c
        if input.ndim not in (1, 2):
            raise ValueError(f"{kind}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        batched = input.ndim == 2
        x = floats(input)
        x = x[None] if batched else x[None, None]
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {x.shape[-1]} expected {self.input_size}"
            )
        if hx is not None:
            parts = [floats(part) for part in (hx if lstm else (hx,))]
            parts = [p[None] if batched else p[None, None] for p in parts]
            for i, part in enumerate(parts):
                if part.ndim != 3:
                    name = f"hx[{i}]" if lstm else "hidden"
                    axes = part.ndim - (1 if batched else 2)
                    raise ValueError(f"{kind}: Expected {name} to be 1D or 2D, got {axes}D instead")
                if part.shape[1] != x.shape[1]:
                    raise RuntimeError(
                        f"Input batch size {x.shape[1]} doesn't match hidden{i} batch size "
                        f"{part.shape[1]}"
                    )
                if part.shape[2] != self.hidden_size:
                    raise RuntimeError(
                        f"hidden{i} has inconsistent hidden_size: got {part.shape[2]}, expected "
                        f"{self.hidden_size}"
                    )
            hx = tuple(parts) if lstm else parts[0]
        _, state = layer(x, hx, return_sequences=False, num_threads=1)
        state = [wrap(s[0] if batched else s[0, 0]) for s in layer.state_parts(state)]
        return tuple(state) if lstm else state[0]


class LSTMCell(_Cell):
    """torch.nn.LSTMCell: h, c = cell(x, (h, c))."""

    _class = own.LSTM

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        self._configure(input_size, hidden_size, bias)


class GRUCell(_Cell):
    """torch.nn.GRUCell: h = cell(x, h)."""

    _class = own.GRU

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        self._configure(input_size, hidden_size, bias)


class RNNCell(_Cell):
    """torch.nn.RNNCell: h = cell(x, h)."""

    _class, _names = own.RNN, (*_Cell._names, "nonlinearity")

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None,
                 dtype=None):  # fmt: skip
        self._configure(input_size, hidden_size, bias, nonlinearity=nonlinearity)
