# SPDX-License-Identifier: MIT
"""Malformed files of the other formats: ONNX, HDF5, Keras, .npz, pickled arrays, streams of PyTorch
before 1.6, and TorchScript. Most are small sound files with a few bytes changed. The functions
called ..._cases and ..._bombs yield (name, file, what the error says).
"""

import functools
import io
import pickle
import struct

import h5py
import numpy as np

from .build import DATA, Record, number, text, tuple_of, zip_bytes

# ---- ONNX: messages of protocol buffers as bytes, with onnx.proto's field numbers


def varint(value):
    """An int as protocol buffers write it."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number, value):
    """A field: a varint for an int, 4 bytes for a float, else text or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_tensor(name, array, dims=None, code=1, raw=None):
    """A TensorProto. dims and raw replace the array's sizes and bytes; code: its data_type."""
    dims = array.shape if dims is None else dims
    data = array.tobytes() if raw is None else raw
    out = b"".join(field(1, n) for n in dims) + field(2, code) + field(8, name)
    return out + (field(9, data) if data is not None else b"")


# An AttributeProto's field of the value: its type, as the AttributeProto states it.
_ATTRIBUTE_TYPES = {2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8}


def attribute(name, key, *values):
    """An AttributeProto whose values are fields `key`: 2 a float, 3 an int, 4 a string, 5 a tensor,
    6 a graph, 7 floats, 8 ints, 9 strings."""
    out = field(1, name) + b"".join(field(key, value) for value in values)
    return out + field(20, _ATTRIBUTE_TYPES[key])


def node(op, inputs, outputs, attributes=(), name="n"):
    """A NodeProto."""
    out = b"".join(field(1, n) for n in inputs) + b"".join(field(2, n) for n in outputs)
    out += field(3, name) + field(4, op)
    return out + b"".join(field(5, each) for each in attributes)


def model(nodes, tensors=(), graph=b""):
    """A ModelProto; graph: further fields of its graph."""
    body = b"".join(field(1, each) for each in nodes) + field(2, "g")
    body += b"".join(field(5, each) for each in tensors) + field(11, field(1, "X")) + graph
    # The graph comes last, so that the tests' truncated files are cut inside it.
    return field(1, 8) + field(8, field(2, 14)) + field(7, body)


_W, _R = np.ones((1, 8, 1), "<f4"), np.ones((1, 8, 2), "<f4")
_TENSORS = [onnx_tensor("W", _W), onnx_tensor("R", _R)]
_LSTM = node("LSTM", ["X", "W", "R"], ["y"], [attribute("hidden_size", 3, 2)])
GOOD_ONNX = model([_LSTM], _TENSORS)


def with_data_beside(path):
    """Write GOOD_ONNX's model to `path` with W's elements in <path>.data; gives `path`."""
    entries = field(13, field(1, "location") + field(2, f"{path.name}.data"))
    w = onnx_tensor("W", _W, raw=b"").removesuffix(field(9, b"")) + entries + field(14, 1)
    path.write_bytes(model([_LSTM], [w, _TENSORS[1]]))
    path.with_name(f"{path.name}.data").write_bytes(_W.tobytes())
    return path


def single_operators(steps):
    """Nodes of an LSTM, a GRU and an RNN, written out for each step."""
    made = []
    for n in range(steps):
        for out, op, inputs in (
            ("p", "MatMul", ["X", "W"]), ("q", "MatMul", [f"h{n}", "R"]), ("a", "Add", ["p", "q"]),
            ("i", "Sigmoid", ["a"]), ("g", "Tanh", ["a"]), ("u", "Mul", ["i", "g"]),
            ("v", "Mul", ["i", "c"]), ("c", "Add", ["u", "v"]), ("r", "Mul", ["i", "q"]),
            ("s", "Add", ["p", "r"]), ("m", "Tanh", ["s"]), ("d", "Sub", [f"h{n}", "m"]),
            ("e", "Mul", ["d", "i"]), (f"h{n + 1}", "Add", ["e", "m"]),
        ):  # fmt: skip
            inputs = [each + str(n) if len(each) == 1 and each not in "XWR" else each
                      for each in inputs]  # fmt: skip
            outputs = [out if out[1:] else out + str(n)]
            made.append(node(op, inputs, outputs, name=""))
    return made


