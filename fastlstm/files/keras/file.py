# SPDX-License-Identifier: MIT
"""Keras files of four formats, and where in them the weights of each recurrent layer are.

    .keras         a zip: config.json (the model), metadata.json (keras_version), model.weights.h5,
                   an HDF5 file of layers/<class>[_<n>]/cell/vars/<n>, of a model of a user's own
                   class <attribute>/cell/vars/<n>; stacked cells stand in .../cell/cells/<class>
    .h5            HDF5: attributes model_config and keras_version; model_weights/<layer>/...
    .weights.h5    HDF5: layers/<class>[_<n>]/cell/vars/<n>; weights alone, no configuration
    .hdf5          HDF5 of Keras 1 and 2: attributes layer_names and keras_version; <layer>/...;
                   weights alone

Keras does not specify them; this is what keras/src/saving of Keras 3 and hdf5_format.py of Keras 2
write. The configuration is data: no class, function or Lambda that it names is made. What weights
and configuration of one layer mean is known in layer.py, and not here.

Weights that no layer of the configuration has belong to a model or layer of a user's own class,
whose configuration says nothing of what is inside. Its layers are found among the weights alone,
and Keras' defaults are assumed for the rest (Layer.assumed).
"""

import re

import numpy as np

from ..contents import Contents
from ..find import find
from ..hdf5.file import SIGNATURE, Hdf5, walk
from ..source import show
from ..stored_zip import directory, is_zip
from .cell import Cell
from .configuration import MAX_CONFIG, configured_layers, parsed
from .groups import below_top, in_h5_layout
from .layer import Known, Unknown, layer_of

# Groups that hold layers in .keras files: Keras 3's name, and that of the first .keras files.
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")


def is_hdf5(source):
    return source.head.startswith(SIGNATURE)


def is_keras_zip(source):
    return is_zip(source) and "model.weights.h5" in directory(source).entries


# ---- the weights


