# SPDX-License-Identifier: MIT
"""Malformed JSON, and archives of PyTorch whose weights are packed parameters or constants."""

import json

import numpy as np

from .build import (
    DATA,
    FALSE,
    NONE,
    PROTO,
    STOP,
    Record,
    call,
    dict_of,
    name_of,
    number,
    records,
    storage,
    tensor,
    text,
    tuple_of,
    zip_bytes,
)

GOOD_JSON = json.dumps({"weight_ih_l0": [[0.5]], "weight_hh_l0": [[0.25]]}).encode()
RTNEURAL = {"in_shape": [None, 1], "layers": [
    {"type": "lstm", "activation": "", "shape": [None, 1],
     "weights": [[[1.0] * 4], [[0.5] * 4], [0.0] * 4]},
    {"type": "gru", "activation": "tanh", "shape": [None, 1],
     "weights": [[[1.0] * 3], [[0.5] * 3], [[0.0] * 3] * 2]},
]}  # fmt: skip
NAM = {"version": "0.5.4", "architecture": "LSTM",
       "config": {"num_layers": 2, "input_size": 1, "hidden_size": 1},
       "weights": [0.5] * 30}  # fmt: skip
SEQUENTIAL = {"architecture": "Sequential", "config": {"models": [NAM, NAM]}, "weights": []}


def parts(prefix=""):
    """A state dict whose weights are kept in each form that is folded, and some that are not."""
    row, matrix = [[1.0]] * 4, [[0.5]] * 4
    return {
        prefix + name: value
        for name, value in {
            "a.weight_ih_l0": matrix, "a.weight_hh_l0_g": row, "a.weight_hh_l0_v": matrix,
            "b.parametrizations.weight_ih_l0.original0": row, "b.weight_hh_l0": matrix,
            "b.parametrizations.weight_ih_l0.original1": matrix,
            "c.weight_ih_l0_orig": matrix, "c.weight_ih_l0_mask": matrix,
            "c.parametrizations.weight_hh_l0.original": matrix,
            "c.parametrizations.weight_hh_l0.0._u": [1.0] * 4,
            "c.parametrizations.weight_hh_l0.0._v": [1.0],
            "d.weight_hh_l0_raw": matrix, "d.module.weight_ih_l0": matrix,
            "e.weight_ih": matrix, "e.weight_hh": matrix, "e.ln.weight": [1.0],
            "f_weight_ih_l0": matrix, "f_weight_hh_l0": matrix, "f_peephole_l0": [1.0] * 3,
        }.items()
    }  # fmt: skip


def json_seeds():
    """Sound files of JSON of every kind."""
    for value in (RTNEURAL, NAM, SEQUENTIAL, parts(), {"state_dict": parts("model.")}):
        yield json.dumps(value).encode()
    yield GOOD_JSON


def cases():
    """(name, file, a part of the LoadError's text)."""
    yield "cut", GOOD_JSON[:-4], "no JSON"
    yield "more", GOOD_JSON + b"x", "no JSON: Extra data"
    yield "no-value", b'{"a": }', "no JSON"
    yield "no-quote", b'{"a', "no JSON"
    yield "control", b'{"a\x01": [1]}', "no JSON: Invalid control"
    yield "not-utf8", b'{"a": "\xff"}', "the text is not UTF-8"
    yield "half-a-pair", b'{"\\ud83d": [1]}', "is not Unicode"
    yield "digits", b'{"a": [' + b"9" * 5000 + b"]}", "more than 4,300 digits"
    yield "deep-lists", b'{"a": ' + b"[" * 60 + b"0" + b"]" * 60 + b"}", "nested deeper than 50"
    yield "deep-objects", b'{"a": ' * 60 + b"0" + b"}" * 60, "nested deeper than 50"
    yield "long-name", b'{"' + b"n" * 5000 + b'": [1]}', "a name longer than 4096"