def onnx_cases():
    """Malformed messages and tensors, and constants that cannot be computed."""
    yield "no-graph", field(1, 8) + field(2, "x"), "no graph"
    yield "two-graphs", GOOD_ONNX + field(7, b""), "second graph"
    yield "graph-cut", field(1, 8) + varint(7 << 3 | 2) + varint(1000) + b"x", "bytes due"
    for wire in (3, 4, 6, 7):
        yield f"wire-{wire}", field(1, 8) + field(7, varint(1 << 3 | wire)), "wire type"
    yield "field-0", field(1, 8) + field(7, b"\x00\x00"), "field number"
    yield "endless-number", field(1, 8) + field(7, b"\x08" + b"\xff" * 20), "number without end"
    yield "cut-number", field(1, 8) + field(7, b"\x08\xff"), "number without end"
    yield "latin-name", model([node("LSTM", [], [b"\xff"])]), "not UTF-8"
    yield "long-name", model([node("LSTM", [], ["x" * 70_000])]), "is the limit"
    for what, tensor, says in (
        ("raw-short", onnx_tensor("W", _W, raw=b"\0" * 31), "32 bytes are due"),
        ("raw-long", onnx_tensor("W", _W, raw=b"\0" * 33), "32 bytes are due"),
        ("no-data", onnx_tensor("W", _W, raw=b""), "are due"),
        ("huge", onnx_tensor("W", _W, dims=(1 << 40, 1 << 20)), "are due"),
        ("overflow", onnx_tensor("W", _W, dims=(1 << 61, 1 << 61)), "are due"),
        ("negative", onnx_tensor("W", _W, dims=(-1,)), "negative"),
        ("many-sizes", onnx_tensor("W", _W, dims=(1,) * 40), "more than 32 sizes"),
        ("huge-empty", onnx_tensor("W", _W, dims=(0, 1 << 60), raw=b""), "too large"),
        ("bool", onnx_tensor("W", _W, dims=(32,), code=9, raw=b"\2" * 32), "neither 0 nor 1"),
        ("external", onnx_tensor("W", _W) + field(14, 1), ""),
        ("one-by-one", field(1, 1 << 40) + field(2, 7) + field(8, "W") + field(7, 1), "limit"),
        ("elements", field(1, 2) + field(2, 7) + field(8, "W") + field(7, b"\1\2\3"), "more than"),
        ("few", field(1, 9) + field(2, 7) + field(8, "W") + field(7, b"\1\2\3"), "9 elements"),
        ("wrong-list", field(1, 1) + field(2, 1) + field(8, "W") + field(7, 5), "not where"),
        ("floats", field(1, 3) + field(2, 1) + field(8, "W") + field(4, b"abc"), "are due"),
    ):
        if what != "external":
            yield f"tensor-{what}", model([_LSTM], [tensor, _TENSORS[1]]), says
    for op, attributes, says in (
        ("Transpose", [attribute("perm", 8, 9)], "do not fit together"),
        ("Reshape", [], "do not fit together"),
        ("Slice", [], "do not fit together"),
        ("Cast", [attribute("to", 3, 1)] * 2, "two attributes"),
        ("Squeeze", [attribute("axes", 8, 0)], None),
        ("Unsqueeze", [attribute("axes", 8, 99)], "do not fit together"),
        ("Concat", [attribute("axis", 3, 77)], "do not fit together"),
    ):
        if says:
            made = node(op, ["V"], ["W"], attributes)
            tensors = [onnx_tensor("V", _W), _TENSORS[1]]
            yield f"fold-{op}", model([made, _LSTM], tensors), says
    deep = b""
    for _ in range(80):
        body = field(1, node("If", [], [], [field(1, "then_branch") + field(6, deep)]))
        deep = body
    yield "deep-graphs", field(1, 8) + field(7, deep), "nested deeper"


