# SPDX-License-Identifier: MIT
"""One recurrent layer of Keras: its weights under torch's names and in torch's order, and what its
configuration says, as a Layer.

    Keras   kernel (I, gates H), recurrent_kernel (H, gates H), bias (gates H,), or (2, gates H) of
            input and recurrent biases for a GRU with reset_after
            gate order: LSTM i, f, c, o; GRU z, r, h
    torch   weight_ih (gates H, I), weight_hh (gates H, H), bias_ih and bias_hh (gates H,)
            gate order: LSTM i, f, g, o (g is c); GRU r, z, n (n is h)
    CuDNNLSTM, CuDNNGRU (Keras 2)   kernel and recurrent kernel of these shapes, but for each gate
            their memory is torch's: the H I numbers of the kernel are an (H, I) matrix, and the
            recurrent kernel is not transposed; bias (2 gates H,), input biases first

By Keras' own layers (keras/src/layers/rnn) and its conversion of cuDNN's weights
(preprocess_weights_for_loading). Where the weights are in a file is not known here. What cannot be
read becomes a Layer with a problem; a configuration that no Keras writes is Unknown.
"""

import numpy as np

from ...engine.variants import USUAL, Activation
from ..description import Layer
from ..source import show

# Keras' classes: the layer's kind, which is "LSTM", "GRU" or "RNN" everywhere below.
CELLS = {
    "LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN",
    "CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU",
}  # fmt: skip
_IN_RNN = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "RNN"}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_KINDS = {gates: kind for kind, gates in _GATES.items()}
# Keras' names of activations without parameters: fastlstm's.
_PLAIN = {
    "tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu", "softsign": "softsign",
    "softplus": "softplus", "selu": "selu", "gelu": "gelu", "silu": "silu", "swish": "silu",
    "exponential": "exponential",
}  # fmt: skip
_MERGES = {"concat": "concat", "sum": "sum", "mul": "mul", "ave": "ave", None: "none"}


class Unknown(Exception):
    """The configuration is malformed; the text says how."""


class _Problem(Exception):
    """Why a layer cannot be read: the text of Layer.problem."""


