# SPDX-License-Identifier: MIT
"""The Graph of a Keras file: its inputs and outputs, and the calls of its layers in order.

A Sequential calls its layers one after the other. A functional model has for each layer the calls
of it, whose arguments name other calls' outputs as (layer, number of the call, number of the
output); what the outputs need is called, each once. A model that is called as a layer is read again
for each call, with the weights of the first.
"""

import numpy as np

from ...files.contents import Options
from ...files.keras import file as files
from ...files.keras.layer import Known
from ...files.source import Source, show
from ..graph import ModelError, Value, WeightsAlone
from .call import LAYERS, Call
from .item import Weights, item_of
from .layers import time_distributed  # and all the others, which register themselves
from .nodes import Reference, calls_of, flat, references
from .target import Target, Tensor

_OUT = "see fastlstm.load for its recurrent layers and fastlstm.nn for the rest"


def read(source):
    """The Graph of a .keras or .h5 file: a path, or an open files.source.Source.

    Inputs have the names of Keras' input layers, float32, int64 or bool; the batch is always free
    ("batch"), and so is every size that the file leaves open: "time" for axis 1 of the only input,
    else "<input>_<axis>". A stateful layer has inputs "<layer>_h0" (and "_c0"), of the shape
    (directions, batch, units), and outputs "<layer>_hn" ("_cn"), behind the model's own: a stream
    of the model pairs them and keeps the state.

    LoadError if the file is malformed. ModelError for a model of a user's own class, Lambda and
    layers of a class that is not covered, with the layer's name; and where weights and
    configuration do not fit together.
    """
    if not isinstance(source, Source):
        with Source(source) as opened:
            return read(opened)
    stored, model, version = files.model_file(source)
    if model is None:
        raise WeightsAlone(
            f"{source.name}: the file holds weights alone and does not say how the model "
            f"computes: {_OUT}"
        )
    if not version and stored.names:
        version = (3, 0)  # only Keras 3 writes names beside variables
    try:
        return _Reader(source.name, model, version, stored).graph()
    except RecursionError:
        raise ModelError(f"{source.name}: the configuration is nested too deeply") from None


def _count(value):
    """How many dicts and lists a configuration has."""
    count, pending = 0, [value]
    while pending:
        each = pending.pop()
        inside = each.values() if isinstance(each, dict) else each
        pending += [v for v in inside if isinstance(v, dict | list)]
        count += 1
    return count


def _variables(item):
    found = LAYERS.get(item.class_name)
    return found[1](item.config) if found else []


