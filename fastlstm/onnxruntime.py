# SPDX-License-Identifier: MIT
"""ONNX Runtime with this package's LSTM, GRU and RNN in it, and no change to the model:

    import onnxruntime, fastlstm.onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2                    # before register, which asks for it
    fastlstm.onnxruntime.register(options)
    session = onnxruntime.InferenceSession("model.onnx", options)

The operators stand for ONNX Runtime's own of these names, in the bodies of If, Loop and Scan too,
and give its results, to float32's rounding. Weights that are constants are packed once, when the
session is made; others at the first call, and again when a call brings other ones. A call runs on
the thread that ONNX Runtime gives it and, where it is large enough, on the session's own threads,
never on threads of this package's; outputs are in the session's memory.

onnxruntime 1.17 or newer is needed. Before 1.25 the names of a node's activations cannot be read:
RNN is then left to ONNX Runtime, and an LSTM or GRU that has the attribute is refused. What a node
asks for that cannot be had is an error when the session is made; nodes() tells without a session.
More in docs/onnxruntime.md.
"""

import dataclasses
import os
from typing import Any

from . import config
from .engine import NAME, backend
from .errors import LoadError
from .files.onnx.attribute import FLOAT, FLOATS, INT, STRING, STRINGS
from .files.onnx.gates import Problem, activations_of
from .files.onnx.graph import Model
from .files.read import opened
from .files.source import show

__all__ = ["Node", "nodes", "register"]

# Entries of a session's configuration, which the library reads: csrc/onnxruntime/register.h.
_THREADS, _ISA, _QUANTIZED = "fastlstm.threads", "fastlstm.isa", "fastlstm.quantized"
_REGISTERED = "fastlstm.registered"  # an entry for register alone: it has been done
_MICROSOFT = ("com.microsoft", "DynamicQuantizeLSTM")
_PLACES = {("", "LSTM"), ("", "GRU"), ("", "RNN"), _MICROSOFT}
_FLOAT32, _FLOAT16 = 1, 10  # element types, as ONNX numbers them


def register(session_options: Any, *, quantized: bool = False, inputs: str = "int8") -> None:
    """Has sessions that are made with these options run LSTM, GRU and RNN by this package. Options
    that have been registered already stay as they are.

    session_options   an onnxruntime.SessionOptions whose intra_op_num_threads is already what it
                      is to be
    quantized         whether to run DynamicQuantizeLSTM too, whose numbers are then this package's
                      int8 (docs/onnxruntime.md), not ONNX Runtime's
    inputs            of such nodes: "int8", codes of 8 bits of each row of X, or "int16", codes of
                      16 bits, nearer to the numbers of X and slower

    ValueError for other inputs; RuntimeError without the C core; TypeError for another object; ONNX
    Runtime's error for a version of it that is too old.
    """
    if NAME != "c":
        raise RuntimeError(
            f"fastlstm.onnxruntime needs the C core, and fastlstm runs on {NAME}: "
            "fastlstm.show_config() tells why"
        )
    if inputs not in ("int8", "int16"):
        raise ValueError(f"inputs must be 'int8' or 'int16', got {inputs!r}")
    for name in ("register_custom_ops_library", "add_session_config_entry", "intra_op_num_threads"):
        if not hasattr(session_options, name):
            raise TypeError(
                "session_options must be an onnxruntime.SessionOptions, got "
                f"{type(session_options).__name__}"
            )
    try:
        session_options.get_session_config_entry(_REGISTERED)
        return
    except RuntimeError:  # there is no such entry: ONNX Runtime has no way to ask
        pass
    backend.register_custom_ops()
    threads = session_options.intra_op_num_threads or config.usable_cpus()
    session_options.add_session_config_entry(_THREADS, str(threads))
    session_options.add_session_config_entry(_ISA, config.DEFAULT_ISA)
    bits = inputs.removeprefix("int") if quantized else "0"
    session_options.add_session_config_entry(_QUANTIZED, bits)
    session_options.register_custom_ops_library(os.fspath(backend.__file__))
    session_options.add_session_config_entry(_REGISTERED, "1")