def onnx_bombs():
    """Constants that grow as they are computed, and weights that many layers use."""
    doubled, last = [], "V"
    for n in range(40):
        doubled.append(node("Concat", [last, last], [f"c{n}"], [attribute("axis", 3, 0)]))
        last = f"c{n}"
    lstm = node("LSTM", ["X", last, "R"], ["y"], [attribute("hidden_size", 3, 2)])
    yield "doubling", model([*doubled, lstm], [onnx_tensor("V", _W), _TENSORS[1]]), "is the limit"
    shape = onnx_tensor("V", np.array([1 << 20, 1 << 20], "<i8"), code=7)
    fill = node("ConstantOfShape", ["V"], ["W"])
    yield "constant-of-shape", model([fill, _LSTM], [shape, _TENSORS[1]]), "is the limit"

    # Many layers with the same weights, which are stored once, or made of nothing.
    w, r = np.ones((1, 1024, 64), "<f4"), np.ones((1, 1024, 256), "<f4")
    many = [node("LSTM", ["X", "W", "R"], ["y"])] * 400
    yield "same-weights", model(many, [onnx_tensor("W", w), onnx_tensor("R", r)]), "far more memory"
    shapes = [onnx_tensor(n, np.array(a.shape, "<i8"), code=7) for n, a in (("V", w), ("U", r))]
    made = [node("ConstantOfShape", ["V"], ["W"]), node("ConstantOfShape", ["U"], ["R"])]
    yield "made-weights", model([*made, *many], shapes), "far more memory"
    transposed = node("Transpose", ["W"], ["T"], [attribute("perm", 8, bytes([0, 2, 1]))])
    shape = onnx_tensor("V", np.array([1, 1024, 64], "<i8"), code=7)
    copies = [node("Reshape", ["T", "V"], [f"c{n}"]) for n in range(400)]
    lstms = [node("LSTM", ["X", f"c{n}", "R"], ["y"]) for n in range(400)]
    stored = [onnx_tensor("W", w), onnx_tensor("R", _R), shape]
    yield "copies", model([transposed, *copies, *lstms], stored), "far more memory"


# ---- HDF5


@functools.cache
def good_hdf5():
    """A small file in Keras' layout."""
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5["layers/lstm/cell/vars/0"] = np.ones((1, 8), "f4")
        h5["layers/lstm/cell/vars/1"] = np.ones((2, 8), "f4")
        h5.attrs["note"] = "text"
    return file.getvalue()


@functools.cache
def tiny_hdf5():
    """A small file with one array and one attribute."""
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5.create_dataset("k", data=np.arange(6, dtype="f4"))
        h5.attrs["a"] = np.bytes_("text")
    return file.getvalue()


def _patched(data, at, raw):
    return data[:at] + raw + data[at + len(raw) :]


def hdf5_cases():
    """One structure of good_hdf5's file wrong."""
    good = good_hdf5()
    yield "version", _patched(good, 8, b"\x09"), "version 9"
    yield "offsets", _patched(good, 13, b"\4"), "addresses of 8 bytes"
    yield "base", _patched(good, 24, b"\1"), "addresses of 8 bytes"
    root = 24 + 5 * 8
    for name, address in (("far", 1 << 40), ("end", len(good) - 2), ("zero", 0), ("self", 8)):
        yield f"root-{name}", _patched(good, root, struct.pack("<Q", address)), ""
    for sign, what in ((b"TREE", "B-tree"), (b"HEAP", "local heap"), (b"SNOD", "B-tree")):
        at = good.find(sign)
        while at >= 0:
            yield f"{what}-sign-{at}", _patched(good, at, b"NONE"), "no signature"
            at = good.find(sign, at + 1)
    tree = good.find(b"TREE")
    yield "tree-type", _patched(good, tree + 4, b"\1"), "not a group's"
    yield "tree-cycle", _patched(good, tree + 32, struct.pack("<Q", tree)), "cycle"
    yield "tree-used", _patched(good, tree + 6, b"\xff\xff"), ""
    node_at = good.find(b"SNOD")
    yield "node-used", _patched(good, node_at + 6, b"\xff\xff"), ""
    yield "node-name", _patched(good, node_at + 8, struct.pack("<Q", 1 << 50)), "outside its heap"
    yield "node-soft", _patched(good, node_at + 24, b"\2"), "soft link"
    yield "node-header", _patched(good, node_at + 16, struct.pack("<Q", 3)), ""
    with h5py.File(io.BytesIO(good), "r") as h5:
        header = h5py.h5o.get_info(h5["layers/lstm/cell/vars/0"].id).addr
    yield "header-version", _patched(good, header, b"\7"), "no object header"
    yield "header-size", _patched(good, header + 8, b"\xff\xff\xff\x7f"), "bytes due"


