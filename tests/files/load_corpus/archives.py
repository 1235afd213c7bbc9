# SPDX-License-Identifier: MIT
"""Exported programs of PyTorch (.pt2) and agents of Stable-Baselines3, with one thing wrong each.
Functions called ..._cases and ..._bombs yield (name, file, what the error says)."""

import json
import zlib

from .build import DATA, GOOD, Record, dict_of, number, tensor, tuple_of, zip_bytes

# ---- exported programs


def meta(path="weight_0", sizes=(4,), strides=(1,), offset=0, dtype=7, layout=7, pickled=False):
    """What an index says of a tensor; without wishes, the 4 floats of DATA."""
    fields = {
        "dtype": dtype, "sizes": [{"as_int": n} for n in sizes], "requires_grad": True,
        "device": {"type": "cpu", "index": None}, "strides": [{"as_int": n} for n in strides],
        "storage_offset": {"as_int": offset}, "layout": layout,
    }  # fmt: skip
    return {"path_name": path, "is_param": True, "use_pickle": pickled, "tensor_meta": fields}


def index(**tensors):
    """An index's JSON, as bytes."""
    return json.dumps({"config": tensors}).encode()


def pt2(weights, more=(), kind=b"pt2", order=b"little", **options):
    """An archive whose index of weights is the bytes `weights`; more: further Records."""
    return zip_bytes([
        Record("a/archive_format", kind), Record("a/byteorder", order),
        Record("a/data/weights/weight_0", DATA),
        Record("a/data/weights/model_weights_config.json", weights),
        Record("a/data/constants/model_constants_config.json", b'{"config": {}}'),
        Record("a/models/model.json", b"{}"), *more,
    ], **options)  # fmt: skip


GOOD_PT2 = pt2(index(w=meta()))


def indexes():
    """Sound indexes of views of one record."""
    yield index(a=meta(sizes=(2, 2), strides=(1, 2)), b=meta(sizes=(), strides=(), offset=3))
    yield index(a=meta(sizes=(0, 3), strides=(3, 1)), b=meta(pickled=True), c=meta(dtype=29))
    yield index(a=meta(dtype=5, sizes=(2,)), b=meta(sizes=(1 << 62, 1 << 62), strides=(0, 0)))
    yield index(a=meta(dtype=13, sizes=(8,)))


def pt2_cases():
    yield "format", pt2(index(w=meta()), kind=b"pt3"), "'pt2' is due"
    yield "long-format", pt2(index(w=meta()), kind=b"pt2" * 99), "16 is the limit"
    yield "order", pt2(index(w=meta()), order=b"middle"), "no byte order"
    for name, text in (
        ("no-json", b"{"), ("latin", b"\xff"), ("list", b"[]"), ("no-config", b"{}"),
        ("config-list", b'{"config": []}'), ("deep", b'{"config"   :' * 100_000),
        ("surrogate", b'{"config": {"\\ud800": 1}}'), ("text", b'{"config": "x"}'),
    ):  # fmt: skip
        yield f"index-{name}", pt2(text), "has no index of tensors"
    yield "index-long", pt2(b" " * (2 << 20) + b"{}"), "2097152 is the limit"
    for name, wrong, says in (
        ("no-record", meta("weight_9"), "there is no record"),
        ("other-record", meta("../../byteorder"), "there is no record"),
        ("path-list", meta(["weight_0"]), "there is no record"),
        ("rank", meta(strides=(1, 1)), "1 sizes and 2 strides"),
        ("many-sizes", meta(sizes=(1,) * 65, strides=(1,) * 65), "65 sizes"),
        ("past-the-end", meta(offset=1), "past its 4 elements"),
        ("strides", meta(strides=(2,)), "past its 4 elements"),
        ("overflow", meta(sizes=(1 << 62, 1 << 62), strides=(0, 1)), "past its 4 elements"),
        ("empty", meta(sizes=(0, 1 << 60), strides=(1, 1)), "too large"),
        ("negative", meta(sizes=(-4,)), "malformed"),
        ("negative-stride", meta(strides=(-1,)), "malformed"),
        ("negative-offset", meta(offset=-1), "malformed"),
        ("bool-size", meta(sizes=(True,)), "malformed"),
        ("float-size", meta(sizes=(4.0,)), "malformed"),
        ("text-size", meta(sizes=("4",)), "malformed"),
        ("symbolic", meta() | {"tensor_meta": meta()["tensor_meta"] | {
            "sizes": [{"as_name": "s0"}]}}, "malformed"),
        ("dtype-list", meta(dtype=[7]), "malformed"),
        ("no-meta", {"path_name": "weight_0", "use_pickle": False}, "malformed"),
        ("null-meta", meta() | {"tensor_meta": None}, "malformed"),
        ("a-list", [], "malformed"), ("a-text", "x", "malformed"), ("null", None, "malformed"),
        ("width", meta(dtype=11, sizes=(1,)) | {"path_name": "odd"}, "cannot be complex128"),
    ):  # fmt: skip
        more = [Record("a/data/weights/odd", bytes(17))]
        yield f"tensor-{name}", pt2(index(w=wrong), more), says
    yield "two-dtypes", pt2(index(w=meta(), v=meta(dtype=4))), "used as float32 too"
    yield "bool", pt2(index(w=meta(dtype=12, sizes=(16,)))), "neither 0 nor 1"
    wrong = [Record("a/data/weights/weight_1", DATA, crc=1)]
    yield "crc", pt2(index(w=meta("weight_1")), wrong), "CRC is wrong"
    packed = zlib.compress(index(w=meta()))[2:-4]
    yield "deflated", zip_bytes([
        Record("a/archive_format", b"pt2"),
        Record("a/data/weights/model_weights_config.json", packed, method=8),
    ]), "compressed"  # fmt: skip
    yield "aotinductor", zip_bytes([
        Record("a/archive_format", b"pt2"), Record("a/data/aotinductor/model/x.so", b"ELF"),
    ]), "AOTInductor"  # fmt: skip
    for name, data in (("text", b"hello"), ("cut", GOOD[:-1]), ("itself", GOOD_PT2)):
        old = [Record("serialized_exported_program.json", b"{}")]
        yield f"old-{name}", zip_bytes([*old, Record("serialized_state_dict.pt", data)]), "record"
        parts = [Record("a/archive_format", b"pt2"), Record("a/data/weights/model.pt", data)]
        yield f"2.8-{name}", zip_bytes(parts), "record"


