# SPDX-License-Identifier: MIT
"""PyTorch checkpoints whose zip archive is sound and whose pickle is not: opcodes with missing
operands, tensors with wrong arguments, and bombs. (Attacks that call or import something are in
objects.py: beside a sound tensor they do nothing.)

A pickle here is a run of opcodes, as build.py and Python's pickletools name them. Letters in the
bytes are opcodes: ( MARK, t TUPLE, ) EMPTY_TUPLE, ] EMPTY_LIST, } EMPTY_DICT, a APPEND, e APPENDS,
s SETITEM, u SETITEMS, N NONE, K BININT1, c GLOBAL, R REDUCE, b BUILD, Q BINPERSID, q BINPUT,
h BINGET, X BINUNICODE, 0 POP; and \\x81 NEWOBJ, \\x85 TUPLE1, \\x93 STACK_GLOBAL, \\x94 MEMOIZE.
"""

import struct

from .build import (
    DATA,
    FALSE,
    NONE,
    ORDERED,
    PROTO,
    STOP,
    Record,
    call,
    checkpoint,
    dict_of,
    name_of,
    number,
    storage,
    tensor,
    text,
    tuple_of,
    zip_bytes,
)
from .objects import ATTACKS

# {opcode: a pickle with it}: opcodes that no checkpoint needs, with operands that suit them.
_REFUSED = {
    "PERSID": b"Pstorage\n",
    "NEXT_BUFFER": b"\x97",
    "READONLY_BUFFER": b"\x98",
    "PROTO-again": b"N\x80\x02",
    "unknown-0": b"\0",
    "unknown-255": b"\xff",
}


# The items of a storage's persistent id.
_PID = (text("storage"), name_of("torch.FloatStorage"), text("0"), text("cpu"), b"K\4")


def _operands():
    """(name, pickle, what the error says): opcodes with fewer bytes behind them, or fewer values on
    the stack or above the mark, than they take."""
    for op, need in {
        b"K": 1, b"M": 2, b"J": 4, b"G": 8, b"\x8a": 2, b"\x8b": 4, b"X": 5, b"\x8c": 2,
        b"\x8d": 9, b"C": 2, b"B": 5, b"\x8e": 9, b"\x96": 9, b"h": 1, b"j": 4, b"q": 1,
        b"r": 4, b"\x95": 8,
    }.items():  # fmt: skip
        for have in range(need):
            yield f"short-{op.hex()}-{have}", PROTO + b"N" + op + b"\1" * have, "are due"
    for op in (b"c", b"ca", b"ca\n", b"ca\nb"):
        yield f"global-{op.hex()}", PROTO + op, "without end"
    values = {
        b"0": 1, b"a": 2, b"s": 3, b"b": 2, b"R": 2, b"\x85": 1, b"\x86": 2, b"\x87": 3,
        b"\x93": 2, b"Q": 1, b"\x94": 1, b"q\0": 1,
    }  # fmt: skip
    for op, need in values.items():
        for have in range(need):
            body = b"N" * have + op
            yield f"stack-{op.hex()}-{have}", PROTO + body + STOP, ""
            yield f"mark-{op.hex()}-{have}", PROTO + b"NNNN(" + body + STOP, ""
    for op in (b"t", b"e", b"u", b"\x90", b"\x91"):
        yield f"nomark-{op.hex()}", PROTO + b"NN" + op + STOP, "no mark"