@dataclasses.dataclass(frozen=True)
class Node:
    """A recurrent node of a model.

    name      its name, or its first output's
    op        "LSTM", "GRU", "RNN" or "DynamicQuantizeLSTM"
    refused   why a session with register() refuses it; None: it is run by this package
    left      whether it is left to ONNX Runtime
    note      what else there is to say
    """

    name: str
    op: str
    refused: str | None = None
    left: bool = False
    note: str = ""

    def __str__(self) -> str:
        if self.left:
            return f"{self.op}, left to ONNX Runtime"
        if self.refused is not None:
            return f"{self.op}, refused: {self.refused}"
        return f"{self.op}, run by fastlstm" + (f" {self.note}" if self.note else "")


def nodes(
    model: Any, version: tuple[int, ...] | None = None, *, quantized: bool = False
) -> list[Node]:
    """The recurrent nodes of an ONNX file, those inside branches, loops and functions too, and
    whether sessions with register() run them. Nothing is run.

    model     a path, a file object or the file's bytes
    version   of ONNX Runtime, such as (1, 25); None: the one that is installed, or a new one
    quantized   register's

    LoadError for what is no ONNX file.
    """
    if version is None:
        version = _installed()
    found: list[Node] = []
    with opened(model) as source:
        for top in Model(source).graphs:
            for graph, node in top.walk():
                domain = node.domain.removeprefix("ai.onnx")
                place = (domain, node.op)
                if place not in _PLACES:
                    continue
                if (place == _MICROSOFT and not quantized) or (
                    place == ("", "RNN") and version < (1, 25)
                ):
                    found.append(Node(node.title, node.op, left=True))
                else:
                    found.append(_node(graph, node, version))
    return found


def _installed() -> tuple[int, ...]:
    try:
        import onnxruntime
    except ImportError:
        return (1, 25)
    return tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])


def _node(graph: Any, node: Any, version: tuple[int, ...]) -> Node:
    try:
        refused = _refusal(node, version)
    except (Problem, LoadError) as error:
        refused = str(error)
    if node.op == _MICROSOFT[1]:
        return Node(node.title, node.op, refused, note="in int8, or for other codes in float32")
    kinds = {tensor.code for tensor in _tensors(graph, node)} - {_FLOAT32}
    if refused is None and kinds - {_FLOAT16}:
        refused = "its weights are neither float32 nor float16"
    note = "in float32" if kinds else ""
    return Node(node.title, node.op, refused, note=note)


def _tensors(graph: Any, node: Any) -> list[Any]:
    """Those of W and R that are stored in the file."""
    found = [graph.scope(node.input(index))[1] for index in (1, 2) if node.input(index)]
    return [tensor for tensor in found if hasattr(tensor, "code")]


def _refusal(node: Any, version: tuple[int, ...]) -> str | None:
    """Why the C core's node.c refuses a node, as far as its attributes say; None: it does not."""
    direction = node.get("direction", STRING, b"forward").decode("utf-8", "replace")
    if direction not in ("forward", "reverse", "bidirectional"):
        return f"the direction {show(direction)} is unknown"
    if not node.get("clip", FLOAT, 1.0) > 0:
        return "clip is not greater than 0"
    if node.get("layout", INT, 0) not in (0, 1):
        return "layout is neither 0 nor 1"
    if node.get("hidden_size", INT, 0) < 0:
        return "hidden_size is negative"
    for name in ("input_forget", "linear_before_reset"):
        node.get(name, INT)
    names = [name.decode("utf-8", "replace") for name in node.get("activations", STRINGS, ())]
    if "activations" in node.attributes and version < (1, 25):
        return "its activations can be read from onnxruntime 1.25 on"
    numbers = [node.get(f"activation_{name}", FLOATS, ()) for name in ("alpha", "beta")]
    if max(map(len, numbers)) > 6:
        return "activation_alpha or activation_beta has more than 6 numbers"
    kind = node.op.removeprefix("DynamicQuantize")
    activations_of(kind, 2 if direction == "bidirectional" else 1, names, *numbers)
    return None
