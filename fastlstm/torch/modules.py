# SPDX-License-Identifier: MIT
"""LSTM, GRU, RNN and their cells: torch.nn's modules, whose calls run on the engine.

Much of PyTorch asks for a module's class: torch.ao.quantization in dictionaries of classes,
torch.fx by its module's name, torch.jit.script by the source of `forward`. They shall find what
they find of torch.nn's. So each class here is equal to the one that it stands for (not identical),
its instances name torch.nn's module as theirs, and it and its `forward` say by `__wrapped__`, as
decorated functions do, where their source is.
"""

import functools
import types

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .. import layers, training
from ..config import CHECK_FROZEN
from ..files.weight_shapes import misfit
from .autograd import _Run, array_of, num_threads
from .weights import Packed
from .why_not import of_tensors, of_the_call, warn


class _Standing(type):
    """The class of the classes below. Those with `_torchs` stand for that class of torch.nn; their
    subclasses are classes like any other."""

    def __new__(meta, name, bases, names):
        torchs = names.get("_torchs")
        if torchs is not None:
            names["__module__"] = torchs.__module__  # what instances say; for the class see below
            names["_jit_override_qualname"] = f"__torch__.{torchs.__module__}.{name}"
            names["forward"] = _forward_as(torchs.forward)
        return super().__new__(meta, name, bases, names)

    @property
    def __module__(cls):
        return __package__ if "_torchs" in vars(cls) else vars(cls)["__module__"]

    @property
    def __wrapped__(cls):
        if "_torchs" not in vars(cls):
            raise AttributeError("__wrapped__")
        return cls._torchs

    def __eq__(cls, other):
        return cls is other or ("_torchs" in vars(cls) and cls._torchs is other)

    def __hash__(cls):
        return hash(cls._torchs) if "_torchs" in vars(cls) else type.__hash__(cls)

    def __repr__(cls):
        return f"<class '{cls.__module__}.{cls.__qualname__}'>"


def _forward_as(torchs):
    """A forward that calls _forward and, for who reads its source, globals and signature, is the
    function `torchs`."""

    def forward(self, input, hx=None):
        return self._forward(input, hx)

    made = types.FunctionType(forward.__code__, torchs.__globals__, "forward", (None,))
    return functools.update_wrapper(made, torchs)


