# SPDX-License-Identifier: MIT
"""PyTorch models on this engine: torch.nn's LSTM, GRU and RNN run here, and `accelerate(model)`.

    import fastlstm.torch
    fastlstm.torch.accelerate(model)      # every nn.LSTM, GRU, RNN inside; state_dict as before

What the engine does not do (other dtypes and devices, torch.compile, autocast, torch.func,
forward-mode AD, gradients of gradients) runs in PyTorch, with one warning for each reason.
"""

import warnings
import weakref

import numpy as np
import torch
from torch import _VF
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from . import layers, training

_warned = set()


def _warn(reason):
    if reason not in _warned:
        _warned.add(reason)
        warnings.warn(f"fastlstm.torch: {reason} runs in PyTorch, at PyTorch's speed", stacklevel=4)


class _Module:
    """What LSTM, GRU and RNN below share; the rest of each is torch.nn's."""

    _fastlstm = None  # (a layer of fastlstm, copies of its weights as tensors)
    _names = (  # of the arguments that both constructors have
        "input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional",
    )  # fmt: skip

    def forward(self, input, hx=None):
        reason = self._why_not(input, hx)
        if reason is not None:
            if reason:
                _warn(reason)
            return super().forward(input, hx)
        if not isinstance(input, PackedSequence):
            return self._run(input, hx, None)
        # Rows of a PackedSequence come longest first; padded, they are the engine's `lengths`.
        sizes, order, back = input.batch_sizes, input.sorted_indices, input.unsorted_indices
        x, lengths = pad_packed_sequence(PackedSequence(input.data, sizes))
        if hx is not None:
            hx = self.permute_hidden(hx, order)
        y, state = self._run(x, hx, lengths)
        y = pack_padded_sequence(y, lengths).data
        return PackedSequence(y, sizes, order, back), self.permute_hidden(state, back)

    def _why_not(self, input, hx):
        """None if the engine can run this; why not, in words; "" for what PyTorch will refuse."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return "torch.compile or tracing"
        packed = isinstance(input, PackedSequence)
        x = input.data if packed else input
        self._update_flat_weights()
        lstm = self._class.has_c
        state = () if hx is None else hx if lstm else (hx,)
        if not isinstance(x, torch.Tensor) or not isinstance(state, (tuple, list)):
            return ""
        if hx is not None and len(state) != 1 + lstm:
            return ""
        if not all(isinstance(s, torch.Tensor) for s in state):
            return ""
        for t in (x, *state, *self._flat_weights):
            if t.dtype != torch.float32:
                return f"{str(t.dtype).removeprefix('torch.')}"
            if t.device.type != "cpu":
                return f"device {t.device.type}"
            if type(t) not in (torch.Tensor, torch.nn.Parameter) or t.layout != torch.strided:
                return f"a {type(t).__name__} of layout {t.layout}"
            if torch._C._functorch.is_functorch_wrapped_tensor(t):
                return "torch.func"
        if torch.is_autocast_enabled("cpu"):
            return "autocast"
        if forward_ad._current_level >= 0:
            return "forward-mode differentiation"
        rank = 2 if packed else x.dim()
        if rank not in (2, 3) or x.shape[-1] != self.input_size or x.numel() == 0:
            return ""
        if packed:
            rows = (int(input.batch_sizes[0]),)
        else:
            rows = () if rank == 2 else (x.shape[0 if self.batch_first else 1],)
        tracks = self.num_layers * (2 if self.bidirectional else 1)
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)
        for s, n in zip(state, sizes):
            if s.shape != (tracks, *rows, n):
                return ""
        return None

    def _current(self):
        """A layer of fastlstm with the weights as they are now."""
        weights, cached = self._flat_weights, self._fastlstm
        if cached is not None and all(map(torch.equal, weights, cached[1])):
            return cached[0]
        copies = [w.detach().clone(memory_format=torch.contiguous_format) for w in weights]
        arrays = (copy.numpy() for copy in copies)
        layer = self._class.without_weights(**{name: getattr(self, name) for name in self._names})
        layer.take_weights(dict(zip(self._flat_weights_names, arrays, strict=True)))
        self.__dict__["_fastlstm"] = layer, copies
        return layer

    def _run(self, x, hx, lengths):
        layer = self._current()
        if lengths is not None:
            layer = _time_first(layer)
            lengths = lengths.numpy()
        dropout, seed = 0.0, 0
        if self.training and self.dropout and self.num_layers > 1:
            dropout = float(self.dropout)
            seed = int(torch.empty((), dtype=torch.int64).random_())
        state = layer.state_parts(hx)
        inputs = (x, *state, *self._flat_weights)
        if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
            y, *state = _Run.apply(layer, lengths, dropout, seed, len(state), *inputs)
            return y, layer.state_from_parts(state)
        threads = torch.get_num_threads()
        state = layer.state_from_parts([_numpy(s) for s in state]) if state else None
        if dropout:
            y, state, _ = training.forward(layer, _numpy(x), state, lengths, seed, threads, dropout)
        else:
            y, state = layer(_numpy(x), state, lengths=lengths, num_threads=threads)
        state = [torch.from_numpy(s) for s in layer.state_parts(state)]
        return torch.from_numpy(y), layer.state_from_parts(state)

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_fastlstm", None)
        return state


class LSTM(_Module, torch.nn.LSTM):
    """torch.nn.LSTM: the same arguments, results, gradients and state_dict, computed by fastlstm.

    float32 on the CPU, padded or packed, with any options of nn.LSTM. Threads: torch's number,
    `torch.get_num_threads()`. Dropout between layers is seeded from torch's generator, so it is
    repeatable after `torch.manual_seed`, with other masks than nn.LSTM's.

    Weights may change in any way between calls: each call compares them with the ones it has packed
    (about 0.1 ms per million weights) and packs them again if they differ.
    """

    _class = layers.LSTM
    _names = (*_Module._names, "proj_size")


class GRU(_Module, torch.nn.GRU):
    """torch.nn.GRU, computed by fastlstm; all that LSTM says holds."""

    _class = layers.GRU


class RNN(_Module, torch.nn.RNN):
    """torch.nn.RNN, computed by fastlstm; all that LSTM says holds."""

    _class = layers.RNN
    _names = (*_Module._names, "nonlinearity")


def _numpy(t):
    return t.detach().numpy()


def _time_first(layer):
    """The same layer for (T, B, I) input, which a padded PackedSequence is."""
    return layer.copy_with(batch_first=False) if layer.batch_first else layer


class _Held:
    """A tape that lives as long as a tensor does: autograd frees what is saved for backward when
    backward is over, but not what else the graph's node refers to."""

    def __init__(self, tape):
        self.tape, self._memory = tape, np.zeros(1, np.float32)
        self.__array_interface__ = self._memory.__array_interface__


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx, layer, lengths, dropout, seed, parts, *inputs):
        """parts: how many of the inputs x, state, weights are the state's; 0 if it is not given."""
        ctx.parts = parts
        ctx.layer, ctx.threads = layer, torch.get_num_threads()
        ctx.lengths, ctx.dropout, ctx.seed = lengths, dropout, seed
        y, state, tape = _forward(ctx, *inputs[: 1 + parts])
        held = _Held(tape)
        ctx.held = weakref.ref(held)
        ctx.save_for_backward(torch.from_numpy(np.asarray(held)), *inputs)
        ctx.set_materialize_grads(False)
        return tuple(map(torch.from_numpy, (y, *layer.state_parts(state))))

    @staticmethod
    def backward(ctx, dy, *dstate):
        wanted = ctx.needs_input_grad[5:]
        _memory, *saved = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            return _differentiable(ctx, saved, (dy, *dstate), wanted)
        held = ctx.held()
        if held is not None:
            tape = held.tape
        else:  # hooks on saved tensors have put something else in its place
            tape = _forward(ctx, *saved[: 1 + ctx.parts])[2]
        dy, *dstate = (None if d is None else _numpy(d) for d in (dy, *dstate))
        layer = ctx.layer
        dstate = layer.state_from_parts(dstate)
        grads = training.backward(layer, tape, dy, dstate, wanted[0], ctx.threads)
        state = layer.state_parts(grads.state)[: ctx.parts]
        found = (grads.x, *state, *grads.params.values())
        found = (torch.from_numpy(g) if w else None for g, w in zip(found, wanted, strict=True))
        return None, None, None, None, None, *found