def hdf5_bombs():
    """Many names for one object, deep groups, and arrays for which nothing is stored."""
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5["x"] = np.zeros(1000, "f4")
        for n in range(300):
            h5[f"y{n}"] = h5["x"]
    yield "many-names", file.getvalue(), "second name"
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        group = h5
        for _ in range(80):
            group = group.create_group("g")
    yield "deep", file.getvalue(), "nested deeper"
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5.create_dataset("x", (1 << 35,), "f4")  # never written: it takes no bytes of the file
    yield "huge", file.getvalue(), "declare more bytes"
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5.create_dataset("x", (1 << 30,), "f4", compression="gzip", fillvalue=0)
    yield "compressed", file.getvalue(), ""


def keras_bombs():
    """Many layers of the configuration that have the same weights."""
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5["layers/lstm/cell/vars/0"] = np.ones((64, 1024), "f4")
        h5["layers/lstm/cell/vars/1"] = np.ones((256, 1024), "f4")
        h5.create_group("layers/lstm/vars").attrs["name"] = "l"
    layer = b'{"class_name": "LSTM", "config": {"name": "l", "units": 256}}'
    model = b'{"class_name": "Sequential", "config": [%s]}' % b",".join([layer] * 400)
    parts = {"config.json": model, "metadata.json": b"{}", "model.weights.h5": file.getvalue()}
    made = zip_bytes([Record(name, raw) for name, raw in parts.items()])
    yield "same-weights", made, "far more memory"


def keras_cases():
    """.keras files whose HDF5 file or configuration is malformed."""
    weights, meta = Record("model.weights.h5", good_hdf5()), Record("metadata.json", b"{}")
    yield "cut", zip_bytes([Record("config.json", b"{}"), meta, Record(weights.name, b"x")]), ""
    for name, config, says in (
        ("list", b"[]", "no JSON object"), ("text", b"{", "no JSON"), ("nan", b"\xff", "no JSON"),
        ("deep", b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested too deeply"),
        ("long", b'"' + b"x" * (3 << 20) + b'"', "is the limit"),
    ):  # fmt: skip
        if name == "deep":
            config = b'{"a":' * 200_000
        yield f"config-{name}", zip_bytes([Record("config.json", config), meta, weights]), says


# ---- .npz, pickled arrays, streams, TorchScript


def npy(header, data=b"", version=1):
    """A .npy record."""
    raw = header if isinstance(header, bytes) else header.encode()
    raw = raw.ljust(117) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(raw)) + raw + data


_HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"
GOOD_NPZ = zip_bytes([Record("w.npy", npy(_HEADER, DATA))])


def npz_cases():
    """.npz files of one record that is malformed, or whose zip entry is."""
    for name, header, data, says in (
        ("short", _HEADER, DATA[:-1], "bytes are due"), ("long", _HEADER, DATA + b"x", "are due"),
        ("objects", _HEADER.replace("<f4", "|O"), DATA, "pickle"),
        ("records", _HEADER.replace("'<f4'", "[('a', '<f4')]"), DATA, "not that of an array"),
        ("call", _HEADER.replace("False", "exit()"), DATA, "not that of an array"),
        ("negative", _HEADER.replace("(4,)", "(-4,)"), DATA, "not that of an array"),
        ("huge", _HEADER.replace("(4,)", "(99999999999, 99999999999)"), DATA, "are due"),
        ("empty", _HEADER.replace("(4,)", "(0, 999999999999999999)"), b"", "too large"),
        ("dims", _HEADER.replace("(4,)", f"({'1, ' * 40})"), DATA, "not that of an array"),
        ("bool", _HEADER.replace("<f4", "|b1").replace("(4,)", "(16,)"), b"\7" * 16, "neither"),
        ("brackets", "{" * 100, DATA, "not that of an array"),
    ):  # fmt: skip
        yield name, zip_bytes([Record("w.npy", npy(header, data))]), says
    yield "version", zip_bytes([Record("w.npy", npy(_HEADER, DATA, 9))]), "version 1 to 3"
    yield "cut", zip_bytes([Record("w.npy", b"\x93NUMPY\1\0\xff\xff")]), ""
    yield "deflated", zip_bytes([Record("w.npy", b"\xff" * 30, method=8, size=100, packed=30)]), ""
    yield "never-ends", zip_bytes([Record("w.npy", b"\0" * 30, method=8, size=64, packed=30)]), ""
    yield "method", zip_bytes([Record("w.npy", npy(_HEADER, DATA), method=9)]), "compressed"


