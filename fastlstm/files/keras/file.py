# SPDX-License-Identifier: MIT
"""Keras files of four formats, and where in them the weights of each recurrent layer are.

    .keras         a zip: config.json (the model), metadata.json (keras_version), model.weights.h5,
                   an HDF5 file of layers/<class>[_<n>]/cell/vars/<n>
    .h5            HDF5: attributes model_config and keras_version; model_weights/<layer>/...
    .weights.h5    HDF5: layers/<class>[_<n>]/cell/vars/<n>; weights alone, no configuration
    .hdf5          HDF5 of Keras 1 and 2: attributes layer_names and keras_version; <layer>/...;
                   weights alone

Keras does not specify them; this is what keras/src/saving of Keras 3 and hdf5_format.py of Keras 2
write. The configuration is data: no class, function or Lambda that it names is made. What weights
and configuration of one layer mean is known in layer.py, and not here.
"""

import re

import numpy as np

from ..contents import Contents
from ..find import find
from ..hdf5.file import SIGNATURE, Hdf5, walk
from ..source import show
from ..stored_zip import directory, is_zip
from .configuration import MAX_CONFIG, configured_layers, parsed
from .layer import Cell, Unknown, layer_of

# Groups that hold layers in .keras files: Keras 3's name, and that of the first .keras files.
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")


def is_hdf5(source):
    return source.head.startswith(SIGNATURE)


def is_keras_zip(source):
    return is_zip(source) and "model.weights.h5" in directory(source).entries


# ---- the weights


class _Weights:
    """What one HDF5 file of weights holds.

    arrays       {path: array} of its datasets
    attributes   {name: value} of its root, with keras_version and layer_names of model_weights
    names        {path of a layer's group: the layer's name}, which Keras 3 keeps beside variables
    order        {path of a dataset: its place among the weights that its layer lists}
    """

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
        """The Cell whose variables are the datasets <path>/cell/vars/0, 1 and perhaps 2, as in
        .keras and .weights.h5; None if they are not one's."""
        parts = [self.arrays.get(f"{path}/cell/vars/{n}") for n in range(4)]
        return Cell.of(parts[:3]) if parts[3] is None else None

    def named(self):
        """[(path, Cell)] of the groups with datasets kernel, recurrent_kernel and perhaps bias, as
        in .h5 and .hdf5, in the order in which Keras listed the weights."""
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
        # sorted() is stable: where no order is known, the file's stays.
        return [(folder, cell) for _, folder, cell in sorted(found, key=lambda each: each[0])]


def _version(text):
    """(major, minor) of a version as Keras writes it; () if it is none."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text) if isinstance(text, str) else None
    return tuple(map(int, match.groups())) if match else ()


def _in_zip_layout(weights, configured):
    """[Cell] of a ConfiguredLayer in the layout of .keras files: one, or one for each direction; []
    if they are not there. A group whose name attribute is the layer's comes before the group where
    the layer's class and place say it is."""
    for container in _CONTAINERS:
        path = "/".join(f"{container}/{key}" for key in configured.keys)
        named = [each for each, name in weights.names.items() if name == configured.names[-1]]
        named = [each for each in named if each.count("/") == path.count("/")]
        for each in (*(named if len(named) == 1 else ()), path):
            one = weights.variables(each)
            if one:
                return [one]
            two = [weights.variables(f"{each}/{side}_layer") for side in ("forward", "backward")]
            if all(two):
                return two
    return []


def _in_h5_layout(cells, configured):
    """[Cell] of a ConfiguredLayer in the layout of .h5 files. cells: of _Weights.named.

    A group at the top has the name of the outermost model or layer; a layer inside a model has a
    further group with its name."""
    top, name = configured.names[0], configured.names[-1]
    inside = [(f, c) for f, c in cells if f.removeprefix("model_weights/").split("/")[0] == top]
    if len(configured.names) > 1:
        inside = [(f, c) for f, c in inside if name in f.split("/")]
    return [cell for _, cell in inside]


def _without_configuration(weights, cells):
    """[(name, [Cell])] of a file of weights alone, in either layout. Two cells in groups called
    forward... and backward... are the directions of one layer."""
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
    """The Contents of an Hdf5 file of weights.

    model     the model's configuration, a dict; None: it is the attribute model_config, or missing
    version   of Keras, (major, minor); (): it is the attribute keras_version, or unknown
    """
    weights = _Weights(file)
    found = Contents(dict(weights.arrays), {}, source=file.source)
    version = version or _version(weights.attributes.get("keras_version"))
    cells = weights.named()
    if model is None:
        text = weights.attributes.get("model_config")
        if isinstance(text, str):
            model = parsed(file.source, f"{file.place}attribute model_config", text)
    if model is None:
        if not version and weights.names:
            version = (3, 0)  # only Keras 3 writes names beside variables
        for name, its_cells in _without_configuration(weights, cells):
            layer, arrays = layer_of(its_cells, None, version, options)
            found.add(name, layer, arrays)
        found.layers = found.layers or find(found.arrays).layers
        return found
    for configured in configured_layers(model):
        name, its_cells = "/".join(configured.names), []
        if configured.names:
            its_cells = _in_zip_layout(weights, configured) or _in_h5_layout(cells, configured)
        try:
            layer, arrays = layer_of(its_cells, configured, version, options)
        except Unknown as reason:
            raise file.error(f"configuration of {show(name)}", reason) from None
        found.add(name or configured.class_name, layer, arrays)
    return found


def read_hdf5(source, options):
    """The Contents of an HDF5 file. In one that Keras did not write, layers are found by torch's
    names of arrays. options: the caller's Options."""
    data = source.read_into(0, np.empty(source.size, np.uint8))
    return _contents(Hdf5(source, data), None, (), options)


def read_zip(source, options):
    """The Contents of a .keras file. options: the caller's Options."""
    archive = directory(source)
    archive.check()
    texts = {}
    for name in ("config.json", "metadata.json"):
        if name not in archive.entries:
            raise source.error("zip directory", f"{name} is missing")
        texts[name] = parsed(
            source, f"record '{name}'", archive.read(archive.entries[name], MAX_CONFIG)
        )
    entry = archive.entries["model.weights.h5"]
    data = archive.read_into(entry, np.empty(entry.size, np.uint8))
    file = Hdf5(source, data, "record 'model.weights.h5': ")
    version = _version(texts["metadata.json"].get("keras_version"))
    return _contents(file, texts["config.json"], version, options)