class _Module(metaclass=_Standing):
    """What all share; the rest of each is torch.nn's. A class has

    _class     that of its layer in fastlstm
    _names     of the attributes that PyTorch looks at in each call and that make a layer, which
               are arguments of both constructors
    _weights   () -> the tensors of the weights, as they are now
    _weight_names   () -> their names in torch's layer
    _shapes    (x, batch_sizes or None) -> the shapes of the state for that input; None if PyTorch
               refuses it
    """

    _fastlstm = None  # weights.Packed, once there was a call
    _frozen = None  # "trusted" or "checked" between freeze and unfreeze
    _dtype = None  # what calls round the weights to; None: they are float32
    _precision = None  # of the products of float32 weights; None: float32

    def _taken(self, x, sizes, hx):
        """(the state hx as a tuple, () for zeros; the weights) if the engine can run this call.
        Else None, with a warning unless PyTorch will refuse it anyway. sizes: the batch_sizes of
        packed rows x."""
        parts = () if hx is None else hx if self._class.has_c else (hx,)
        if not isinstance(parts, (tuple, list)) or (parts and len(parts) != 1 + self._class.has_c):
            return None
        if not all(isinstance(t, torch.Tensor) for t in (x, *parts)):
            return None
        weights = self._weights()
        if self._dtype is not None and (self.training or _needs_grad(x, parts, weights)):
            what = "in training mode" if self.training else "whose gradients are wanted"
            raise RuntimeError(
                f"fastlstm.torch.{type(self).__name__}: its weights are {self._dtype}, which is "
                f"for inference alone, and this is a call {what}: use .eval() and "
                "torch.no_grad(), or fastlstm.torch.restore(model) to train"
            )
        reason = of_the_call() or of_tensors((x, *parts, *weights))
        if reason is not None:
            warn(reason)
            return None
        shapes = self._shapes(x, sizes)
        if shapes is None or any(s.shape != n for s, n in zip(parts, shapes, strict=False)):
            return None
        return parts, weights

    def __setattr__(self, name, value):
        names = self._names  # now: `__class__` may be what is set
        super().__setattr__(name, value)
        if name in names:  # the layer was made for another value
            self.__dict__.pop("_fastlstm", None)

    def _arguments(self):
        """Those of the layer that PyTorch would compute now."""
        return {name: getattr(self, name) for name in self._names}

    def _compares(self, weights, most):
        """Would a call compare `most` weights or more with the packed ones?"""
        asked = (self._frozen, self._dtype, self._precision)
        return asked == (None, None, None) and sum(map(torch.numel, weights)) >= most

    def _layer(self, weights):
        """A layer of fastlstm with these weights."""
        packed, frozen = self._fastlstm, self._frozen
        if packed is not None and len(packed.copies) == len(weights):
            trusted = frozen == "trusted" and not CHECK_FROZEN
            if packed.is_still_of(weights) if trusted else packed.is_of(weights):
                return packed.layer
            if frozen and not trusted:
                changed = ", ".join(packed.changed(self._weight_names(), weights))
                raise RuntimeError(
                    f"fastlstm.torch.{type(self).__name__}: {changed} changed while frozen; call "
                    "fastlstm.torch.unfreeze(model) before weights change"
                )
        packed = Packed(self._with_weights, self._weight_names(), weights)
        self.__dict__["_fastlstm"] = packed
        return packed.layer

    def _with_weights(self, arrays):
        arguments = self._arguments()
        if self._precision is not None:
            arguments["precision"] = self._precision
        layer = self._class.without_weights(**arguments)
        if self._fastlstm is None:  # the first call, or the first with these attributes
            due = layer.weight_shapes()
            problem = next((f"there is {name}" for name in arrays if name not in due), None)
            problem = problem or misfit(layer, arrays)
            if problem:
                raise RuntimeError(
                    f"fastlstm.torch.{type(self).__name__}: its attributes do not fit its weights: "
                    f"{problem}"
                )
        layer.take_weights(arrays)
        return layer if self._dtype is None else layer.quantize(self._dtype)

    def compute_in(self, dtype, precision):
        """Calls round the weights to `dtype` from now on, or make products in `precision`; None: of
        float32, which they are."""
        for name in ("_fastlstm", "_dtype", "_precision"):
            self.__dict__.pop(name, None)
        if dtype is not None:
            self.__dict__["_dtype"] = dtype
        if precision is not None:
            self.__dict__["_precision"] = precision

    def extra_repr(self):
        asked = (("dtype", self._dtype), ("precision", self._precision))
        return super().extra_repr() + "".join(f", {n}={v!r}" for n, v in asked if v)

    def become_torchs(self):
        """This module becomes the torch.nn module that it stands for."""
        for name in ("_fastlstm", "_frozen", "_dtype", "_precision"):
            self.__dict__.pop(name, None)
        self.__class__ = self._torchs

    def __getstate__(self):
        state = super().__getstate__()
        for name in ("_fastlstm", "_frozen"):  # a copy is its own: nobody promised anything of it
            state.pop(name, None)
        return state


# Where comparing weights that are not frozen takes longer than PyTorch's own GRU, RNN or cell, it
# computes the call, to its bits: of at most FEW_STEPS steps of a layer with MANY_WEIGHTS or more,
# and of a cell with CELL_WEIGHTS or more (benchmarks/torch_step.py). Its LSTM is always slower.
FEW_STEPS, MANY_WEIGHTS, CELL_WEIGHTS = 4, 1 << 17, 1 << 16


