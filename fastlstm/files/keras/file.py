# SPDX-License-Identifier: MIT
"""Keras files: where each recurrent layer's weights are, in all four kinds. layer.py converts.

    .keras         a zip: config.json (the model), metadata.json (keras_version), model.weights.h5
    .h5            attributes model_config, keras_version; group model_weights/<layer>/...
    .hdf5 (old)    attributes layer_names, keras_version; group <layer>/...     (weights alone)
    .weights.h5    layers/<class>[_<n>]/cell/vars/<n>; no configuration         (weights alone)

Nothing here imports keras or h5py, and the configuration is data: no class or Lambda is made.
"""

import json
import re

import numpy as np

from ..contents import Contents
from ..find import find
from ..hdf5.file import SIGNATURE, Hdf5, walk
from ..source import show
from ..stored_zip import directory, is_zip
from .layer import CELLS, Cell, Unknown, layer_of

MAX_CONFIG = 2 << 20  # bytes of JSON
MAX_LAYERS = 10_000
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")


def is_hdf5(source):
    return source.head.startswith(SIGNATURE)


def is_keras_zip(source):
    return is_zip(source) and "model.weights.h5" in directory(source).entries


# ---- the configuration


def _json(source, place, text):
    if len(text) > MAX_CONFIG:
        raise source.error(
            place, f"a configuration of {len(text)} bytes, {MAX_CONFIG} is the limit"
        )
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise source.error(place, "it is no JSON, or nested too deeply") from None
    if not isinstance(found, dict):
        raise source.error(place, "it is no JSON object")
    return found


def _snake(name):
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


class Told:
    """A recurrent layer as the configuration tells it.

    names   of the layers around it and its own, outermost first (without the model's)
    keys    the groups that a .keras file puts them in, likewise
    """

    def __init__(self, item, names, keys):
        self.kind, self.config = item["class_name"], item["config"]
        self.names, self.keys = names, keys


def _parts(item):
    """(class name, config) of a configuration's item; ("", {}) if it is none."""
    if isinstance(item, dict) and isinstance(item.get("class_name"), str):
        config = item.get("config")
        if isinstance(config, dict | list):
            return item["class_name"], config
    return "", {}


def told_layers(model):
    """Every Told in a model's configuration, in its order."""
    found, pending = [], [(model, (), ())]
    while pending:
        item, names, keys = pending.pop()
        kind, config = _parts(item)
        if kind in CELLS or kind in ("Bidirectional", "RNN"):
            if len(found) >= MAX_LAYERS:
                break
            found.append(Told(item, names, keys))
            continue
        inner = config if isinstance(config, list) else config.get("layers")
        used, below = {}, []
        for child in inner if isinstance(inner, list) else ():
            child_kind, child_config = _parts(child)
            key = _snake(child_kind)
            used[key] = used.get(key, -1) + 1
            key = f"{key}_{used[key]}" if used[key] else key
            name = child_config.get("name") if isinstance(child_config, dict) else None
            name = name if isinstance(name, str) else ""
            if len(names) < 32:
                below.append((child, (*names, name), (*keys, key)))
        pending += reversed(below)
    return found


# ---- the weights


class _Weights:
    """The datasets of one HDF5 file. arrays: {path: array}; names: {path of a group: the name that
    Keras 3 put beside its variables}; version: of Keras, () if unknown."""

    def __init__(self, file):
        self.file, self.arrays, self.names, self.order = file, {}, {}, {}
        root = file.root.attributes()
        self.attributes = dict(root)
        for path, each in walk(file):
            if each.is_dataset:
                array = each.array()
                if array is not None:
                    self.arrays[path] = array
            else:
                found = each.attributes()
                if path.endswith("/vars") and isinstance(found.get("name"), str):
                    self.names[path.removesuffix("/vars")] = found["name"]
                for key in ("keras_version", "layer_names"):
                    if path == "model_weights" and key in found:
                        self.attributes.setdefault(key, found[key])
                if isinstance(found.get("weight_names"), list):
                    for n, name in enumerate(found["weight_names"]):
                        self.order[f"{path}/{name}"] = n

    def variables(self, path):
        """The Cell whose variables are numbered below <path>/cell/vars (Keras 3), or None."""
        parts = [self.arrays.get(f"{path}/cell/vars/{n}") for n in range(4)]
        return Cell.of(parts[:3]) if parts[3] is None else None

    def named(self):
        """[(path, Cell)] of the groups with a kernel and a recurrent_kernel (older Keras)."""
        groups = {}
        for path, array in self.arrays.items():
            folder, _, name = path.rpartition("/")
            name = name.removesuffix(":0")
            if name in ("kernel", "recurrent_kernel", "bias"):
                group = groups.setdefault(folder, {})
                group[name] = array
                group["order"] = min(group.get("order", 1 << 30), self.order.get(path, 1 << 30))
        found = []
        for folder, group in groups.items():
            cell = Cell.of([group.get(n) for n in ("kernel", "recurrent_kernel", "bias")])
            if cell:
                found.append((group["order"], folder, cell))
        # the order in which Keras listed the weights; sorted() keeps the file's where that is equal
        return [(folder, cell) for _, folder, cell in sorted(found, key=lambda each: each[0])]


