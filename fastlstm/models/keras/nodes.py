# SPDX-License-Identifier: MIT
"""The calls of a functional model's layers, as Keras 2 and Keras 3 write them.

Keras 3   {"args": [...], "kwargs": {...}}; a tensor is {"class_name": "__keras_tensor__",
          "config": {"keras_history": [layer, call, output]}}
Keras 2   [[layer, call, output, kwargs], ...], or one of these alone; a tensor among the kwargs
          is [layer, call, output], a plain argument may be ["_CONSTANT_VALUE", -1, value]
"""

import dataclasses

import numpy as np

from ...files.source import show
from .target import Tensor

_DEPTH = 16  # of arguments inside one another


@dataclasses.dataclass(frozen=True)
class Reference:
    """The output of a call of a layer, all but the name counted from 0."""

    layer: str
    call: int
    output: int

    def counted_from(self, first):
        """The same where the layer's first call has the number `first`."""
        return dataclasses.replace(self, call=self.call - first) if first else self


def flat(value):
    """[every Tensor or Reference] in lists, tuples and dicts inside one another."""
    if isinstance(value, Tensor | Reference):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [each for v in value for each in flat(v)] if isinstance(value, list | tuple) else []


def _reference(value):
    """A Reference of [layer, call, output, ...]; None for anything else."""
    if not isinstance(value, list) or not 3 <= len(value) <= 4:
        return None
    name, *numbers = value[:3]
    if isinstance(name, str) and all(type(n) is int for n in numbers):
        return Reference(name, *numbers)
    return None


def references(item, key, as_given=False):
    """[Reference] of a model's "input_layers" or "output_layers"; as_given: in a dict if the
    configuration has one."""
    found = _listed(item, item.config.get(key), key, 0)
    found = found if isinstance(found, dict | list) else [found]
    if not flat(found):
        raise item.error(f"its configuration has no {key}")
    return found if as_given else flat(found)


def _listed(item, value, key, depth):
    ref = _reference(value)
    if ref is not None:
        return ref
    if depth > _DEPTH or not isinstance(value, list | dict):
        raise item.error(f"its {key} are {show(str(value))}")
    if isinstance(value, dict):
        return {str(name): _listed(item, each, key, depth + 1) for name, each in value.items()}
    return [_listed(item, each, key, depth + 1) for each in value]


def calls_of(item, layers):
    """[(args, kwargs)] of a layer's calls, with a Reference for each tensor."""
    found = []
    for call in item.inbound:
        if isinstance(call, dict):
            args, kwargs = call.get("args", []), call.get("kwargs", {})
            if not isinstance(args, list) or not isinstance(kwargs, dict):
                raise item.error("a call whose args and kwargs are no list and object")
            found.append((_newer(item, args, 0), _newer(item, kwargs, 0)))
        elif isinstance(call, list):
            found.append(_older(item, call, layers))
        else:
            raise item.error(f"a call is {show(str(call))}")
    return found


def _newer(item, value, depth):
    if depth > _DEPTH:
        raise item.error("the arguments of a call are nested too deeply")
    if isinstance(value, list):
        return [_newer(item, each, depth + 1) for each in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return {str(name): _newer(item, each, depth + 1) for name, each in value.items()}
    config = value.get("config")
    if value["class_name"] == "__keras_tensor__":
        ref = _reference(config.get("keras_history")) if isinstance(config, dict) else None
        if ref is None:
            raise item.error("a call has a tensor without keras_history")
        return ref
    if value["class_name"] in ("__tensor__", "__numpy__") and isinstance(config, dict):
        try:
            return np.array(config.get("value"), config.get("dtype"))
        except (TypeError, ValueError):
            raise item.error("a call has an array that is malformed") from None
    if value["class_name"] == "__slice__" and isinstance(config, dict):
        return slice(*(config.get(n) for n in ("start", "stop", "step")))
    if value["class_name"] == "__ellipsis__":
        return ...
    raise item.error(f"a call with an argument of the class {show(str(value['class_name']))}")


def _older(item, call, layers):
    tensors = [call] if _reference(call) else call
    args, kwargs = [], {}
    for each in tensors:
        ref = _reference(each)
        if ref is None:
            raise item.error(f"a call has {show(str(each))} in place of a tensor")
        args.append(ref)
        if len(each) == 4 and isinstance(each[3], dict):
            kwargs |= {name: _inner(item, v, layers, 0) for name, v in each[3].items()}
    return ([args] if len(args) > 1 else args), kwargs


def _inner(item, value, layers, depth):
    """A keyword argument: its tensors and constants."""
    if depth > _DEPTH:
        raise item.error("the arguments of a call are nested too deeply")
    if not isinstance(value, list):
        return value
    if len(value) >= 3 and value[0] == "_CONSTANT_VALUE":
        return value[2]
    ref = _reference(value)
    if ref is not None and ref.layer in layers:
        return ref
    return [_inner(item, each, layers, depth + 1) for each in value]