def _bodies():
    """(name, pickle without PROTO and STOP, what the error says)."""
    for name, body in _REFUSED.items():
        yield f"refused-{name}", body, "no checkpoint needs"
    for name, body in ATTACKS.items():
        yield f"root-{name}", body, "whole pickled object"
    module = b"ctorch.nn.modules.rnn\nLSTM\n)\x81" + dict_of(w=tensor()) + b"b"
    yield "module-inside", dict_of(w=module), "LSTM'; where it was made"
    yield "module", b"cmodel\nNet\n)\x81}b", "model.state_dict()"
    yield "global-long", b"c" + b"a" * 300 + b"\nb\n", "longer than"
    yield "global-latin", b"c\xff\nb\n", "not UTF-8"
    yield "stack-global-int", b"NN\x93", "must be text"
    yield "stack-global-long", text("a" * 300) + text("b") + b"\x93", "must be text"
    yield "stack-global-none", text("torch") + b"N\x93", "must be text"
    for value in (b"N", b"K\1", text("a"), b"]", b"}", b")", b"\x8f", b"G" + bytes(8), b"C\1a"):
        key = value.hex()[:8]
        if value != b"}":
            yield f"setitem-on-{key}", value + b"NNs", "no dict"
            yield f"setitems-on-{key}", value + b"(NNu", "no dict"
        if value != b"]":
            yield f"append-on-{key}", value + b"Na", "no list"
            yield f"appends-on-{key}", value + b"(NNe", "no list"
        if value != b"\x8f":
            yield f"additems-on-{key}", value + b"(NN\x90", "no set"
        yield f"build-on-{key}", value + b"}b", "has none"
        yield f"reduce-of-{key}", value + b")R", "made of a name alone"
        yield f"newobj-of-{key}", value + b")\x81", "made of a name alone"
        yield f"newobj-ex-of-{key}", value + b")}\x92", "made of a name alone"
        yield f"obj-of-{key}", b"(" + value + b"o", "made of a name alone"
        yield f"persid-{key}", value + b"Q", "not a storage"
        if value != b")":
            body = name_of("collections.OrderedDict") + value + b"R"
            yield f"reduce-with-{key}", body, "must be a tuple"
            yield f"newobj-with-{key}", name_of("m.C") + value + b"\x81", "must be a tuple"
    for name, key in {"list": b"]", "dict": b"}", "OrderedDict": ORDERED}.items():
        yield f"key-{name}", b"}" + key + b"Ns", f"a {name} as a key"
        yield f"keys-{name}", b"}(" + key + b"Nu", f"a {name} as a key"
        yield f"dict-{name}", b"(" + key + b"Nd", f"a {name} as a key"
    yield "three-items", b"}(NNNu", "without a value"
    yield "dict-of-three", b"(NNNd", "without a value"
    yield "obj-empty", b"(o", "without a class"
    yield "object-of-both", name_of("m.C") + b")R" + b"Na" + b"NNs", "no dict"
    yield "build-on-global", name_of("m.C") + b"}b", "has none"
    for name, body, says in (
        ("int", b"Ix\n", "no number"), ("long", b"L1.5L\n", "no number"),
        ("float", b"F\n", "no number"), ("float-dots", b"F1.2.3\n", "no number"),
        ("int-long", b"I" + b"1" * 621 + b"\n", "longer than 620"),
        ("string", b"Sab\n", "without quotes"), ("string-half", b"S'\n", "without quotes"),
        ("unicode", b"V\\u12\n", "malformed character"),
        ("unicode-surrogate", b"V\\ud800\n", "malformed character"),
        ("put", b"Npx\n", "no number"), ("get", b"gx\n", "no number"),
        ("get-negative", b"Nq\0g-1\n", "never set"), ("put-skip", b"Np3\n", "is the next"),
    ):  # fmt: skip
        yield f"line-{name}", body, says
    for op in b"ILFSVgp":
        yield f"line-open-{op:x}", b"N" + bytes([op]) + b"1", "without end"
    yield "inst-open", b"(im\nC", "without end"
    yield "inst-no-mark", b"im\nC\n", "no mark"
    yield "memo-unset", b"h\0", "never set"
    yield "memo-unset-long", b"j\xff\xff\xff\xff", "never set"
    yield "memo-skip", b"Nq\1", "is the next"
    yield "memo-skip-long", b"Nr\xff\xff\xff\xff", "is the next"
    yield "memo-again", b"Nq\0q\0", "is the next"
    yield "memo-empty", b"q\0", "stack is empty"
    yield "memo-under-mark", b"N(\x94", "stack is empty"
    yield "frame-long", b"\x95" + struct.pack("<Q", 1 << 40) + b"N", "longer than the pickle"
    yield "text-latin", b"X\2\0\0\0\xff\xfe", "not UTF-8"
    yield "text-surrogate", b"X\3\0\0\0\xed\xa0\x80", "not UTF-8"
    yield "text-long", b"X\xff\xff\xff\xff", "are due"
    yield "text8-long", b"\x8d" + b"\xff" * 8, "are due"
    yield "bytes8-long", b"\x8e" + b"\xff" * 8, "are due"
    yield "bytearray-long", b"\x96" + b"\xff" * 7 + b"\x7f", "are due"
    yield "long4-long", b"\x8b" + struct.pack("<i", 256) + bytes(256), "is the limit"
    yield "long4-negative", b"\x8b" + struct.pack("<i", -1), "is the limit"
    yield "scalar-root", b"K\1", "neither a tensor nor a container"
    yield "string-root", text("hello"), "neither a tensor nor a container"
    yield "two-roots", b"NN", "more than one value"
    yield "mark-left", b"N(", "more than one value"
    yield "nothing", b"", "more than one value"
    yield (
        "same-name",
        dict_of(**{"a.b": tensor()}) + text("a") + dict_of(b=tensor()) + b"s",
        ("have the name"),
    )
    yield "same-key", b"}" + (text("a") + tensor() + b"s") * 2, "have the name"
    yield "same-int", b"}" + text("1") + tensor() + b"sK\1" + tensor() + b"s", "have the name"
    yield "same-none", b"}" + text("None") + tensor() + b"sN" + tensor() + b"s", "have the name"
    yield "same-bool", b"}\x88" + tensor() + b"s" + text("True") + tensor() + b"s", "have the name"
    yield "name-long", dict_of(a=dict_of(**{"b" * 4096: tensor()})), "longer than"


