# SPDX-License-Identifier: MIT
"""Keras configurations that are malformed, hostile or not covered: an error that names the layer
and what is wrong, never a crash, in time and memory that the file's size bounds."""

import copy
import json
import random
import zipfile

import h5py
import numpy as np
import pytest
from make_keras_graphs import FOLDER

from fastlstm.errors import LoadError
from fastlstm.models import reference
from fastlstm.models.graph import ModelError
from fastlstm.models.keras import read
from fastlstm.models.model import Model

HUGE = (1 << 31) - 1
UNIT = "unit_normalization_2"  # the last layer of the model compensation


def first(config, class_name):
    """The first layer of a class."""
    return next(x for x in config["config"]["layers"] if x["class_name"] == class_name)


def tensor(name, call=0, output=0):
    inner = {"shape": [None], "dtype": "float32", "keras_history": [name, call, output]}
    return {"class_name": "__keras_tensor__", "config": inner}


def setting(class_name, **values):
    """A change: options of the first layer of that class."""

    def change(config):
        first(config, class_name)["config"].update(values)

    return change


def called(class_name, **values):
    """A change: the calls of the first layer of that class get other keyword arguments."""

    def change(config):
        for call in first(config, class_name)["inbound_nodes"]:
            call["kwargs"].update(values)

    return change


def calls(class_name, made):
    """A change: the calls of the first layer of that class."""

    def change(config):
        first(config, class_name)["inbound_nodes"] = made

    return change


def klass(class_name, new, **more):
    def change(config):
        layer = first(config, class_name)
        layer["class_name"] = new
        layer.update(more)

    return change


def top(**values):
    return lambda config: config["config"].update(values)


def whole(**values):
    return lambda config: config.update(values)


def twice(config):
    config["config"]["layers"].append(copy.deepcopy(config["config"]["layers"][-1]))


def circle(config):
    """Dense layers that read one another."""
    one = first(config, "UnitNormalization")
    dense = first(config, "Dense")
    dense["inbound_nodes"] = [{"args": [tensor(one["config"]["name"])], "kwargs": {}}]


def itself(config):
    dense = first(config, "Dense")
    dense["inbound_nodes"] = [{"args": [tensor(dense["config"]["name"])], "kwargs": {}}]


def deep(config):
    inner = copy.deepcopy(config)
    for n in range(40):
        inner = {
            "class_name": "Sequential", "config": {"name": f"m{n}", "layers": [inner]},
        }  # fmt: skip
    config["config"]["layers"].append(inner)


def deep_arguments(config):
    value = tensor("wave")
    for _ in range(200):
        value = [value]
    first(config, "Dense")["inbound_nodes"] = [{"args": [value], "kwargs": {}}]


def no_layers(config):
    del config["config"]["layers"]


def one_layer_is(value):
    def change(config):
        config["config"]["layers"][1] = value

    return change


def added(config):
    """The last layer adds the input, of 20 steps, to what has fewer."""
    last = first(config, "UnitNormalization")
    last["class_name"] = "Add"
    (call,) = last["inbound_nodes"]
    call["args"] = [[call["args"][0], tensor("wave")]]


def unlisted(config):
    """One more layer of a class, whose weights the file does not have."""
    more = copy.deepcopy(first(config, "Conv1D"))
    more["config"]["name"] = more["name"] = "more"
    config["config"]["layers"].append(more)
    config["config"]["output_layers"] = ["more", 0, 0]


def swap_units(config):
    first(config, "LSTM")["config"]["units"] = 5