def _numpy_state(shape=b"K\4\x85", dtype=b"f4", raw=DATA, order=b"<"):
    """A pickle of an array of 4 floats, of which each part can be chosen: the opcodes of its shape,
    its dtype's name and byte order, its bytes."""
    out = b"\x80\x04cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\1b\x87R"
    out += b"(K\1" + shape + b"cnumpy\ndtype\n" + text(dtype.decode()) + b"\x89\x88\x87R"
    out += b"(K\3" + text(order.decode()) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    return out + b"\x89B" + struct.pack("<I", len(raw)) + raw + b"tb."


GOOD_PICKLE = _numpy_state()


def pickle_cases():
    """Pickled arrays that are malformed, and pickles that name something else."""
    yield "short", _numpy_state(raw=DATA[:-1]), "bytes are due"
    yield "long", _numpy_state(raw=DATA + b"x"), "bytes are due"
    yield "shape", _numpy_state(shape=b"K\5\x85"), "bytes are due"
    yield "huge", _numpy_state(shape=tuple_of(number(1 << 60))), "bytes are due"
    yield "negative", _numpy_state(shape=tuple_of(number(-4))), "ints of 0 or more"
    yield "many-sizes", _numpy_state(shape=tuple_of(*[number(1)] * 40)), "at most 32"
    yield "empty", _numpy_state(shape=tuple_of(number(0), number(1 << 50)), raw=b""), "too large"
    yield "text-sizes", _numpy_state(shape=tuple_of(text("4"))), "ints of 0 or more"
    yield "objects", _numpy_state(dtype=b"O8"), "no tensor in it can be read"
    yield "dtype", _numpy_state(dtype=b"<f4,<i4"), "Python objects, text or records"
    yield "order", _numpy_state(order=b"!"), ""
    yield "bool", _numpy_state(dtype=b"b1", shape=b"K\x10\x85", raw=b"\3" * 16), "neither 0 nor 1"
    yield "follow", GOOD_PICKLE + b"x", "bytes follow"
    yield "no-state", b"\x80\x04cnumpy._core.multiarray\n_reconstruct\n)R.", "without a state"
    yield "state-twice", GOOD_PICKLE[:-1] + b"(K\1)N\x89Ntb.", ""
    yield "state-of-a-list", b"\x80\x04])b.", "has none"
    yield "state-of-bytes", b"\x80\x04C\1a)b.", "no array's"
    yield "persistent", b"\x80\x04NQ.", "persistent id"
    yield "torch", b"\x80\x04ctorch._utils\n_rebuild_tensor_v2\n)R.", "torch.save"
    for name, call in (("system", b"cos\nsystem\n"), ("eval", b"cbuiltins\neval\n")):
        yield name, b"\x80\x04" + call + tuple_of(text("1")) + b"R.", "whole pickled object"


def stream_cases():
    """A checkpoint in torch.save's format before PyTorch 1.6, with parts changed or missing."""
    import torch

    file = io.BytesIO()
    torch.save({"w": torch.ones(4)}, file, _use_new_zipfile_serialization=False)
    good = file.getvalue()
    magic = bytes.fromhex("8a0a6cfc9c46f9206aa85019")
    yield "version", good.replace(b"M\xe9\x03", b"M\x01\x00"), "1001 is due"
    yield "version-text", good.replace(b"M\xe9\x03", b"X\0\0\0\0"), ""
    yield "cut", good[:-1], "the file ends in it"
    yield "more", good + b"\0", "bytes follow"
    yield "count", good[:-24] + struct.pack("<Q", 3) + good[-16:], ""
    yield "only-magic", b"\x80\2" + magic + b".", ""
    yield "no-keys", good[: good.rfind(b"\x80\2]")] + b"\x80\2N.", "no list"
    yield "other-keys", good[: good.rfind(b"\x80\2]")] + b"\x80\2]" + text("zz") + b"a.", "unknown"
    yield "os-system", good.replace(b"ctorch\nFloatStorage\n", b"cos\nsystem\n"), ""
    whole = io.BytesIO()
    torch.save(torch.nn.Linear(1, 1), whole, _use_new_zipfile_serialization=False)
    yield "module", whole.getvalue(), "whole pickled object"