def cases():
    """(name, file, what the error says) for all rules of the pickle but those of tensors."""
    for name, pickle, says in _operands():
        yield name, checkpoint(pickle), says
    for name, body, says in _bodies():
        yield name, checkpoint(body), says
    for name, pickle, says in (
        ("no-bytes", b"", "without a STOP"),
        ("one-byte", b"\x80", "does not begin"),
        ("no-proto", b"N.", "neither a tensor nor a container"),
        ("proto-1", b"\x80\1N.", "does not begin"),
        ("proto-6", b"\x80\6N.", "does not begin"),
        ("no-stop", b"\x80\2N", "without a STOP"),
    ):
        archive = [Record("a/data.pkl", pickle), Record("a/version", b"3\n")]
        yield f"begin-{name}", zip_bytes(archive), says


# {name: opcodes} of values that are wrong for most arguments of a tensor.
_BAD = {
    "none": NONE, "int": b"K\1", "negative": b"J\xff\xff\xff\xff", "true": b"\x88",
    "float": b"G?\xf0\0\0\0\0\0\0", "text": text("a"), "list": b"]", "tuple": b")",
    "dict": b"}", "global": name_of("torch.Size"), "tensor": tensor(),
    "huge": b"\x8a\xff" + b"\x7f" * 255,
}  # fmt: skip


def _arguments():
    """(name, opcodes): each of torch's rebuild functions with each argument replaced by each wrong
    value, and with too few or too many arguments."""
    view = (b"K\0", tuple_of(b"K\4"), tuple_of(b"K\1"))
    untyped = storage("torch.storage.UntypedStorage", count=16)
    signatures = {
        "tensor": (storage(), *view),
        "tensor_v2": (storage(), *view, FALSE, ORDERED),
        "tensor_v3": (untyped, *view, FALSE, ORDERED, name_of("torch.float32")),
        "parameter": (tensor(), FALSE, ORDERED),
        "parameter_with_state": (tensor(), FALSE, ORDERED, b"}"),
    }
    for short, args in signatures.items():
        function = f"torch._utils._rebuild_{short}"
        # The place of requires_grad, where every bool is right; behind it are hooks, where None is.
        grad = args.index(FALSE) if FALSE in args else -2
        for at in range(len(args)):
            for name, bad in _BAD.items():
                right = {"true": grad, "none": grad + 1, "tensor": 0 if "param" in short else -2}
                if right.get(name) != at and not (short.endswith("state") and at == 3):
                    yield f"{short}-{at}-{name}", call(function, *args[:at], bad, *args[at + 1 :])
        for count in (*range(len(args)), len(args) + 2):
            yield f"{short}-count-{count}", call(function, *(args * 2)[:count])


def tensor_cases():
    """(name, file, what the error says) for the rules of tensors and storages."""
    for name, body in _arguments():
        yield name, checkpoint(dict_of(w=body)), "data.pkl"
    for name, body, says in _views():
        yield name, checkpoint(dict_of(w=body)), says
    for name, data, says in (
        ("missing-record", {"1": DATA}, "no record"),
        ("short-record", {"0": DATA[:-1]}, "its record has"),
        ("long-record", {"0": DATA + b"\0"}, "its record has"),
        ("empty-record", {"0": b""}, "its record has"),
    ):
        yield name, checkpoint(dict_of(w=tensor()), data), says
    boolean = dict_of(w=tensor(storage("torch.BoolStorage")))
    yield "bool-two", checkpoint(boolean, {"0": b"\0\1\2\0"}), "neither 0 nor 1"
    two = dict_of(a=tensor(storage("torch.FloatStorage")), b=tensor(storage("torch.IntStorage")))
    yield "two-dtypes", checkpoint(two), "used as"
    mixed = dict_of(a=tensor(), b=_untyped("torch.uint16", 16, (8,)))
    yield "two-dtypes-untyped", checkpoint(mixed), "used as"


