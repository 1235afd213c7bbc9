# SPDX-License-Identifier: MIT
"""What a reader gives, and the one place where a layer of a file becomes an object that runs."""

import dataclasses

import numpy as np

from ..errors import LoadError
from ..variants import RELU, Activation, checked_activations, checked_clip
from .source import Source, show

# Bytes of the weights of all layers, for each byte of file and beyond.
WEIGHTS, MORE_WEIGHTS = 2, 24 << 20


@dataclasses.dataclass
class Contents:
    """What is in a file.

    arrays   {name: array}: the file's own tensors under their own names, and where those are not
             torch's (ONNX, Keras), the layers' weights once more, under torch's
    layers   {prefix: Layer}; a layer's weights are arrays[prefix + "weight_ih_l0"] and so on
    shared   True: the arrays are a read-only mapping of the file, which objects may keep
    """

    arrays: dict
    layers: dict
    shared: bool = False
    source: Source = None  # for `add`
    room: int = 0  # bytes that the weights of layers may still take
    counts: dict = dataclasses.field(default_factory=dict)  # of names given more than once

    def __post_init__(self):
        if self.source is not None:
            self.room += WEIGHTS * self.source.size + MORE_WEIGHTS

    def add(self, name, layer, weights):
        """Put a layer and its weights, {torch's name: array}, under `name`, made unique.
        LoadError if many layers are made of the same weights."""
        self.room -= sum(array.nbytes for array in weights.values())
        if self.room < 0:
            raise self.source.error("layers", "their weights need far more memory than the file")
        prefix, count = f"{name}.", self.counts.get(name, 1)
        while prefix in self.layers or any(prefix + end in self.arrays for end in weights):
            count += 1  # goes on from where the last one of that name ended
            prefix = f"{name}_{count}."
        self.counts[name] = count
        self.layers[prefix] = layer
        self.arrays |= {prefix + end: array for end, array in weights.items()}


@dataclasses.dataclass(frozen=True)
class Options:
    """What the caller says of a file that does not say it itself: see `load`."""

    activation: str | Activation | None = None
    recurrent_activation: str | Activation | None = None
    reset_after: bool | None = None
    external_data: bool = False


def by_prefix(arrays):
    """{prefix: {the rest of the name: array}}: a prefix is "" or ends with a name's last dot."""
    groups = {}
    for name, array in arrays.items():
        prefix, dot, end = name.rpartition(".")
        groups.setdefault(prefix + dot, {})[end] = array
    return groups


def weights_of(groups, prefix, layer):
    """{torch's name: array} of one layer, without its prefix. groups: of by_prefix."""
    return {
        f"{end}_l0" if layer.cell else end: array
        for end, array in groups.get(prefix, {}).items()
        if end.startswith(("weight_", "bias_", "peephole_", "initial_"))
    }


def lacks(layer):
    """What `layer` needs and the engine does not do, in words; None if it runs."""
    if layer.merge == "concat":
        return None
    return (
        f"merges its directions' outputs by {layer.merge}, which is left to the caller: run its "
        f"weights (read_state_dict) in fastlstm.{layer.kind}.from_state_dict and merge the halves "
        "of y"
    )


def make(name, found, groups, prefix, options):
    """The object that runs found.layers[prefix]; LoadError for what the engine does not do.

    groups    by_prefix(found.arrays)
    options   for from_state_dict; batch_first is the file's unless given
    """
    place, layer = f"{name}: prefix {show(prefix)}", found.layers[prefix]
    if layer.problem:
        raise LoadError(f"{place}: {layer.problem}")
    lacking = lacks(layer)
    if lacking:
        raise LoadError(f"{place}: {lacking}")
    from .. import layers

    cls = getattr(layers, layer.kind)
    weights = weights_of(groups, prefix, layer)
    told = {"batch_first": layer.batch_first} | _odd(place, layer, weights)
    if layer.kind == "GRU":
        told["reset_after"] = layer.reset_after
    if layer.kind == "RNN":
        relu = set(layer.directions) == {(RELU,)}
        told["nonlinearity"] = "relu" if relu else "tanh"
        told.pop("activations" if relu else "", None)
    # what only another kind of layer has is not for this one
    options = {k: v for k, v in options.items() if k != "nonlinearity" or k in cls.own}
    made = cls.from_state_dict(weights, **(told | options))
    if layer.initial_state:
        try:
            made.initial_state = _initial(made, layer, weights)
        except (ValueError, TypeError) as e:
            raise LoadError(f"{place}: its initial state: {e}") from None
    made.output_order = layer.output_order
    if found.shared and all(each.dtype == np.float32 for each in weights.values()):
        # The copies give way to the mapping, whose pages processes share.
        made._weights = made._net.weights = {each: weights[each] for each in made._weights}
    return made


def _odd(place, layer, weights):
    """The arguments that set a layer apart from torch's, checked: they come from a file."""
    told = {"reverse": True} if layer.direction == "reverse" else {}
    try:
        if layer.activations:
            told["activations"] = checked_activations(
                layer.kind, layer.num_directions, layer.activations
            )
        if layer.clip is not None:
            told["clip"] = checked_clip(layer.clip)
    except (ValueError, TypeError) as e:
        raise LoadError(f"{place}: {e}") from None
    if layer.kind == "LSTM":
        told |= {"input_forget": layer.input_forget, "peepholes": bool(layer.peepholes)}
        due = (3 * layer.hidden_size,)
        for d in range(layer.num_layers * layer.num_directions if layer.peepholes else 0):
            end = f"_l{d // layer.num_directions}" + "_reverse" * (d % layer.num_directions)
            array = weights.get(f"peephole{end}")
            if array is None or array.shape != due or array.dtype.kind not in "fiu":
                shape = "is missing" if array is None else f"is {array.dtype} {array.shape}"
                raise LoadError(f"{place}: peephole{end} {shape}, {due} is due")
    return told


def _initial(made, layer, weights):
    """The state that a file starts from; zeros for a part that it does not have."""
    parts = [weights.get(n) for n in ("initial_h", "initial_c")[: 2 if made.has_c else 1]]
    if all(p is None for p in parts):
        raise ValueError("its arrays are missing")
    rows = next(p.shape[1] if p.ndim == 3 else 1 for p in parts if p is not None)
    shapes = made._state_shapes(rows)
    return made._state(
        [np.zeros(s, np.float32) if p is None else p for p, s in zip(parts, shapes, strict=True)]
    )
