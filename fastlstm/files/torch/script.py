# SPDX-License-Identifier: MIT
"""TorchScript archives (`torch.jit.save`): the tensors of the module; its code is never looked at.

<root>/data.pkl        the module: objects of classes named `__torch__...`, only names here
<root>/constants.pkl   a tuple of what the code uses as constants
<root>/data/<key>, <root>/constants/<key>   storages
"""

from typing import ClassVar

from .. import inert_pickle
from ..flatten import flatten
from ..inert_pickle import DICT, TUPLE, Global, Interpreter, Node, Opaque
from ..source import show
from ..stored_zip import directory, is_zip
from .zip import ALLOWED, Storages, Tensor, arrays_of, byte_order, storages_in

_LISTS = ("intlist", "doublelist", "boollist", "tensorlist", "complexlist")
_VALUE = Opaque("value")


def _first(run, args):
    """build_intlist([...]) and the like: the list; restore_type_tag(value, type): the value."""
    if not 1 <= len(args) <= 2:
        raise run.error(f"{len(args)} arguments, 1 or 2 are due")
    return args[0]


_ALLOWED = (
    ALLOWED
    | {f"torch.jit._pickle.build_{name}": _first for name in _LISTS}
    | {"torch.jit._pickle.restore_type_tag": _first}
)


class _Script(Interpreter):
    """Objects become dicts of their attributes."""

    table: ClassVar = list(inert_pickle.TABLE)

    def _global(self, module, name):
        if module.startswith("__torch__"):
            self.charge(128 + len(module) + len(name))
            self.stack.append(Global(f"{module}.{name}"))
        else:
            super()._global(module, name)

    def call(self, function, args):
        if function.name.startswith("__torch__"):  # a named tuple, or an enum
            self.charge(144 + 8 * len(args))
            return Node(TUPLE, list(args))
        return super().call(function, args)

    def op_newobj(self):
        args, cls = self.pop(), self.pop()
        if cls.__class__ is not Global or not cls.name.startswith("__torch__"):
            raise self.error("an object of a class that is not TorchScript's")
        if args.__class__ is not Node or args.items:
            raise self.error("an object made from arguments")
        self.container(DICT, [])

    def op_build(self):
        state, target = self.pop(), self.top()
        if target.__class__ is Node and target.kind is DICT and not target.items:
            plain = state.__class__ is Node and state.kind is DICT
            self.extend((DICT,), list(state.items) if plain else ["state", state])
        else:
            self.stack.append(state)
            super().op_build()


_Script.table[0x81] = (_Script.op_newobj, 0)
_Script.table[0x62] = (_Script.op_build, 0)


def _root(source):
    """The one top folder, if the archive holds constants, or code, beside the pickle."""
    names = directory(source).entries if is_zip(source) else ()
    roots = [name.split("/")[0] for name in names if name.endswith("/data.pkl")]
    roots = [root for root in roots if f"{root}/data.pkl" in names]
    if len(roots) != 1:
        return None
    root = roots[0]
    code = any(name.startswith(f"{root}/code/") for name in names)
    return root if code or f"{root}/constants.pkl" in names else None


def is_torchscript(source):
    return _root(source) is not None


def _values(source, archive, root, part):
    """{name: Tensor} of <root>/<part>.pkl."""
    record = f"record {show(f'{root}/{part}.pkl')}"
    pickle = archive.read(archive.entries[f"{root}/{part}.pkl"], inert_pickle.MAX_PICKLE)
    run = _Script(pickle, record, source, _ALLOWED, storages_in(archive, f"{root}/{part}"))
    return flatten(run.run(), Tensor, run)


def read(source, options=None):
    """{name: array}: the module's tensors by attribute, constants as `constants.<n>`."""
    archive, root = directory(source), _root(source)
    archive.check(packed=lambda name: not name.endswith(".pkl") and "/code/" in name)
    order = byte_order(archive, root)
    found = {}
    for part in ("data", "constants"):
        if f"{root}/{part}.pkl" in archive.entries:
            tensors = _values(source, archive, root, part)
            arrays = arrays_of(tensors, Storages(archive, order), source, f"record '{part}.pkl'")
            before = "constants." if part == "constants" else ""
            found |= {before + name: array for name, array in arrays.items()}
    return found