class _Layer(_Module):
    """What LSTM, GRU and RNN share."""

    _names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional")

    def _forward(self, input, hx):
        packed = isinstance(input, PackedSequence)
        x, sizes = (input.data, input.batch_sizes) if packed else (input, None)
        taken = self._taken(x, sizes, hx)
        if taken is None:
            return self._torchs.forward(self, input, hx)
        parts, weights = taken
        if not packed:
            if self._is_faster_in_torch(x, parts, weights):
                return self._torchs.forward(self, input, hx)
            y, *state = self._run(x, parts, weights, None)
            return y, self._state(state)
        # Rows of a PackedSequence come longest first; padded, they are the engine's `lengths`.
        order, back = input.sorted_indices, input.unsorted_indices
        x, lengths = pad_packed_sequence(PackedSequence(x, sizes))
        if order is not None:
            parts = tuple(s.index_select(1, order) for s in parts)
        y, *state = self._run(x, parts, weights, lengths)
        y = pack_padded_sequence(y, lengths).data
        if back is not None:
            state = [s.index_select(1, back) for s in state]
        return PackedSequence(y, sizes, order, back), self._state(state)

    def _is_faster_in_torch(self, x, parts, weights):
        if self._class.has_c:
            return False
        steps = x.shape[1 if self.batch_first and x.dim() == 3 else 0]
        few = steps <= FEW_STEPS and not _needs_grad(x, parts, weights)
        return few and self._compares(weights, MANY_WEIGHTS)

    def _run(self, x, state, weights, lengths):
        """y and the final state's parts; lengths: of the rows of a time-first x, or None."""
        layer, rate, seed = self._layer(weights), 0.0, 0
        if lengths is not None:
            layer = _time_first(layer)
            lengths = lengths.numpy()
        if self.training and self.dropout and self.num_layers > 1:
            rate = float(self.dropout)
            seed = int(torch.empty((), dtype=torch.int64).random_())
        if _needs_grad(x, state, weights):
            return _Run.apply(layer, lengths, rate, seed, len(state), x, *state, *weights)
        threads = num_threads()
        state = layer.state_from_parts([array_of(s) for s in state]) if state else None
        if rate:
            y, state, _ = training.forward(layer, array_of(x), state, lengths, seed, threads, rate)
        else:
            y, state = layer(array_of(x), state, lengths=lengths, num_threads=threads)
        return tuple(map(torch.from_numpy, (y, *layer.state_parts(state))))

    def _state(self, parts):
        return tuple(parts) if self._class.has_c else parts[0]

    def _weights(self):
        mine = self._parameters
        for name, weight in zip(self._flat_weights_names, self._flat_weights, strict=True):
            if mine.get(name) is not weight:  # it is parametrized, or was replaced
                self._update_flat_weights()
                break
        return self._flat_weights

    def _weight_names(self):
        return self._flat_weights_names

    def _shapes(self, x, sizes):
        rank = x.dim() if sizes is None else 2
        if rank not in (2, 3) or x.shape[-1] != self.input_size or x.numel() == 0:
            return None
        if sizes is not None:
            rows = (int(sizes[0]),)
        else:
            rows = () if rank == 2 else (x.shape[0 if self.batch_first else 1],)
        tracks = self.num_layers * (2 if self.bidirectional else 1)
        return [(tracks, *rows, n) for n in (self.proj_size or self.hidden_size, self.hidden_size)]


class _Cell(_Module):
    """What the cells share: a cell is a layer of one step."""

    _names = ("input_size", "hidden_size")

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "qconfig" and value is not None and type(self) in STANDING:
            # torch.ao.quantization is going to replace this cell, and asks then whether its class
            # is torch.nn's, not whether it is equal to it.
            self.become_torchs()

    def _forward(self, input, hx):
        taken = self._taken(input, None, hx)
        # With gradients a step is a call of its own, forward and backward, which took 1.3 to 1.9
        # times PyTorch's time at H = 64 to 128: PyTorch computes it.
        if taken is None or _needs_grad(input, *taken) or self._compares(taken[1], CELL_WEIGHTS):
            return self._torchs.forward(self, input, hx)
        state, weights = taken
        layer = self._layer(weights)
        x, *state = (array_of(t)[None] for t in (input, *state))
        state = layer.state_from_parts(state) if state else None
        _, state = layer(x, state, num_threads=num_threads())
        state = [torch.from_numpy(s[0]) for s in layer.state_parts(state)]
        return tuple(state) if self._class.has_c else state[0]

    def _weights(self):
        mine = self._parameters
        found = [mine[name] if name in mine else getattr(self, name) for name in _OF_CELLS]
        if found[2] is None and found[3] is None:
            del found[2:]
        return found

    def _weight_names(self):
        return [f"{name}_l0" for name in _OF_CELLS[: len(self._weights())]]

    def _arguments(self):
        # PyTorch does not look at the attribute `bias`, but at the biases.
        return super()._arguments() | {"bias": len(self._weights()) == 4}

    def _shapes(self, x, sizes):
        if x.dim() not in (1, 2) or x.shape[-1] != self.input_size or x.numel() == 0:
            return None
        return [(*x.shape[:-1], self.hidden_size)] * 2


