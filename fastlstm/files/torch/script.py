# SPDX-License-Identifier: MIT
"""TorchScript archives (`torch.jit.save`): the tensors of the module.

A zip archive with one folder at the top:
    <root>/data.pkl        the module, a pickle: objects of classes named `__torch__...`
    <root>/constants.pkl   a pickled tuple of what the code uses as constants
    <root>/data/<key>, <root>/constants/<key>   the storages of the two
    <root>/code/...        the module's code, which is text here and never run; the classes are only
                           names. A frozen module's tensors are constants, and its code alone says
                           which of them are a layer's (frozen.py)

PyTorch does not specify the format; this is what torch/csrc/jit/serialization writes.
"""

from ..contents import DEQUANTISED, Contents
from ..flatten import Found, flatten
from ..pickle_machine import MAX_PICKLE
from ..pickle_tree import DICT, TUPLE, Global, Node
from ..source import show
from ..stored_zip import directory, is_zip
from . import frozen
from .packed import PACKED_ALLOWED, Objects, numbers, storages, with_layers
from .rebuild import Tensor
from .zip import Storages, arrays_of, byte_order

_LISTS = ("intlist", "doublelist", "boollist", "tensorlist", "complexlist")


def _first(run, args):
    """What build_intlist(list) and its like, and restore_type_tag(value, type), give: the first
    argument."""
    if not 1 <= len(args) <= 2:
        raise run.error(f"{len(args)} arguments, 1 or 2 are due")
    return args[0]


_ALLOWED = (
    PACKED_ALLOWED
    | {f"torch.jit._pickle.build_{name}": _first for name in _LISTS}
    | {"torch.jit._pickle.restore_type_tag": _first}
)


_MAX_CODE = 8 << 20  # bytes of code that is searched; a module of 1,000 layers has about 1 MiB


class _Script(Objects):
    """Runs TorchScript's pickles. An object becomes a DICT of its attributes; one whose state is
    not a dict gets the attribute "state"; named tuples and enums become tuples."""

    def call(self, function, args):
        if _is_class(function):  # a named tuple's class, or an enum's
            self.charge(144 + 8 * len(args))
            return Node(TUPLE, list(args))
        return super().call(function, args)

    def new(self, cls, args):
        if not _is_class(cls):
            return super().new(cls, args)
        if args:
            raise self.error("an object made from arguments")
        self.charge(144)
        return Node(DICT, [])

    def build(self, state, target):
        if target.__class__ is Node and target.type_name is DICT and not target.items:
            plain = state.__class__ is Node and state.type_name is DICT
            self.extend((DICT,), list(state.items) if plain else ["state", state])
        else:
            super().build(state, target)


def _is_class(value):
    """Whether a value of the pickle is the name of a class of the archive's code."""
    return value.__class__ is Global and value.name.startswith("__torch__")


def _root(source):
    """The archive's top folder if it is TorchScript's: exactly one folder holds data.pkl, and
    beside it constants.pkl or code. None if not."""
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
    """(the value of <root>/<part>.pkl, Found of it, its Interpreter). part: "data" or
    "constants"."""
    record = f"record {show(f'{root}/{part}.pkl')}"
    pickle = archive.read(archive.entries[f"{root}/{part}.pkl"], MAX_PICKLE)
    run = _Script(pickle, record, source, _ALLOWED, storages(archive, f"{root}/{part}"))
    value = run.run()
    return value, flatten(value, Tensor, run), run


def _code(archive, root):
    """The module's code, as text, one file after the other; at most _MAX_CODE bytes."""
    found, left = [], _MAX_CODE
    for name, entry in archive.entries.items():
        if name.startswith(f"{root}/code/") and name.endswith(".py") and entry.size <= left:
            left -= entry.size
            found.append(archive.read(entry, _MAX_CODE).decode("utf-8", "replace"))
    return "\n".join(found)


def read(source, options=None):
    """Contents: the module's tensors under the names of attributes that lead to them, joined with
    dots; those of the constants as `constants.<n>`; quantised ones as float32."""
    archive, root = directory(source), _root(source)
    archive.check(may_deflate=lambda name: not name.endswith(".pkl") and "/code/" in name)
    order, module, leaves = byte_order(archive, root), None, 0
    contents = Contents({}, {}, source=source, per_byte=DEQUANTISED)
    for part, before in (("data", ""), ("constants", "constants.")):
        if f"{root}/{part}.pkl" in archive.entries:
            value, found, run = _values(source, archive, root, part)
            known, place = Storages(archive, order), f"record '{part}.pkl'"
            arrays = numbers(
                found.tensors, run, lambda t, k=known, p=place: arrays_of(t, k, source, p), contents
            )
            contents.arrays |= {before + name: array for name, array in arrays.items()}
            contents.unread |= {before + name: why for name, why in found.unread.items()}
            contents.opaque |= {before + name: what for name, what in found.opaque.items()}
            leaves += run.leaves
            module = value if part == "data" else module
    refusal = Found(contents.arrays, contents.unread, contents.opaque).refusal(leaves)
    if refusal:
        raise source.error("file", refusal)
    constants = {
        int(name.removeprefix("constants.")): array
        for name, array in contents.arrays.items()
        if name.startswith("constants.") and name[10:].isdecimal() and len(name) < 17
    }
    with_layers(contents, module, options)
    if constants:
        for name, layer, weights in frozen.layers(_code(archive, root), constants):
            contents.add(name, layer, weights)  # a constant may be of many layers
    return contents