def bombs():
    """Files whose values would take far more memory than the text, or whose names would."""
    yield "lists", b'{"a": [' + b"[]," * 600_000 + b"[]]}", "its values would take up to"
    yield "objects", b'{"a": [' + b"{}," * 300_000 + b"{}]}", "its values would take up to"
    yield "numbers", b'{"a": [' + b"1," * 1_200_000 + b"1]}", "its values would take up to"
    yield "texts", b'{"a": [' + b'"ab",' * 700_000 + b"1]}", "its values would take up to"
    yield "unclosed", b'{"a":' + b"[" * 300_000, "nested deeper than 50"
    yield "nested", b'{"a":' * 100_000, "nested deeper than 50"
    many = b",".join(b'"%d":[1]' % n for n in range(900))
    yield "names", b'{"' + b"n" * 4000 + b'":{' + many + b"}}", "too many arrays, or too long names"


def slow_cases():
    """(name, file) that take as much work as the limits allow, and are read."""
    layer = '"{0}.weight_ih_l0":[[1]],"{0}.weight_hh_l0":[[1]]'
    yield "json-layers", ("{" + ",".join(map(layer.format, range(12_000))) + "}").encode()
    under = {}
    for depth in range(600):
        under |= {"a." * depth + name: [[1]] for name in ("weight_ih_l0", "weight_hh_l0")}
    yield "json-under", json.dumps(under).encode()
    yield "json-ragged", json.dumps({"a": [[[[[[1]]]]], 1] * 8000}).encode()
    rows = np.random.default_rng(3).standard_normal((4096, 128)).astype("f4").tolist()
    split = {f"{n}.weight_hh_l0_{part}": rows for n in range(2) for part in "v"}
    split |= {f"{n}.weight_hh_l0_g": [[1.0]] * 4096 for n in range(2)}
    yield "json-weight-norm", json.dumps(split).encode()
    count = 24 << 20
    made = dict_of(w=scripted(quantised(size=(4, count // 4), count=count)))
    yield "quantised-24-MiB", zip_bytes(records(made, {"q": bytes(count)}))
    weights = b",".join([b"CONSTANTS.c0"] * 3000)
    call = b"_0 = torch.rnn_relu(x, h, w, False, 1, 0., False, False, True)\n"
    yield "frozen-one-list", frozen_file(b"w = [" + weights + b"]\n" + call * 1500)
    yield "script-wide", wide_script(100_000, 3000)


# ---- PyTorch's archives


def quantised(scale=None, zero=None, size=(4, 1), scheme="per_tensor_affine", count=4):
    """The opcodes of a quantised tensor, of the storage "q"."""
    how = (name_of(f"torch.{scheme}"), scale or b"G\x3f\xf0" + bytes(6), zero or number(0))
    sizes = tuple_of(*map(number, size))
    return call(
        "torch._utils._rebuild_qtensor", storage("torch.QInt8Storage", "q", count), number(0),
        sizes, tuple_of(number(1), number(1)), tuple_of(*how), FALSE, NONE,
    )  # fmt: skip


def scripted(state, name="x"):
    """The opcodes of a ScriptObject."""
    made = name_of("torch.ScriptObject") + b")\x81"
    return made + tuple_of(state, text(f"__torch__.torch.classes.{name}")) + b"b"


def cell_params(weight=None):
    """The opcodes of one track's packed parameters."""
    pair = tuple_of(quantised() if weight is None else weight, NONE)
    packed = scripted(pair, "quantized.LinearPackedParamsBase")
    state = tuple_of(text("quantized_dynamic"), *[b"]"] * 3, b"](" + packed * 2 + b"e")
    return scripted(state, "rnn.CellParamsBase")


def packed_file(pickle):
    """A checkpoint with the bytes of quantised tensors."""
    return zip_bytes(records(pickle, {"0": DATA, "q": b"\1\2\3\4"}))


PACKED = dict_of(**{"l._all_weight_values.0.param": cell_params(), "w": tensor()})


def packed_cases():
    """(name, file, a part of the LoadError's text)."""
    for name, value, says in (
        (
            "scheme",
            quantised(scheme="per_channel_affine"),
            "needs a scheme, its scale and its zero",
        ),
        ("scale", quantised(scale=NONE), "needs a scheme, its scale and its zero point"),
        ("zero", quantised(zero=NONE), "needs a scheme, its scale and its zero point"),
        ("size", quantised(size=(5, 1)), "past the end of its storage"),
        ("sizes", quantised(size=(1,)), "1 sizes and 2 strides"),
    ):
        yield name, packed_file(dict_of(w=scripted(value))), says
    empty, twice = name_of("torch.ScriptObject") + b")\x81", tuple_of(number(1), NONE) + b"b"
    yield "twice", packed_file(dict_of(w=empty + twice + twice)), "attributes are set on a value"
    yield "no-pair", packed_file(dict_of(w=empty + number(1) + b"b")), "attributes are set on a val"
    rows = (tensor(size=(3,)), tensor(size=(4,)))
    scales = quantised(*rows, scheme="per_channel_affine").replace(
        rows[1] + b"t", rows[1] + b"K\0t"
    )
    yield "rows", packed_file(dict_of(w=scripted(scales))), "its scales do not fit its rows"
    one, two = tensor(size=(), stride=()), tensor(size=(2,))
    scales = quantised(one, two, scheme="per_channel_affine").replace(two + b"t", two + b"K\0t")
    yield "one-scale", packed_file(dict_of(w=scripted(scales))), "its scales do not fit its rows"
    for zero in (1 << 31, -(1 << 31) - 1, 1 << 2000):
        value = packed_file(dict_of(w=scripted(quantised(zero=number(zero)))))
        yield f"zero-{zero.bit_length()}-{zero < 0}", value, "must be an int of 32 bits"


CODE = (
    b"w = [CONSTANTS.c0, CONSTANTS.c1]\n"
    b"_0 = torch.rnn_relu(x, h, w, False, 1, 0., False, False, True)\n"
    b"_1 = torch.lstm_cell(x, [h, c], CONSTANTS.c1, CONSTANTS.c0, None, None)\n"
)


def frozen_file(data):
    """A TorchScript archive of two constants, (1, 1) each. data: its code; and, if a zero byte
    follows, the pickle of its constants."""
    one, (code, _, pickle) = tensor(size=(1, 1), stride=(1, 1)), data.partition(b"\0")
    pickle = pickle or PROTO + tuple_of(one, one) + STOP
    made = {"a/data.pkl": b"\x80\2}.", "a/constants.pkl": pickle,
            "a/constants/0": DATA, "a/code/m.py": code}  # fmt: skip
    return zip_bytes([Record(name, raw) for name, raw in made.items()])


def frozen_bombs():
    """(name, file, a part of the LoadError's text): every two of 12 views of one matrix as a cell
    of their own."""
    storage_of = storage(key="0", count=1 << 16)
    views = [tensor(storage_of, size=(256, 256), stride=(256, 1))] * 12
    code = b"".join(
        b"torch.rnn_tanh_cell(x, h, CONSTANTS.c%d, CONSTANTS.c%d, None, None)\n" % (n // 12, n % 12)
        for n in range(144)
    )
    made = {"a/data.pkl": b"\x80\2}.", "a/constants.pkl": PROTO + tuple_of(*views) + STOP,
            "a/constants/0": bytes(4 << 16), "a/code/m.py": code}  # fmt: skip
    data = zip_bytes([Record(name, raw) for name, raw in made.items()])
    yield "cells", data, "their weights need far more memory than the file"


def wide_script(pairs, layers):
    """A TorchScript archive whose module has many attributes None, and RNNs with the same weights;
    whether each has an attribute nonlinearity is looked up."""
    one, name = tensor(size=(1, 1), stride=(1, 1)), "weight_%s_l0"
    body = b"}" + b"(" + b"N" * (2 * pairs) + b"u"
    body += text("w") + one + b"q\0s"
    weights = b"".join(text(name % part) + b"h\0s" for part in ("ih", "hh"))
    body += b"".join(text(f"r{n}") + b"}" + weights + b"s" for n in range(layers))
    return zip_bytes([*records(body), Record("a/code/m.py", b"")])
