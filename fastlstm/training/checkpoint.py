# SPDX-License-Identifier: MIT
"""forward_train(checkpoint=k): memory for the gates of k steps at a time, by a second forward.

A one-directional stack goes through time in segments of k steps. Forward keeps x and every layer's
state at each segment's start. Backward takes the segments from the last to the first: it runs the
segment forward again, with a tape of the segment alone, then back through it with the gradients of
its final state.

A stack of two directions cannot be cut in time, since every layer needs all outputs of the one
below. But each track, a layer in one direction, can: it is a one-directional stack of one layer,
which reads its input forwards or turned around. Then the inputs of all layers are kept too. A layer
with a reverse direction alone is treated in the same way.

Arrays in here are time-first, (T, B, n).
"""

import math

import numpy as np

from ..engine import arguments, backend


def segment_steps(checkpoint, steps):
    """k of forward_train's checkpoint=, None for a tape of everything."""
    if checkpoint is None or checkpoint is False or checkpoint is np.False_:
        return None
    if checkpoint is True or checkpoint is np.True_:
        return math.isqrt(steps - 1) + 1
    return min(arguments.size("checkpoint", checkpoint), steps)


def turned_around(array, lengths):
    """Each row's first lengths[b] steps in reverse order, what follows them as it is; its own
    inverse. Without lengths a view."""
    if lengths is None:
        return array[::-1]
    t = np.arange(len(array))[:, None]
    return array[np.where(t < lengths, lengths - 1 - t, t), np.arange(len(lengths))]


class Stack:
    """One one-directional stack over a whole sequence, and what it takes to run it again.

    k        steps of a segment
    starts   the state at each segment's start, a tuple of arrays; None: zeros
    """

    def __init__(self, lengths, k, rate, seed):
        self.lengths, self.k, self.rate, self.seed = lengths, k, rate, seed
        self.starts = []

    def parts(self, steps):
        """(slice of time, lengths within it) of each segment."""
        for first in range(0, steps, self.k):
            n = min(self.k, steps - first)
            within = None if self.lengths is None else np.clip(self.lengths - first, 0, n)
            yield slice(first, first + n), within

    def train(self, net, x, cut, within, state, threads):
        return backend.forward_train(
            net, x[cut], state, within, self.rate, self.seed, False, threads, cut.start, len(x)
        )  # fmt: skip

    def forward(self, net, x, state, y, threads):
        """The final state; outputs to y."""
        for cut, within in self.parts(len(x)):
            self.starts.append(state)
            if self.rate:
                y[cut], state, _ = self.train(net, x, cut, within, state, threads)
            else:
                whole = state if net.has_c or state is None else state[0]
                _, state = net.forward(x[cut], whole, y[cut], within, True, False, threads)
                state = state if net.has_c else (state,)
        return state

    def backward(self, packed, x, dy, dstate, dx, grads, threads):
        """Gradients of the initial state; those of the input go to dx unless that is None, those of
        the weights to grads, a list as backend.backward's. packed: the stack's PackedWeights."""
        spare = [[None if a is None else np.empty_like(a) for a in track] for track in grads]
        into = grads
        for (cut, within), state in reversed(
            list(zip(self.parts(len(x)), self.starts, strict=True))
        ):
            tape = self.train(packed.net, x, cut, within, state, threads)[-1]
            part, dstate = backend.backward(
                packed.for_backward(threads), tape, None if dy is None else dy[cut], dstate,
                dx is not None, True, into, threads,
            )  # fmt: skip
            del tape  # before there is another
            if dx is not None:
                dx[cut] = part
            if into is spare:
                for sums, added in zip(grads, spare, strict=True):
                    for a, b in zip(sums, added, strict=True):
                        if a is not None:
                            a += b
            into = spare
        return dstate


