# SPDX-License-Identifier: MIT
"""Checkpoints whose tensors are sound and beside which values of every kind stand: those that
training programs save, attacks, and opcodes of every protocol. All of them are to be read.

Values of Python are saved by torch itself, in both of its formats. Opcodes are written as in
pickles.py; i INST, o OBJ, l LIST, d DICT, p PUT, g GET, 1 POP_MARK, 2 DUP, and \\x82 EXT1.
"""

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import operator
import pathlib
import random
import struct
import types
import uuid

import numpy as np
import torch

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


class _Colour(enum.Enum):
    RED = 1


class _Flag(enum.IntFlag):
    A = 1


@dataclasses.dataclass
class _Data:
    lr: float = 0.1
    name: str = "x"


class _Attributes(dict):
    """A dict whose items are attributes too, as Lightning keeps hyperparameters."""

    __getattr__ = dict.__getitem__


class _Pair(collections.namedtuple("_Pair", "a b")):
    __slots__ = ()


class _Slots:
    __slots__ = ("a",)

    def __init__(self):
        self.a = 1


class _Ordered(collections.OrderedDict):
    pass


class _Text(str):
    __slots__ = ()


class _Number(float):
    __slots__ = ()


class _List(list):
    pass


class _Set(set):
    pass


class _Tensor(torch.Tensor):
    pass


class _Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.loss = torch.nn.LSTM(2, 3), torch.nn.CrossEntropyLoss()
        self.me = [self]


def _function():
    """Saved by its name."""


def _loop():
    """A tuple in a list in that tuple."""
    inner = []
    inner.append((inner, 1, 2, 3))
    return inner[0]


def _optimizer():
    model = torch.nn.LSTM(2, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 1, 2))[0].sum().backward()
    optimizer.step()
    return optimizer


def unread_tensors():
    """{name: a tensor or array that is left out, as it is of a kind that is not read}."""
    ones = torch.ones(3, 3)
    return {
        "quantised": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8),
        "quantised-int32": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint32),
        "quantised-channels": torch.quantize_per_channel(
            ones, torch.ones(3), torch.zeros(3), 0, torch.quint8
        ),
        "sparse": ones.to_sparse(),
        "sparse-csr": ones.to_sparse_csr(),
        "meta": torch.empty(3, 3, device="meta"),
        "float8": ones.to(torch.float8_e4m3fn),
        "float8-e5m2": ones.to(torch.float8_e5m2),
        "expanded": torch.ones(1, 3).expand(9, 3),
        "conjugated": torch.ones(3, 3, dtype=torch.complex64).conj(),
        "negated": torch.ones(3, 3, dtype=torch.complex64).conj().imag,
        "uninitialized": torch.nn.UninitializedParameter(),
        "nested": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
        "quantised-parameter": torch.nn.Parameter(
            torch.quantize_per_tensor(ones, 0.1, 0, torch.quint8), requires_grad=False
        ),
        "numpy": np.ones((3, 3), np.float32),
    }


def values():
    """{name: a value that stands beside tensors}: all but tensors, and containers of tensors."""
    utc = datetime.UTC
    loss = torch.nn.CrossEntropyLoss(weight=torch.ones(3))
    return {
        "version": torch.__version__,
        "namespace": argparse.Namespace(lr=0.1, layers=[1, 2], inner=argparse.Namespace(a=None)),
        "simple-namespace": types.SimpleNamespace(a=1),
        "path": pathlib.PurePosixPath("/data/x"),
        "windows-path": pathlib.PureWindowsPath("c:/data"),
        "real-path": pathlib.Path("x"),
        "datetime": datetime.datetime(2024, 1, 2, tzinfo=utc),
        "date": datetime.date(2024, 1, 2), "timedelta": datetime.timedelta(3),
        "enum": _Colour.RED, "flag": _Flag.A,
        "dataclass": _Data(), "attributes": _Attributes(lr=0.1, path=pathlib.PurePosixPath("x")),
        "namedtuple": _Pair(1, [2]), "slots": _Slots(), "partial": functools.partial(int, base=2),
        "class": torch.nn.LSTM, "own-class": _Data, "function": _function, "builtin": len,
        "method": _Data().__eq__, "torch-function": torch.relu, "operator": operator.itemgetter(1),
        "module": torch.nn.LSTM(2, 3), "own-module": _Module(), "loss": loss,
        "sequential": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()),
        "optimizer": _optimizer(), "optimizer-state": _optimizer().state_dict()["param_groups"],
        "scheduler": torch.optim.lr_scheduler.StepLR(_optimizer(), 3).state_dict(),
        "defaultdict": collections.defaultdict(list, {"a": [1]}),
        "defaultdict-of-partial": collections.defaultdict(functools.partial(dict, a=1)),
        "deque": collections.deque([1, 2], maxlen=3), "counter": collections.Counter("aab"),
        "ordered": _Ordered(a=1), "chain": collections.ChainMap({"a": 1}, {}),
        "user-dict": collections.UserDict(a=1), "list": _List([1]), "set": {1, _Colour.RED},
        "own-set": _Set([1]), "frozenset": frozenset([pathlib.PurePosixPath("x")]),
        "text": _Text("x"), "number": _Number(1.5), "complex": 1 + 2j, "bytes": b"\0\xff",
        "bytearray": bytearray(b"ab"), "range": range(3), "slice": slice(1, None, 2),
        "ellipsis": ..., "decimal": decimal.Decimal("1.5"), "fraction": fractions.Fraction(1, 3),
        "uuid": uuid.UUID(int=5), "random": random.Random(1), "random-state": random.getstate(),
        "exception": ValueError("x"), "big-int": 1 << 300,
        "size": torch.Size([1, 2]), "device": torch.device("cpu"), "dtype": torch.float16,
        "layout": torch.strided, "loop": _loop(),
        "generator": np.random.default_rng(1), "numpy-random": np.random.RandomState(1),
        "numpy-number": np.float64(1.5), "numpy-bool": np.bool_(True),
        "numpy-dtype": np.dtype("f4"),
        "numpy-time": np.datetime64("2024-01-02"), "numpy-text": np.str_("x"),
        "tuple-key": {("a", 1): 1, (_Colour.RED,): 2}, "enum-key": {_Colour.RED: 1},
        "class-key": {torch.nn.LSTM: 1}, "frozenset-key": {frozenset([1]): 2},
        "path-key": {pathlib.PurePosixPath("x"): 3}, "device-key": {torch.device("cpu"): 1},
        "many": [datetime.date(2024, 1, 1 + n % 28) for n in range(3000)],
    }  # fmt: skip


def saved(value, legacy=False, protocol=2):
    """The file that torch.save makes of `value`."""
    file = io.BytesIO()
    torch.save(
        value, file, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy
    )  # fmt: skip
    return file.getvalue()


def lstm():
    """The layer whose weights are in all files of `saved_cases`."""
    layer = torch.nn.LSTM(2, 3)
    for n, weight in enumerate(layer.parameters()):
        torch.nn.init.constant_(weight, n + 0.5)
    return layer


def saved_cases():
    """(name, file, value): torch's files of an LSTM's state dict beside `value`, under "beside"."""
    state = lstm().state_dict()
    for name, value in (values() | unread_tensors()).items():
        for legacy, protocol in ((False, 2), (True, 2), (False, 4)):
            data = saved({"beside": value, "state_dict": state}, legacy, protocol)
            yield f"{name}-{'stream' if legacy else 'zip'}-{protocol}", data, value


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