class LSTM(_Layer, torch.nn.LSTM):
    """torch.nn.LSTM: the same arguments, results, gradients and state_dict, computed by fastlstm.

    float32 on the CPU, padded or packed, with any options of nn.LSTM. Threads: torch's number,
    `torch.get_num_threads()`. Dropout between layers is seeded from torch's generator, so it is
    repeatable after `torch.manual_seed`, with other masks than nn.LSTM's.

    Weights may change in any way between calls: each call compares them, bit by bit, with the ones
    it has packed and packs them again if they differ. That takes some 0.2 ms per million weights
    that fit in a core's caches, and 0.9 of more than that; `freeze` saves it.

    An output y that was changed in place before backward is refused where nn.LSTM refuses it, which
    is of one direction, without projection, of padded input. Elsewhere gradients are right, as
    nn.LSTM's are: the tape has outputs of its own.
    """

    _class, _torchs = layers.LSTM, torch.nn.LSTM
    _names = (*_Layer._names, "proj_size")


class GRU(_Layer, torch.nn.GRU):
    """torch.nn.GRU, computed by fastlstm; all that LSTM says holds but the last paragraph's first
    sentence: nn.GRU refuses nothing.

    Without gradients PyTorch computes up to four steps of a module that is not frozen and has 2^17
    weights or more, since comparing these would take longer.
    """

    _class, _torchs = layers.GRU, torch.nn.GRU


class RNN(_Layer, torch.nn.RNN):
    """torch.nn.RNN, computed by fastlstm; what GRU says holds."""

    _class, _torchs = layers.RNN, torch.nn.RNN
    _names = (*_Layer._names, "mode")  # PyTorch's calls look at it, not at `nonlinearity`

    def _arguments(self):
        made = super()._arguments()
        mode = made.pop("mode")
        made["nonlinearity"] = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(mode, mode)
        return made


class LSTMCell(_Cell, torch.nn.LSTMCell):
    """torch.nn.LSTMCell, for inference computed by fastlstm; what LSTM says of tensors and weights
    holds. Where gradients are wanted, and of 2^16 weights or more that are not frozen, which it
    would take longer to compare, PyTorch computes each step: nothing is slower for it."""

    _class, _torchs = layers.LSTM, torch.nn.LSTMCell


class GRUCell(_Cell, torch.nn.GRUCell):
    """torch.nn.GRUCell; what LSTMCell says holds."""

    _class, _torchs = layers.GRU, torch.nn.GRUCell


class RNNCell(_Cell, torch.nn.RNNCell):
    """torch.nn.RNNCell; what LSTMCell says holds."""

    _class, _torchs = layers.RNN, torch.nn.RNNCell
    _names = (*_Cell._names, "nonlinearity")


_OF_CELLS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
STANDING = (LSTM, GRU, RNN, LSTMCell, GRUCell, RNNCell)


def _needs_grad(x, state, weights):
    return torch.is_grad_enabled() and any(t.requires_grad for t in (x, *state, *weights))


def _time_first(layer):
    """The same layer for (T, B, I) input, which a padded PackedSequence is."""
    return layer.copy_with(batch_first=False) if layer.batch_first else layer
