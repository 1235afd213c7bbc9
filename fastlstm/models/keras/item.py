# SPDX-License-Identifier: MIT
"""What a Keras configuration has: models, wrappers and layers inside one another, and where in the
file the weights of each are.

Both layouts of weights are needed by the order in which a layer makes its variables:
    .keras   <folder of the layer>/<part>/vars/<n>: the n-th variable of a part of the layer
    .h5      for each layer of the outermost model a list of all weights in it, models and wrappers
             too: first all that are trainable, then the others
"""

import dataclasses

import numpy as np

from ...files.keras.configuration import MAX_DEPTH, keyed, list_of
from ...files.keras.layer import Unknown, class_of
from ...files.source import show
from ..graph import ModelError

MODELS = ("Sequential", "Functional", "Model")
MAX_TITLE = 1024  # characters of a layer's name, behind those of the models that it is in
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # of Keras 3, of the first .keras files


@dataclasses.dataclass(frozen=True)
class Variable:
    """A variable of a layer: the part of the layer that makes it ("" for the layer itself), its
    Keras name, and whether it is trainable in a layer that is."""

    part: str
    name: str
    trainable: bool = True


@dataclasses.dataclass(eq=False)
class Item:
    """A model, wrapper or layer of the configuration.

    class_name   Keras' own, or "package>Name"; operations that are no layers are "ops.Name"
    config       a dict
    inbound      its calls, as the configuration has them; of a layer of a functional model
    children     of a model its layers, of a wrapper the layer in it
    key          the group that a .keras file has for it within its model's
    above        the Item that it is in, or None
    trainable    is it, and everything that it is in?
    """

    class_name: str
    name: str
    config: dict
    inbound: list
    key: str
    above: object
    trainable: bool = True
    children: list = dataclasses.field(default_factory=list)
    title: str = ""

    @property
    def is_model(self):
        return self.class_name in MODELS

    def error(self, rule):
        return ModelError(f"layer {show(self.title or self.name)} ({self.class_name}): {rule}")


def _class_name(item):
    module = item.get("module")
    if isinstance(module, str) and module.startswith("keras.") and ".ops" in module:
        return f"ops.{item.get('class_name')}"
    try:
        found = class_of(item)
    except Unknown as reason:
        raise ModelError(f"the configuration: {reason}") from None
    if found is None:
        raise ModelError("the configuration has a layer without class_name")
    return found


def _name(item, config):
    for name in (item.get("name"), config.get("name"), item.get("class_name")):
        if isinstance(name, str) and name:
            return name
    return ""


def item_of(item, above=None, key="", depth=0):
    """The Item of a dict of the configuration, with all that is in it. ModelError if it is none."""
    if depth > MAX_DEPTH:
        raise ModelError(f"models and wrappers more than {MAX_DEPTH} deep inside one another")
    if not isinstance(item, dict):
        raise ModelError(f"the configuration has {show(str(item))} in place of a layer")
    config, inbound = item.get("config"), item.get("inbound_nodes")
    class_name = _class_name(item)
    if isinstance(config, list) and class_name == "Sequential":
        config = {"layers": config}
    if not isinstance(config, dict):
        raise ModelError(f"the configuration of a {show(class_name)} is no object")
    trainable = config.get("trainable") is not False and (above is None or above.trainable)
    name = _name(item, config)
    title = name if above is None or above.above is None else f"{above.title}/{name}"
    if len(title) > MAX_TITLE:
        raise ModelError(f"the layer {show(title)} has a name longer than {MAX_TITLE}")
    made = Item(class_name, name, config, inbound if isinstance(inbound, list) else [], key, above,
                trainable, title=title)  # fmt: skip
    if made.is_model:
        for child_key, child in keyed(list_of(config, "layers")):
            made.children.append(item_of(child, made, child_key, depth + 1))
    elif class_name == "TimeDistributed":
        made.children.append(item_of(config.get("layer"), made, "layer", depth + 1))
    return made


class Weights:
    """The weights of all Items of a file.

    stored      files.keras.file.Weights
    variables   f(Item) -> [Variable] of a layer, [] if it has none
    """

    def __init__(self, stored, variables):
        self.stored, self.variables = stored, variables
        self._folders, self._parts, self._listed = {}, {}, {}
        self.in_lists = any(path.startswith("model_weights/") for path in stored.listed)

    def of(self, item):
        """{Variable: array} of a layer's variables, those that the file has."""
        return self._from_lists(item) if self.in_lists else self._from_folders(item)

    # .keras

    def _inside(self, container):
        """{name: [folders]} of the layers right in a group, as Keras 3 keeps their names."""
        if not self._parts:
            for folder, name in self.stored.names.items():
                parent = folder.rpartition("/")[0]
                self._parts.setdefault(parent, {}).setdefault(name, []).append(folder)
        return self._parts.get(container, {})

    def _folder(self, item):
        """The groups in which an Item may be, the likeliest first."""
        if item.above is None:
            return [""]
        if item not in self._folders:
            found = []
            for above in self._folder(item.above):
                if item.key == "layer":
                    found.append(f"{above}/layer".lstrip("/"))
                    continue
                for name in _CONTAINERS:
                    container = f"{above}/{name}".lstrip("/")
                    named = self._inside(container).get(item.name, [])
                    found += named if len(named) == 1 else [f"{container}/{item.key}"]
            self._folders[item] = found
        return self._folders[item]

    def _from_folders(self, item):
        arrays, found, counts = self.stored.arrays, {}, {}
        for variable in self.variables(item):
            n = counts[variable.part] = counts.get(variable.part, -1) + 1
            for folder in self._folder(item):
                for part in dict.fromkeys((variable.part, f"_{variable.part}")):
                    place = "/".join(filter(None, (folder, part, f"vars/{n}")))
                    if variable not in found and place in arrays:
                        found[variable] = arrays[place]
        return found

    # .h5

    def _leaves(self, item):
        if not item.children:
            yield item
        for child in item.children:
            yield from self._leaves(child)

    def _from_lists(self, item):
        top = item
        while top.above is not None and top.above.above is not None:
            top = top.above
        if top not in self._listed:
            self._listed[top] = self._matched(top)
        return self._listed[top].get(item, {})

    def _matched(self, top):
        """{Item: {Variable: array}} of a layer of the outermost model and all that is in it."""
        order = {True: [], False: []}
        for leaf in self._leaves(top):
            for variable in self.variables(leaf):
                order[variable.trainable and leaf.trainable].append((leaf, variable))
        due = order[True] + order[False]
        paths = self.stored.listed.get(f"model_weights/{top.name}", [])
        arrays = [self.stored.arrays.get(path) for path in paths]
        for path, array in zip(paths, arrays, strict=True):
            if array is None:
                raise top.error(f"the file lists weights of it that it does not have: {show(path)}")
        if len(due) != len(paths):
            raise top.error(f"the file has {len(paths)} weights for it, {len(due)} are due")
        found = {}
        for (leaf, variable), array, path in zip(due, arrays, paths, strict=True):
            last = path.rpartition("/")[2].partition(":")[0]
            if last in _NAMES and last != variable.name and variable.name in _NAMES:
                raise top.error(f"the file has {show(path)} where its {variable.name} is due")
            found.setdefault(leaf, {})[variable] = array
        return found


# Names that mean one thing, whichever layer has them.
_NAMES = {
    "kernel", "recurrent_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance",
    "embeddings", "depthwise_kernel", "pointwise_kernel",
}  # fmt: skip


def as_float(array):
    """A weight as float32, without a copy where it is that."""
    return np.asarray(array, np.float32)
