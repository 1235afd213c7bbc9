# SPDX-License-Identifier: MIT
"""One recurrent layer of Keras: its weights (cell.py), and what its configuration says, as a Layer.

By Keras' own layers (keras/src/layers/rnn). Where the weights are in a file is not known here. What
cannot be read becomes a Layer with a problem; a configuration that no Keras writes is Unknown.
"""

import dataclasses

from ...engine.variants import USUAL, Activation
from ..contents import Options
from ..description import Layer
from ..source import show

# Keras' classes: the layer's kind, which is "LSTM", "GRU" or "RNN" everywhere below.
CELLS = {
    "LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN",
    "CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU",
}  # fmt: skip
_IN_RNN = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "RNN"}
# Keras' names of activations without parameters: fastlstm's.
_PLAIN = {
    "tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu", "softsign": "softsign",
    "softplus": "softplus", "selu": "selu", "gelu": "gelu", "silu": "silu", "swish": "silu",
    "exponential": "exponential",
}  # fmt: skip
# Where Keras' own classes are; a user's are elsewhere.
_MODULES = ("keras", "tf_keras", "keras_core", "tensorflow")
_MERGES = {"concat": "concat", "sum": "sum", "mul": "mul", "ave": "ave", None: "none"}


class Unknown(Exception):
    """The configuration is malformed; the text says how."""


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of all layers of a file beside their weights and configuration.

    version   of Keras, (major, minor), and "tf" third of one that was part of TensorFlow; () if
              unknown
    options   the caller's: what they say of a layer without a configuration
    assume    of a layer without a configuration, are Keras' defaults assumed for what neither the
              weights nor the options say? Else it is a problem
    """

    version: tuple
    options: Options
    assume: bool = False

    @property
    def is_tf_keras(self):
        """Of TensorFlow 2? Versions of tf.keras before 2.2 are of TensorFlow 1; "2.2.4-tf" is of
        1.13 to 1.15 and of 2.0 and 2.1 alike, and the latter wrote most of its files."""
        return self.version[2:] == ("tf",) and self.version >= (2, 2)

    @property
    def gate_default(self):
        """recurrent_activation where nothing says another."""
        return "sigmoid" if self.version >= (2, 3) or self.is_tf_keras else "hard_sigmoid"

    @property
    def reset_after_default(self):
        """A GRU's reset_after where nothing says another; Keras 2.4 was the first that was
        TensorFlow's."""
        return self.version >= (2, 4) or self.is_tf_keras


class _Problem(Exception):
    """Why a layer cannot be read: the text of Layer.problem."""


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


def _given(cell, known, both):
    """(activation, recurrent activation, names of what was assumed) of a Cell without a
    configuration, as the caller's Options say; _Problem if they must say more. both: is it one of
    two directions?"""
    if cell.cudnn:
        return "tanh", "sigmoid", ()  # the only ones that cuDNN has
    options, version, gates = known.options, known.version, cell.kind != "RNN"
    main, gate, assumed = options.activation, options.recurrent_activation, []
    if main is None:
        if not known.assume:
            also = ", and recurrent_activation= ('sigmoid'; Keras before 2.3: 'hard_sigmoid') if "
            also = f"{also}it is not 'sigmoid'" if gates else ""
            more = "how its directions are merged: merge= ('concat')"
            more = more if both else "that it goes backwards: go_backwards=True"
            raise _Problem(
                "the file holds weights alone and does not say which activation the layer has: "
                f"pass activation= ('tanh' is Keras' default){also}; nor does it say {more}"
            )
        main = "tanh"
        assumed.append("activation")
    if gate is None and gates:
        if () < version < (2, 3) and not known.assume:
            had = "had hard_sigmoid as the default"
            if known.is_tf_keras:
                had = (
                    "of TensorFlow 1 had hard_sigmoid as the default, that of TensorFlow 2 sigmoid"
                )
            raise _Problem(
                f"Keras {version[0]}.{version[1]} {had}: "
                "pass recurrent_activation='hard_sigmoid' or 'sigmoid'"
            )
        gate = known.gate_default if version else "sigmoid"
        assumed.append("recurrent_activation")
    return main, gate, assumed


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


