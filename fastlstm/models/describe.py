# SPDX-License-Identifier: MIT
"""What a model is made of, in numbers: for `fastlstm inspect`.

found = describe(model, arrays)       a Description, for inputs like these
"""

import collections
import dataclasses
import math

import numpy as np

from . import lower, reference, states
from .graph import OWN, ModelError
from .passes.simplify import simplify

# Operators whose outputs are sums of products: inputs that are joined by Conv, and by MatMul.
_CONVOLUTIONS = {"Conv", "ConvLast", "ConvInteger"}
_TRANSPOSED = {"ConvTranspose", "ConvTransposeLast"}
_LAYERS = {"LSTM", "GRU", "RNN", "com.microsoft.DynamicQuantizeLSTM"}


@dataclasses.dataclass
class Description:
    """nodes        nodes of the file's graph, those of branches included
    operators    {operator: how many}, of the file
    parameters   elements of constants that are floating-point or small integers (quantised)
    uncovered    {operator: how many}, of the file: those that fastlstm does not run
    problem      why there is no plan for these inputs, a sentence; or None. The rest is None then
    steps        operators of the plan          planned    {operator: how many}, of the plan
    products     {operator: multiply-adds}, of the plan; None where a size is not known before
    precision    {operator: {dtype of its weights: how many}}, of those of the plan with products
    notes        [(node's name, why its weights are not codes)]
    memory       bytes that one run takes beside its inputs and outputs
    pairs        {input: output} that a stream keeps
    outputs      {name: shape}, None for a size that is not known before
    plan         the plan.Plan
    """

    nodes: int
    operators: dict
    parameters: int
    uncovered: dict
    problem: str | None = None
    steps: int | None = None
    planned: dict | None = None
    products: dict | None = None
    precision: dict | None = None
    notes: list | None = None
    memory: int | None = None
    pairs: dict | None = None
    outputs: dict | None = None
    plan: object = None

    @property
    def multiply_adds(self):
        """Of one run, as far as they are known; None without a plan."""
        return None if self.products is None else sum(n or 0 for n in self.products.values())


def describe(model, given):
    """The Description of a Model for inputs {name: array}."""
    graph = model.graph
    nodes = list(graph.walk())
    operators = collections.Counter(node.op for node in nodes)
    found = Description(
        len(nodes),
        dict(operators.most_common()),
        sum(a.size for a in _constants(graph) if _is_weight(a)),
        {op: n for op, n in operators.items() if not _is_covered(op)},
    )
    try:
        plan = model.planned_exactly(given)
        flat = plan.graph
        found.products, found.precision, found.notes = {}, {}, []
        for node in flat.nodes:
            count = products(node, plan.facts)
            if node.op in _WITH_WEIGHTS:
                each = found.precision.setdefault(node.op, collections.Counter())
                each[_precision(node, model.dtype)] += 1
            if "note" in node.attrs:
                found.notes.append((node.name, node.attrs["note"]))
            if count != 0:
                before = found.products.get(node.op, 0)
                found.products[node.op] = None if None in (before, count) else before + count
        found.memory = plan.memory([model.array(v.name, given[v.name]) for v in model.inputs])
    except (ModelError, MemoryError, ValueError) as error:
        found.problem = str(error)
        found.products = found.precision = found.notes = None
        return found
    found.plan = plan
    found.steps = len(plan.titles) or len(flat.nodes)
    found.planned = dict(collections.Counter(node.op for node in flat.nodes).most_common())
    found.pairs = states.pairs(flat)
    found.outputs = {
        value.name: plan.facts[name].shape
        for value, name in zip(graph.outputs, flat.results, strict=True)
    }
    return found


_WITH_WEIGHTS = {"Linear", "Recurrent", "Conv", "ConvLast", "ConvTranspose", "ConvTransposeLast"}


def _precision(node, dtype):
    """The dtype of the weights of a node of a plan, of a model of `dtype`."""
    own = "float32"
    if node.op == "Recurrent":
        own = node.attrs["layer"].dtype
    elif node.op == "Linear":
        own = "int8" if len(node.inputs) > 3 else node.attrs.get("dtype", own)
    elif dtype == "bfloat16":  # convolutions whose weights are rounded, and nothing else
        own = dtype
    return "float16" if own == "float32" and dtype == "float16" else own


def _constants(graph):
    yield from graph.constants.values()
    for node in graph.nodes:
        for value in node.attrs.values():
            if hasattr(value, "constants"):
                yield from _constants(value)
        if isinstance(node.attrs.get("weights"), dict):
            yield from node.attrs["weights"].values()


def _is_weight(array):
    return array.size > 1 and (array.dtype.kind == "f" or array.dtype in (np.int8, np.uint8))


def _is_covered(op):
    return op in reference.TABLE or op in lower.TABLE or op in OWN or op == "If"


def flat_graph(model, given):
    """The graph for inputs {name: array} with its branches chosen, before it is planned: what can
    still be shown of a model that no plan is made of. ModelError."""
    return simplify(model.graph, model.facts_of(given), model.max_bytes)[0]


def products(node, facts):
    """Multiply-adds of one node's products; 0 for an operator without any, None if a size is not
    known before the model runs."""
    try:
        return _products(node, [facts[n].shape if n else () for n in node.inputs],
                         facts[next(filter(None, node.outputs))].shape)  # fmt: skip
    except TypeError:  # a product with None
        return None


def _products(node, shapes, out):
    if node.op == "Linear":
        return math.prod(out) * shapes[1][1]
    if node.op in ("MatMul", "MatMulInteger", "Gemm"):
        transposed = node.op == "Gemm" and node.attrs.get("transA", 0)
        return math.prod(out) * shapes[0][-2 if transposed else -1]
    if node.op in _CONVOLUTIONS:
        return math.prod(out) * math.prod(shapes[1][1:])
    if node.op in _TRANSPOSED:
        return math.prod(shapes[0]) * math.prod(shapes[1][1:])
    if node.op == "Recurrent":
        weights = node.attrs["weights"]
        each = sum(a.size for name, a in weights.items() if name.startswith("weight_"))
        return shapes[0][0] * shapes[0][1] * each
    if node.op in _LAYERS:
        return shapes[0][0] * shapes[0][1] * (math.prod(shapes[1]) + math.prod(shapes[2]))
    if node.op == "Einsum" and "." not in node.attrs["equation"]:
        terms = node.attrs["equation"].replace(" ", "").partition("->")[0].split(",")
        sizes = {c: n for term, s in zip(terms, shapes, strict=True) for c, n in zip(term, s)}
        return math.prod(sizes.values())
    return 0