class Segments:
    """What one forward_train(checkpoint=k) keeps, where another keeps an engine's Tape.

    by_track   is the stack gone through track by track? Else as a whole
    stacks     [layer][direction] of Stack if by_track, else [[the Stack]]
    inputs     x and, if by_track, the inputs of the layers above the first
    """

    def __init__(self, layer, packed, x, lengths, k, rate, seed):
        self.packed, self.lengths, self.rate, self.seed = packed, lengths, rate, seed
        self.reverse = layer.reverse
        self.by_track = layer.bidirectional or layer.reverse
        within = 0.0 if self.by_track else rate  # dropout between the layers of one Stack
        self.stacks = [
            [Stack(lengths, k, within, seed) for _ in range(layer.num_directions)]
            for _ in range(layer.num_layers if self.by_track else 1)
        ]
        self.inputs = [x]

    @property
    def nbytes(self):
        stacks = (stack for layer in self.stacks for stack in layer)
        arrays = [a for stack in stacks for state in stack.starts for a in state or ()]
        arrays += self.inputs if self.lengths is None else [*self.inputs, self.lengths]
        return sum(a.nbytes for a in arrays)

    def stack_of(self, layer, i, d):
        """(a layer, its PackedWeights, its part of the states' first axis) of self.stacks[i][d]."""
        if not self.by_track:
            return layer, self.packed, slice(None)
        one = layer.one_track(self.packed, i, d)
        at = i * layer.num_directions + d
        return one, one.packed, slice(at, at + 1)

    def in_step_order(self, array, d):
        """`array`, which direction d reads or wrote, between the order of time and the order in
        which that direction takes its steps."""
        return turned_around(array, self.lengths) if d or self.reverse else array

    def forward(self, layer, state, y, threads):
        """The final state's arrays; outputs go to y."""
        if state is not None:  # the caller may write to the given arrays
            state = tuple(s.copy() for s in state)
        finals, width = [], layer.proj_size or layer.hidden_size
        for i, stacks in enumerate(self.stacks):
            x, top = self.inputs[i], i + 1 == len(self.stacks)
            out = y if top else np.empty(y.shape, np.float32)
            for d, stack in enumerate(stacks):
                _, packed, rows = self.stack_of(layer, i, d)
                start = None if state is None else tuple(s[rows] for s in state)
                columns = out[..., d * width : (d + 1) * width]
                back = d or self.reverse
                part = np.empty(columns.shape, np.float32) if back else columns
                steps = self.in_step_order(x, d)
                finals.append(stack.forward(packed.net, steps, start, part, threads))
                if back:
                    columns[...] = self.in_step_order(part, d)
            if not top:
                if self.rate:
                    backend.drop(out, self.rate, self.seed, i)
                self.inputs.append(out)
        return tuple(np.concatenate(parts) for parts in zip(*finals, strict=True))

    def backward(self, layer, dy, dstate, input_grad, grads, threads):
        """dx and gradients of the initial state, as backend.backward's."""
        dstates = []
        for i, stacks in reversed(list(enumerate(self.stacks))):
            x, dx = self.inputs[i], None
            for d, stack in reversed(list(enumerate(stacks))):
                one, packed, rows = self.stack_of(layer, i, d)
                part, width = dy, one.output_size
                if dy is not None:
                    part = self.in_step_order(dy[..., d * width : (d + 1) * width], d)
                into = np.empty_like(x) if i or input_grad else None
                end = tuple(None if a is None else a[rows] for a in dstate)
                to = grads[rows] if self.by_track else grads
                args = packed, self.in_step_order(x, d), part, end, into, to, threads
                dstates.append(stack.backward(*args))
                if into is not None:
                    into = self.in_step_order(into, d)
                    dx = into if dx is None else np.add(into, dx, out=dx)
            if i and self.rate:
                dx = np.ascontiguousarray(dx)
                backend.drop(dx, self.rate, self.seed, i - 1)
            dy = dx
        return dx, [np.concatenate(parts) for parts in zip(*reversed(dstates), strict=True)]