def _counted(count):
    """A storage whose number of elements is `count`, below 0."""
    return tuple_of(*_PID[:4], b"J" + struct.pack("<i", count)) + b"Q"


def _untyped(dtype, count, size, stride=(1,), *more):
    """A tensor of an untyped storage of `count` bytes, with its dtype beside it; more: opcodes of
    further arguments."""
    return call(
        "torch._utils._rebuild_tensor_v3", storage("torch.storage.UntypedStorage", count=count),
        b"K\0", tuple_of(*map(number, size)), tuple_of(*map(number, stride)), FALSE, ORDERED,
        name_of(dtype), *more,
    )  # fmt: skip


def _views():
    """(name, a tensor that is no sound view of its storage, what the error says)."""
    yield "offset-1", tensor(offset=1), "past the end"
    yield "offset-4", tensor(offset=4, size=(1,)), "past the end"
    yield "offset-5", tensor(offset=5, size=(1,)), "the offset must be"
    yield "offset-huge", tensor(offset=1 << 63, size=(1,)), "the offset must be"
    yield "size-5", tensor(size=(5,)), "past the end"
    yield "size-huge", tensor(size=(1 << 62,)), "past the end"
    yield "size-overflow", tensor(size=(1 << 32, 1 << 32), stride=(0, 0)), "more elements"
    yield "size-63-dims", tensor(size=(2,) * 63, stride=(0,) * 63), "more elements"
    yield "size-65-dims", tensor(size=(1,) * 65, stride=(0,) * 65), "at most 64"
    yield "empty-huge", tensor(size=(0, 1 << 62), stride=(1, 1)), "too large"
    yield "zero-stride", tensor(size=(5,), stride=(0,)), "more elements"
    yield "zero-stride-huge", tensor(size=(1 << 40,), stride=(0,)), "more elements"
    yield "stride-2", tensor(stride=(2,)), "past the end"
    yield "stride-huge", tensor(size=(2,), stride=(1 << 62,)), "past the end"
    yield "stride-2d", tensor(size=(2, 2), stride=(3, 1)), "past the end"
    yield "ranks", tensor(size=(2, 2), stride=(1,)), "2 sizes and 1 strides"
    function, one = "torch._utils._rebuild_tensor", tuple_of(b"K\1")
    yield "size-bool", call(function, storage(), b"K\0", tuple_of(b"\x88"), one), "must be ints"
    yield "stride-bool", call(function, storage(), b"K\0", one, tuple_of(b"\x88")), "must be ints"
    meta = dict_of(conj=b"\x88")
    yield "conj", tensor(tail=(FALSE, ORDERED, meta)), "conjugated"
    yield "metadata-int", tensor(tail=(FALSE, ORDERED, b"K\1")), "must be a dict"
    yield "class-name", tensor(storage("torch.Size")), "is no storage"
    yield "class-dtype", tensor(storage("torch.float32")), "is no storage"
    yield (
        "class-untyped",
        tensor(storage("torch.storage.UntypedStorage", count=16)),
        "needs a dtype",
    )
    yield "key-traversal", tensor(storage(key="../data.pkl")), "no record"
    yield "key-empty", tensor(storage(key="")), "no record"
    yield "key-pickle", tensor(storage(key="0/../../data.pkl")), "no record"
    yield "count-0", tensor(storage(count=0)), "its record has"
    yield "count-huge", tensor(storage(count=1 << 62)), "its record has"
    yield "dtype-float8", _untyped("torch.float8_e4m3fn", 16, (16,)), "float8_e4m3fn"
    yield "dtype-storage", _untyped("torch.FloatStorage", 16, (4,)), "of dtype 'FloatStorage'"
    yield "dtype-overrun", _untyped("torch.uint64", 16, (3,)), "past the end"
    yield "dtype-conj", _untyped("torch.uint16", 16, (8,), (1,), dict_of(neg=b"\x88")), "conjugated"
    pid = tuple_of(text("module"), name_of("torch.FloatStorage"), text("0"), text("cpu"), b"K\4")
    yield "pid-module", tensor(pid + b"Q"), "not a storage"
    pid = tuple_of(text("storage"), text("float"), text("0"), text("cpu"), b"K\4")
    yield "pid-text", tensor(pid + b"Q"), "not a storage"
    pid = tuple_of(text("storage"), name_of("torch.FloatStorage"), b"K\0", text("cpu"), b"K\4")
    yield "pid-int-key", tensor(pid + b"Q"), "not a storage"
    pid = tuple_of(text("storage"), name_of("torch.FloatStorage"), text("0"), text("cpu"), b"\x88")
    yield "pid-bool-count", tensor(pid + b"Q"), "not a storage"
    yield "count-negative", tensor(_counted(-1)), "fewer than 0"
    yield "pid-seven", tensor(tuple_of(*_PID, NONE, NONE) + b"Q"), "not a storage"
    yield (
        "pid-class-text",
        tensor(tuple_of(text("module"), text("a"), NONE, NONE) + b"Q"),
        "storage",
    )
    ordered = "collections.OrderedDict"
    yield "ordered-args", call(ordered, b"]", b"]"), "arguments"
    yield "ordered-int", call(ordered, b"K\1"), "made of a list"
    yield "ordered-of-int", call(ordered, b"]K\1a"), "made of pairs"
    yield "ordered-of-one", call(ordered, b"]K\1\x85a"), "made of pairs"
    yield "size-args", call("torch.Size", b"K\1"), "must be a tuple"
    yield "size-none", call("torch.Size"), "arguments"
    yield "size-negative", call("torch.Size", tuple_of(b"J\xff\xff\xff\xff")), "0 or more"
    yield "encode-args", call("_codecs.encode", b"K\1", text("latin1")), "two strings"
    from_type = "torch._tensor._rebuild_from_type_v2"
    function, cls = name_of("torch._utils._rebuild_tensor_v2"), name_of("torch.Tensor")
    yield "from-type-count", call(from_type, function, cls, b")"), "arguments"
    yield "from-type-args", call(from_type, function, cls, b")", b"}"), "arguments"
    yield "from-type-none", call(from_type, NONE, cls, b")", b"}"), "are due"
    other = name_of("collections.OrderedDict")
    yield "from-type-other", call(from_type, other, cls, b")", b"}"), "class 'torch.Tensor'"
    itself = name_of(from_type)
    yield "from-type-itself", call(from_type, itself, cls, b")", b"}"), "class 'torch.Tensor'"


