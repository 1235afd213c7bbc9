# SPDX-License-Identifier: MIT
"""A layer's weights: arrays under torch's names, packed for the engine, in one of DTYPES."""

import numpy as np

from ..engine import arguments, backend, bfloat16, int8, parts
from ..files.description import DTYPES, LAYER_PRECISIONS, PRECISIONS
from ..files.weight_shapes import tracks

# The parts of a track's weights, in the order in which the engine takes them; not all are there.
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "peephole")
_MATRICES = ("weight_ih", "weight_hh", "weight_hr")
# By precisions: the engine's dtypes of float32 weights whose products are of bfloat16 parts.
_NETS = {"bfloat16": "bfloat16x1", "bfloat16x3": "bfloat16x3", "bfloat16x6": "bfloat16x6"}


class PackedWeights:
    """The weights of one layer, which never change: a layer that is given others gets a new object,
    and calls that are already running keep the old one. Any number of threads may use it.

    arrays   {torch's name: array}, in torch's order. Float32; if the dtype is float16 the matrices
             are float16, if it is int8 they are engine.int8.Codes, if it is bfloat16
             engine.bfloat16.Bfloat16. They may be read-only views of a mapped file
    net      the engine's Net, which holds them once more, packed
    dtype    of the matrices: one of DTYPES
    """

    def __init__(self, layer, arrays):
        """layer: what they are for (its sizes, cell, variant and isa); arrays: contiguous, of the
        right shapes and dtypes; they are kept, not copied."""
        self.arrays, self.dtype = arrays, arrays["weight_ih_l0"].dtype.name
        self._tracks = list(tracks(layer.num_layers, layer.num_directions))
        self._for_backward = None
        dtype = self.dtype
        if parts.layer_in_parts(layer.precision, arrays["weight_hh_l0"].size):
            dtype = _NETS[layer.precision]
        self.net = backend.Net(
            layer.cell, layer.input_size, layer.hidden_size, layer.proj_size, layer.num_layers,
            layer.num_directions, layer.isa, variant=layer.variant,
            dtype=dtype, inputs=layer.inputs,
        )  # fmt: skip
        for number, direction, end in self._tracks:
            given = (self._for_engine(part + end) for part in PARTS)
            self.net.set(number, direction, *given, threads=layer.num_threads or 0)
        self.net.weights = arrays  # the engine compares them in backward

    def _for_engine(self, name):
        array = self.arrays.get(name)
        codes = array is None or isinstance(array, int8.Codes)
        return array if codes else array.astype(np.float32, copy=False)

    def for_backward(self, threads):
        """The engine's BackwardWeights: the matrices once more, packed for backward at the first
        call, on so many threads (0: the default). Two threads that come here together both pack,
        to the same contents."""
        if self._for_backward is None:
            packed = backend.BackwardWeights(self.net)
            for number, direction, end in self._tracks:
                matrices = (self.arrays.get(part + end) for part in _MATRICES)
                packed.set(self.net, number, direction, *matrices, threads=threads)
            self._for_backward = packed
        return self._for_backward

    def gradients(self, made):
        """`made`, {name: array for its gradient}, as the engine takes them: for each track a list
        in the order of PARTS, None where there is none."""
        return [[made.get(part + end) for part in PARTS] for *_, end in self._tracks]


# ---- dtypes


def _checked(what, value, known):
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, got {type(value).__name__}")
    if value not in known:
        raise ValueError(f"{what} {value!r} is not known; there are: {', '.join(known)}")
    return value


def checked_dtype(dtype, known=DTYPES):
    """`dtype` if weights may have it: TypeError or ValueError otherwise."""
    return _checked("dtype", dtype, known)


def checked_precision(precision, known=PRECISIONS):
    """`precision` if products of float32 weights may be made in it: TypeError or ValueError
    otherwise."""
    return _checked("precision", precision, known)


def layer_precision(arguments):
    """A layer's precision, taken out of `arguments`, {name: value}, and checked."""
    return checked_precision(arguments.pop("precision", "float32"), LAYER_PRECISIONS)


