# SPDX-License-Identifier: MIT
"""What LSTM, GRU and RNN share. No arithmetic: arguments, weights by name, one call."""

import math
from typing import ClassVar

import numpy as np

from .. import training
from ..config import check_isa, check_num_threads
from ..engine import arguments
from ..engine import backend as _core
from .stream import Stream
from .variants import Varied, flag

# What the shapes of its weights tell of a layer.
SIZES = ("input_size", "hidden_size", "num_layers", "proj_size", "bias", "bidirectional")


class Recurrent(Varied):
    """A recurrent network. A class for a cell sets

    kind    its name in torch and in messages
    gates   rows of its weights for each unit
    has_c   is its state (h, c), or h alone?
    own     {argument of its own: default}
    odd     the same, of those that torch's modules do not have (variants.py)
    and `core`, the name of its cell in _core.CELLS.
    """

    own: ClassVar = {}
    # a layer's weights in one direction, in torch's order and the core's
    _kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    has_c = False
    proj_size = 0

    def _init(
        self, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, isa,
        num_threads, proj_size=0, **odd,
    ):  # fmt: skip
        self.input_size = arguments.size("input_size", input_size)
        self.hidden_size = arguments.size("hidden_size", hidden_size)
        self.num_layers = arguments.size("num_layers", num_layers, most=10_000)
        if self.has_c:
            self.proj_size = arguments.size("proj_size", proj_size, least=0)
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"proj_size has to be smaller than hidden_size, got {proj_size} and {hidden_size}"
            )
        self.bias, self.batch_first = flag("bias", bias), flag("batch_first", batch_first)
        self.bidirectional = flag("bidirectional", bidirectional)
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float, np.number)):
            raise TypeError(f"dropout must be a number, got {type(dropout).__name__}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout should be a number in range [0, 1], got {dropout}")
        self.dropout = float(dropout)
        self.isa = check_isa(isa)
        self.num_threads = check_num_threads(num_threads)
        self._check_odd(odd)
        self._set(self._random())

    def _check_own(self):
        """Refuse wrong values of the arguments of `own`."""

    @property
    def num_directions(self):
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self):
        """Features of each step of the output: D P with a projection, else D H."""
        return self.num_directions * (self.proj_size or self.hidden_size)

    def __repr__(self):
        text = f"{self.kind}({self.input_size}, {self.hidden_size}"
        for name, default in {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "proj_size": 0,
            **self.own,
            **self.odd,
        }.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)!r}"
        return text + f", isa={self.isa!r})"

    # ---- weights ----

    def _lanes(self):
        """(layer, direction, how the names of its weights end), in torch's order."""
        for layer in range(self.num_layers):
            for direction, reverse in enumerate(("", "_reverse")[: self.num_directions]):
                yield layer, direction, f"_l{layer}{reverse}"

    def _shapes(self):
        """{name: shape} of the weights, in torch's order."""
        gates, width = self.gates * self.hidden_size, self.proj_size or self.hidden_size
        shapes = {}
        for layer, _, end in self._lanes():
            wide = self.num_directions * width if layer else self.input_size
            shapes[f"weight_ih{end}"] = (gates, wide)
            shapes[f"weight_hh{end}"] = (gates, width)
            if self.bias:
                shapes[f"bias_ih{end}"] = shapes[f"bias_hh{end}"] = (gates,)
            if self.proj_size:
                shapes[f"weight_hr{end}"] = (self.proj_size, self.hidden_size)
            if self.peepholes:
                shapes[f"peephole{end}"] = (3 * self.hidden_size,)
        return shapes

    def _random(self):
        rng = np.random.default_rng()
        bound = 1 / math.sqrt(self.hidden_size)
        weights = {}
        for name, shape in self._shapes().items():
            weights[name] = array = rng.random(shape, dtype=np.float32)
            array *= 2 * bound
            array -= bound
        return weights

    def _set(self, weights):
        """Pack `weights`, checked float32 arrays under torch's names, and take them over: calls
        already running keep the old ones."""
        net = _core.Net(
            self.core,
            self.input_size,
            self.hidden_size,
            self.proj_size,
            self.num_layers,
            self.num_directions,
            self.isa,
            variant=self._variant(),
        )
        for layer, direction, end in self._lanes():
            net.set(layer, direction, *(weights.get(each + end) for each in self._kinds))
        net.weights = weights
        self._weights, self._net = weights, net

    def state_dict(self):
        """{name: float32 array}, copies, under torch's names and in torch's order."""
        return {name: array.copy() for name, array in self._weights.items()}

    def load_state_dict(self, state_dict, strict=True):
        """Take the weights in `state_dict`, {name: array} under torch's names; arrays or tensors.

        Returns (missing, unexpected), lists of names, empty when strict. Raises ValueError with
        torch's text when a shape differs, or when strict and the names differ; then nothing has
        changed.
        """
        weights, missing, unexpected = taken(
            self.kind, self._shapes(), self._weights, state_dict, strict
        )
        self._set(weights)
        return missing, unexpected

    @classmethod
    def from_state_dict(
        cls, state_dict, prefix="", batch_first=False, *, isa=None, num_threads=None, **own
    ):
        """A layer made for the weights in `state_dict` whose names start with `prefix` ("encoder."
        or "encoder"): sizes, layers, directions, bias and projection are read off their shapes,
        peepholes are found by their names; what is not in them may be given: a GRU's reset_after,
        an RNN's nonlinearity, activations, clip, input_forget and reverse. Names without
        the prefix are left alone. ValueError if they make up no layer of this class."""
        from ..files.find import find

        if not hasattr(state_dict, "items"):
            raise TypeError(
                f"Expected state_dict to be dict-like, got {type(state_dict).__name__}."
            )
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, got {type(prefix).__name__}")
        for name in own:
            if name not in cls.own and name not in cls.odd:
                raise TypeError(f"{cls.kind}.from_state_dict has no argument {name!r}")
        named = [(k, v) for k, v in state_dict.items() if isinstance(k, str)]
        if (
            prefix
            and not prefix.endswith(".")
            and not any(k.startswith(f"{prefix}weight_ih_l0") for k, _ in named)
        ):
            prefix += "."
        found = {}
        for name, value in named:
            if name.startswith(prefix) and "." not in name[len(prefix) :]:
                end = name[len(prefix) :]
                if end.startswith(("weight_", "bias_", "peephole_")):
                    found[end] = arguments.real(name, value)
        peepholes = {k: v for k, v in found.items() if k.startswith("peephole_")}
        layer = find({k: v for k, v in found.items() if k not in peepholes}).get("")
        if layer is None:
            others = {k[: k.rindex("weight_ih_l0")] for k, _ in named if "weight_ih_l0" in k}
            raise ValueError(
                f"no weight_ih_l0 under the prefix {prefix!r}; it is there under: "
                f"{_quoted(sorted(others)[:20]) or 'none'}"
            )
        if layer.problem or layer.kind != cls.kind:
            raise ValueError(f"under the prefix {prefix!r}: {layer.problem or f'a {layer.kind}'}")
        if peepholes and "peepholes" in cls.odd:
            own = {"peepholes": True} | own
        return cls._of(
            lambda name, shape: _shaped(name, found[name], shape),
            **{name: getattr(layer, name) for name in SIZES},
            batch_first=flag("batch_first", batch_first),
            isa=check_isa(isa),
            num_threads=check_num_threads(num_threads),
            **own,
        )

    @classmethod
    def _of(cls, weight, **attributes):
        """A layer of given attributes, all checked but those in `own`; weight(name) gives its
        weights."""
        made = cls.__new__(cls)
        odd = {name: attributes.pop(name) for name in cls.odd if name in attributes}
        made.__dict__.update(cls.own, dropout=0.0, **attributes)
        made._check_own()
        made._check_odd(odd)
        try:
            made._set({name: weight(name, shape) for name, shape in made._shapes().items()})
        except KeyError as e:
            raise ValueError(f"{e.args[0]} is missing") from None
        return made

    def save(self, path):
        """Write the layer, weights and configuration, to a file that `fastlstm.load` maps into
        memory, shared between processes. It is a safetensors file, which other libraries read. An
        existing file is replaced, whole or not at all; OSError if it cannot be written."""
        from .save import save

        save(self, path)

    def verify(self, x, y, state=None, *, tolerance=1e-5):
        """Do the outputs for x match y, a reference's? A Verification: true if no element differs
        by more than `tolerance`; .max_error, and .explanation, a sentence which, when they differ,
        names the known mistake in converted weights that would explain it: another order of the
        gates, a transposed matrix, biases missing, halved or added twice, a forget bias of 1,
        another activation. x, y, state: as in a call. ValueError if the shapes do not fit."""
        from .verify import verify

        return verify(self, x, y, state, tolerance=tolerance)

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "_net"}

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.isa not in {name for name, _, runs in _core.isas() if runs}:
            self.isa = check_isa(None)  # made on another machine
        self._set(self._weights)

    # ---- running ----

    def __call__(
        self, x, state=None, *, lengths=None, out=None, return_sequences=True, num_threads=None
    ):
        """y, (h, c) for a whole sequence; of a GRU or RNN y, h.

        x        (T, B, I), (B, T, I) with batch_first, or unbatched (T, I); any real dtype
        state    (h0, c0): (L D, B, K) and (L D, B, H), K = P or H, without the B axis if x is
                 unbatched; of a GRU or RNN h0; None: zeros
        lengths  (B,) integers, 0..T, in any order: row b is x's first lengths[b] steps
        out      float32 array for y, unit stride in the last axis, apart from all inputs
        num_threads        for this call
        return_sequences   False: y is only the final h of the last layer, its directions side by
                 side, (B, D K), and memory does not grow with T in one-directional stacks

        y is float32, (T, B, D K) in x's layout, 0 past a row's length; h (L D, B, K) and c
        (L D, B, H) are the states after each row's last step. Raises ValueError or TypeError that
        names both shapes, MemoryError, KeyboardInterrupt; never a partial result.
        """
        threads = self.num_threads or 0
        if num_threads is not None:
            threads = check_num_threads(num_threads)
        if lengths is None and self._start is None and self.output_order == "time":
            done = self._net.forward(
                x, state, out, None, bool(return_sequences), self.batch_first, threads
            )
            if done is not None:
                return done
        return self._any_call(x, state, lengths, out, bool(return_sequences), threads)

    def _state_shapes(self, batch):
        """Of h, and of c where there is one."""
        lanes = self.num_layers * self.num_directions
        shapes = [(lanes, batch, self.proj_size or self.hidden_size)]
        return tuple(shapes + [(lanes, batch, self.hidden_size)] * self.has_c)

    def _state(self, parts):
        """The state as callers see it, of its arrays."""
        return tuple(parts) if self.has_c else parts[0]

    def _parts(self, state):
        """Its arrays, of a state that `_state` made or a call in C returned; none of None."""
        return () if state is None else state if self.has_c else (state,)

    def _any_call(self, x, state, lengths, out, sequences, threads):
        x, batched, steps, batch = arguments.sequence(self, x)
        shapes = self._state_shapes(batch)
        parts = self._started(arguments.states(state, shapes, batched), batch)
        given, lengths = lengths, arguments.lengths(lengths, steps, batch)
        shape = (*x.shape[:2], self.output_size) if sequences else (batch, self.output_size)
        y = None
        if out is not None:
            axis = (0 if self.batch_first else 1) if sequences else 0
            want = shape if batched else tuple(n for i, n in enumerate(shape) if i != axis)
            arguments.output(out, want, (x, *(parts or ()), given))
            y = out if batched else np.expand_dims(out, axis)
        if batch == 0:
            y = np.zeros(shape, np.float32) if y is None else y
            return y, self._state([np.zeros(s, np.float32) for s in shapes])
        state = None if parts is None else self._state(parts)
        done = self._net.forward(x, state, y, lengths, sequences, self.batch_first, threads)
        if done is None:
            raise ValueError(
                f"input of shape {x.shape} with strides {x.strides} and out of shape {shape} "
                "cannot be used together"
            )
        y, state = done
        if sequences:
            self._reorder(y, lengths)
        if not batched:
            y = y[0] if self.batch_first or not sequences else y[:, 0]
            state = self._state([s[:, 0] for s in self._parts(state)])
        return (y if out is None else out), state

    def forward_train(
        self, x, state=None, *, lengths=None, seed=None, checkpoint=None, num_threads=None
    ):
        """y, (h, c), tape (of a GRU or RNN y, h, tape): a call whose gradients can be had from
        `backward`.

        x, state, lengths, num_threads and the results are as in a call, to the same bits. With
        `dropout` and more than one layer, each output of a layer is zeroed with that probability on
        its way to the next and the others are divided by 1 - dropout; the masks follow from `seed`,
        an int in 0..2**64-1 (None: a random one), whatever the number of threads.

        checkpoint   k, an int: the tape keeps x and the states after every k-th step alone, and
            `backward` runs each k steps forward once more: about k / T of the memory for one more
            forward call. y and the states have the same bits; gradients differ by rounding, by some
            1e-6 of their largest element, since sums over time are cut at every k-th step.
            True: about sqrt(T) steps. k times the batch should be some hundreds of rows, or the
            gradients of the weights take longer to add up

        The tape keeps a copy of x, `tape.nbytes` bytes in all (see Tape). Raises as a call does.
        """
        threads = self._threads(num_threads)
        return training.forward(self, x, state, lengths, seed, threads, every=checkpoint)

    def _threads(self, for_call):
        return (self.num_threads or 0) if for_call is None else check_num_threads(for_call)

    def backward(self, tape, dy=None, dstate=None, *, input_grad=True, num_threads=None):
        """Grads (.x, .state, .params): of a loss whose gradients are dy and dstate = (dh, dc) with
        respect to what `forward_train` returned with `tape`.

        dy       like y, any real dtype; None: zeros. What it holds past a row's length is ignored
        dstate   (dh, dc), like h and c, or None; either may be None: zeros. Of a GRU or RNN dh
        input_grad   False: .x is None, which saves its product

        Every gradient is float32 and has the shape of what it is of; .state is always there. Their
        bits do not depend on num_threads. Gradients below 2**-96 in magnitude count as zero within.
        Raises ValueError for shapes that differ from the tape's and for a tape of other weights,
        TypeError for what is no tape, MemoryError, KeyboardInterrupt.

        Source: backpropagation through time of the class' formulas, Graves and Schmidhuber 2005,
        without truncation.
        """
        return training.backward(
            self, tape, dy, dstate, bool(input_grad), self._threads(num_threads)
        )

    def stream(self, batch_size=1):
        """A Stream: `batch_size` rows whose state stays between calls. ValueError if bidirectional
        or reverse, since that direction starts at an end that a stream does not have."""
        return Stream(self, batch_size)


