# SPDX-License-Identifier: MIT
"""The recurrent layers that a Keras model's configuration names, and where in it they stand.

The configuration is JSON, as Keras' model.get_config() gives it:
    {"class_name": "Sequential", "config": {"layers": [
        {"class_name": "LSTM", "config": {...}}, ...]}}
A model may stand where a layer can, and older versions of Keras 2 have the list of layers itself as
the config of a Sequential. What a layer's config means is not known here.
"""

import json
import re

from .layer import CELLS

# Bytes of JSON: the configuration of a large model has some hundred KiB, and json.loads makes
# objects of many times the text's size.
MAX_CONFIG = 2 << 20
MAX_LAYERS = 10_000  # recurrent layers of one model; the others are left out
MAX_DEPTH = 32  # models inside models; layers deeper inside are left out


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
    """A recurrent layer, an RNN of a cell, or a Bidirectional, as the configuration describes it.

    class_name, config   Keras' class, and what the configuration says of the layer
    names   the names of the models around it and its name, outermost first, without the whole
            model's; () if the configuration is this layer alone
    keys    the names of the groups that a .keras file has for those, likewise: the class in snake
            case, and from the second of a class in one model on "_1", "_2" ...
    """

    def __init__(self, item, names, keys):
        self.class_name, self.config = item["class_name"], item["config"]
        self.names, self.keys = names, keys


def _parts(item):
    """(class name, config) of an item of the configuration; ("", {}) if it is none."""
    if isinstance(item, dict) and isinstance(item.get("class_name"), str):
        config = item.get("config")
        if isinstance(config, dict | list):
            return item["class_name"], config
    return "", {}


def configured_layers(model):
    """[ConfiguredLayer] of a model's configuration, in its order."""
    found, pending = [], [(model, (), ())]
    while pending:
        item, names, keys = pending.pop()
        class_name, config = _parts(item)
        if class_name in CELLS or class_name in ("Bidirectional", "RNN"):
            if len(found) >= MAX_LAYERS:
                break
            found.append(ConfiguredLayer(item, names, keys))
            continue
        children = config if isinstance(config, list) else config.get("layers")
        used, inside = {}, []
        for child in children if isinstance(children, list) else ():
            child_class, child_config = _parts(child)
            key = _snake(child_class)
            used[key] = used.get(key, -1) + 1
            key = f"{key}_{used[key]}" if used[key] else key
            name = child_config.get("name") if isinstance(child_config, dict) else None
            name = name if isinstance(name, str) else ""
            if len(names) < MAX_DEPTH:
                inside.append((child, (*names, name), (*keys, key)))
        pending += reversed(inside)
    return found