def script_cases():
    """TorchScript archives with malformed pickles."""

    def archive(body, name="a/data.pkl"):
        return zip_bytes([Record(name, b"\x80\2" + body + b"."), Record("a/code/m.py", b"x")])

    net = b"c__torch__.m\nNet\n"
    yield "object-args", archive(net + b"N\x85\x81"), "made from arguments"
    yield "object-of-os", archive(b"cos\nsystem\n)\x81"), "whole pickled object"
    yield "object-of-torch", archive(b"ctorch\nSize\n)\x81"), "whole pickled object"
    yield "no-tensors-in-a-list", archive(b"K\1"), "neither a tensor"
    yield "build-list", archive(b"]}b"), "attributes are set"
    yield "no-function", archive(b"K\1)R"), "made of a name alone"
    yield "list-args", archive(b"ctorch.jit._pickle\nbuild_intlist\n)R"), "arguments"
    yield "packed-pickle", zip_bytes([
        Record("a/data.pkl", pickle.dumps(1), method=8), Record("a/code/m.py", b"x"),
    ]), "compressed"  # fmt: skip


def slow_cases():
    """(name, file) that take as much work as the limits allow; they are read or refused."""
    yield "onnx-empty-nodes", field(1, 8) + field(7, b"\x0a\0" * 200_000)
    yield "onnx-empty-inputs", model([b"\x0a\0" * 4_000_000])
    yield "onnx-empty-tensors", model([_LSTM], [b""] * 90_000)
    yield "onnx-single-operators", model(single_operators(300), _TENSORS)
    sums = [node("Add", [f"s{max(0, n - k)}" for k in (1, 2)], [f"s{n}"]) for n in range(1, 2000)]
    yield "onnx-sums", model([*sums, *[node("Tanh", [f"s{n}"], [f"t{n}"]) for n in range(2000)]])
    muls = [node("Mul", [f"s{n}", f"s{n + 1}"], [f"m{n}"]) for n in range(8)]
    tops = [node("Add", [f"m{n % 8}", f"a{max(0, n - 1)}"], [f"a{n}"]) for n in range(4000)]
    yield (
        "onnx-mixed-sums",
        model(
            [*sums[:20], *muls, *tops, *[node("Relu", [f"a{n}"], [f"r{n}"]) for n in range(4000)]]
        ),
    )
    yield "onnx-one-name", model([node("LSTM", [], [])] * 20_000)
    yield "onnx-numbers", model([], [field(1, 1 << 20) + field(2, 7) + field(8, "W")
                                    + field(7, b"\1" * (1 << 20))])  # fmt: skip
    wide = np.ones((1, 4096, 1024), np.int8)
    scale = onnx_tensor("s", np.float32(0.1).reshape(()))
    stored = [onnx_tensor("V", wide, code=3), onnx_tensor("U", wide[:, :, :1024], code=3), scale]
    nodes = [node("DequantizeLinear", ["V", "s"], ["W"], name="d"),
             node("DequantizeLinear", ["U", "s"], ["R"], name="e"),
             node("LSTM", ["X", "W", "R"], ["y"])]  # fmt: skip
    yield "onnx-dequantized", model(nodes, stored)
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        for n in range(3000):
            h5[f"g{n % 40}/x{n}"] = np.float32(n)
    yield "hdf5-many", file.getvalue()
    file, text = io.BytesIO(), h5py.string_dtype()
    with h5py.File(file, "w") as h5:
        for n in range(10):
            h5.create_group(f"{n}").attrs.create("a", ["x" * 8] * 3900, dtype=text)
    yield "hdf5-texts", file.getvalue()
    file = io.BytesIO()
    np.savez_compressed(file, zeros=np.zeros(31 << 20, np.uint8))
    yield "npz-zeros", file.getvalue()
    many = {f"{n}": np.float32([n]) for n in range(4_000)}
    yield "numpy-many", pickle.dumps(many, 4)
    yield "numpy-large", pickle.dumps({"a": np.zeros(6 << 20, np.float32)}, 4)