class Cell:
    """One direction's weights in Keras' layout, whose shapes fit together.

    kernel, recurrent, bias   the arrays; bias may be None
    kind    by their shapes          size    H
    cudnn   whether they are in the layout of CuDNNLSTM and CuDNNGRU
    """

    def __init__(self, kernel, recurrent, bias, kind):
        self.kernel, self.recurrent, self.bias, self.kind = kernel, recurrent, bias, kind
        self.size = recurrent.shape[0]
        self.cudnn = bias is not None and bias.shape == (2 * recurrent.shape[1],)

    @classmethod
    def of(cls, parts):
        """The Cell of [kernel, recurrent kernel, bias], each an array or None; None if they do not
        make one."""
        kernel, recurrent, bias = parts
        if kernel is None or recurrent is None or kernel.ndim != 2 or recurrent.ndim != 2:
            return None
        rows, width = recurrent.shape
        arrays = [each for each in parts if each is not None]
        if not rows or not kernel.size or any(each.dtype.kind != "f" for each in arrays):
            return None
        if width % rows or width // rows not in _KINDS or kernel.shape[1] != width:
            return None
        kind = _KINDS[width // rows]
        shapes = {(width,)} | ({(2, width)} if kind == "GRU" else set())
        shapes |= {(2 * width,)} if kind != "RNN" else set()
        if bias is not None and bias.shape not in shapes:
            return None
        return cls(kernel, recurrent, bias, kind)

    def weights(self, end):
        """{torch's name: array}, of torch's shapes and order. end: "_l0" or "_l0_reverse"."""
        gates, size = _GATES[self.kind], self.size
        if self.cudnn:
            inputs = self.kernel.shape[0]
            parts = [
                np.ascontiguousarray(self.kernel[:, n * size : (n + 1) * size]).reshape(
                    size, inputs
                )
                for n in range(gates)
            ]
            recurrent = [self.recurrent[:, n * size : (n + 1) * size] for n in range(gates)]
        else:
            parts = [self.kernel[:, n * size : (n + 1) * size].T for n in range(gates)]
            recurrent = [self.recurrent[:, n * size : (n + 1) * size].T for n in range(gates)]
        order = (1, 0, 2) if self.kind == "GRU" else range(gates)
        found = {
            f"weight_ih{end}": np.concatenate([parts[n] for n in order]),
            f"weight_hh{end}": np.concatenate([recurrent[n] for n in order]),
        }
        if self.bias is not None:
            bias = self.bias.reshape(-1, gates * size)
            both = [bias[0], bias[1] if len(bias) > 1 else np.zeros_like(bias[0])]
            for name, each in zip(("bias_ih", "bias_hh"), both, strict=True):
                found[f"{name}{end}"] = np.concatenate(
                    [each[n * size : (n + 1) * size] for n in order]
                )
        return found


def _activation(value, version):
    """The Activation that Keras means by `value`: a name, a serialised function, or an Activation
    that the caller of `load` gave. version: see layer_of."""
    if isinstance(value, Activation):
        return value
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value.get("config")
    if not isinstance(value, str):
        raise _Problem(f"an activation that is no function of Keras: {show(str(value))}")
    if value == "linear":
        return Activation("affine", 1.0, 0.0)
    if value == "hard_sigmoid":
        if not version:
            raise _Problem(
                "hard_sigmoid of Keras 2 is 0.2 x + 0.5 and of Keras 3 x / 6 + 0.5, and the file "
                "does not say its version: pass "
                "recurrent_activation=fastlstm.variants.Activation('hard_sigmoid', 0.2, 0.5)"
            )
        return Activation(value, *((0.2, 0.5) if version < (3, 0) else (1 / 6, 0.5)))
    if value == "elu":
        return Activation("elu", 1.0)
    if value == "leaky_relu":
        return Activation("leaky_relu", 0.2)
    if value not in _PLAIN:
        raise _Problem(f"the activation {show(value)} is not known")
    return Activation(_PLAIN[value])


def _given(cell, options, version):
    """(activation, recurrent activation) of a Cell from a file of weights alone, as the caller's
    Options say; _Problem if they must say more."""
    if cell.cudnn:
        return "tanh", "sigmoid"  # the only ones that cuDNN has
    if options.activation is None:
        also = "" if cell.kind == "RNN" else ", and recurrent_activation= ('sigmoid'; Keras before "
        also += "" if cell.kind == "RNN" else "2.3: 'hard_sigmoid') if it is not 'sigmoid'"
        raise _Problem(
            "the file holds weights alone and does not say which activation the layer has: "
            f"pass activation= ('tanh' is Keras' default){also}"
        )
    if options.recurrent_activation is None and cell.kind != "RNN" and () < version < (2, 3):
        raise _Problem(
            f"Keras {version[0]}.{version[1]} had hard_sigmoid as the default: "
            "pass recurrent_activation='hard_sigmoid' or 'sigmoid'"
        )
    return options.activation, options.recurrent_activation or "sigmoid"


def _activations(kind, activation, recurrent, version):
    """The tuple of Activations of one direction, as Layer.activations has it, for Keras'
    `activation` and `recurrent_activation`."""
    main = _activation(activation, version)
    if kind == "RNN":
        return (main,)
    gate = _activation(recurrent, version)
    return (gate, main, main) if kind == "LSTM" else (gate, main)


def _flag(config, name, default):
    """A bool of the configuration; Unknown if it is something else."""
    value = config.get(name, default)
    if not isinstance(value, bool):
        raise Unknown(f"{name} is {show(str(value))}, not true or false")
    return value


def _direction(cell, item, version, options):
    """(activations, reset_after, go_backwards, batch_first) of one direction, a Cell.

    item   (class name, config) of its configuration, or None for a file of weights alone
    """
    if item is None:
        activations = _given(cell, options, version)
        reset = cell.bias is not None and (cell.cudnn or cell.bias.ndim == 2)
        if cell.kind == "GRU" and cell.bias is None:
            if options.reset_after is None:
                raise _Problem("a GRU without biases does not show reset_after: pass reset_after=")
            reset = options.reset_after
        return _activations(cell.kind, *activations, version), reset, False, True
    class_name, config = item
    if not isinstance(config, dict) or config.get("units") not in (cell.size, None):
        raise _Problem(f"units is {show(str(config.get('units')))}, its weights have {cell.size}")
    if class_name.startswith("CuDNN") or cell.cudnn:
        found = _activations(cell.kind, "tanh", "sigmoid", version)
    else:
        default = "sigmoid" if version >= (2, 3) else "hard_sigmoid"
        gate = config.get("recurrent_activation", default)
        found = _activations(cell.kind, config.get("activation", "tanh"), gate, version)
    reset = class_name == "CuDNNGRU" or cell.cudnn or _flag(config, "reset_after", False)
    if (
        cell.kind == "GRU"
        and cell.bias is not None
        and reset != (cell.cudnn or cell.bias.ndim == 2)
    ):
        raise _Problem(f"reset_after is {reset}, its bias has the shape {cell.bias.shape}")
    back = _flag(config, "go_backwards", False)
    return found, reset, back, not _flag(config, "time_major", False)


def _class_name(item):
    """Keras' class in a layer's configuration, or None; Unknown if it is no text."""
    name = item.get("class_name")
    if not isinstance(name, str | None):
        raise Unknown(f"class_name is {show(str(name))}, not text")
    return name


def _item(item):
    """(kind, (class name, config)) of a layer's configuration. Of an RNN that holds a cell, they
    are the cell's, with the RNN's directions in the config."""
    class_name, config = _class_name(item), item.get("config")
    if not isinstance(config, dict):
        raise Unknown("it has no config")
    if class_name == "RNN":
        cell = config.get("cell")
        inner = _class_name(cell) if isinstance(cell, dict) else None
        if inner not in _IN_RNN or not isinstance(cell.get("config"), dict):
            raise _Problem(f"an RNN of {show(str(inner))}: only Keras' own cells are read")
        outer = {n: config[n] for n in ("go_backwards", "time_major") if n in config}
        return _IN_RNN[inner], (inner, cell["config"] | outer)
    if class_name not in CELLS:
        raise _Problem(f"a layer of class {show(str(class_name))} is not read")
    return CELLS[class_name], (class_name, config)


def _directions(configured):
    """(merge mode, [a layer's configuration for each direction]) of a ConfiguredLayer. Where a
    Bidirectional does not configure its backward layer, that is the forward one with go_backwards
    the other way."""
    if configured.class_name != "Bidirectional":
        return "concat", [{"class_name": configured.class_name, "config": configured.config}]
    config = configured.config
    if not isinstance(config, dict) or not isinstance(config.get("layer"), dict):
        raise Unknown("a Bidirectional without a layer")
    mode = config.get("merge_mode", "concat")
    if not isinstance(mode, str | None) or mode not in _MERGES:
        raise _Problem(f"merge_mode is {show(str(mode))}")
    back = config.get("backward_layer")
    layer = config["layer"]
    if not isinstance(back, dict):
        inner = layer.get("config")
        if not isinstance(inner, dict):
            raise Unknown("it has no config")
        flipped = inner | {"go_backwards": not _flag(inner, "go_backwards", False)}
        back = layer | {"config": flipped}
    return _MERGES[mode], [layer, back]


def _layer(cells, configured, version, options):
    """The Layer of at least one Cell; _Problem if it cannot be read. Arguments as of layer_of."""
    merge, items = "concat", [None] * len(cells)
    kinds = []
    if configured is not None:
        merge, items = _directions(configured)
        kinds, items = zip(*map(_item, items), strict=True)
    if len(cells) != len(items):
        raise _Problem(f"{len(items)} sets of weights are due, the file has {len(cells)}")
    first = cells[0]
    if any(kind != cell.kind for kind, cell in zip(kinds, cells, strict=False)):
        raise _Problem(f"its weights are those of a {first.kind}")
    same = {(c.kind, c.kernel.shape, c.size, c.bias is None) for c in cells}
    if len(same) > 1:
        raise _Problem("its two directions differ in kind or size")
    found = [
        _direction(cell, item, version, options) for cell, item in zip(cells, items, strict=True)
    ]
    activations, reset_after, backwards, batch_first = zip(*found, strict=True)
    if configured is not None and len(cells) == 2 and backwards != (False, True):
        raise _Problem("a Bidirectional whose forward layer goes backwards")
    if len(set(zip(reset_after, batch_first, strict=True))) > 1:
        raise _Problem("its two directions differ in reset_after or time_major")
    if activations == (USUAL[first.kind],) * len(cells):
        activations = ()
    alone = len(cells) == 1 and backwards[0]
    return Layer(
        first.kind, first.kernel.shape[0], first.size, bias=first.bias is not None,
        direction="bidirectional" if len(cells) == 2 else "reverse" if alone else "forward",
        activations=activations, reset_after=first.kind != "GRU" or reset_after[0],
        batch_first=batch_first[0], output_order="processing" if alone else "time", merge=merge,
    )  # fmt: skip


def layer_of(cells, configured, version, options):
    """(Layer, {torch's name: array}) of a list of Cells, one for each direction. The Layer has a
    problem if they cannot be read; a malformed configuration raises Unknown.

    configured   their ConfiguredLayer, or None in a file of weights alone
    version      of Keras, (major, minor), or () if unknown
    options      the caller's Options: activations and reset_after for a file of weights alone
    """
    weights = {}
    for cell, end in zip(cells, ("_l0", "_l0_reverse"), strict=False):
        weights |= cell.weights(end)
    try:
        if not cells:
            raise _Problem("its weights are not in the file")
        return _layer(cells, configured, version, options), weights
    except _Problem as problem:
        kind = cells[0].kind if cells else CELLS.get(configured.class_name, "recurrent layer")
        size = (cells[0].kernel.shape[0], cells[0].size) if cells else (0, 0)
        return Layer(kind, *size, batch_first=True, problem=str(problem)), weights