def checked_pair(dtype, precision, known=PRECISIONS):
    """A dtype and a precision, each of which may be None, that weights are asked to have: TypeError
    or ValueError if there is no such, or if they do not go together."""
    dtype = None if dtype is None else checked_dtype(dtype)
    precision = None if precision is None else checked_precision(precision, known)
    if precision not in (None, "float32") and dtype not in (None, "float32"):
        raise ValueError(
            f"precision {precision!r} is of float32 weights: dtype {dtype!r} has its own products"
        )
    return dtype, precision


def pair_of(dtype, precision, own_dtype, own_precision):
    """(dtype, precision) of weights that are asked to have these, each of which may be None, and
    have their own in a file. A dtype of their own may be None too, of a model: as its nodes say."""
    if dtype is None and (precision in (None, "float32") or own_dtype is None):
        dtype = own_dtype
    dtype = dtype or (own_dtype and "float32")
    if precision is None:
        precision = own_precision if dtype in (None, "float32") else "float32"
    return dtype, precision


def check_trains(layer, method):
    """TypeError unless `method` of the layer, which is of training, can be called."""
    if layer.dtype != "float32":
        raise TypeError(
            f"{method}: this {layer.kind} is {layer.dtype}, which is for inference alone: "
            "quantize('float32') gives a layer that trains"
        )


def checked_inputs(inputs):
    """`inputs` if an int8 layer's x may become such codes: TypeError or ValueError otherwise."""
    return _checked("inputs", inputs, int8.INPUTS)


def as_dtype(name, array, dtype, keep=False):
    """The weight `array` as a layer of `dtype` keeps it: contiguous, native, matrices of `dtype`,
    all else float32. `name` is torch's, after any prefix.

    keep   True: an array that is like that already is given back, not a copy of it
    ValueError if a finite element of a matrix is too large for float16 or bfloat16, or one that is
    not finite is to become int8.
    """
    matrix = name.rpartition(".")[2].startswith(_MATRICES)
    if isinstance(array, int8.Codes | bfloat16.Bfloat16):
        if dtype == ("int8" if isinstance(array, int8.Codes) else "bfloat16") and matrix:
            return array
        array = array.astype(np.float32)
    if dtype in ("int8", "bfloat16") and matrix:
        kind = int8 if dtype == "int8" else bfloat16
        return kind.quantized(name, arguments.contiguous(array))
    if dtype == "float16" and matrix:
        made = array
        if array.dtype != np.float16 or not array.dtype.isnative:
            made = _float16(name, arguments.rows(array))
        made = np.ascontiguousarray(made)
        made = made if made.flags.aligned else made.copy()
    else:
        made = arguments.contiguous(array)
    return made if keep or not np.may_share_memory(made, array) else made.copy()


def _float16(name, array):
    """A float32 array rounded to the nearest float16, ties to even."""
    with np.errstate(over="ignore", under="ignore"):
        made = array.astype(np.float16)
    lost = np.isinf(made) & np.isfinite(array)
    if lost.any():
        raise ValueError(
            f"{name} holds {array[lost][0]:g}, which is too large for float16: its largest number "
            "is 65504. Keep this layer in float32"
        )
    return made


# ---- state dicts


def updated(kind, shapes, arrays, state_dict, strict):
    """load_state_dict, in torch's words, for weights of `shapes`, {name: shape}, of which `arrays`
    are the present ones: (the new arrays, missing names, unexpected names). ValueError for what
    torch refuses; kind is the layer's name in its text."""
    if not hasattr(state_dict, "keys") or not hasattr(state_dict, "__getitem__"):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict).__name__}.")
    names = list(state_dict.keys())
    missing = [name for name in shapes if name not in state_dict]
    unexpected = [name for name in names if name not in shapes]
    problems, arrays = [], dict(arrays)
    if strict and missing:
        problems.append(f"Missing key(s) in state_dict: {quoted(missing)}. ")
    if strict and unexpected:
        problems.append(f"Unexpected key(s) in state_dict: {quoted(unexpected)}. ")
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
                arrays[name] = as_dtype(name, array, "float32")
    if problems:
        problems += _prefix_hint(kind, shapes, names)
        raise ValueError(f"Error(s) in loading state_dict for {kind}:\n\t" + "\n\t".join(problems))
    return arrays, missing, unexpected


def quoted(names):
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
