# SPDX-License-Identifier: MIT
"""A layer of a description (files/description.py) and its arrays. All layers that are not made with
random weights are made here: those of files (load.py) and those of state dicts."""

from ..engine import arguments
from ..engine.variants import RELU, checked_activations, checked_clip
from ..files.contents import group_by_prefix, layer_weights
from ..files.find import find
from ..files.reparametrised import part_of
from ..files.weight_shapes import misfit, parse_name, weight_shapes
from .weights import as_dtype, quoted

# What may be said of a layer beside what its class alone has; the shapes of the weights tell the
# sizes.
_OPTIONS = ("batch_first", "dropout", "isa", "num_threads", "precision")
_INPUT_WEIGHTS = ("weight_ih_l0", "weight_ih")  # the ends of names that say where a layer is


def constructor_arguments(description):
    """The arguments of the layer's class that say what `description` does, as a dict; what torch's
    modules do not have is checked, since it may be a file's. ValueError or TypeError."""
    kind, layer = description.kind, description
    found = {
        "input_size": layer.input_size, "hidden_size": layer.hidden_size,
        "num_layers": layer.num_layers, "bias": layer.bias, "batch_first": layer.batch_first,
        "dropout": layer.dropout, "bidirectional": layer.bidirectional,
        "reverse": layer.direction == "reverse", "merge": layer.merge,
        "precision": layer.precision,
    }  # fmt: skip
    if layer.activations:
        found["activations"] = checked_activations(kind, layer.num_directions, layer.activations)
    if layer.clip is not None:
        found["clip"] = checked_clip(layer.clip)
    if kind == "LSTM":
        found |= {
            "proj_size": layer.proj_size, "input_forget": layer.input_forget,
            "peepholes": bool(layer.peepholes),
        }  # fmt: skip
    if kind == "GRU":
        found["reset_after"] = layer.reset_after
    if kind == "RNN" and set(layer.directions) == {(RELU,)}:
        found["nonlinearity"] = "relu"
        found.pop("activations", None)
    return found


def ready(description, arrays, dtype="float32", keep=False):
    """Those of `arrays`, {torch's name: array}, that are weights of `description`, as a layer of
    `dtype` keeps them.

    keep   True: arrays that are like that already are not copied (views of a mapped file, which
           processes share)
    ValueError if a finite weight is too large for float16 or bfloat16, or one that is not finite is
    to become int8.
    """
    return {
        name: as_dtype(name, arrays[name], dtype, keep)
        for name in weight_shapes(description)
        if name in arrays
    }


def build(cls, description, arrays, options):
    """The layer of class `cls` that `description` says, with the weights `arrays`, made by
    `ready`, which it keeps.

    options  arguments of the class that go before the description's: batch_first, dropout, isa,
             num_threads, precision and what sizes do not tell
    ValueError or TypeError if the arrays or the options do not fit.
    """
    for name in options:
        if name not in (*_OPTIONS, *cls.cell_arguments, *cls.variant_arguments):
            raise TypeError(f"{cls.kind}.from_state_dict has no argument {name!r}")
    made = cls.without_weights(**(constructor_arguments(description) | options))
    made.inputs = description.inputs
    problem = misfit(made, arrays)
    if problem:
        raise ValueError(problem)
    made.take_weights({name: arrays[name] for name in made.weight_shapes()})
    return made


def from_state_dict(cls, state_dict, prefix, options):
    """See Recurrent.from_state_dict."""
    if not hasattr(state_dict, "items"):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict).__name__}.")
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a str, got {type(prefix).__name__}")
    named = [(k, v) for k, v in state_dict.items() if isinstance(k, str)]
    if (
        prefix
        and not prefix.endswith((".", "/", "_"))
        and not any(k.startswith(f"{prefix}weight_ih") for k, _ in named)
    ):
        prefix += "."
    arrays = {  # of what else is there, the names alone count
        name: arguments.real(name, value) if parse_name(name) or part_of(name) else None
        for name, value in named
        if name.startswith(prefix)
    }
    found = find(arrays)
    description = found.layers.get(prefix)
    if description is None:
        others = {k[: k.rindex("weight_ih")] for k, _ in named if k.endswith(_INPUT_WEIGHTS)}
        raise ValueError(
            f"no weight_ih_l0 under the prefix {prefix!r}; it is there under: "
            f"{quoted(sorted(others)[:20]) or 'none'}"
        )
    problem = description.problem
    if problem or description.kind != cls.kind:
        raise ValueError(f"under the prefix {prefix!r}: {problem or f'a {description.kind}'}")
    weights = layer_weights(group_by_prefix(found.arrays), prefix, description)
    return build(cls, description, ready(description, weights), options)