def _alone(cell, known, both):
    """As _direction, of a Cell without a configuration."""
    main, gate, assumed = _given(cell, known, both)
    assumed = list(assumed)
    reset = cell.bias is not None and (cell.cudnn or cell.bias.ndim == 2)
    if cell.kind == "GRU" and cell.bias is None:
        reset = known.options.reset_after
        if reset is None and not known.assume:
            raise _Problem("a GRU without biases does not show reset_after: pass reset_after=")
        if reset is None:
            reset = known.reset_after_default
            assumed.append("reset_after")
    back = known.options.go_backwards
    if both:
        back = False
    elif back is None:
        back = False
        assumed.append("go_backwards")
    return _activations(cell.kind, main, gate, known.version), reset, back, True, assumed


def _direction(cell, item, known):
    """(activations, reset_after, go_backwards, batch_first, names of what was assumed) of one Cell.
    item: (class name, config) of its configuration."""
    class_name, config = item
    if not isinstance(config, dict) or config.get("units") not in (cell.size, None):
        raise _Problem(f"units is {show(str(config.get('units')))}, its weights have {cell.size}")
    assumed, cudnn = [], class_name.startswith("CuDNN") or cell.cudnn
    main, gate, reset = "tanh", "sigmoid", True
    if not cudnn:
        names = ("activation",) if cell.kind == "RNN" else ("activation", "recurrent_activation")
        assumed += [name for name in names if name not in config]
        main, gate = config.get(names[0], "tanh"), config.get(names[-1], known.gate_default)
    shown = None if cell.bias is None else cell.cudnn or cell.bias.ndim == 2
    if cell.kind == "GRU" and not cudnn:
        default = known.reset_after_default if shown is None else shown
        reset = _flag(config, "reset_after", default)
        if shown is None and "reset_after" not in config:
            assumed.append("reset_after")
    if cell.kind == "GRU" and shown is not None and reset != shown:
        raise _Problem(f"reset_after is {reset}, its bias has the shape {cell.bias.shape}")
    back = _flag(config, "go_backwards", False)
    found = _activations(cell.kind, main, gate, known.version)
    return found, reset, back, not _flag(config, "time_major", False), assumed


def class_of(item):
    """Keras' class in a layer's configuration, or None; Unknown if it is no text. A class that is
    not Keras' own has its package before it, "package>Name", also where it is called like one of
    Keras'."""
    name = item.get("class_name")
    if not isinstance(name, str | None):
        raise Unknown(f"class_name is {show(str(name))}, not text")
    registered, module = item.get("registered_name"), item.get("module")
    if isinstance(registered, str) and ">" in registered:
        return registered
    if isinstance(module, str) and module.split(".")[0] not in _MODULES:
        return f"{module}>{name}"
    if isinstance(registered, str) and module is None and "module" in item:
        return f"__main__>{name}"
    return name


def _not_read(name):
    """The _Problem of a layer or cell of the class `name`."""
    if isinstance(name, str) and name.startswith("ConvLSTM"):
        return _Problem(f"{show(name)} convolves its inputs, which fastlstm's layers do not")
    if isinstance(name, str) and ">" in name:
        return _Problem(
            f"{show(name)} is a class of its own, not one of Keras', and may compute anything; if "
            "it computes what Keras' does, its weights (read_state_dict) fit from_state_dict"
        )
    return _Problem(f"a layer of class {show(str(name))} is not read")


def _items(item):
    """[(kind, (class name, config))] of one direction's configuration: one, or one for each cell of
    an RNN of stacked cells. Of an RNN, they are its cell's, with the RNN's directions in the
    config."""
    class_name, config = class_of(item), item.get("config")
    if not isinstance(config, dict):
        raise Unknown("it has no config")
    if class_name != "RNN":
        if class_name not in CELLS:
            raise _not_read(class_name)
        return [(CELLS[class_name], (class_name, config))]
    outer = {n: config[n] for n in ("go_backwards", "time_major") if n in config}
    cells = [config.get("cell")]
    if isinstance(cells[0], dict) and class_of(cells[0]) == "StackedRNNCells":
        inside = cells[0].get("config")
        cells = inside.get("cells") if isinstance(inside, dict) else None
        if not isinstance(cells, list) or not cells:
            raise Unknown("StackedRNNCells without cells")
    found = []
    for cell in cells:
        inner = class_of(cell) if isinstance(cell, dict) else None
        if inner not in _IN_RNN or not isinstance(cell.get("config"), dict):
            raise _Problem(f"an RNN of {show(str(inner))}: only Keras' own cells are read")
        found.append((_IN_RNN[inner], (inner, cell["config"] | outer)))
    return found


