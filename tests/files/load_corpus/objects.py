# SPDX-License-Identifier: MIT
"""Checkpoints whose one tensor is sound and beside which pickles of every kind stand: attacks,
objects made in every way, and opcodes of every protocol. All of them are to be read. And bombs.

Opcodes are written as in pickles.py; i INST, o OBJ, l LIST, d DICT, p PUT, g GET, 1 POP_MARK,
2 DUP, and \\x82 EXT1. Nothing here imports torch: so an audit hook would see a reader import it.
"""

import struct

from .build import (
    ORDERED,
    call,
    checkpoint,
    dict_of,
    name_of,
    number,
    storage,
    tensor,
    text,
    tuple_of,
)

# {name: opcodes} that would run or import something in Python's pickle.
ATTACKS = {
    "os-system": b"cos\nsystem\n" + tuple_of(text("touch pwned")) + b"R",
    "posix-system": b"cposix\nsystem\n" + tuple_of(text("touch pwned")) + b"R",
    "eval": b"cbuiltins\neval\n" + tuple_of(text("1/0")) + b"R",
    "exec-old": b"c__builtin__\nexec\n" + tuple_of(text("1/0")) + b"R",
    "getattr": b"cbuiltins\ngetattr\n" + tuple_of(text("a"), text("b")) + b"R",
    "import": b"cbuiltins\n__import__\n" + tuple_of(text("os")) + b"R",
    "subprocess": b"csubprocess\nPopen\n" + tuple_of(text("true")) + b"R",
    "torch-load": b"ctorch.serialization\nload\n" + tuple_of(text("x")) + b"R",
    "torch-hub": b"ctorch.hub\nload\n" + tuple_of(text("x")) + b"R",
    "numpy-load": b"cnumpy\nload\n" + tuple_of(text("x")) + b"R",
    "runstring": b"cnumpy.testing._private.utils\nrunstring\n" + tuple_of(text("1"), b"}") + b"R",
    "stack-global": text("os") + text("system") + b"\x93" + tuple_of(text("true")) + b"R",
    "dotted": text("collections") + text("OrderedDict.__init__") + b"\x93",
    "operator": b"coperator\nattrgetter\n" + tuple_of(text("a")) + b"R",
    "functools": b"cfunctools\npartial\n)R",
    "namespace": b"cargparse\nNamespace\n)\x81}b",
}

_NAME = name_of("m.C")
# {name: opcodes}: every way in which a pickle makes or changes an object that is not known.
_OBJECTS = {
    "reduce": _NAME + b")R",
    "reduce-of-object": call("functools.partial", _NAME) + tuple_of(text("x")) + b"R",
    "reduce-of-method": call("builtins.getattr", _NAME, text("f")) + b")R",
    "newobj": _NAME + b")\x81",
    "newobj-arguments": _NAME + tuple_of(b"]", tensor()) + b"\x81",
    "newobj-ex": _NAME + b")" + dict_of(a=b"K\1") + b"\x92",
    "newobj-ordered": name_of("collections.OrderedDict") + b")\x81",
    "inst": b"(ios\nsystem\n",
    "inst-arguments": b"(" + text("true") + b"ios\nsystem\n",
    "obj": b"(" + _NAME + b"o",
    "obj-arguments": b"(" + name_of("os.system") + text("true") + b"o",
    "ext1": b"\x82\x01", "ext2": b"\x83\x01\x00", "ext4": b"\x84\x01\x00\x00\x00",
    "ext-called": b"\x82\x01)R",
    "build": _NAME + b")\x81" + dict_of(__class__=name_of("os.system")) + b"b",
    "build-slots": _NAME + b")\x81" + tuple_of(b"N", dict_of(a=b"K\1")) + b"b",
    "build-again": _NAME + b")\x81" + b"}b" * 9,
    "build-on-tensor": tensor() + b"}b" + b"0N",
    "setstate-call": _NAME + b")R" + call("m.setstate", b"N", b"}") + b"0",
    "unicode-name": "c\u043c\u043e\u0434\u0443\u043b\u044c\n\u043a\n".encode() + b")R",
    "escape": text("\x1b[2J") + text("\n\u202e") + b"\x93)R",
    "lambda": b"c__main__\n<lambda>\n",
    "additems": _NAME + b")R(K\1\x90",
    "holds-itself": _NAME + b")\x81\x94" + b"}" + text("me") + b"h\0sb",
    "whole-module": b"ctorch.nn.modules.rnn\nLSTM\n)\x81" + dict_of(_parameters=dict_of(x=tensor()))
    + b"b",
    "reconstructor": call("copy_reg._reconstructor", _NAME, name_of("__builtin__.object"), b"N"),
    "reconstructor-dict": call("copy_reg._reconstructor", _NAME, name_of("__builtin__.dict"),
                               dict_of(a=_NAME + b")R")),
    "key-object": b"}" + _NAME + b")R" + b"Ns", "key-global": b"}" + _NAME + b"Ns",
    "key-tensor": b"}" + tensor() + b"Ns", "key-set": b"}\x8fNs",
    "key-tuple": b"}" + tuple_of(tuple_of(b"N"), b"]") + b"Ns",
    "key-long-tuple": b"}" + tuple_of(b"N" * 33) + b"Ns",
    "module-id": tuple_of(text("module"), _NAME, text("f.py"), text("class C")) + b"Q)\x81",
    "quantised": call("torch._utils._rebuild_qtensor", b"N"),
    "sparse": call("torch._utils._rebuild_sparse_tensor"),
    "from-type": call("torch._tensor._rebuild_from_type_v2", name_of("os.system"), _NAME,
                      tuple_of(text("true")), b"}"),
    "from-type-itself": call(
        "torch._tensor._rebuild_from_type_v2", name_of("torch._tensor._rebuild_from_type_v2"),
        _NAME, b")", b"}"),
    "parameter-of-object": call("torch._utils._rebuild_parameter", _NAME + b")R", b"\x89", ORDERED),
    "expanded": tensor(size=(5,), stride=(0,)),
    "expanded-far": tensor(size=(1 << 40, 1 << 40), stride=(0, 0)),
    "expanded-63": tensor(size=(2,) * 63, stride=(0,) * 63),
    "conjugated": tensor(tail=(b"\x89", ORDERED, dict_of(conj=b"\x88"))),
}  # fmt: skip