def _forward(ctx, x, *state):
    state = ctx.layer.state_from_parts([_numpy(s) for s in state]) if state else None
    return training.forward(
        ctx.layer, _numpy(x), state, ctx.lengths, ctx.seed, ctx.threads, ctx.dropout
    )


def _differentiable(ctx, saved, upstream, wanted):
    """The gradients as functions of all they depend on, by PyTorch."""
    _warn("backward(create_graph=True)")
    layer, x, given = ctx.layer, saved[0], saved[1 : 1 + ctx.parts]
    weights = saved[1 + ctx.parts :]
    if ctx.dropout:
        raise RuntimeError(
            f"fastlstm.torch.{layer.kind}: gradients of gradients through dropout are not "
            f"supported; use torch.nn.{layer.kind}, or .eval()"
        )
    axis = 0 if layer.batch_first else 1
    batched = x.dim() == 3
    xb = x if batched else x.unsqueeze(axis)
    state = [s if batched else s.unsqueeze(1) for s in given]
    if not state:
        state = [x.new_zeros(shape) for shape in layer.state_shapes(xb.shape[axis])]
    state = layer.state_from_parts(state)
    options = (layer.bias, layer.num_layers, 0.0, False, layer.bidirectional)
    run = getattr(_VF, layer.cell)
    with torch.backends.mkldnn.flags(enabled=False):  # its kernels have no second derivative
        if ctx.lengths is None:
            y, *state = run(xb, state, weights, *options, layer.batch_first)
        else:
            packed = pack_padded_sequence(xb, torch.from_numpy(ctx.lengths))
            y, *state = run(packed.data, packed.batch_sizes, state, weights, *options)
            y, _ = pad_packed_sequence(PackedSequence(y, packed.batch_sizes))
        if not batched:
            y, *state = y.squeeze(axis), *(s.squeeze(1) for s in state)
        pairs = [(o, u) for o, u in zip((y, *state), upstream, strict=True) if u is not None]
        inputs = [x, *given, *weights]
        asked = [t for t, w in zip(inputs, wanted, strict=True) if w]
        found = torch.autograd.grad(
            [o for o, _ in pairs], asked, [u for _, u in pairs], create_graph=True,
            allow_unused=True,
        )  # fmt: skip
    found = iter(found)
    return None, None, None, None, None, *(next(found) if w else None for w in wanted)


_CLASSES = {torch.nn.LSTM: LSTM, torch.nn.GRU: GRU, torch.nn.RNN: RNN}


def accelerate(model: torch.nn.Module) -> int:
    """Make every torch.nn.LSTM, GRU and RNN in `model` (itself included) one of this module, in
    place, and return how many there were. Parameters, hooks and state_dict stay as they are;
    subclasses of them are left alone, since they may do something else in forward. TypeError if
    `model` is no torch.nn.Module."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    found = [m for m in model.modules() if type(m) in _CLASSES]
    for module in found:
        module.__class__ = _CLASSES[type(module)]
    return len(found)
