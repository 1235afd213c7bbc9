# SPDX-License-Identifier: MIT
"""What LSTM, GRU and RNN share. No arithmetic: arguments, weights by name, one call."""

import math
import warnings
import weakref
from typing import ClassVar

import numpy as np

from .. import training
from ..config import check_isa, check_num_threads
from ..engine import arguments, backend
from ..files.weight_shapes import weight_shapes
from ..training.merge import merged
from . import weights
from .stream import Stream
from .variants import Variants, flag
from .weights import PackedWeights, as_dtype, checked_dtype, checked_inputs, updated


class Recurrent(Variants):
    """A recurrent network. A class for a cell sets

    kind            its name in torch and in messages: "LSTM", "GRU" or "RNN"
    has_c           is its state (h, c), or h alone?
    cell_arguments  {argument: default} of those that torch's other modules do not have
    variant_arguments   the same, of those that none of torch's modules has (variants.py)
    and the property `cell`, the name of its cell in the engine's CELLS.

    packed   the PackedWeights (weights.py) that calls use. For this package's own use, as are the
             methods that say so
    """

    cell_arguments: ClassVar = {}
    has_c = False
    proj_size = 0

    def _configure(
        self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
        bidirectional=False, proj_size=0, isa=None, num_threads=None, **others,
    ):  # fmt: skip
        """Check all arguments of the class and take them; others: those of the cell and variant."""
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
        self.precision = weights.layer_precision(others)
        self.isa = check_isa(isa)
        self.num_threads = check_num_threads(num_threads)
        for name, default in self.cell_arguments.items():
            setattr(self, name, others.pop(name, default))
        self._check_cell_arguments()
        self._set_variant(others)

    def _check_cell_arguments(self):
        """Refuse wrong values of the attributes that `cell_arguments` names."""

    @classmethod
    def without_weights(cls, **arguments):
        """An object with the constructor's arguments, checked as there, that cannot run before
        `take_weights`. For this package's own use."""
        made = cls.__new__(cls)
        made._configure(**arguments)
        return made

    @property
    def num_directions(self):
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self):
        """Features of each step of the output: D K, K = P with a projection, else H; K if the
        directions are merged into one."""
        return self.concat_size if self.merge == "concat" else self.concat_size // 2

    @property
    def concat_size(self):
        """Features of each step of what the engine gives, D K: the directions side by side. For
        this package's own use."""
        return self.num_directions * (self.proj_size or self.hidden_size)

    @property
    def dtype(self):
        """Of the weight matrices, in memory and in files: "float32", "float16", "bfloat16" or
        "int8", see `quantize`. Biases, states, inputs and outputs are float32."""
        return self.packed.dtype

    def __repr__(self):
        text = f"{self.kind}({self.input_size}, {self.hidden_size}"
        for name, default in {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "proj_size": 0,
            **self.cell_arguments,
            **self.variant_arguments,
            "dtype": "float32",
            "precision": "float32",
            "inputs": "int16",
        }.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)!r}"
        return text + f", isa={self.isa!r})"

    # ---- weights ----

    def weight_shapes(self):
        """{name: shape} of the weights, in torch's order. For this package's own use."""
        return weight_shapes(self)

    def _random(self):
        rng = np.random.default_rng()
        bound = 1 / math.sqrt(self.hidden_size)
        weights = {}
        for name, shape in self.weight_shapes().items():
            weights[name] = array = rng.random(shape, dtype=np.float32)
            array *= 2 * bound
            array -= bound
        return weights

    def take_weights(self, arrays):
        """Pack `arrays`, {torch's name: array}, as weights.as_dtype makes them, and keep them:
        calls already running keep the old ones. For this package's own use."""
        self.packed = PackedWeights(self, arrays)

    def copy_with(self, **attributes):
        """A layer like this one, which shares the packed weights, with other `attributes`, which
        are not checked. For this package's own use."""
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__, **attributes)
        return made

    def one_track(self, packed, layer, direction):
        """A layer of one layer and direction that reads forwards, with the weights that `packed`
        has of that track of this one. For this package's own use."""
        end = f"_l{layer}" + ("", "_reverse")[direction]
        arrays = packed.arrays.items()
        arrays = {name.removesuffix(end) + "_l0": a for name, a in arrays if name.endswith(end)}
        one = self.copy_with(
            num_layers=1, bidirectional=False, reverse=False, merge="concat",
            input_size=arrays["weight_ih_l0"].shape[1],
            activations=self.activations and self.activations[direction : direction + 1],
        )  # fmt: skip
        one.take_weights(arrays)
        return one

    def state_dict(self):
        """{name: float32 array}, copies, under torch's names and in torch's order: the numbers that
        calls use, also where they are kept in 16 bits. Of int8 weights, with a UserWarning, what
        their codes stand for."""
        if self.dtype == "int8":
            warnings.warn(
                f"state_dict of an int8 {self.kind}: its weights are code * scale, not those that "
                "it was made of",
                stacklevel=2,
            )
        return {name: array.astype(np.float32) for name, array in self.packed.arrays.items()}

    def load_state_dict(self, state_dict, strict=True):
        """Take the weights in `state_dict`, {name: array} under torch's names; arrays or tensors.

        Returns (missing, unexpected), lists of names, empty when strict. Raises ValueError with
        torch's text when a shape differs, or when strict and the names differ; then nothing has
        changed. TypeError if the layer is not float32.
        """
        self._check_float32("load_state_dict", "load into a float32 layer, then quantize that")
        arrays, missing, unexpected = updated(
            self.kind, self.weight_shapes(), self.packed.arrays, state_dict, strict
        )
        self.take_weights(arrays)
        return missing, unexpected

    def _check_float32(self, method, way_out):
        if self.dtype != "float32":
            raise TypeError(
                f"{method}: this {self.kind} is {self.dtype}, which is for inference alone: "
                f"{way_out}"
            )

    _original = None  # a weak reference to the layer that `quantize` made this one of
    precision, inputs = "float32", "int16"  # of products; of int8 weights: a first layer's codes

    def quantize(self, dtype, inputs="int16"):
        """A new layer, otherwise like this one, whose weight matrices are rounded to `dtype`.

        "float16"   weight_ih, weight_hh and weight_hr take half the memory and half the file; each
                    is rounded to the nearest float16, biases and peepholes stay float32, and so
                    does the arithmetic: the bits of every output are those of a float32 layer with
                    the rounded matrices. For inference: it has no forward_train, backward and
                    load_state_dict
        "int8"      they become codes of 8 bits with a scale for each row, and so do x (16 bits, or
                    8 with inputs="int8") and h, row by row, as they are read: a quarter of the
                    memory, sums of integers, which are exact, and outputs that differ from
                    float32's by some 1e-3 (`error` says how far on your data). The bits are the
                    same on every instruction set. For inference, as float16
        "bfloat16"  they are rounded to bfloat16, and so are x and h as they are read; sums, gates
                    and c are float32. Half the memory; outputs differ from float32's by some 1e-3.
                    Each has the same bits on every instruction set, and whatever the batch and the
                    cuts of time: sums are added in the order of AMX's instruction. An x or h beyond
                    3.3962e38 becomes infinite, below 2^-56 zero. For inference, as float16
        "float32"   the same numbers in float32, which train again. For all others the new layer's
                    `precision` is "float32"

        ValueError, which names the weight, if a finite one is 65520 or more in magnitude, beyond
        float16, or beyond bfloat16's 3.3962e38, or if one is not finite and is to become int8;
        ValueError or TypeError for another dtype or inputs.
        """
        dtype, inputs = checked_dtype(dtype), checked_inputs(inputs)
        inputs = inputs if dtype == "int8" else type(self).inputs
        precision = self.precision if dtype == "float32" else type(self).precision
        made = self.copy_with(inputs=inputs, precision=precision, _original=weakref.ref(self))
        arrays = self.packed.arrays.items()
        made.take_weights({name: as_dtype(name, a, dtype, keep=True) for name, a in arrays})
        return made

    def error(self, x, state=None, *, reference=None):
        """How far the outputs of this layer, made by `quantize`, are from those of the layer that
        it was made of: .max, .rms, and .where the largest difference is, as an index of y.

        x, state    as in a call: your own data
        reference   the layer to compare with; None: the one that `quantize` was called on, if it
                    still exists (it is not kept alive: ValueError if it is gone)
        """
        from .error import error

        if reference is None:
            reference = self._original() if self._original else None
            if reference is None:
                raise ValueError(
                    f"the layer that this {self.kind} was quantized from is gone; pass it as "
                    "reference"
                )
        return error(self, x, state, reference)

    @classmethod
    def from_state_dict(
        cls, state_dict, prefix="", batch_first=False, *, isa=None, num_threads=None, **arguments
    ):
        """A layer made for the weights in `state_dict` whose names start with `prefix` ("encoder."
        or "encoder"): sizes, layers, directions, bias and projection are read off their shapes,
        peepholes are found by their names; what is not in them may be given: a GRU's reset_after,
        an RNN's nonlinearity, activations, clip, input_forget, reverse; dropout; precision. Names
        without the prefix are left alone. ValueError if they make up no layer of this class."""
        from .build import from_state_dict

        arguments |= {"batch_first": batch_first, "isa": isa, "num_threads": num_threads}
        return from_state_dict(cls, state_dict, prefix, arguments)

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
        state = {k: v for k, v in self.__dict__.items() if k not in ("packed", "_original")}
        return state | {"_weights": self.packed.arrays}

    def __setstate__(self, state):
        self.__dict__.update({k: v for k, v in state.items() if k != "_weights"})
        if self.isa not in {name for name, _, runs in backend.isas() if runs}:
            self.isa = check_isa(None)  # made on another machine
        self.take_weights(state["_weights"])

    # ---- running ----

    def __call__(
        self, x, state=None, *, lengths=None, out=None, return_sequences=True, num_threads=None,
        hx=None,
    ):  # fmt: skip
        """y, (h, c) for a whole sequence; of a GRU or RNN y, h.

        x        (T, B, I), (B, T, I) with batch_first, or unbatched (T, I); any real dtype
        state    (h0, c0): (L D, B, K) and (L D, B, H), K = P or H, without the B axis if x is
                 unbatched; of a GRU or RNN h0; None: zeros
        hx       torch's name for `state`; one of the two
        lengths  (B,) integers, 0..T, in any order: row b is x's first lengths[b] steps
        out      float32 array for y, unit stride in the last axis, apart from all inputs
        num_threads        for this call
        return_sequences   False: y is only the final h of the last layer, its directions side by
                 side, (B, D K), or merged as the layer says, (B, K), and memory does not grow with
                 T in one-directional stacks

        y is float32, (T, B, D K) in x's layout, (T, B, K) if merged, 0 past a row's length;
        h (L D, B, K) and c (L D, B, H) are the states after each row's last step. Raises ValueError
        or TypeError that names both shapes, MemoryError, KeyboardInterrupt; never a partial result.
        """
        threads = self.num_threads or 0
        if num_threads is not None:
            threads = check_num_threads(num_threads)
        if hx is not None:
            state = _one_of(state, hx)
        plain = self.output_order == "time" and self.merge == "concat"
        if lengths is None and self._start is None and plain:
            done = self.packed.net.forward(
                x, state, out, None, return_sequences, self.batch_first, threads
            )
            if done is not None:
                return done
        return self._call(x, state, lengths, out, bool(return_sequences), threads)

    def state_shapes(self, batch):
        """Of the state's arrays: (L D, batch, K) of h and, where there is a c, (L D, batch, H). For
        this package's own use, as the next two."""
        tracks = self.num_layers * self.num_directions
        shapes = [(tracks, batch, self.proj_size or self.hidden_size)]
        return tuple(shapes + [(tracks, batch, self.hidden_size)] * self.has_c)

    def state_from_parts(self, parts):
        """The state as callers have it, (h, c) or h, of its arrays."""
        return tuple(parts) if self.has_c else parts[0]

    def state_parts(self, state):
        """A tuple of the arrays of a state as `state_from_parts` makes it; () of None."""
        return () if state is None else state if self.has_c else (state,)

    def _call(self, x, state, lengths, out, sequences, threads):
        x, batched, steps, batch = arguments.sequence(self, x)
        shapes = self.state_shapes(batch)
        parts = self.start_state(arguments.states(state, shapes, batched), batch)
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
            return y, self.state_from_parts([np.zeros(s, np.float32) for s in shapes])
        state = None if parts is None else self.state_from_parts(parts)
        wide = y if self.merge == "concat" else None  # else the engine's own array, then merged
        done = self.packed.net.forward(
            x, state, wide, lengths, sequences, self.batch_first, threads
        )
        if done is None:
            raise ValueError(
                f"input of shape {x.shape} with strides {x.strides} and out of shape {shape} "
                "cannot be used together"
            )
        both, state = done
        y = both if self.merge == "concat" else merged(self.merge, both, y)
        if sequences:
            self.reorder(y, lengths)
        if not batched:
            y = y[0] if self.batch_first or not sequences else y[:, 0]
            state = self.state_from_parts([s[:, 0] for s in self.state_parts(state)])
        return (y if out is None else out), state

    def forward_train(
        self, x, state=None, *, lengths=None, seed=None, checkpoint=None, num_threads=None, hx=None
    ):
        """y, (h, c), tape (of a GRU or RNN y, h, tape): a call whose gradients can be had from
        `backward`.

        x, state or hx, lengths, num_threads and the results are as in a call, to the same bits.
        With `dropout` and more than one layer, each output of a layer is zeroed with that
        probability on its way to the next and the others are divided by 1 - dropout; the masks
        follow from `seed`, an int in 0..2**64-1 (None: a random one), whatever the number of
        threads.

        checkpoint   k, an int: the tape keeps x and the states after every k-th step alone, and
            `backward` runs each k steps forward once more: about k / T of the memory for one more
            forward call. y and the states have the same bits; gradients differ by rounding, by some
            1e-6 of their largest element (x3: 1e-5), as sums over time are cut at each k-th step.
            True: about sqrt(T) steps. k times the batch should be some hundreds of rows, or the
            gradients of the weights take longer to add up

        The tape keeps copies, `tape.nbytes` bytes in all (see Tape): x, the states and y may be
        changed in place before `backward`. Raises as a call does.
        """
        weights.check_trains(self, "forward_train")
        threads = self._threads(num_threads)
        state = state if hx is None else _one_of(state, hx)
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
        weights.check_trains(self, "backward")
        return training.backward(
            self, tape, dy, dstate, bool(input_grad), self._threads(num_threads)
        )

    def stream(self, batch_size=1):
        """A Stream: `batch_size` rows whose state stays between calls. ValueError if bidirectional
        or reverse, since that direction starts at an end that a stream does not have."""
        return Stream(self, batch_size)

    def pool(self, capacity, **options):
        """A fastlstm.Pool of at most `capacity` streams, which come and go and of which any may
        step together; options as Pool says. A frame is one step (I,), its output (K,), a state
        (L, K) and (L, H). ValueError as for a stream."""
        from ..pool import Pool
        from .rows import LayerRows

        capacity = arguments.size("capacity", capacity)
        return Pool(LayerRows(self, capacity), capacity, **options)


def _one_of(state, hx):
    """The state that a call was given as `hx`."""
    if state is not None:
        raise TypeError("state and hx are two names of one argument: give one of them")
    return hx
