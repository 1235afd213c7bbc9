# SPDX-License-Identifier: MIT
"""Module: torch.nn.Module for inference.

Attributes that are Parameters, Modules or registered buffers are kept in order under their names.
A call with arrays answers arrays, and inside of it `forward` has Tensors; a call with Tensors
answers Tensors. There are no hooks, no gradients and no training: train() sets the flag alone.
"""

import collections
import itertools
from typing import ClassVar, NamedTuple

import numpy as np

from . import quantize as few_bits
from . import state
from .array import Parameter, Tensor, float32, held_dtype, lock, plain, wrap
from .device import check_device

# What a module does not have is refused by name: it would be left out in silence otherwise.
_REFUSED = {
    "register_forward_hook": "hooks", "register_forward_pre_hook": "hooks",
    "register_full_backward_hook": "hooks", "register_backward_hook": "hooks",
    "half": "float16", "double": "float64", "bfloat16": "bfloat16", "cuda": "a device but the CPU",
}  # fmt: skip


class IncompatibleKeys(NamedTuple):
    missing_keys: list
    unexpected_keys: list

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, " \
               f"unexpected_keys={self.unexpected_keys})"  # fmt: skip

    __str__ = __repr__


class Module:
    """A model, or a part of one: subclasses define forward."""

    training: bool

    def __init__(self, *args, **kwargs):
        if args or kwargs:
            what = f"got an unexpected keyword argument '{next(iter(kwargs))}'" if kwargs else (
                f"takes 1 positional argument but {len(args) + 1} were given"
            )  # fmt: skip
            raise TypeError(f"{type(self).__name__}.__init__() {what}")
        object.__setattr__(self, "training", True)
        for name in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_non_persistent_buffers_set", set())

    def forward(self, *input):
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args, **kwargs):
        for arg in args:
            if isinstance(arg, Tensor):
                return self.forward(*args, **kwargs)
        if len(args) == 1 and not kwargs and type(args[0]) is np.ndarray:
            y = self.forward(_tensors(args[0]))
            return _view(y, np.ndarray) if type(y) is Tensor else _arrays(y)
        if not (_has_array(args) or _has_array(kwargs.values())):
            return self.forward(*args, **kwargs)
        kwargs = {k: _tensors(v) for k, v in kwargs.items()} if kwargs else kwargs
        return _arrays(self.forward(*map(_tensors, args), **kwargs))

    # ---- attributes ----

    def __setattr__(self, name, value):
        own = self.__dict__
        parameters, modules = own.get("_parameters"), own.get("_modules")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, parameters)
            self.register_parameter(name, value)
        elif parameters is not None and name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            if modules is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, modules)
            modules[name] = value
        elif modules is not None and name in modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            modules[name] = None
        elif name in own.get("_buffers", ()):
            if value is not None and not isinstance(value, np.ndarray):
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            own["_buffers"][name] = None if value is None else _tensors(value)
        else:
            object.__setattr__(self, name, value)
        self._changed()

    def _forget(self, name, but):
        """Takes `name` away from all but one of the dicts that may have it."""
        for held in (self.__dict__, self._parameters, self._buffers, self._modules):
            if held is not but:
                held.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _changed(self):
        """A parameter, buffer or another attribute is new: layers pack again at the next call."""

    def __getattr__(self, name):
        own = self.__dict__
        for kind in ("_modules", "_parameters", "_buffers"):
            held = own.get(kind)
            if held is not None and name in held:
                return held[name]
        if name in _REFUSED:
            raise NotImplementedError(f"fastlstm.nn: {name} is not supported: {_REFUSED[name]}")
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name):
        for held in (self._parameters, self._buffers, self._modules):
            if name in held:
                del held[name]
                self._non_persistent_buffers_set.discard(name)
                break
        else:
            object.__delattr__(self, name)
        self._changed()

    def __dir__(self):
        names = [*dir(type(self)), *self.__dict__, *self._parameters, *self._modules,
                 *self._buffers]  # fmt: skip
        return sorted(name for name in names if not name[0].isdigit())

    def _check_name(self, name, what, held):
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {_typename(name)}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if few_bits.taken(self, name) and name not in held:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name, param):
        self._check_name(name, "parameter", self.__dict__.get("_parameters", ()))
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{_typename(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        self._parameters[name] = param
        self._changed()

    def register_buffer(self, name, tensor, persistent=True):
        self._check_name(name, "buffer", self.__dict__.get("_buffers", ()))
        if tensor is not None and not isinstance(tensor, np.ndarray):
            raise TypeError(
                f"cannot assign '{_typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = None if tensor is None else _tensors(tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)
        self._changed()

    def add_module(self, name, module):
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_typename(module)} is not a Module subclass")
        if not isinstance(name, str):
            raise TypeError(f"module name should be a string. Got {_typename(name)}")
        if few_bits.taken(self, name) and name not in self._modules:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'module name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError('module name can\'t be empty string ""')
        self._modules[name] = module

    register_module = add_module

    # ---- what there is ----

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                inner = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, inner, remove_duplicate)

    def modules(self):
        return (module for _, module in self.named_modules())

    def named_children(self):
        seen = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self):
        return (module for _, module in self.named_children())

    def _named(self, kind, prefix, recurse, remove_duplicate):
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for start, module in modules if recurse else [(prefix, self)]:
            for name, value in getattr(module, kind).items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield f"{start}.{name}" if start else name, value

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        return (value for _, value in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        return (value for _, value in self.named_buffers(recurse=recurse))

    def get_submodule(self, target):
        module = self
        for item in target.split(".") if target else ():
            if not hasattr(module, item):
                raise AttributeError(f"{module._get_name()} has no attribute `{item}`")
            module = getattr(module, item)
            if not isinstance(module, Module):
                raise AttributeError(f"`{item}` is not an nn.Module")
        return module

    def get_parameter(self, target):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        found = getattr(module, name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def apply(self, fn):
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # ---- weights ----

    def state_dict(self, *, destination=None, prefix="", keep_vars=False):
        """{name: array} of all parameters and persistent buffers, in torch's order: the arrays
        themselves, not copies."""
        found = collections.OrderedDict() if destination is None else destination
        for name, value in itertools.chain(self._parameters.items(), self._buffers.items()):
            if value is not None and name not in self._non_persistent_buffers_set:
                found[prefix + name] = value if keep_vars else wrap(value.numpy())
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=found, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return found

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Takes copies of the arrays (or torch tensors) of `state_dict`. Answers (missing_keys,
        unexpected_keys). RuntimeError in torch's words if a shape differs, or when strict and the
        names differ; then nothing has changed."""
        if self._few:
            name, (kind, *_) = self._get_name(), self._few.values()
            raise TypeError(f"load_state_dict: this {name} is {kind}: load into the module that "
                            "it was made of, then quantize that")  # fmt: skip
        made = state.load(self, state_dict, strict)
        return IncompatibleKeys(*made)

    _few: ClassVar = {}  # of a quantized module, in itself: dtype and inputs, or precision
    _matrices = ()  # the names of the module's own Parameters that `quantize` rounds
    quantize, error = few_bits.Lent(few_bits.quantize), few_bits.Lent(few_bits.error)

    # ---- settings ----

    def train(self, mode=True):
        """Sets the flag `training`; calls stay those of inference."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        object.__setattr__(self, "training", mode)
        for module in self.children():
            module.train(mode)
        return self

    def eval(self):
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        return self

    def zero_grad(self, set_to_none=True):
        return None

    def to(self, *args, dtype=None, device=None, **ignored):
        """Itself: RuntimeError or TypeError for a device but the CPU or a dtype but float32."""
        for arg in (*args, device):
            if isinstance(arg, (type, np.dtype)):
                dtype = arg
            elif arg is not None and not isinstance(arg, (bool, np.ndarray)):
                check_device(arg)
        if dtype is not None and held_dtype(dtype) != float32:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={np.dtype(dtype)}"
            )
        return self

    def float(self):
        return self

    def cpu(self):
        return self

    def share_memory(self):
        return self

    # ---- text ----

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        extra = extra.split("\n") if extra else []
        if self._few and self._matrices:
            extra[-1:] = [", ".join([*extra[-1:], "{}={}".format(*next(iter(self._few.items())))])]
        children = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        if len(extra) == 1 and not children:
            return f"{self._get_name()}({extra[0]})"
        lines = "".join(f"\n  {line}" for line in extra + children)
        return f"{self._get_name()}({lines}" + ("\n" if lines else "") + ")"

    def __setstate__(self, state):
        self.__dict__.update(state)


class Layer(Module):
    """A module of this package whose weights are packed for its calls.

    A subclass has `_pack(ndim)`, which makes the compute.Packed for inputs of that many axes, and
    `_check(x)`, which refuses in torch's words what does not fit. Packed are kept until an
    attribute changes; Parameters that are packed are read-only.
    """

    def _changed(self):
        self.__dict__["_ready"] = {}

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "_ready"}

    def __setstate__(self, state):
        self.__dict__.update(state, _ready={})

    def forward(self, input):
        run = self._ready.get(input.ndim)
        if run is not None:
            try:
                return _view(run([input], 0)[0], Tensor)
            except (ValueError, BufferError):
                pass  # of another type, or layout, or shape: below
        x = wrap(np.ascontiguousarray(plain(input), float32).reshape(np.shape(input)))
        self._check(x)
        return self._packed(x.ndim)(x)

    def _packed(self, ndim):
        ready = self._ready  # a weight that another thread assigns meanwhile makes a new one
        made = self._pack(ndim)
        for held in (self._parameters, self._buffers):
            for array in held.values():
                if array is not None:
                    lock(array)
        ready[ndim] = made.run
        return made

    def _check(self, x):
        """RuntimeError in torch's words if x, float32, does not fit."""


_view = np.ndarray.view


def _has_array(values):
    for v in values:
        if isinstance(v, np.ndarray) or (type(v) in (tuple, list) and _has_array(v)):
            return True
    return False


def _tensors(value):
    """Plain arrays as Tensors, also those in tuples and lists."""
    if type(value) is np.ndarray:
        return _view(value if value.dtype is float32 else plain(value), Tensor)
    if type(value) in (tuple, list):
        return type(value)(map(_tensors, value))
    return value


def _arrays(value):
    """Tensors as plain arrays, also those in tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return _view(value, np.ndarray)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_arrays, value))
    if type(value) in (tuple, list):
        return type(value)(map(_arrays, value))
    return {k: _arrays(v) for k, v in value.items()} if type(value) is dict else value


def _typename(value):
    kind = value if isinstance(value, type) else type(value)
    if isinstance(value, Tensor):
        return "torch.FloatTensor"
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