def bombs():
    """(name, file, what the error says): small files that ask for much memory, time or depth."""
    one = b"](" + tensor() + b"e\x94"
    doubling = b"".join(b"0](h%ch%ce\x94" % (n, n) for n in range(60))
    yield "laughs", checkpoint(one + doubling), "tensor names"
    wide = b"](" + tensor() + b"N" * 9_000 + b"e\x940](" + b"h\0" * 9_000 + b"e\x940"
    yield "laughs-wide", checkpoint(wide + b"](" + b"h\1" * 99 + b"e"), "tensor names"
    long_key = dict_of(**{"k" * 4000: one}) + b"\x940](" + b"h\1" * 5000 + b"e"
    yield "laughs-long-key", checkpoint(long_key), "tensor names"
    late = b"".join(b"h%ch%ca0" % (n, n + 1) for n in range(199))
    for name, body in {
        "tuples": b")" + b"\x85" * 50_000,
        "lists": b"]" * 30_000 + b"a" * 30_000,
        "dicts": b"}" + b"N}" * 30_000 + b"s" * 30_000,
        "marks": b"(" * 60_000,
        "late-lists": b"]\x94" * 200 + late + b"0" * 199,
    }.items():
        yield f"deep-{name}", checkpoint(body), "nested deeper"
    function = name_of("torch._utils._rebuild_tensor_v2")
    args = (storage(), b"K\0", tuple_of(b"K\4"), tuple_of(b"K\1"), FALSE, ORDERED)
    for name, body in {
        "lists": b"]" * 62_000,
        "dicts": b"}" * 62_000,
        "tuples": b")" * 62_000,
        "views": function + b"\x94" + tuple_of(*args) + b"\x94R" + b"h\0h\1R" * 30_000,
    }.items():
        yield f"memory-{name}", checkpoint(b"](" + body + b"e"), "far more memory"
    huge = "\U0001f600".encode() + b"a" * (20 << 20)
    text_wide = b"X" + struct.pack("<I", len(huge)) + huge
    yield "memory-text", checkpoint(text_wide), "far more memory"
    shared = b"](" + tensor(storage(count=1 << 20), size=(1 << 20,)) + b"\x94" + b"h\0" * 99 + b"e"
    yield "shared-100", checkpoint(shared, {"0": bytes(4 << 20)}), "add up to"