def _directions(configured):
    """(merge mode, [a layer's configuration for each direction]) of a ConfiguredLayer. Where a
    Bidirectional does not configure its backward layer, that is the forward one with go_backwards
    the other way."""
    item = configured.item
    if item["class_name"] != "Bidirectional":
        return "concat", [item]
    if class_of(item) != "Bidirectional":
        raise _not_read(class_of(item))
    config = item["config"]
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


def _only(values, what):
    """The one value that all of `values` are; _Problem if they differ."""
    if len(set(values)) > 1:
        raise _Problem(what)
    return values[0]


def _layer(cells, configured, known, stacked):
    """The Layer of some Cells; _Problem if it cannot be read. Arguments as of layer_of."""
    merge, items, assumed = "concat", None, ()
    directions = 1 if stacked else len(cells)
    if configured is not None:
        merge, parts = _directions(configured)
        parts = [_items(part) for part in parts]
        directions, items = len(parts), [item for part in parts for item in part]
        if directions > 1 and len(items) > directions:
            raise _Problem("a Bidirectional of stacked cells, each direction a stack of its own")
        if not cells:
            raise _Problem("its weights are not in the file")
        if len(cells) != len(items):
            raise _Problem(f"{len(items)} sets of weights are due, the file has {len(cells)}")
        if any(kind != cell.kind for (kind, _), cell in zip(items, cells, strict=True)):
            raise _Problem(f"its weights are those of a {cells[0].kind}")
    first, layers = cells[0], len(cells) // directions
    what = "its two directions differ" if layers == 1 else "its stacked cells differ"
    _only([(c.kind, c.size, c.bias is None) for c in cells], f"{what} in kind or size")
    inputs = [c.kernel.shape[0] for c in cells]
    above = [inputs[0]] if layers == 1 else [first.size] * (layers - 1)
    if inputs != [inputs[0], *above[: len(inputs) - 1]]:
        raise _Problem(f"{what} in kind or size")
    if items is None:
        found = [_alone(cell, known, directions > 1) for cell in cells]
    else:
        found = [_direction(c, item, known) for c, (_, item) in zip(cells, items, strict=True)]
    activations, reset_after, backwards, batch_first, names = zip(*found, strict=True)
    if items is not None and directions == 2 and backwards != (False, True):
        raise _Problem("a Bidirectional whose forward layer goes backwards")
    _only(list(zip(reset_after, batch_first, strict=True)), f"{what} in reset_after or time_major")
    if layers > 1:
        activations = (_only(activations, f"{what} in their activations"),)
    if activations == (USUAL[first.kind],) * directions:
        activations = ()
    alone = directions == 1 and backwards[0]
    assumed = dict.fromkeys(name for each in names for name in each)
    if items is None and directions == 2:
        assumed["merge"] = None
    return Layer(
        first.kind, inputs[0], first.size, num_layers=layers, bias=first.bias is not None,
        direction="bidirectional" if directions == 2 else "reverse" if alone else "forward",
        activations=activations, reset_after=first.kind != "GRU" or reset_after[0],
        batch_first=batch_first[0], output_order="processing" if alone else "time", merge=merge,
        assumed=tuple(assumed),
    )  # fmt: skip


def layer_of(cells, configured, known, stacked=False, problem=None):
    """(Layer, {torch's name: array}) of a list of Cells: one for each direction, or, if `stacked`
    or if the configuration says so, one for each layer of a stack. The Layer has a problem if they
    cannot be read; a malformed configuration raises Unknown.

    configured   their ConfiguredLayer, or None where there are only weights
    known        the file's Known
    problem      why they cannot be read, if that is known already
    """
    weights = {}
    stacked = stacked or bool(configured and configured.cells)
    due = configured.cells if configured and configured.cells else cells
    ends = [f"_l{n}" for n in range(len(due))] if stacked else ["_l0", "_l0_reverse"]
    for cell, end in zip(cells, ends, strict=False):
        weights |= cell.weights(end)
    try:
        if problem is not None:
            raise _Problem(problem)
        return _layer(cells, configured, known, stacked), weights
    except _Problem as reason:
        class_name = configured.class_name if configured else None
        kind = cells[0].kind if cells else CELLS.get(class_name, "recurrent layer")
        size = (cells[0].kernel.shape[0], cells[0].size) if cells else (0, 0)
        return Layer(kind, *size, batch_first=True, problem=str(reason)), weights