# {name: opcodes} that only old picklers write, or only for values that contain themselves.
_OPCODES = {
    "dup": b"N20", "pop-mark": b"N(NN1", "pop-of-a-mark": b"N(0",
    "int": b"I1\n", "true": b"I01\n", "false": b"I00\n", "int-negative": b"I-12\n",
    "long": b"L-123456789012345678901L\n", "long-plain": b"L1\n", "float": b"F1.5\n",
    "float-nan": b"Fnan\n", "string": b"S'a'\n", "string-quotes": b"S\"it's\"\n",
    "string-escapes": b"S'\\xff\\q'\n", "unicode": b"Va\\u00e9\n", "unicode-empty": b"V\n",
    "binstring": b"T\1\0\0\0a", "short-binstring": b"U\1a", "binstring-bytes": b"U\2\xff\xfe",
    "list": b"(K\1K\2l", "dict": b"(" + text("a") + b"K\1d",
    "put": b"Np0\n", "get": b"]p0\n0(g0\nt",
    "self-list": b"]q\0h\0a", "self-dict": b"}q\0" + text("a") + b"h\0s",
    "self-pair": b"]\x94]\x94h\0aa", "self-ordered": ORDERED + b"\x94" + text("a") + b"h\0s",
}  # fmt: skip


def made_cases():
    """(name, file): checkpoints of the tensor w, [1, 2, 3, 4], with opcodes beside it."""
    for name, body in (ATTACKS | _OBJECTS | _OPCODES).items():
        yield name, checkpoint(dict_of(beside=body, w=tensor()))