def taken(kind, shapes, weights, state_dict, strict):
    """load_state_dict for weights of `shapes`, {name: shape}: (new ones, missing, unexpected)."""
    if not hasattr(state_dict, "keys") or not hasattr(state_dict, "__getitem__"):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict).__name__}.")
    names = list(state_dict.keys())
    missing = [name for name in shapes if name not in state_dict]
    unexpected = [name for name in names if name not in shapes]
    problems, weights = [], dict(weights)
    if strict and missing:
        problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}. ")
    if strict and unexpected:
        problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
    for name, shape in shapes.items():
        if name in state_dict:
            array = arguments.real(name, state_dict[name])
            if array.shape != shape:
                problems.append(
                    f"size mismatch for {name}: copying a param with shape "
                    f"{_size(array.shape)} from checkpoint, the shape in current model is "
                    f"{_size(shape)}."
                )
            else:
                weights[name] = arguments.contiguous(array).copy()
    if problems:
        problems += _prefix_hint(kind, shapes, names)
        raise ValueError(f"Error(s) in loading state_dict for {kind}:\n\t" + "\n\t".join(problems))
    return weights, missing, unexpected


def _shaped(name, array, shape):
    if array.shape != shape:
        raise ValueError(f"{name} has the shape {array.shape}, {shape} is due")
    return arguments.contiguous(array).copy()


def _quoted(names):
    return ", ".join(f'"{name}"' for name in names)


def _size(shape):
    return f"torch.Size([{', '.join(map(str, shape))}])"


def _prefix_hint(kind, shapes, names):
    """One line if every weight is there under a prefix; nothing otherwise."""
    for name in names:
        if isinstance(name, str) and name.endswith("weight_ih_l0"):
            prefix = name[: -len("weight_ih_l0")]
            if prefix and all(prefix + n in names for n in shapes):
                return [
                    f"All keys are there under the prefix {prefix!r}: use "
                    f"{kind}.from_state_dict(state_dict, prefix={prefix!r}), or strip it."
                ]
    return []