def slow_cases():
    """(name, file) that take as much work as the limits allow; they are read or refused."""
    yield "opcodes", checkpoint(b"N0" * 500_001)
    yield "memo", checkpoint(b"N" + b"\x94" * 999_000)
    yield "longs", checkpoint(b"](" + (b"\x8a\xff" + b"\x7f" * 255) * 50_000 + b"e")
    yield "texts", checkpoint(b"](" + (b"X\4\0\0\0" + "\U0001f600".encode()) * 300_000 + b"e")
    yield "floats", checkpoint(b"](" + (b"G" + bytes(8)) * 600_000 + b"e")
    yield "lists", checkpoint(b"](" + b"]" * 990_000 + b"e")
    ordered = name_of("collections.OrderedDict") + b"\x94)\x94" + b"h\0h\1R" * 300_000
    yield "ordered", checkpoint(b"](" + ordered + b"e")
    yield "storages", checkpoint(b"](" + tuple_of(*_PID) + b"\x94Q" + b"h\0Q" * 300_000 + b"e")
    prime = (1 << 61) - 1  # CPython's modulus for hashes of ints: multiples of it have the hash 0
    keys = b"".join(number(n * prime) + b"N" for n in range(1, 100_000))
    yield "colliding-keys", checkpoint(b"}(" + keys + b"u")
    one = b"](" + tensor() + b"N" * 20_000 + b"e\x940](" + b"h\0" * 20_000 + b"e"
    yield "names", checkpoint(one)
    args = (storage(), b"K\0", tuple_of(b"K\4"), tuple_of(b"K\1"), FALSE, ORDERED)
    function = name_of("torch._utils._rebuild_tensor_v2")
    views = function + b"\x94" + tuple_of(*args) + b"\x94R"
    yield "views", checkpoint(b"](" + views + b"h\0h\1R" * 10_000 + b"e")
    # Bytes, which are not kept: they make the pickle longer, and with it the memory it may take.
    pad = b"B" + struct.pack("<I", 2 << 20) + bytes(2 << 20)
    yield "padded-lists", checkpoint(b"](" + pad + b"]" * 255_000 + b"e")
    yield "padded-views", checkpoint(b"](" + pad + views + b"h\0h\1R" * 40_000 + b"e")
    shared = b"](" + tensor() + b"\x94" + pad
    yield "padded-full", checkpoint(shared + b"]h\0a" * 50_000 + b"e")
    yield "padded-tuples", checkpoint(shared + b"h\0\x85" * 50_000 + b"e")
    yield "padded-names", checkpoint(shared + b"h\0" * 90_000 + b"e")
    wide = b"}" + text("\U0001f600" * 1020) + b"](" + tensor() + b"\x94" + b"h\0" * 3000 + b"es"
    yield "padded-wide", checkpoint(b"](" + pad + wide + b"e")
    size = b"\x8a\xff" + b"\x7f" * 255
    sizes = tuple_of(*[size] * 64) + b"\x94"
    args = (storage(), b"K\0", sizes, b"h\0", FALSE, ORDERED)
    yield "huge-sizes", checkpoint(dict_of(w=call("torch._utils._rebuild_tensor_v2", *args)))
    text_long = b"X" + struct.pack("<I", 30 << 20) + b"a" * (30 << 20)
    yield "text-30-MiB", checkpoint(text_long)
    yield "bfloat16-32-MiB", _wide_storage("torch.BFloat16Storage", 2)
    yield "float64-32-MiB", _wide_storage("torch.DoubleStorage", 8)


def _wide_storage(storage_class, itemsize):
    """A checkpoint of one tensor of 32 MiB."""
    count = (32 << 20) // itemsize
    body = dict_of(w=tensor(storage(storage_class, count=count), size=(count,)))
    return checkpoint(body, {"0": bytes(32 << 20)})