class _Reader:
    """known    what is known of the whole file, as its recurrent layers are read with
    titles   the names of the outputs
    """

    def __init__(self, name, model, version, stored):
        self.name = name
        self.top = item_of(model)
        self.known = Known(version, Options())
        self.weights = Weights(stored, _variables)
        self.target = Target(name, 1000 + 20 * _count(model))
        self.titles, self.steps = [], 0

    def graph(self):
        top = self.top
        if not top.is_model:
            if top.class_name in LAYERS:
                raise ModelError(f"{self.name}: it is one layer, not a model")
            raise ModelError(
                f"{self.name}: a model of the class {show(top.class_name)}, whose forward is "
                f"Python code that the file does not have: {_OUT}"
            )
        inputs = self._inputs(top)
        found = self.model(top, inputs)
        names = found if isinstance(found, dict) else None
        tensors = flat(found)
        if not tensors:
            raise ModelError(f"{self.name}: the model has no outputs")
        behind, self.target.outputs = self.target.outputs, []
        for i, tensor in enumerate(tensors):
            name = list(names)[i] if names and len(names) == len(tensors) else self.titles[i]
            (given,) = self.target.emit(name, "Identity", [tensor.name], [name])
            self.target.outputs.append(self._output(given))
        self.target.outputs += behind
        return self.target.graph()

    def _output(self, name):
        fact = self.target.facts[name]
        shape = tuple(
            n if n is not None else "batch" if i == 0 else "" for i, n in enumerate(fact.shape)
        )
        return Value(name, fact.dtype, shape)

    # ---- inputs

    def _inputs(self, top):
        """[Tensor] of new inputs of the Graph, one for each that the model takes."""
        found = [c for c in top.children if c.class_name == "InputLayer"]
        if top.class_name == "Sequential":
            return [self._sequential_input(top, found)]
        due = {child.name: child for child in found}
        names = [ref.layer for ref in references(top, "input_layers")]
        for name in names:
            if name not in due:
                raise ModelError(f"{self.name}: the input {show(name)} is no InputLayer")
        if len(set(names)) != len(names):
            raise ModelError(f"{self.name}: an input is named twice")
        shapes = [(due[name].name, *self._shape(due[name])) for name in names]
        return [self._input(*each, single=len(shapes) == 1) for each in shapes]

    def _sequential_input(self, top, found):
        if found:
            return self._input(found[0].name, *self._shape(found[0]))
        if not top.children:
            raise ModelError(f"{self.name}: a Sequential without layers")
        first = top.children[0]
        inner = first
        while inner.children and "batch_input_shape" not in inner.config:
            inner = inner.children[0]
        if "batch_input_shape" not in inner.config:
            built = top.config.get("build_input_shape")
            if not isinstance(built, list):
                raise ModelError(
                    f"{self.name}: a Sequential whose file does not say the shape of its input; "
                    "it has none if the model was saved before it was built"
                )
            inner = first
            inner.config = inner.config | {"batch_input_shape": built}
        kind = (
            inner.config.get("dtype") if inner.class_name in ("InputLayer", "Embedding") else None
        )
        return self._input(f"{first.name}_input", *self._shape(inner, kind))

    def _shape(self, item, kind=None):
        shape = item.config.get("batch_shape", item.config.get("batch_input_shape"))
        if not isinstance(shape, list) or not 1 <= len(shape) <= 8:
            raise item.error(f"its shape is {show(str(shape))}")
        for n in shape:
            if n is not None and (type(n) is not int or not 0 <= n < 1 << 31):
                raise item.error(f"its shape is {show(str(shape))}")
        kind = item.config.get("dtype", "float32") if kind is None else kind
        if isinstance(kind, dict):  # a policy
            kind = (
                kind.get("config", {}).get("name") if isinstance(kind.get("config"), dict) else ""
            )
        kind = "float32" if kind in (None, "mixed_float16", "mixed_bfloat16", "bfloat16") else kind
        try:
            dtype = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_}[
                np.dtype(kind).kind
            ]
        except (TypeError, KeyError, ValueError):
            raise item.error(f"inputs of the type {show(str(kind))} are not covered") from None
        if item.config.get("sparse") or item.config.get("ragged"):
            raise item.error("sparse and ragged inputs are not covered")
        return shape, dtype

    def _input(self, name, shape, dtype, single=True):
        free = ["batch", *("time" if single and i == 1 else f"{name}_{i}"
                           for i in range(1, len(shape)))]  # fmt: skip
        sizes = tuple(free[i] if i == 0 or n is None else n for i, n in enumerate(shape))
        if name in self.target.facts:
            raise ModelError(f"{self.name}: two inputs are called {show(name)}")
        return Tensor(self.target.input(Value(name, np.dtype(dtype), sizes)))

    def state(self, item, kind, number, tracks, units):
        """The name of a new input that is a state of a stateful layer. kind: "h" or "c"; number:
        "", or "_0" and so on of stacked cells."""
        value = Value(
            f"{item.title}_{kind}0{number}", np.dtype(np.float32), (tracks, "batch", units)
        )
        if value.name in self.target.facts:
            raise item.error("a stateful layer that is called twice")
        return self.target.input(value)

    def state_output(self, item, kind, number, made):
        """Makes the value `made` an output: what that state becomes."""
        name = f"{item.title}_{kind}n{number}"
        (given,) = self.target.emit(item.title, "Identity", [made], [name])
        shape = self.target.shape(given)
        sizes = (shape[0], "batch", shape[2])
        self.target.outputs.append(Value(given, np.dtype(np.float32), sizes))

    # ---- models

    def model(self, item, inputs):
        """What a model makes of [Tensor]: Tensors as its configuration arranges them."""
        self.steps += 1
        if self.steps > self.target.most:
            raise ModelError(f"{self.name}: more calls of models than for such a file")
        if item.class_name == "Sequential":
            if len(inputs) != 1:
                raise item.error(f"{len(inputs)} inputs, 1 is due")
            made = inputs
            for child in item.children:
                if child.class_name != "InputLayer":
                    made = self.call(child, [made[0] if len(made) == 1 else made], {})
            if item is self.top:
                last = item.children[-1].name if item.children else item.name
                self.titles = [last] * len(made)
            return made
        return self._functional(item, inputs)

    def _functional(self, item, inputs):
        layers, calls, made = {}, {}, {}
        for child in item.children:
            if child.name in layers:
                raise item.error(f"two layers are called {show(child.name)}")
            layers[child.name] = child
        given = references(item, "input_layers")
        if len(given) != len(inputs):
            raise item.error(f"{len(inputs)} inputs, {len(given)} are due")
        for ref, tensor in zip(given, inputs, strict=True):
            made[ref.layer, ref.call] = [tensor]
        outputs = references(item, "output_layers", as_given=True)
        first = self._first_calls(item, layers, outputs)
        outputs = _filled(outputs, lambda ref: ref.counted_from(first.get(ref.layer, 0)))
        if self.known.version >= (3, 0):
            first = {}  # Keras 3 has it in a model's outputs alone
        todo, open_ = [(ref.layer, ref.call) for ref in flat(outputs)][::-1], set()
        while todo:
            key = todo[-1]
            if key in made:
                todo.pop()
                continue
            if key not in calls:
                found = self._arguments(item, layers, *key)
                calls[key] = _filled(found, lambda ref: ref.counted_from(first.get(ref.layer, 0)))
            needs = [(r.layer, r.call) for r in flat(calls[key]) if (r.layer, r.call) not in made]
            if not needs:
                args, kwargs = _filled(calls[key], lambda ref: self._picked(item, made, ref))
                made[key] = self.call(layers[key[0]], args, kwargs)
                open_.discard(key)
                todo.pop()
            elif key in open_:
                raise layers[key[0]].error("it needs its own output: layers in a circle")
            else:
                open_.add(key)
                todo += dict.fromkeys(needs[::-1])
        if item is self.top:
            self.titles = [ref.layer for ref in flat(outputs)]
        return _filled(outputs, lambda ref: self._picked(item, made, ref))

    def _first_calls(self, item, layers, outputs):
        """{name of a model among the layers: the number that its first call has}: 1 where Keras
        counts the call that made the model itself."""
        models = [child for child in item.children if child.is_model]
        if self.known.version >= (3, 0):
            return {child.name: 1 for child in models if child.class_name == "Functional"}
        if not models:
            return {}
        refs = flat(outputs)
        for child in item.children:
            refs += flat(calls_of(child, layers))
        most = {}
        for ref in refs:
            most[ref.layer] = max(ref.call, most.get(ref.layer, 0))
        return {
            child.name: 1
            for child in models
            if child.inbound and most.get(child.name, 0) == len(child.inbound)
        }

    def _arguments(self, item, layers, name, number):
        if name not in layers:
            raise item.error(f"no layer {show(name)}, whose output is needed")
        layer = layers[name]
        if layer.class_name == "InputLayer":
            raise layer.error("an input that the model does not list")
        found = calls_of(layer, layers)
        if not 0 <= number < len(found):
            raise layer.error(f"its call number {number} is needed, it has {len(found)}")
        return found[number]

    def _picked(self, item, made, ref):
        found = made[ref.layer, ref.call]
        if not 0 <= ref.output < len(found):
            raise item.error(
                f"output {ref.output} of the layer {show(ref.layer)} is needed, it has {len(found)}"
            )
        return found[ref.output]

    # ---- layers

    def call(self, item, args, kwargs):
        """[Tensor] that a layer or model makes. args: of its call, each a Tensor, a list, or a
        plain value."""
        if item.is_model:
            return flat(self.model(item, flat(args)))
        if item.class_name == "TimeDistributed":
            return time_distributed(self, item, args, kwargs)
        class_name = item.class_name
        if "trainable" not in item.config and f"ops.{class_name}" in LAYERS:
            class_name = f"ops.{class_name}"  # an .h5 file does not say where a class is from
        if class_name not in LAYERS:
            raise item.error(_unknown(class_name))
        function, _, masks = LAYERS[class_name]
        inputs = flat(args[0]) if args else []
        if not inputs and not class_name.startswith("ops."):
            raise item.error("0 inputs, 1 is due")
        call = Call(self, item, inputs, args[1:], kwargs)
        call.first = args[0] if args else None
        call.argument("training")
        given = call.argument("mask")
        if given is not None:
            call.inputs = _masked(item, inputs, given)
        # Keras hands on the masks that it was given or, without any, those of the inputs.
        call.masks = [t.mask for t in call.inputs]
        several = sum(bool(flat(each)) for each in (*args, *kwargs.values())) > 1
        if given is None and several and self.known.version >= (3, 0) and masks != "each":
            call.inputs = [Tensor(t.name) for t in inputs]  # Keras 3 then looks at no mask
        found = function(call)
        call.argument("training")
        left = [name for name, value in call.kwargs.items() if value is not None]
        if left:
            raise item.error(f"the argument {show(left[0])} of its call is not covered")
        if isinstance(found, str):
            mask = call.masks[0] if masks == "pass" and inputs else ""
            found = [Tensor(found, mask)]
        return [found] if isinstance(found, Tensor) else list(found)


def _masked(item, inputs, given):
    """The inputs with the masks that a call gives explicitly."""
    masks = flat(given) if not isinstance(given, list) else given
    if len(masks) != len(inputs) or not all(isinstance(m, Tensor | None) for m in masks):
        raise item.error("the argument mask of its call does not fit its inputs")
    return [Tensor(x.name, m.name if m else "") for x, m in zip(inputs, masks, strict=True)]


def _filled(value, pick):
    """`value` with what `pick` gives in place of each Reference."""
    if isinstance(value, Reference):
        return pick(value)
    if isinstance(value, dict):
        return {name: _filled(each, pick) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_filled(each, pick) for each in value)
    return value


def _unknown(class_name):
    ways = (
        "write the model with fastlstm.nn and its weights (fastlstm.read_state_dict), or export it "
        "to ONNX"
    )
    if class_name in ("Lambda", "TFOpLambda", "SlicingOpLambda"):
        return f"a {class_name} is Python code, which is not run: {ways}"
    if ">" in class_name:
        return f"a class of its own, not one of Keras', may compute anything: {ways}"
    return f"a layer of this class is not covered: {ways}"
