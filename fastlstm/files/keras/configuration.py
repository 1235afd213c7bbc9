# SPDX-License-Identifier: MIT
"""The recurrent layers that a Keras model's configuration names, and where in it they stand.

The configuration is JSON, as Keras' model.get_config() gives it:
    {"class_name": "Sequential", "config": {"layers": [
        {"class_name": "LSTM", "config": {...}}, ...]}}
A model may stand where a layer can, and older versions of Keras 2 have the list of layers itself as
the config of a Sequential. A wrapper (TimeDistributed) has one layer or model as its config's
"layer". What a recurrent layer's config means is not known here.
"""

import json
import re

from .layer import CELLS

# Bytes of JSON: the configuration of a large model has some hundred KiB, and json.loads makes
# objects of many times the text's size.
MAX_CONFIG = 2 << 20
MAX_LAYERS = 10_000  # recurrent layers of one model; the others are left out
MAX_DEPTH = 32  # models and wrappers inside one another; layers deeper inside are left out


def parsed(source, place, text):
    """The dict that a configuration's JSON describes. LoadError, at `place` of the open file
    `source`, if it is no JSON object or has more than MAX_CONFIG characters or bytes."""
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
    """A class's name as Keras makes it a group's: SimpleRNN -> simple_rnn."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


class ConfiguredLayer:
    """A recurrent layer, an RNN of a cell or of stacked cells, or a Bidirectional, as the
    configuration describes it.

    item    its part of the configuration, with "class_name" and "config"
    names   the names of the models and wrappers around it and its name, outermost first, without
            the whole model's; () if the configuration is this layer alone
    keys    the groups that a .keras file has for those, outermost first; None stands for the group
            that holds a model's layers. A layer of a model has its class in snake case, and from
            the second of a class in one model on "_1", "_2" ...; that of a wrapper has "layer"
    cells   of an RNN of stacked cells their groups, lowest first, named likewise; () of others
    """

    def __init__(self, item, names, keys):
        self.item, self.names, self.keys = item, names, keys
        self.class_name = item["class_name"]
        self.cells = ()
        cell = item["config"].get("cell") if isinstance(item["config"], dict) else None
        if self.class_name == "RNN" and parts_of(cell)[0] == "StackedRNNCells":
            self.cells = tuple(key for key, _ in keyed(list_of(cell["config"], "cells")))


def parts_of(item):
    """(class name, config) of an item of the configuration; ("", {}) if it is none."""
    if isinstance(item, dict) and isinstance(item.get("class_name"), str):
        config = item.get("config")
        if isinstance(config, dict | list):
            return item["class_name"], config
    return "", {}


def list_of(config, name):
    """The list `name` of a config that may be that list itself; [] if there is none."""
    found = config if isinstance(config, list) else config.get(name)
    return found if isinstance(found, list) else []


def keyed(items):
    """[(the group that a .keras file has for it, item)] of the layers of one model, or the cells of
    one stack."""
    found, used = [], {}
    for item in items:
        key = _snake(parts_of(item)[0])
        used[key] = used.get(key, -1) + 1
        found.append((f"{key}_{used[key]}" if used[key] else key, item))
    return found


def _is_recurrent(class_name, config):
    """Is it a class of Keras' recurrent layers, or one whose config has what they all write? Such a
    class is a user's own; it is found so that it can be refused by its name."""
    if class_name in CELLS or class_name in ("Bidirectional", "RNN"):
        return True
    if not isinstance(config, dict):
        return False
    units = any(name in config for name in ("units", "filters", "cell"))
    return (units and "go_backwards" in config) or ("merge_mode" in config and "layer" in config)


def configured_layers(model):
    """([ConfiguredLayer], was nothing left out?) of a model's configuration, in its order."""
    found, whole, pending = [], True, [(model, (), ())]
    while pending:
        item, names, keys = pending.pop()
        class_name, config = parts_of(item)
        if _is_recurrent(class_name, config):
            if len(found) >= MAX_LAYERS:
                return found, False
            found.append(ConfiguredLayer(item, names, keys))
            continue
        inside = [(child, (*keys, None, key)) for key, child in keyed(list_of(config, "layers"))]
        if isinstance(config, dict) and isinstance(config.get("layer"), dict):
            inside.append((config["layer"], (*keys, "layer")))
        if inside and len(names) >= MAX_DEPTH:
            whole = False
            continue
        for child, place in reversed(inside):
            name = parts_of(child)[1]
            name = name.get("name") if isinstance(name, dict) else None
            pending.append((child, (*names, name if isinstance(name, str) else ""), place))
    return found, whole
