# SPDX-License-Identifier: MIT
"""Sequential, ModuleList, ModuleDict, ParameterList and ParameterDict, torch.nn's."""

import itertools
import operator
from collections.abc import Iterable, Mapping

import numpy as np

from .array import Parameter
from .module import Module


def _key_at(keys, index):
    size = len(keys)
    index = operator.index(index)
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of range")
    return keys[index]


class Sequential(Module):
    """Modules that are called one after the other: Sequential(a, b), or Sequential(OrderedDict)."""

    def __init__(self, *args):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for key, module in args[0].items():
                self.add_module(key, module)
        else:
            for i, module in enumerate(args):
                self.add_module(str(i), module)

    def forward(self, input):
        for module in self._modules.values():
            input = module(input)
        return input

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(dict(list(self._modules.items())[index]))
        return self._modules[_key_at(list(self._modules), index)]

    def __setitem__(self, index, module):
        setattr(self, _key_at(list(self._modules), index), module)

    def __delitem__(self, index):
        keys = list(self._modules)
        for key in keys[index] if isinstance(index, slice) else [_key_at(keys, index)]:
            del self._modules[key]
        self.__dict__["_modules"] = {str(i): m for i, m in enumerate(self._modules.values())}

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(list(self._modules.values()))

    def _only_sequential(self, other):
        if not isinstance(other, Sequential):
            raise ValueError(
                "add operator supports only objects of Sequential class, but "
                f"{type(other)} is given."
            )

    def __add__(self, other):
        self._only_sequential(other)
        return Sequential(*self, *other)

    def __iadd__(self, other):
        self._only_sequential(other)
        return self.extend(other)

    def __mul__(self, other):
        if not isinstance(other, int):
            raise TypeError(f"unsupported operand type(s) for *: {type(self)} and {type(other)}")
        if other <= 0:
            raise ValueError(f"Non-positive multiplication factor {other} for {type(self)}")
        return Sequential(*list(self) * other)

    __rmul__ = __mul__

    def append(self, module):
        self.add_module(str(len(self)), module)
        return self

    def insert(self, index, module):
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        modules = list(self)
        if not -len(modules) <= index <= len(modules):
            raise IndexError(f"Index out of range: {index}")
        modules.insert(index, module)
        self.__dict__["_modules"] = {str(i): m for i, m in enumerate(modules)}
        return self

    def extend(self, sequential):
        for module in list(sequential):
            self.append(module)
        return self

    def pop(self, key):
        found = self[key]
        del self[key]
        return found


class ModuleList(Module):
    """A list of modules, whose names are their places."""

    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(list(self._modules.values())[index])
        return self._modules[_key_at(list(self._modules), index)]

    def __setitem__(self, index, module):
        setattr(self, _key_at(list(self._modules), index), module)

    def __delitem__(self, index):
        modules = list(self)
        del modules[index]
        self._replace(modules)

    def _replace(self, modules):
        self.__dict__["_modules"] = {str(i): m for i, m in enumerate(modules)}

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(list(self._modules.values()))

    def __iadd__(self, modules):
        return self.extend(modules)

    def __add__(self, other):
        return ModuleList(itertools.chain(self, other))

    def append(self, module):
        self.add_module(str(len(self)), module)
        return self

    def insert(self, index, module):
        modules = list(self)
        modules.insert(index, module)
        self._replace(modules)

    def extend(self, modules):
        if not isinstance(modules, Iterable):
            raise TypeError(
                "ModuleList.extend should be called with an iterable, but got "
                + type(modules).__name__
            )
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, key):
        found = self[key]
        del self[key]
        return found

    def __repr__(self):
        """Modules with the same text that follow one another take one line."""
        if not len(self):
            return self._get_name() + "()"
        runs = []
        for i, text in enumerate(map(repr, self)):
            if runs and runs[-1][1] == text:
                runs[-1][2] = i
            else:
                runs.append([i, text, i])
        lines = []
        for first, text, last in runs:
            place, text = f"({first})", text.replace("\n", "\n  ")
            if last > first:
                place, text = f"({first}-{last})", f"{last - first + 1} x {text}"
            lines.append(f"\n  {place}: {text}")
        return f"{self._get_name()}({''.join(lines)}\n)"


class _Dict(Module):
    """What the two dicts of this file share. `_held` names the Module's dict that they show."""

    def __init__(self, given=None):
        super().__init__()
        if given is not None:
            self.update(given)

    def __getitem__(self, key):
        return self.__dict__[self._held][key]

    def __delitem__(self, key):
        del self.__dict__[self._held][key]

    def __len__(self):
        return len(self.__dict__[self._held])

    def __iter__(self):
        return iter(self.__dict__[self._held])

    def __contains__(self, key):
        return key in self.__dict__[self._held]

    def clear(self):
        self.__dict__[self._held].clear()

    def pop(self, key):
        return self.__dict__[self._held].pop(key)

    def keys(self):
        return self.__dict__[self._held].keys()

    def items(self):
        return self.__dict__[self._held].items()

    def values(self):
        return self.__dict__[self._held].values()

    def update(self, given):
        if not isinstance(given, Iterable):
            raise TypeError(
                f"{type(self).__name__}.update should be called with an iterable of key/value "
                f"pairs, but got {type(given).__name__}"
            )
        pairs = given.items() if hasattr(given, "items") else given
        for key, value in pairs:
            self[key] = value


class ModuleDict(_Dict):
    """A dict of modules."""

    _held = "_modules"

    def __init__(self, modules=None):
        super().__init__(modules)

    def __setitem__(self, key, module):
        self.add_module(key, module)


class ParameterList(Module):
    """A list of Parameters."""

    def __init__(self, values=None):
        super().__init__()
        if values is not None:
            self.extend(values)

    def __len__(self):
        return len(self._parameters)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._parameters[_key_at(list(self._parameters), index)]

    def __setitem__(self, index, value):
        setattr(self, _key_at(list(self._parameters), index), _parameter(value))

    def __iter__(self):
        return iter(list(self._parameters.values()))

    def append(self, value):
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values):
        if not isinstance(values, Iterable):
            raise TypeError(
                "ParameterList.extend should be called with an iterable, but got "
                + type(values).__name__
            )
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self):
        return _lines((f"({i})", p) for i, p in enumerate(self))

    def __call__(self, *args, **kwargs):
        raise RuntimeError("ParameterList should not be called.")


class ParameterDict(_Dict):
    """A dict of Parameters."""

    _held = "_parameters"

    def __init__(self, parameters=None):
        super().__init__(parameters)

    def __setitem__(self, key, value):
        self._parameters[key] = _parameter(value)

    def extra_repr(self):
        return _lines((f"({key})", p) for key, p in self.items())

    def __call__(self, *args, **kwargs):
        raise RuntimeError("ParameterDict should not be called.")


def _parameter(value):
    return value if isinstance(value, Parameter) else Parameter(np.asarray(value))


def _lines(pairs):
    texts = []
    for name, p in pairs:
        size = "x".join(map(str, p.shape))
        texts.append(f"  {name}: Parameter containing: [torch.float32 of size {size}]")
    return "\n".join(texts)
