# SPDX-License-Identifier: MIT
"""One call of a layer whose gradients autograd asks for: forward_train, then backward.

What backward is asked for in a way that the engine does not know (create_graph=True, vmap) PyTorch
computes, from the inputs and weights that were saved.
"""

import weakref

import numpy as np
import torch
from torch import _VF
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .. import training
from ..config import MOST_THREADS
from .why_not import of_modes, of_tensors, warn


def array_of(t):
    """A tensor's memory as an array."""
    if t.requires_grad or t.is_neg():
        t = t.detach().resolve_neg()
    return t.numpy()


def num_threads():
    """torch's number of threads, or the most that the engine takes."""
    n = torch.get_num_threads()
    return n if n < MOST_THREADS else MOST_THREADS


class _Held:
    """A tape that lives as long as a tensor does: autograd frees what is saved for backward when
    backward is over, but not what else the graph's node refers to."""

    def __init__(self, tape):
        self.tape, self._memory = tape, np.zeros(1, np.float32)
        self.__array_interface__ = self._memory.__array_interface__


class _Run(torch.autograd.Function):
    """(y, *the final state's parts) of a layer."""

    @staticmethod
    def forward(ctx, layer, lengths, dropout, seed, parts, *inputs):
        """inputs: x, the parts of the state, which are `parts` many, 0 if it is not given, and the
        weights."""
        ctx.parts, ctx.layer, ctx.threads = parts, layer, num_threads()
        ctx.lengths, ctx.dropout, ctx.seed = lengths, dropout, seed
        y, state, tape = _forward(ctx, *inputs[: 1 + parts])
        held = _Held(tape)
        ctx.held = weakref.ref(held)
        ctx.set_materialize_grads(False)
        outputs = tuple(map(torch.from_numpy, (y, *layer.state_parts(state))))
        # The tape has outputs of its own. But one-directional nn.LSTM needs y in backward and
        # refuses if it was changed in place; so that what trains here trains there, y is saved too.
        kept = outputs[:1] if _needs_y(ctx) else ()
        ctx.outputs = len(kept)
        ctx.save_for_backward(torch.from_numpy(np.asarray(held)), *kept, *inputs)
        return outputs

    @staticmethod
    def backward(ctx, *upstream):
        wanted = ctx.needs_input_grad[5:]
        _memory, *saved = ctx.saved_tensors
        saved = saved[ctx.outputs :]
        if torch.is_grad_enabled():
            reason = "backward(create_graph=True)"
        else:
            reason = of_modes() or of_tensors([d for d in upstream if d is not None])
        if reason is not None:
            return *(None,) * 5, *_by_torch(ctx, saved, upstream, wanted, reason)
        held = ctx.held()
        if held is not None:
            tape = held.tape
        else:  # hooks on saved tensors have put something else in its place
            tape = _forward(ctx, *saved[: 1 + ctx.parts])[2]
        layer = ctx.layer
        given = [None if d is None else array_of(d) for d in upstream]
        dstate = layer.state_from_parts(given[1:])
        grads = training.backward(layer, tape, given[0], dstate, wanted[0], ctx.threads)
        found = [grads.x, *layer.state_parts(grads.state)[: ctx.parts]]
        found = zip((*found, *grads.params.values()), wanted, strict=True)
        return *(None,) * 5, *(torch.from_numpy(d) if w else None for d, w in found)


def _forward(ctx, x, *state):
    x, *state = map(array_of, (x, *state))
    state = ctx.layer.state_from_parts(state) if state else None
    return training.forward(ctx.layer, x, state, ctx.lengths, ctx.seed, ctx.threads, ctx.dropout)


def _needs_y(ctx):
    """Does PyTorch keep y for backward? oneDNN's kernels do, which take what this says."""
    layer = ctx.layer
    return ctx.lengths is None and layer.has_c and not layer.bidirectional and not layer.proj_size


def _by_torch(ctx, saved, upstream, wanted, reason):
    """The gradients of what was saved, x, state and weights, by PyTorch: as functions of all they
    depend on if grad is enabled."""
    warn(reason)
    layer, create_graph = ctx.layer, torch.is_grad_enabled()
    if ctx.dropout:
        what = "gradients of gradients" if create_graph else "batches of gradients"
        raise RuntimeError(
            f"fastlstm.torch.{layer.kind}: {what} through dropout are not supported; use "
            f"torch.nn.{layer.kind}, or .eval()"
        )
    # oneDNN's kernels have no second derivative.
    with torch.enable_grad(), torch.backends.mkldnn.flags(enabled=False):
        # Gradients of views end there; those of the tensors themselves would go on into each
        # other where x or the state come from the same weights.
        views = [t.view_as(t) for t in saved]
        given, weights = views[1 : 1 + ctx.parts], views[1 + ctx.parts :]
        outputs = _outputs(layer, views[0], given, weights, ctx.lengths)
        pairs = [(o, u) for o, u in zip(outputs, upstream, strict=True) if u is not None]
        asked = [t for t, w in zip(views, wanted, strict=True) if w]
        found = torch.autograd.grad(
            [o for o, _ in pairs], asked, [u for _, u in pairs], create_graph=create_graph,
            allow_unused=True,
        )  # fmt: skip
    found = iter(found)
    return [next(found) if w else None for w in wanted]


def _outputs(layer, x, given, weights, lengths):
    """y and the final state's parts, by PyTorch's functions; given: the initial state's, or ()."""
    axis = 0 if layer.batch_first else 1
    batched = x.dim() == 3
    xb = x if batched else x.unsqueeze(axis)
    state = [s if batched else s.unsqueeze(1) for s in given]
    if not state:
        state = [x.new_zeros(shape) for shape in layer.state_shapes(xb.shape[axis])]
    state = layer.state_from_parts(state)
    options = (layer.bias, layer.num_layers, 0.0, False, layer.bidirectional)
    run = getattr(_VF, layer.cell)
    if lengths is None:
        y, *state = run(xb, state, weights, *options, layer.batch_first)
    else:
        packed = pack_padded_sequence(xb, torch.from_numpy(lengths))
        y, *state = run(packed.data, packed.batch_sizes, state, weights, *options)
        y, _ = pad_packed_sequence(PackedSequence(y, packed.batch_sizes))
    return (y, *state) if batched else (y.squeeze(axis), *(s.squeeze(1) for s in state))