def _version(text):
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text) if isinstance(text, str) else None
    return tuple(map(int, match.groups())) if match else ()


def _in_zip_layout(weights, told):
    """The cells of a Told layer in .keras' layout: one, or the two directions."""
    for container in _CONTAINERS:
        path = "/".join(f"{container}/{key}" for key in told.keys)
        named = [each for each, name in weights.names.items() if name == told.names[-1]]
        named = [each for each in named if each.count("/") == path.count("/")]
        for each in (*(named if len(named) == 1 else ()), path):
            one = weights.variables(each)
            if one:
                return [one]
            two = [weights.variables(f"{each}/{side}_layer") for side in ("forward", "backward")]
            if all(two):
                return two
    return []


def _in_old_layout(cells, told):
    """The cells of a Told layer in .h5's layout."""
    top, own = told.names[0], told.names[-1]
    inside = [(f, c) for f, c in cells if f.removeprefix("model_weights/").split("/")[0] == top]
    if len(told.names) > 1:
        inside = [(f, c) for f, c in inside if own in f.split("/")]
    return [cell for _, cell in inside]


def _alone(weights, cells):
    """[(name, cells)] of a file without a configuration."""
    found, done = [], set()
    for path in weights.arrays:
        if not path.endswith("/cell/vars/0"):
            continue
        folder = path.removesuffix("/cell/vars/0")
        parent, _, side = folder.rpartition("/")
        if parent in done or not weights.variables(folder):
            continue
        if side in ("forward_layer", "backward_layer"):
            two = [weights.variables(f"{parent}/{each}_layer") for each in ("forward", "backward")]
            if all(two):
                done.add(parent)
                found.append((weights.names.get(parent, parent), two))
                continue
        found.append((weights.names.get(folder, folder), [weights.variables(folder)]))
    groups = {}
    for folder, cell in cells:
        groups.setdefault(folder.removeprefix("model_weights/").split("/")[0], []).append(
            (folder, cell)
        )
    listed = weights.attributes.get("layer_names")
    order = listed if isinstance(listed, list) else []
    rank = {name: n for n, name in enumerate(order) if isinstance(name, str)}
    for top in sorted(groups, key=lambda name: rank.get(name, len(rank))):
        pairs = groups[top]
        sides = [
            any(part.startswith(side) for part in folder.split("/"))
            for (folder, _), side in zip(pairs, ("forward", "backward"), strict=False)
        ]
        if len(pairs) == 2 and all(sides):
            found.append((top, [cell for _, cell in pairs]))
        else:
            for folder, cell in pairs:
                found.append((top if len(pairs) == 1 else folder, [cell]))
    return found


def _contents(file, model, version, options):
    weights = _Weights(file)
    found = Contents(dict(weights.arrays), {}, source=file.source)
    version = version or _version(weights.attributes.get("keras_version"))
    cells = weights.named()
    if model is None:
        text = weights.attributes.get("model_config")
        if isinstance(text, str):
            model = _json(file.source, f"{file.place}attribute model_config", text)
    if model is None:
        if not version and weights.names:
            version = (3, 0)  # only Keras 3 writes names beside variables
        for name, own in _alone(weights, cells):
            layer, arrays = layer_of(own, None, version, options)
            found.add(name, layer, arrays)
        found.layers = found.layers or find(found.arrays)
        return found
    for told in told_layers(model):
        own = _in_zip_layout(weights, told) or _in_old_layout(cells, told) if told.names else []
        try:
            layer, arrays = layer_of(own, told, version, options)
        except Unknown as reason:
            raise file.error(f"configuration of {show('/'.join(told.names))}", reason) from None
        found.add("/".join(told.names) or told.kind, layer, arrays)
    return found


def read_hdf5(source, options):
    """Contents of an .h5 or .hdf5 file; in one that Keras did not write, layers by
    torch's names."""
    data = source.read_into(0, np.empty(source.size, np.uint8))
    return _contents(Hdf5(source, data), None, (), options)


def read_zip(source, options):
    """Contents of a .keras file."""
    archive = directory(source)
    archive.check()
    texts = {}
    for name in ("config.json", "metadata.json"):
        if name not in archive.entries:
            raise source.error("zip directory", f"{name} is missing")
        texts[name] = _json(
            source, f"record '{name}'", archive.read(archive.entries[name], MAX_CONFIG)
        )
    entry = archive.entries["model.weights.h5"]
    data = archive.read_into(entry, np.empty(entry.size, np.uint8))
    file = Hdf5(source, data, "record 'model.weights.h5': ")
    version = _version(texts["metadata.json"].get("keras_version"))
    return _contents(file, texts["config.json"], version, options)