# name: (model, change, words of the error). Of the models that test_keras.py runs.
CASES = {
    "no layers": ("compensation", no_layers, "the input 'wave' is no InputLayer"),
    "no inputs": ("compensation", top(input_layers=[]), "no input_layers"),
    "inputs are text": ("compensation", top(input_layers="wave"), "its input_layers are 'wave'"),
    "no outputs": ("compensation", top(output_layers=None), "its output_layers are 'None'"),
    "an unknown output": ("compensation", top(output_layers=[["nobody", 0, 0]]),
                          "no layer 'nobody', whose output is needed"),
    "a call of an output that is not there": (
        "compensation", top(output_layers=[[UNIT, 7, 0]]),
        "its call number 7 is needed, it has 1"),
    "a negative call": ("compensation", top(output_layers=[[UNIT, -1, 0]]),
                        "its call number -1 is needed"),
    "the second output of one": ("compensation", top(output_layers=[[UNIT, 0, 1]]),
                                 f"output 1 of the layer {UNIT!r} is needed, it has 1"),
    "an unknown layer is read": ("compensation", calls("Dense", [{"args": [tensor("x9")],
                                 "kwargs": {}}]), "no layer 'x9'"),
    "no calls": ("compensation", calls("Dense", []), "its call number 0 is needed, it has 0"),
    "calls are text": ("compensation", calls("Dense", ["wave"]), "a call is 'wave'"),
    "a call without arguments": ("compensation", calls("Dense", [{"args": [], "kwargs": {}}]),
                                 "0 inputs, 1 is due"),
    "a call of a number": ("compensation", calls("Dense", [{"args": [3], "kwargs": {}}]),
                           "0 inputs, 1 is due"),
    "a call's args are text": ("compensation", calls("Dense", [{"args": "x", "kwargs": {}}]),
                               "a call whose args and kwargs are no list and object"),
    "a tensor without history": ("compensation", calls("Dense", [{"args": [
        {"class_name": "__keras_tensor__", "config": {}}], "kwargs": {}}]),
        "a call has a tensor without keras_history"),
    "an argument of a class": ("compensation", calls("Dense", [{"args": [
        {"class_name": "Evil", "config": {}}], "kwargs": {}}]),
        "a call with an argument of the class 'Evil'"),
    "arguments too deep": ("compensation", deep_arguments, "nested too deeply"),
    "a list of Keras 2 without a tensor": ("compensation", calls("Dense", [["a", "b"]]),
                                           "a call has 'a' in place of a tensor"),
    "a circle": ("compensation", circle, "it needs its own output: layers in a circle"),
    "a layer reads itself": ("compensation", itself, "it needs its own output"),
    "two layers of a name": ("compensation", twice, "two layers are called"),
    "models too deep": ("compensation", deep, "more than 32 deep inside one another"),
    "a layer is a number": ("compensation", one_layer_is(3), "has '3' in place of a layer"),
    "a layer with a very long name": ("compensation", one_layer_is(
        {"class_name": "Dense", "config": {"name": "n" * 2000}}), "a name longer than 1024"),
    "a layer without a class": ("compensation", one_layer_is({"config": {}}),
                                "a layer without class_name"),
    "a layer's config is a list": ("compensation", one_layer_is(
        {"class_name": "Dense", "config": [1]}), "the configuration of a 'Dense' is no object"),
    "a class that is no text": ("compensation", one_layer_is({"class_name": 3, "config": {}}),
                                "class_name is '3', not text"),
    "a mask of a number": ("compensation", called("GRU", mask=3),
                           "the argument mask of its call does not fit its inputs"),
    "an unknown argument": ("compensation", called("GRU", speed=3),
                            "the argument 'speed' of its call is not covered"),
    "too few initial states": ("initial_states", called("LSTM", initial_state=[tensor("h")]),
                               "1 initial states, 2 are due"),
    "too many initial states": ("initial_states", called("GRU", initial_state=[tensor("h")] * 3),
                                "2 initial states too many"),
    "an initial state of the wrong size": (
        "initial_states", called("GRU", initial_state=tensor("lstm_27")),
        "an initial state of the shape"),
    "an initial state that is a number": ("initial_states", called("GRU", initial_state=[4]),
                                          "its initial_state must be tensors"),
    "an embedding of other rows": ("initial_states", setting("Embedding", input_dim=12),
                                   "its embeddings has the shape (11, 5), (12, 5) is due"),
    "an embedding of huge rows": ("initial_states", setting("Embedding", input_dim=1 << 40),
                                  "input_dim is '1099511627776'"),
    "units that the weights have not": ("lstm_variants", swap_units,
                                        "units is '5', its weights have 4"),
    "an unknown activation": ("lstm_variants", setting("LSTM", activation="evil"),
                              "the activation 'evil' is not known"),
    "an activation that is a function": (
        "lstm_variants", setting("LSTM", activation={"class_name": "function", "config": 3}),
        "an activation that is no function of Keras"),
    "units of a Dense": ("compensation", setting("Dense", units=3),
                         "its kernel has the shape (5, 2), (5, 3) is due"),
    "units that are text": ("compensation", setting("Dense", units="3"), "units is '3'"),
    "no bias in the file": ("conv1d", setting("Conv1D", groups=3), "4 channels and 3 filters"),
    "filters of a convolution": ("conv1d", setting("Conv1D", filters=4),
                                 "its kernel has the shape (3, 4, 3), (3, 4, 4) is due"),
    "strides of 0": ("conv1d", setting("Conv1D", strides=[0]), "strides is '0'"),
    "a kernel of two sizes": ("conv1d", setting("Conv1D", kernel_size=[3, 3]),
                              "kernel_size has 2 numbers, 1 are due"),
    "a layout that nobody knows": ("conv1d", setting("Conv1D", data_format="up"),
                                   "data_format is 'up'"),
    "padding that nobody knows": ("conv1d", setting("Conv1D", padding="more"),
                                  "padding is 'more'"),
    "a pool beyond the steps": ("compensation", setting("AveragePooling1D", pool_size=HUGE + 1),
                                "pool_size is '2147483648'"),
    "the wrong rank": ("shapes", calls("RepeatVector", [{"args": [tensor("x")], "kwargs": {}}]),
                       "its input has the shape (?, 6, 4), 2 axes are due"),
    "a shape that does not fit": ("shapes", setting("Reshape", target_shape=[5, 5]),
                                  "does not become"),
    "a shape with -1 twice": ("shapes", setting("Reshape", target_shape=[-1, -1]), "has -1 twice"),
    "a shape of text": ("shapes", setting("Reshape", target_shape=["a"]), "target_shape is 'a'"),
    "axes moved twice": ("shapes", setting("Permute", dims=[1, 1]), "dims [1, 1] of 3 axes"),
    "cropping of everything": ("shapes", setting("Cropping1D", cropping=[4, 2]), "leaves none"),
    "padding of -1": ("shapes", setting("ZeroPadding1D", padding=[-1, 2]), "padding is [[-1, 2]]"),
    "no repeats": ("shapes", setting("RepeatVector", n=-3), "n is '-3'"),
    "merging shapes that differ": ("compensation", added, "do not fit together"),
    "merging one": ("merges", calls("Add", [{"args": [[tensor("a")]], "kwargs": {}}]),
                    "1 inputs, 2 are due"),
    "sums of axes that differ": ("dots", setting("Dot", axes=1), "are summed"),
    "a sum over the batch": ("dots", setting("Dot", axes=0), "axes [0, 0]"),
    "an axis beyond": ("merges", setting("Concatenate", axis=7), "axis is '7'"),
    "a merge mode": ("bi_sum", setting("Bidirectional", merge_mode="max"), "merge_mode is 'max'"),
    "a Bidirectional of nothing": ("bi_sum", setting("Bidirectional", layer=None),
                                   "it has no layer"),
    "no cells": ("stacked_masked", setting("RNN", cell={"class_name": "StackedRNNCells",
                                                        "config": {"cells": []}}),
                 "it has no cells"),
    "a wrapper of nothing": ("time_distributed", setting("TimeDistributed", layer=None),
                             "in place of a layer"),
    "a shape of an input": ("compensation", setting("InputLayer", batch_shape=[None, -4]),
                            "its shape is '[None, -4]'"),
    "an input without a shape": ("compensation", setting("InputLayer", batch_shape=None),
                                 "its shape is 'None'"),
    "an input of text": ("compensation", setting("InputLayer", dtype="string"),
                         "inputs of the type 'string' are not covered"),
    "a Lambda": ("compensation", klass("UnitNormalization", "Lambda"),
                 f"layer {UNIT!r} (Lambda): a Lambda is Python code, which is not run"),
    "a layer that is not covered": ("compensation", klass("UnitNormalization", "Spectral"),
                                    "(Spectral): a layer of this class is not covered"),
    "a user's own layer": ("compensation", klass("UnitNormalization", "Mine", module="me",
                                                 registered_name="me>Mine"),
                           "(me>Mine): a class of its own"),
    "a user's own model": ("compensation", whole(class_name="Mine", module=None,
                                                 registered_name="me>Mine"),
                           "a model of the class 'me>Mine', whose forward is Python code"),
    "a layer alone": ("compensation", whole(class_name="Dense", module="keras.layers",
                                            registered_name=None), "it is one layer, not a model"),
    "quantised weights": ("compensation", setting("Dense", quantization_config={"a": 1}),
                          "its weights are quantised"),
    "an epsilon of text": ("compensation", setting("BatchNormalization", epsilon="x"),
                           "epsilon is 'x', a number is due"),
    "an epsilon beyond": ("compensation", setting("BatchNormalization", epsilon=float("inf")),
                          "epsilon is 'inf'"),
    "a flag that is a number": ("conv1d", setting("Conv1D", use_bias=7), "use_bias is '7'"),
    "a weight that is missing": ("conv1d", unlisted, "its weight kernel is not in the file"),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("refused")


def changed(path, model, change):
    """A .keras file of the models, with a configuration that `change` has changed in place."""
    with zipfile.ZipFile(FOLDER / "models.zip") as archive:
        data = archive.read(f"{model}.keras")
    path.with_suffix(".zip").write_bytes(data)
    with zipfile.ZipFile(path.with_suffix(".zip")) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            inner = old.read(name)
            if name == "config.json":
                config = json.loads(inner)
                change(config)
                inner = json.dumps(config).encode()
            new.writestr(name, inner)
    return path


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_configuration(made, case):
    model, change, words = CASES[case]
    path = changed(made / f"{case.replace(' ', '_')}.keras", model, change)
    with pytest.raises(LoadError) as caught:
        read(path)
    assert words in str(caught.value)


def test_weights_alone():
    path = FOLDER.parents[2] / "files" / "data" / "keras" / "lstm.keras.weights.h5"
    with pytest.raises(ModelError, match="weights alone and does not say how the model computes"):
        read(path)


def test_a_huge_repeat_is_refused_when_it_is_called(made):
    """It is no fault of the file, but no array may be that large."""
    path = changed(made / "repeat.keras", "shapes", setting("RepeatVector", n=HUGE))
    graph = read(path)
    inputs = {v.name: np.zeros([2 if n == "batch" else n for n in v.shape], v.dtype)
              for v in graph.inputs}  # fmt: skip
    with pytest.raises(ModelError, match="is the limit"):
        reference.run(graph, inputs)
    with pytest.raises((ModelError, MemoryError)):
        Model(graph).run(inputs)


def test_a_huge_input_makes_no_huge_constant(made):
    """A layer without weights says nothing of its sizes."""

    def change(config):
        setting("InputLayer", batch_shape=[None, 3, HUGE])(config)
        last = first(config, "LayerNormalization")
        last["config"].update(scale=False, center=False, axis=-1)
        last["inbound_nodes"] = [{"args": [tensor("tokens")], "kwargs": {}}]
        config["config"]["output_layers"] = [last["config"]["name"], 0, 0]

    graph = read(changed(made / "wide.keras", "mask_passed", change))
    assert sum(a.nbytes for a in graph.constants.values()) < 10_000
    with pytest.raises(ModelError, match="is the limit"):
        reference.run(graph, {"tokens": np.ones((1, 3, 1))})


@pytest.mark.parametrize("change, words", [
    (lambda group: group.attrs.__setitem__("weight_names", group.attrs["weight_names"][:1]),
     "the file has 1 weights for it, 3 are due"),
    (lambda group: group.attrs.__setitem__("weight_names", ["a", "b", "c"]),
     "the file lists weights of it that it does not have: 'model_weights/lstm"),
    (lambda group: group.attrs.__setitem__("weight_names", group.attrs["weight_names"][::-1]),
     "where its kernel is due"),
])  # fmt: skip
def test_the_lists_of_weights_of_an_h5_file(made, change, words):
    path = made / "lists.h5"
    with zipfile.ZipFile(FOLDER / "models.zip") as archive:
        path.write_bytes(archive.read("ethnicolr.h5"))
    with h5py.File(path, "r+") as file:
        (name,) = (n for n in file["model_weights"] if n.startswith("lstm"))
        change(file["model_weights"][name])
    with pytest.raises(ModelError) as caught:
        read(path)
    assert words in str(caught.value) and "(LSTM)" in str(caught.value)


VALUES = [
    None, True, 0, 1, -1, 7, 1 << 31, 1 << 70, 0.5, float("nan"), "", "x", [], [1], [[1, 2]], {},
    {"class_name": "LSTM", "config": {}}, tensor("x"), ["x", 0, 0], [None, None], [1] * 9,
]  # fmt: skip


def places(value, path=()):
    """The path of every value inside a value of JSON."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inside:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))


@pytest.mark.parametrize("seed", range(4))
def test_configurations_with_a_value_changed(made, seed):
    """Some are models all the same, and run or are refused as such."""
    rng = random.Random(seed)
    with zipfile.ZipFile(FOLDER / "models.zip") as archive:
        names = [n.removesuffix(".keras") for n in archive.namelist() if n.endswith(".keras")]

    def change(config):
        path = rng.choice([p for p in places(config) if "initializer" not in str(p)])
        for key in path[:-1]:
            config = config[key]
        if rng.random() < 0.2:
            del config[path[-1]]
        else:
            config[path[-1]] = rng.choice(VALUES)

    refused = 0
    for _ in range(40):
        try:
            graph = read(changed(made / f"mutant{seed}.keras", rng.choice(names), change))
            graph.check()
        except LoadError as error:
            assert str(error)
            refused += 1
    assert 5 < refused < 40


def test_models_that_call_models_that_call_models(made):
    """Each calls the one before twice, so that 2^30 calls of the innermost would be due."""

    def change(config):
        shape = [None, 4]
        inner = None
        for _ in range(30):
            x = {"class_name": "InputLayer", "name": "i", "inbound_nodes": [],
                 "config": {"name": "i", "batch_shape": shape, "dtype": "float32"}}  # fmt: skip
            if inner is None:
                add = {"class_name": "Activation", "name": "f", "config": {
                    "name": "f", "trainable": True, "activation": "tanh"}}  # fmt: skip
            else:
                add = inner
            calls = [{"args": [tensor("i")], "kwargs": {}},
                     {"args": [tensor("f")], "kwargs": {}}]  # fmt: skip
            last = 2 if inner is not None else 1
            inner = {"class_name": "Functional", "name": "f", "config": {
                "name": "f", "layers": [x, add | {"inbound_nodes": calls}],
                "input_layers": [["i", 0, 0]], "output_layers": [["f", last, 0]]}}  # fmt: skip
        config.clear()
        config.update(inner)

    path = changed(made / "bomb.keras", "compensation", change)
    with pytest.raises(ModelError, match="for such a file"):
        read(path)
