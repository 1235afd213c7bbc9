# SPDX-License-Identifier: MIT
"""forward_train(checkpoint=k): the gates of k steps at a time, had again by a second forward.

A one-directional stack goes through time in segments of k steps. Kept are x and every layer's state
at each segment's start. Backward takes the segments from the last to the first: forward again, with
a tape of the segment alone, then back through it with the gradients of its final state.

With two directions a stack cannot be cut in time, since every layer needs all of the one below. But
each layer and direction is a one-directional stack by itself, of one layer, which reads its input
forwards or turned around; kept are the layers' inputs besides. So it is with a reverse direction.

Arrays in here are time-first, (T, B, n).
"""

import math

import numpy as np

from ..engine import arguments
from ..engine import backend as _core


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
    """One one-directional stack over a whole sequence: what it takes to go through it again."""

    def __init__(self, lengths, k, rate, seed):
        self.lengths, self.k, self.rate, self.seed = lengths, k, rate, seed
        self.starts = []  # the state at each segment's start; None: zeros

    def parts(self, steps):
        """(slice of time, lengths within it) of each segment."""
        for first in range(0, steps, self.k):
            n = min(self.k, steps - first)
            within = None if self.lengths is None else np.clip(self.lengths - first, 0, n)
            yield slice(first, first + n), within

    def train(self, net, x, cut, within, state, threads):
        return _core.forward_train(
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

    def backward(self, net, turned, x, dy, dstate, dx, grads, threads):
        """Gradients of the initial state; those of the input to dx unless None, of the weights to
        grads, a list as _core.backward's."""
        spare = [[None if a is None else np.empty_like(a) for a in lane] for lane in grads]
        into = grads
        for (cut, within), state in reversed(
            list(zip(self.parts(len(x)), self.starts, strict=True))
        ):
            tape = self.train(net, x, cut, within, state, threads)[-1]
            part, dstate = _core.backward(
                turned, tape, None if dy is None else dy[cut], dstate, dx is not None, True, into,
                threads,
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


class Kept:
    """In a Tape's place: what one forward_train(checkpoint=k) keeps."""

    def __init__(self, lstm, net, x, lengths, k, rate, seed):
        self.net, self.lengths, self.rate, self.seed = net, lengths, rate, seed
        self.reverse = lstm.reverse
        self.apart = lstm.bidirectional or lstm.reverse  # layers and directions, one by one
        own = 0.0 if self.apart else rate
        self.stacks = [
            [Stack(lengths, k, own, seed) for _ in range(lstm.num_directions)]
            for _ in range(lstm.num_layers if self.apart else 1)
        ]  # [what is gone through one by one][direction]
        self.inputs = [x]

    @property
    def nbytes(self):
        stacks = (stack for layer in self.stacks for stack in layer)
        arrays = [a for stack in stacks for state in stack.starts for a in state or ()]
        arrays += self.inputs if self.lengths is None else [*self.inputs, self.lengths]
        return sum(a.nbytes for a in arrays)

    def lane(self, lstm, i, d):
        """A layer and its Net for direction d of layer i, and its part of the states' first axis;
        or the whole stack."""
        if not self.apart:
            return lstm, self.net, slice(None)
        end = f"_l{i}" + ("", "_reverse")[d]
        one = type(lstm).__new__(type(lstm))
        one.__dict__.update(lstm.__dict__, num_layers=1, bidirectional=False, reverse=False)
        one.input_size = self.inputs[i].shape[2]
        one.activations = lstm.activations and lstm.activations[d : d + 1]
        weights = self.net.weights.items()
        one._set({n.removesuffix(end) + "_l0": w for n, w in weights if n.endswith(end)})
        at = i * lstm.num_directions + d
        return one, one._net, slice(at, at + 1)

    def seen(self, array, d):
        """What direction d reads or wrote, in the order of time."""
        return turned_around(array, self.lengths) if d or self.reverse else array

    def forward(self, lstm, state, y, threads):
        """The final state's arrays; outputs to y."""
        if state is not None:  # the caller may write to his
            state = tuple(s.copy() for s in state)
        finals, width = [], lstm.proj_size or lstm.hidden_size
        for i, stacks in enumerate(self.stacks):
            x, top = self.inputs[i], i + 1 == len(self.stacks)
            out = y if top else np.empty(y.shape, np.float32)
            for d, stack in enumerate(stacks):
                _, net, own = self.lane(lstm, i, d)
                start = None if state is None else tuple(s[own] for s in state)
                mine = out[..., d * width : (d + 1) * width]
                back = d or self.reverse
                part = np.empty(mine.shape, np.float32) if back else mine
                finals.append(stack.forward(net, self.seen(x, d), start, part, threads))
                if back:
                    mine[...] = self.seen(part, d)
            if not top:
                if self.rate:
                    _core.drop(out, self.rate, self.seed, i)
                self.inputs.append(out)
        return tuple(np.concatenate(parts) for parts in zip(*finals, strict=True))

    def backward(self, lstm, turn, dy, dstate, input_grad, grads, threads):
        """dx and gradients of the initial state as _core.backward's; turn(lstm, net) makes a net's
        BackwardWeights."""
        dstates = []
        for i, stacks in reversed(list(enumerate(self.stacks))):
            x, dx = self.inputs[i], None
            for d, stack in reversed(list(enumerate(stacks))):
                one, net, own = self.lane(lstm, i, d)
                width = one.output_size
                part = dy if dy is None else self.seen(dy[..., d * width : (d + 1) * width], d)
                into = np.empty_like(x) if i or input_grad else None
                end = tuple(None if a is None else a[own] for a in dstate)
                to = grads[own] if self.apart else grads
                args = net, turn(one, net), self.seen(x, d), part, end, into, to, threads
                dstates.append(stack.backward(*args))
                if into is not None:
                    into = self.seen(into, d)
                    dx = into if dx is None else np.add(into, dx, out=dx)
            if i and self.rate:
                dx = np.ascontiguousarray(dx)
                _core.drop(dx, self.rate, self.seed, i - 1)
            dy = dx
        return dx, [np.concatenate(parts) for parts in zip(*reversed(dstates), strict=True)]