def pt2_bombs():
    """Indexes that make many objects, and many models whose index names one record."""
    yield "lists", pt2(b'{"config": {"w": [' + b"[]," * 690_000 + b"[]]}}"), "far more lists"
    yield "sizes", pt2(b'{"config": {"w": [' + b'{"as_int":1},' * 160_000 + b"[]]}}"), "malformed"
    large = Record("a/data/weights/weight_1", bytes(1 << 20))
    names = index(**{f"t{n}": meta("weight_1", (1 << 18,)) for n in range(8)})
    models = [Record(f"a/data/weights/m{n}_weights_config.json", names) for n in range(100)]
    yield "models", pt2(index(w=meta()), [large, *models]), "add up to more than"


# ---- agents of Stable-Baselines3


def agent(policy, method=0, size=None, folder="", **fields):
    """An agent whose policy.pth is `policy`. method 8: it is deflated already, and `size` bytes."""
    return zip_bytes([
        Record(f"{folder}data", b"{}"),
        Record(f"{folder}policy.pth", policy, method=method, size=size, packed=len(policy),
               **fields),
        Record(f"{folder}policy.optimizer.pth", b"not looked at"),
        Record(f"{folder}_stable_baselines3_version", b"2.3.0"),
    ])  # fmt: skip


GOOD_AGENT = agent(GOOD)


def deflated(data, **options):
    """An agent with the checkpoint `data` deflated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush()
    return agent(packed, 8, len(data), crc=zlib.crc32(data), **options)


def nested_cases():
    yield "text", agent(b"hello"), "no checkpoint of torch.save"
    yield "empty", agent(b""), "no checkpoint of torch.save"
    yield "cut", agent(GOOD[:-1]), "record 'policy.pth'"
    yield "crc", agent(GOOD, crc=1), "CRC is wrong"
    yield "agent-inside", agent(GOOD_AGENT), "no checkpoint of torch.save"
    yield "exported-inside", agent(GOOD_PT2), "no checkpoint of torch.save"
    yield "packed-inside", agent(zip_bytes([
        Record("a/data.pkl", dict_of(w=tensor()), method=8), Record("a/version", b"3"),
    ])), "compressed"  # fmt: skip
    body = b"\x80\2" + b"cos\nsystem\n" + tuple_of(number(1)) + b"R."
    yield "os-system", agent(zip_bytes([Record("a/data.pkl", body)])), "record 'policy.pth'"
    yield "deflated-cut", deflated(GOOD[:-1]), "record 'policy.pth'"
    yield "flags", agent(GOOD, flags=0x0006), "encrypted or unknown"
    yield "in-a-folder", agent(b"hello", folder="ppo/"), "record 'ppo/policy.pth'"


def nested_bombs():
    """Zeros that inflate far, as much as is said and more."""
    yield "zeros", deflated(bytes(64 << 20)), "is the limit"
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(64 << 20)) + packer.flush()
    yield "more-zeros", agent(packed, 8, 1000), "more than its 1000 bytes"
    weights = zip_bytes([Record("a/data.pkl", dict_of(w=tensor())), Record("a/data/0", DATA)])
    yield "few", deflated(weights).replace(b"PK\5\6", b"PK\5\7"), "end of the file"