class Weights:
    """What one HDF5 file of weights holds.

    arrays       {path: array} of its datasets
    attributes   {name: value} of its root, with keras_version and layer_names of model_weights
    names        {path of a layer's group: the layer's name}, which Keras 3 keeps beside variables
    order        {path of a dataset: its place among the weights that its layer lists}
    listed       {path of a layer's group in an .h5 file: [paths of its datasets] as it lists them}
    """

    def __init__(self, file):
        self.file, self.arrays, self.names, self.order = file, {}, {}, {}
        self.listed = {}
        self._called = None
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
                listed = found.get("weight_names")
                if isinstance(listed, list):
                    self.listed[path] = [self.joined(path, str(name)) for name in listed]
                    self.order.update((each, n) for n, each in enumerate(self.listed[path]))

    def joined(self, *parts):
        """The parts with "/" between them. A file can have one long part stand in very many paths
        and names, so their bytes are counted."""
        made = "/".join(parts)
        self.file.charge_path(made)
        return made

    def variables(self, folder):
        """[kernel, recurrent kernel, bias] of the datasets <folder>/vars/0, 1 and perhaps 2, as in
        .keras and .weights.h5; None for each that is not there, and for all if there are more."""
        parts = [self.arrays.get(f"{folder}/vars/{n}") for n in range(4)]
        return parts[:3] if parts[3] is None else [None] * 3

    def cells(self, *folders):
        """[(folder, Cell)] of the variables in `folders`; [] if one's are not a cell's."""
        found = [(folder, Cell.of(self.variables(folder))) for folder in folders]
        return found if all(cell for _, cell in found) else []

    def called(self, name, depth):
        """The groups, `depth` slashes in their paths, that Keras 3 says are the layer's of this
        name."""
        if self._called is None:
            self._called = {}
            for folder, each in self.names.items():
                self._called.setdefault((each, folder.count("/")), []).append(folder)
        return self._called.get((name, depth), [])

    def layer_name(self, folder):
        """The name of the layer in `folder` of a .keras or .weights.h5 file: the names of the
        models and wrappers around it and its own, where Keras 3 wrote them, as configured_layers
        has them. Where a model of the user's own holds the layer, that is the attribute."""
        if not self.names:
            return folder
        parts = folder.split("/")
        found = []
        for n, part in enumerate(parts):
            if part in _CONTAINERS:
                continue
            given = n and (parts[n - 1] in _CONTAINERS or part == "layer")
            found.append(self.names.get("/".join(parts[: n + 1]), part) if given else part)
        return self.joined(*found)

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
    """(major, minor) of a version as Keras writes it, and "tf" third if it ends so; () if it is
    none."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text) if isinstance(text, str) else None
    tf = ("tf",) if match and text.endswith("-tf") else ()
    return (*map(int, match.groups()), *tf) if match else ()


def _in_zip_layout(weights, configured):
    """[(folder, Cell)] of a ConfiguredLayer in the layout of .keras files: one, one for each
    direction, or one for each of the stacked cells; [] if they are not there. A group whose name
    attribute is the layer's comes before the group where the layer's class and place say it is."""
    for container in _CONTAINERS:
        path = weights.joined(*(container if key is None else key for key in configured.keys))
        named = weights.called(configured.names[-1], path.count("/"))
        for each in (*(named if len(named) == 1 else ()), path):
            if configured.cells:
                folders = [[weights.joined(each, "cell/cells", cell) for cell in configured.cells]]
            else:
                sides = [f"{each}/{side}_layer/cell" for side in ("forward", "backward")]
                folders = [[f"{each}/cell"], sides]
            for some in folders:
                found = weights.cells(*some)
                if found:
                    return found
    return []


# Keras' own recurrent layers and cells, in snake case: a layer of a model stands in a group called
# after its class, and Keras 3 keeps the name of a cell, which is its class unless a user gave one.
_OWN_LAYER = re.compile(r"(lstm|gru|simple_rnn|rnn|bidirectional|cu_dnnlstm|cu_dnngru)(_\d+)?")
_OWN_CELL = re.compile(r"(lstm|gru|simple_rnn)_cell(_\d+)?")


def _foreign(weights, layer, folder):
    """Why the cell in `folder`, which the group `layer` has, may be none of Keras', in words; None
    if nothing says so."""
    outer, _, key = layer.rpartition("/")
    called, what = weights.names.get(folder), "cell"
    if outer.rpartition("/")[2] in _CONTAINERS and not _OWN_LAYER.fullmatch(key):
        called, what = key, "class"
    elif called is None or _OWN_CELL.fullmatch(called):
        return None
    return (
        f"its {what} is called {show(called)}, which is none of Keras' own and may compute "
        "anything; if it computes what Keras' does, its weights (read_state_dict) fit "
        "from_state_dict"
    )


def _beside(weights, folders):
    """{group: the path of an array in it that is no variable of the cells in `folders`}. Random
    seeds, which layers with dropout have, and states do not count."""
    found, folders = {}, set(folders)
    for path in weights.arrays:
        folder, vars_, _ = path.rpartition("/vars/")
        parts = path.split("/")
        if not (vars_ and folder in folders) and not {"seed_generator", "states"} & set(parts):
            for n in range(1, len(parts)):
                found.setdefault("/".join(parts[:n]), path)
    return found


def _number(folder):
    """(what stands before the number at the end of a group's name, the number)."""
    stem, _, number = folder.rpartition("_")
    return (stem, int(number)) if number.isdecimal() and len(number) < 10 else (folder, 0)


def _stacks(weights, folders):
    """{group of stacked cells: [(folder, Cell)] of all in it, lowest first}. Cells are numbered
    within their class: where there are several classes their order is not known, and the list is
    empty; so it is where one is no cell."""
    found = {}
    for folder in folders:
        parent = folder.rpartition("/")[0]
        if parent.endswith("/cell/cells"):
            found.setdefault(parent, []).append(folder)
    for parent, each in found.items():
        one = len({_number(folder)[0] for folder in each}) == 1
        found[parent] = weights.cells(*sorted(each, key=_number)) if one else []
    return found


def _in_variables(weights, claimed, assume):
    """As _without_configuration, of the cells in the layout of .keras files."""
    folders = [each.removesuffix("/vars/0") for each in weights.arrays if each.endswith("/vars/0")]
    beside = _beside(weights, (each for each in folders if weights.cells(each)))
    stacks = _stacks(weights, folders)
    done = set(claimed)
    for folder in folders:
        layer, _, last = folder.rpartition("/")
        name, pairs, stacked, problem = layer, [], False, None
        called_itself = assume and _OWN_CELL.fullmatch(weights.names.get(folder, ""))
        if folder in done:
            continue
        if layer in stacks:
            pairs = stacks[layer]
            stacked = bool(pairs)
            name = layer.removesuffix("/cell/cells") if stacked else folder
            if name.endswith(("/forward_layer", "/backward_layer")):
                problem = "a Bidirectional of stacked cells, each direction a stack of its own"
        elif last == "cell" and layer:
            outer, _, side = layer.rpartition("/")
            if side in ("forward_layer", "backward_layer"):
                pairs = weights.cells(f"{outer}/forward_layer/cell", f"{outer}/backward_layer/cell")
                name = outer if pairs else layer
        elif last == "cell" or called_itself:  # of a model, which calls it itself
            name = folder
        else:
            continue
        pairs = pairs or weights.cells(folder)
        if Cell.convolves(weights.variables(folder)):
            problem = "a ConvLSTM convolves its inputs, which fastlstm's layers do not"
        elif pairs and problem is None:
            problem = _foreign(weights, name, folder)
            if problem is None and name in beside:
                problem = f"beside its cell there is {show(beside[name])}, which no such layer has"
        if pairs or problem:
            done |= {each for each, _ in pairs}
            yield weights.layer_name(name), [cell for _, cell in pairs], stacked, problem


def _in_groups(weights, cells, claimed):
    """As _without_configuration, of the cells in the layout of .h5 files."""
    groups = {}
    for folder, cell in cells:
        if folder not in claimed:
            top, _ = below_top(folder)
            groups.setdefault(top, []).append((folder, cell))
    listed = weights.attributes.get("layer_names")
    order = listed if isinstance(listed, list) else []
    rank = {name: n for n, name in enumerate(order) if isinstance(name, str)}
    for top in sorted(groups, key=lambda name: rank.get(name, len(rank))):
        pairs = groups[top]
        sides = [
            any(part.startswith(side) for part in folder.split("/"))
            for (folder, _), side in zip(pairs, ("forward", "backward"), strict=False)
        ]
        stacked = all("/stacked_rnn_cells" in folder for folder, _ in pairs) and len(pairs) > 1
        if (len(pairs) == 2 and all(sides)) or stacked:
            yield top, [cell for _, cell in pairs], stacked, None
        else:
            for folder, cell in pairs:
                yield (top if len(pairs) == 1 else folder), [cell], False, None


def _without_configuration(weights, cells, claimed=(), assume=False):
    """(name, [Cell], stacked, why it cannot be read or None) of each layer among the weights alone,
    in either layout. [Cell] has one for each direction, two in groups called forward... and
    backward..., or, if stacked, one for each layer of a stack.

    claimed   the folders of cells that configured layers have
    assume    as Known's: then cells are found too that a model's own class calls itself
    """
    yield from _in_variables(weights, claimed, assume)
    yield from _in_groups(weights, cells, claimed)


def _of_hdf5(file):
    """(Weights, configuration or None, version) of an Hdf5 file."""
    weights = Weights(file)
    version = _version(weights.attributes.get("keras_version"))
    text = weights.attributes.get("model_config")
    model = None
    if isinstance(text, str):
        model = parsed(file.source, f"{file.place}attribute model_config", text)
    return weights, model, version


def model_file(source):
    """(Weights, the model's configuration, the version) of an open .keras, .h5, .hdf5 or
    .weights.h5 file. The configuration is a dict, None if the file has none; the version is as
    layer.Known has it, () if it is unknown."""
    if is_hdf5(source):
        data = source.read_into(0, np.empty(source.size, np.uint8))
        return _of_hdf5(Hdf5(source, data))
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
    weights, _, other = _of_hdf5(file)
    return weights, texts["config.json"], version or other


def read(source, options):
    """The Contents of a .keras or HDF5 file. In one that Keras did not write, layers are found by
    torch's names of arrays. options: the caller's Options."""
    weights, model, version = model_file(source)
    file = weights.file
    found = Contents(dict(weights.arrays), {}, source=file.source)
    cells = weights.named()
    if model is None and not version and weights.names:
        version = (3, 0)  # only Keras 3 writes names beside variables
    known = Known(version, options, assume=model is not None)
    layers, whole = ([], True) if model is None else configured_layers(model)
    in_h5, claimed = in_h5_layout(file, cells, layers), set()

    def add(name, layer, arrays):
        file.charge_path(name, 1 + len(arrays))
        found.add(name, layer, arrays)

    for configured in layers:
        name, pairs = weights.joined(*configured.names), []
        if configured.names:
            pairs = _in_zip_layout(weights, configured) or in_h5[configured]
        try:
            layer, arrays = layer_of([cell for _, cell in pairs], configured, known)
        except Unknown as reason:
            raise file.error(f"configuration of {show(name)}", reason) from None
        claimed |= {folder for folder, _ in pairs}
        whole = whole and bool(pairs)
        add(name or configured.class_name, layer, arrays)
    if not whole:  # what is left may be that of a configured layer
        return found
    left = _without_configuration(weights, cells, claimed, known.assume)
    for name, its_cells, stacked, problem in left:
        add(name, *layer_of(its_cells, None, known, stacked, problem))
    if model is None and not found.layers:
        return find(found.arrays, file.source, options)
    return found
