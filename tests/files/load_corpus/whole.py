# SPDX-License-Identifier: MIT
"""Files of whole models for the fuzzers: small sound and malformed ones of every kind that
load_model reads, how they are changed, and what is done with them.

An input of the fuzzer is the file itself. A .keras archive is written anew after a change, so that
its checksums are right; in an .h5 file the configuration keeps its length; a header of safetensors
gets the length that it has.
"""

import contextlib
import json
import random
import tempfile
import warnings
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from unittest import mock

import draw_graph
import draw_layers  # noqa: F401 (registers drawers)
import hostile_graphs
import numpy as np
import quantized_models
import small_models

import fastlstm
from fastlstm.files.description import Layer
from fastlstm.models import plan
from fastlstm.models.graph import Graph, Node, Value
from fastlstm.models.model import Model
from fastlstm.models.reference.call import TABLE

from .build import Record, zip_bytes
from .mutate import message_fields, message_of, of_bytes, of_json, of_numbers, of_protobuf

KERAS = Path(__file__).parents[2] / "models" / "data" / "keras" / "models.zip"
MAX_SEED = 40 << 10  # bytes of a file to begin with: nearly all Keras files are smaller
DRAWN, SAVED = 40, 12  # graphs of draw_graph.py as ONNX files; and as Model.save writes them
MALFORMED = 3  # one in so many of hostile_graphs.py's small ones
MAX_BYTES = 1 << 22  # of memory that one call may take
MAX_ELEMENTS = 1 << 16  # of all inputs of a call; of larger ones a plan alone is made
MAX_AXES = 32  # of an input; NumPy 1 has no arrays of more
_OPERATORS = sorted(TABLE)


# ---- files to begin with


def _saved(onnx, folder, dtype=None):
    path = folder / "model"
    path.write_bytes(onnx)
    fastlstm.load_model(path, dtype=dtype).save(path)
    return path.read_bytes()


def _own_layer(folder, dtype):
    """A saved model of the package's own node of a layer, whose weights are an attribute."""
    weights = fastlstm.GRU(3, 4).state_dict()
    attrs = {"layer": Layer("GRU", input_size=3, hidden_size=4), "weights": weights}
    x, y = (Value(n, np.dtype(np.float32), ("t", "n", k)) for n, k in (("x", 3), ("y", 4)))
    Model(Graph([x], [y], [Node("Recurrent", ["x"], ["y"], attrs)], {}), dtype=dtype).save(
        folder / "model"
    )
    return (folder / "model").read_bytes()


