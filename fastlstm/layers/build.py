# SPDX-License-Identifier: MIT
"""The one place where a layer of a file becomes an object that runs."""

import numpy as np

from ..engine.variants import RELU, checked_activations, checked_clip
from ..errors import LoadError
from ..files.contents import weights_of
from ..files.source import show
from .gru import GRU
from .lstm import LSTM
from .rnn import RNN

CLASSES = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}


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
    cls = CLASSES[layer.kind]
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
