# SPDX-License-Identifier: MIT
"""Whole models from files."""

from ..files.contents import Options
from ..files.keras import file as keras_files
from ..files.onnx.file import is_onnx
from ..files.read import opened
from ..layers.load import load
from ..layers.weights import checked_dtype, checked_pair, pair_of
from . import onnx, saved
from .graph import WeightsAlone
from .half import DTYPES
from .model import Model

MAX_BYTES = 1 << 30


def kind_of(source):
    """What reads the source as a whole model: "fastlstm", "onnx" or "keras"; None if nothing."""
    if saved.is_model(source):
        return "fastlstm"
    if is_onnx(source):
        return "onnx"
    return "keras" if keras_files.is_keras_zip(source) or keras_files.is_hdf5(source) else None


def read_graph(path, external_data=None):
    """(Graph, options of Model that the file says) of a file: ONNX, Keras (.keras, .h5) or what
    `Model.save` wrote, told by its content. LoadError for anything else."""
    with opened(path) as source:
        kind = kind_of(source)
        if kind == "fastlstm":
            return saved.read(source)
        if kind == "onnx":
            return onnx.read(source, Options(external_data=external_data)), {}
        if kind == "keras":
            from . import keras

            return keras.read(source), {}
        raise source.error(
            "file",
            "no whole model that fastlstm reads (ONNX, Keras, or saved by Model.save). Files of "
            "weights alone, as torch.save and safetensors write, do not say how a model computes: "
            "see fastlstm.load for their recurrent layers and fastlstm.nn for the rest",
        )


def load_model(path, *, dtype=None, precision=None, num_threads=None, isa=None, external_data=None,
               max_bytes=MAX_BYTES):  # fmt: skip
    """The whole model of an ONNX or Keras file, or of one that `Model.save` wrote, ready to run.

    dtype           of weights: "float32"; "float16", half the memory, with sums and values between
                    operators in float32; "int8": recurrent layers, products with matrices and
                    convolutions over one axis in codes of 8 bits, as `fastlstm.LSTM.quantize` has
                    them, and everything else in float32 (`fastlstm inspect` shows which); or
                    "bfloat16": the same operators in bfloat16 as `quantize` has it, and float32
                    elsewhere, with weights that are rounded. None: as
                    the file says; the codes of a file that is quantised stay what they are, while
                    "float32" takes the numbers that they stand for
    precision       of products of float32 weights: "float32"; or "bfloat16x3" or "bfloat16x6", as
                    `fastlstm.LSTM` has them, of recurrent layers, products with constant
                    matrices and convolutions; those with few weights and all else stay float32.
                    None: as the file says, else float32. ValueError with a dtype other than float32
    num_threads     at most so many threads work on a call; None: `fastlstm.get_num_threads()`
    isa             an instruction set of `fastlstm.runnable_isas()`; None: the best
    external_data   ONNX: whether tensors may be read from other files of the model's folder
    max_bytes       the most memory that one call may take for its arrays

    LoadError if the file is malformed; ModelError, which is one, where the model does something
    that is not covered, with the node and the operator. Both may come at the first call, when the
    shapes of its inputs are known.
    """
    if dtype is not None:
        checked_dtype(dtype, DTYPES)
    dtype, precision = checked_pair(dtype, precision)
    graph, own = read_graph(path, external_data)
    own["dtype"], own["precision"] = pair_of(
        dtype, precision, own.get("dtype"), own.get("precision", "float32")
    )
    return Model(graph, num_threads=num_threads, isa=isa, max_bytes=max_bytes, **own)


def load_any(path, *, num_threads=None):
    """The whole model of a file, or, of a file of weights alone, its recurrent layer. LoadError."""
    with opened(path) as source:
        whole = kind_of(source) is not None
    if whole:
        try:
            return load_model(path, num_threads=num_threads)
        except WeightsAlone:
            pass
    return load(path, num_threads=num_threads)
