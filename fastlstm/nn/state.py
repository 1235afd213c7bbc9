# SPDX-License-Identifier: MIT
"""load_state_dict, in torch's words: all of a module's tree, or nothing."""

from collections.abc import Mapping

import numpy as np

from .array import Parameter, plain, wrap


def load(root, given, strict):
    """Gives a module and all below it the arrays of `given`; (missing, unexpected) names."""
    if not isinstance(given, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(given)}.")
    missing, unexpected, problems, made = [], [], [], {}
    _collect(root, "", given, missing, unexpected, problems, made)
    if strict:
        lines = [("Missing", missing), ("Unexpected", unexpected)]
        problems[:0] = [
            f"{what} key(s) in state_dict: " + ", ".join(f'"{n}"' for n in names) + ". "
            for what, names in lines
            if names
        ]
    if problems:
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(root).__name__}:\n\t" + "\n\t".join(problems)
        )
    for module in root.modules():  # a weight that several modules share stays shared
        for held in (module._parameters, module._buffers):
            for name, old in held.items():
                if id(old) in made:
                    held[name] = made[id(old)][1]
        module._changed()
    return missing, unexpected


def _collect(module, prefix, given, missing, unexpected, problems, made):
    """made: {id(an array of the module): (that array, its successor)}."""
    own = {k: v for k, v in module._parameters.items() if v is not None}
    own |= {
        k: v
        for k, v in module._buffers.items()
        if v is not None and k not in module._non_persistent_buffers_set
    }
    for name, old in own.items():
        key = prefix + name
        if key not in given:
            missing.append(key)
            continue
        new = _successor(key, old, given[key], problems)
        if new is not None:
            made[id(old)] = old, new
    for key in given:
        if not isinstance(key, str) or not key.startswith(prefix):
            continue
        first, dot, _ = key[len(prefix) :].partition(".")
        if first not in (module._modules if dot else own):
            unexpected.append(key)
    for name, child in module._modules.items():
        if child is not None:
            start = f"{prefix}{name}."
            inner = {k: v for k, v in given.items() if isinstance(k, str) and k.startswith(start)}
            _collect(child, start, inner, missing, unexpected, problems, made)


def _successor(key, old, value, problems):
    """A copy of `value` of the type of the array `old`, or None and a problem in words."""
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        problems.append(
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
            f"object from checkpoint but received {type(value)}"
        )
        return None
    array = plain(value)
    if old.ndim == 0 and array.shape == (1,):
        array = array[0]
    if array.shape != old.shape:
        shapes = (", ".join(map(str, shape)) for shape in (array.shape, old.shape))
        theirs, ours = (f"torch.Size([{sizes}])" for sizes in shapes)
        problems.append(
            f"size mismatch for {key}: copying a param with shape {theirs} from checkpoint, "
            f"the shape in current model is {ours}."
        )
        return None
    if isinstance(old, Parameter):
        return Parameter(array.astype(old.dtype, copy=False), old.requires_grad)
    return wrap(np.array(array, old.dtype, order="C"))