def bombs():
    """(name, file): objects that ask for much time, memory or depth; they are read or refused."""
    one = _NAME + b"\x94)\x94"  # memo 0 is the class, memo 1 its arguments
    made = _NAME + b")\x81"
    w = text("w") + tensor() + b"s"

    def file(body, after=b""):
        return checkpoint(b"}" + text("b") + body + b"s" + w + after)

    yield "build", file(made + b"}b" * 400_000)
    state = b"](" + b"N" * 1000 + b"e\x94"
    yield "build-one-state", file(state + b"0" + made + b"h\0b" * 400_000)
    yield "build-nested", file(b"".join(made + b"}" + text("a") for _ in range(3000))
                               + b"N" + b"sb" * 3000)  # fmt: skip
    yield "reduce-chain", file(_NAME + b")R" * 400_000)
    yield "reduce-arguments", file(_NAME + b"\x940" + b"h\0" * 90_000 + b"N" + b"\x85R" * 90_000)
    yield (
        "reduce-of-partial",
        file(call("functools.partial", _NAME) + b"\x94)R" + b"0h\0)R" * 150_000),
    )
    yield "newobj-wide", file(one + b"00](" + b"h\0h\1\x81" * 200_000 + b"e")
    yield "newobj-dicts", file(one + b"00](" + b"h\0h\1\x81NNs" * 100_000 + b"e")
    yield "inst-wide", file(b"](" + b"(im\nC\n" * 100_000 + b"e")
    yield "globals", file(b"](" + (b"c" + b"m" * 200 + b"\n" + b"n" * 200 + b"\n") * 20_000 + b"e")
    yield "globals-wide", file(b"](" + ("c" + "\U0001f600" * 60 + "\nn\n").encode() * 40_000 + b"e")
    yield "extensions", file(b"](" + b"\x82\1" * 300_000 + b"e")
    cycle = b"]\x94" + b"".join(b"]\x94h\0a" for _ in range(90)) + b"a" * 90
    yield "cycle", file(cycle)
    yield "cycles-wide", file(b"]\x94(" + b"h\0" * 900_000 + b"e")
    ring = b"]\x94" * 60 + b"0" * 59
    ring += b"".join(b"h%ch%ca0" % (n, (n + 1) % 60) for n in range(60))
    yield "ring", file(b"N" + ring + b"0")
    web = b"".join(b"h%c(" % n + b"".join(b"h%c" % m for m in range(40)) + b"e0" for n in range(40))
    yield "web", file(b"N" + b"]\x940" * 40 + web)
    doubling = one[:-2] + b")R\x94" + b"".join(b"0](h%ch%ce\x94" % (n, n) for n in range(1, 60))
    yield "laughs", file(doubling)
    long = b"".join(b"}" + text(f"{n}" * 1000) for n in range(10, 90)) + made + b"s" * 80
    yield "names-long", file(b"](" + long * 20 + b"e")
    wide = b"}" + text("\U0001f600" * 3000) + b"](" + made * 3000 + b"es"
    yield "names-wide", file(wide)
    keys = tuple_of(*(text("k" * 4000) for _ in range(32))) + b"\x94"
    yield "keys", file(b"N0" + keys + b"0}(" + (b"h\0" + made) * 50_000 + b"u")
    prime = (1 << 61) - 1  # CPython's modulus for hashes of ints: multiples of it have the hash 0
    yield "keys-colliding", file(made + b"(" + b"".join(
        number(n * prime) + b"N" for n in range(1, 60_000)) + b"u")  # fmt: skip
    unread = call("torch._utils._rebuild_qtensor") + b"\x94"
    yield "unread", file(unread + b"0](" + b"h\0" * 90_000 + b"e")
    yield "unread-laughs", file(unread + b"".join(b"0](h%ch%ce\x94" % (n, n) for n in range(60)))
    yield "numbers", file(b"](" + (b"I" + b"9" * 600 + b"\n") * 30_000 + b"e")
    yield "floats", file(b"](" + (b"F" + b"9" * 600 + b"\n") * 30_000 + b"e")
    yield "unicode", file(b"](" + (b"V" + b"\\U0001f600" * 20 + b"\n") * 30_000 + b"e")
    yield "strings", file(b"](" + b"S'" + b"a" * (20 << 20) + b"'\n" + b"e")
    yield "dups", file(b"](" + b"N" + b"2" * 900_000 + b"e")
    pairs = tuple_of(*[tuple_of(b"N", b"N")] * 30_000)
    yield "ordered-pairs", file(call("collections.OrderedDict", b"](" + b"NN\x86" * 100_000 + b"e")
                                + b"0" + pairs)  # fmt: skip
    pad = b"B" + struct.pack("<I", 2 << 20) + bytes(2 << 20)
    yield "padded-objects", file(one + b"00](" + pad + b"h\0h\1\x81" * 200_000 + b"e")
    yield "padded-named", file(b"](" + pad + b"".join(
        b"c%d\nC\n)\x81" % n for n in range(100_000)) + b"e")  # fmt: skip
    quantised = storage("torch.QInt8Storage", count=16)
    yield "quantised-storages", file(b"](" + quantised * 5_000 + b"e")