def seeds():
    """Files as bytes: drawn, recurrent and malformed ONNX models, Keras models of both formats, and
    what Model.save wrote."""
    onnx = [draw_graph.drawn(seed)[0].SerializeToString() for seed in range(DRAWN)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in ("lstm", "gru"):
            onnx.append(Path(small_models.export(each, folder)[0]).read_bytes())
        saved = [_saved(data, folder) for data in onnx[-SAVED:]]
        for dtype in ("int8", "bfloat16"):
            saved += [_saved(data, folder, dtype) for data in onnx[-SAVED // 3 :]]
            saved.append(_own_layer(folder, dtype))
    onnx += [made.SerializeToString() for _, made in quantized_models.every()]
    for family in ("names_and_order", "types_and_ranks", "bombs", "windows", "branches"):
        onnx += [data for _, data in getattr(hostile_graphs, family)()][::MALFORMED]
    with zipfile.ZipFile(KERAS) as archive:
        keras = [archive.read(e) for e in archive.infolist() if e.file_size <= MAX_SEED]
    return [data for data in (*saved, *keras, *onnx) if len(data) <= MAX_SEED]


# ---- changes


def _of_zip(data, rng):
    """The archive with one record changed, all of them stored and with right checksums."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = [name for name in parts if name.endswith("config.json")]
    name = rng.choice(config if config and rng.random() < 0.8 else list(parts))
    change = of_json if name.endswith(".json") else of_numbers
    parts[name] = change(parts[name], rng)
    return zip_bytes([Record(name, raw) for name, raw in parts.items()])


def _of_hdf5(data, rng):
    """The file with its configuration changed, which is the longest text of JSON in it; or numbers
    of the format."""
    found, at = (0, 0), data.find(b'{"')
    while at >= 0:
        with contextlib.suppress(ValueError, RecursionError):
            text = data[at:].decode("latin-1")
            size = json.JSONDecoder().raw_decode(text)[1]
            found, at = max(found, (size, at)), at + size
        at = data.find(b'{"', at + 1)
    size, at = found
    if not size or rng.random() < 0.2:
        return of_numbers(data, rng)
    made = json.loads(of_json(data[at : at + size], rng))
    text = json.dumps(made, separators=(",", ":")).encode().ljust(size)
    return data[:at] + text[:size] + data[at + size :]


def _of_saved(data, rng):
    """The safetensors file with its graph, or its table of tensors, changed."""
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    if rng.random() < 0.1:
        head = json.loads(of_json(data[8 : 8 + size], rng))
    else:
        config = json.loads(head["__metadata__"]["fastlstm"])
        graph = config["model"]["graph"]
        at = rng.randrange(len(graph["nodes"]))
        node, drawn = graph["nodes"][at], rng.random()
        if drawn < 0.2:
            node[0] = rng.choice(_OPERATORS)
        elif drawn < 0.4 and node[1]:
            names = [name for each in graph["nodes"] for name in each[1] + each[2]]
            node[1][rng.randrange(len(node[1]))] = rng.choice(names)
        elif drawn < 0.7:
            graph["nodes"][at] = json.loads(of_json(json.dumps(node).encode(), rng))
        elif drawn < 0.9:
            config["model"]["graph"] = json.loads(of_json(json.dumps(graph).encode(), rng))
        else:
            config = json.loads(of_json(json.dumps(config).encode(), rng))
        head["__metadata__"]["fastlstm"] = json.dumps(config)
    text = json.dumps(head, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _of_nodes(data, rng):
    """The ONNX model with another operator in place of a node's, or another value among its inputs.
    Fields: graph 7; in it nodes 1; in these inputs 1, outputs 2, operator 4."""
    model = message_fields(data)
    at = [i for i, (number, wire, _) in enumerate(model) if (number, wire) == (7, 2)][-1]
    graph = message_fields(model[at][2])
    nodes = [i for i, (number, wire, _) in enumerate(graph) if (number, wire) == (1, 2)]
    names = [v for i in nodes for n, _, v in message_fields(graph[i][2]) if n in (1, 2)]
    where = rng.choice(nodes)
    node = message_fields(graph[where][2])
    field, value = rng.choice(((4, rng.choice(_OPERATORS).encode()), (1, rng.choice(names))))
    of_field = [i for i, (number, _, _) in enumerate(node) if number == field]
    if field == 1 and rng.random() < 0.3:
        node.append((1, 2, value))
    else:
        node[rng.choice(of_field)] = (field, 2, value)
    graph[where] = (1, 2, message_of(node))
    model[at] = (7, 2, message_of(graph))
    return message_of(model)


def change(data, rng):
    """One change, by the kind of file; of bytes now and then, and where its structure is broken."""
    if rng.random() < 0.1:
        return of_bytes(data, rng)
    if data.startswith(b"PK"):
        kind = _of_zip
    elif data.startswith(b"\x89HDF"):
        kind = _of_hdf5
    elif data[8:9] == b"{":
        kind = _of_saved
    else:
        kind = rng.choice((_of_nodes, of_protobuf, of_protobuf))
    try:
        return kind(data, rng)
    except Exception:  # of whatever kind: the file is malformed, and nothing of ours has read it
        return of_bytes(data, rng)


# ---- what is done with a file


def _given(model, rng):
    """{name: array} of small inputs as the model says them; None if they are not small."""
    free = {None: rng.choice((0, 1, 1, 2, 3))}
    made, total = {}, 0
    for value in model.inputs:
        shape = [
            n if isinstance(n, int) else free.setdefault(n, rng.choice((0, 1, 2, 2, 3)))
            for n in value.shape or ()
        ]
        total += int(np.prod(shape, dtype=object))
        if total > MAX_ELEMENTS or len(shape) > MAX_AXES:
            return None
        draw = np.random.default_rng(rng.randrange(1 << 32))
        array = (
            draw.standard_normal(shape) if value.dtype.kind == "f" else draw.integers(0, 3, shape)
        )
        made[value.name] = np.asarray(array).astype(value.dtype)
    return made


def use(path):
    """Loads the whole model at `path` and runs it once on inputs that follow from the file: on the
    C core, and one in four by NumPy's functions too, which must give the same types and shapes.
    What runs is saved now and then, and loaded to the same bits.

    LoadError or MemoryError, in one printable sentence, for what is refused. What else is raised is
    a finding.
    """
    rng = random.Random(zlib.crc32(Path(path).read_bytes()))
    both, dtype = rng.random() < 0.25, rng.choice((None, None, None, "int8", "bfloat16", "float32"))
    saves = rng.random() < 0.1
    try:
        model = fastlstm.load_model(path, dtype=dtype, max_bytes=MAX_BYTES, num_threads=1)
        given = _given(model, rng)
        if given is None:
            return
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            made = model.run(given)
            again = _by_numpy(model, given) if both else made
            if saves:
                _check_saved(model, path, given, made)
    except (fastlstm.LoadError, MemoryError) as error:
        said = str(error)
        assert said and said.isprintable() and len(said) < 1000, repr(error)
        raise
    assert len(made) == len(model.outputs) == len(again)
    for one, other in zip(made, again, strict=True):
        assert isinstance(one, np.ndarray) and one.nbytes <= MAX_BYTES
        assert (one.dtype, one.shape) == (other.dtype, other.shape), "not what NumPy's are"
        one.tobytes()  # reads all of its memory, which must be there


def _check_saved(model, path, given, made):
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
        model.save(Path(folder, "saved"))
        saved = fastlstm.load_model(Path(folder, "saved"), max_bytes=MAX_BYTES, num_threads=1)
        again = saved.run(given)
        assert [a.tobytes() for a in again] == [a.tobytes() for a in made], "saved to other bits"


def _by_numpy(model, given):
    with mock.patch.object(plan, "NAME", "numpy"):
        made = Model(model.graph, dtype=model.asked, max_bytes=MAX_BYTES, num_threads=1)
        return made.run(given)
