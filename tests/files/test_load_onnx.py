# SPDX-License-Identifier: MIT
"""ONNX models: the operators' own test cases, and drawn graphs against ONNX Runtime.

Every layer's arrays are held to a float64 oracle, and what the engine makes of the file too.
"""

import numpy as np
import onnx
import onnx.backend.test.case.node.gru
import onnx.backend.test.case.node.lstm
import onnx.backend.test.case.node.rnn  # each puts its cases into the list when imported
import onnxruntime
import pytest
import variant_oracle
from onnx import TensorProto, helper, numpy_helper

from fastlstm import load
from fastlstm.files.contents import group_by_prefix, layer_weights
from fastlstm.files.read import inspect

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
CASES = [
    case
    for case in onnx.backend.test.case.node._NodeTestCases
    if case.model.graph.node[0].op_type in GATES
]
BOUND = 1e-5


def only_layer(path, **options):
    """(Layer, its weights) of a model with one."""
    kind, arrays, layers = inspect(path, **options)
    assert kind == "onnx"
    ((prefix, layer),) = layers.items()
    return prefix, layer, layer_weights(group_by_prefix(arrays), prefix, layer)


def check(path, x, reference, state=None, lengths=None, bound=BOUND):
    """The file's one layer against a reference {"y": (T, D, B, H), "h", "c": (D, B, H)}; x
    (T, B, I). Gives the Layer."""
    prefix, layer, weights = only_layer(path)
    assert layer.problem is None, layer.problem
    if layer.initial_state:
        start = [np.float64(weights[name]) for name in layer.initial_state]
        state = [*start, *[np.zeros_like(start[0])] * (2 - len(start))]
    y, h, c = variant_oracle.run(layer, weights, x, state, lengths)
    results = [{"y": y, "h": h, "c": c}]
    model = load(path, prefix)
    given = None
    if state is not None and not layer.initial_state:  # its own is the file's
        given = tuple(np.float32(s) for s in state)
        given = given if layer.kind == "LSTM" else given[0]
    turn = layer.batch_first
    y, end = model(x.swapaxes(0, 1) if turn else x, given, lengths=lengths)
    end = end if layer.kind == "LSTM" else (end,)
    results.append({"y": y.swapaxes(0, 1) if turn else y} | dict(zip("hc", end, strict=False)))
    for result in results:
        for name, expected in reference.items():
            got = result[name]
            if name == "y":
                steps, count, batch, size = expected.shape
                expected = expected.transpose(0, 2, 1, 3).reshape(steps, batch, count * size)
            assert got.shape == expected.shape
            assert np.allclose(got, expected, rtol=bound, atol=bound), name
    return layer


def model_of(nodes, inputs, outputs, initializers=(), opset=14, graph_only=False, **kwargs):
    info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None)  # noqa: E731
    graph = helper.make_graph(
        nodes, "g", [info(name) for name in inputs], [info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in dict(initializers).items()],
    )  # fmt: skip
    if graph_only:
        return graph
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_the_operators_cases_are_all_here():
    assert {case.name for case in CASES} >= {
        "test_simple_rnn_defaults", "test_lstm_with_peepholes", "test_gru_seq_length",
        "test_lstm_batchwise", "test_lstm_with_initial_bias",
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_operators_own_cases(tmp_path, case):
    """Their weights are inputs; here they are stored, as a model's are."""
    (node,) = case.model.graph.node
    inputs, outputs = case.data_sets[0]
    given = dict(zip([n for n in node.input if n], inputs, strict=True))
    roles = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    roles = dict(zip(roles, node.input, strict=False))
    stored = {name: given[name] for role, name in roles.items() if role in "WRBP" and name}
    rest = [name for name in given if name not in stored]
    case.model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in stored.items())
    path = tmp_path / "case.onnx"
    onnx.save(case.model, path)
    turned = any(a.name == "layout" and a.i for a in node.attribute)
    swap = (lambda a: a.swapaxes(0, 1)) if turned else (lambda a: a)
    state = None
    if roles.get("initial_h") in rest:
        state = [swap(given[roles[r]]) for r in ("initial_h", "initial_c") if roles.get(r) in rest]
    found = dict(zip([n for n, o in zip(("y", "h", "c"), node.output, strict=False) if o], outputs,
                     strict=True))  # fmt: skip
    reference = {}
    for name, array in found.items():
        # layout 1: Y (B, T, D, H), Y_h (B, D, H)
        reference[name] = array.transpose(1, 2, 0, 3) if turned and name == "y" else swap(array)
    lengths = given.get(roles.get("sequence_lens", ""))
    layer = check(path, swap(given["X"]), reference, state, lengths)
    assert layer.kind == node.op_type and layer.batch_first == turned


# ---- drawn graphs against ONNX Runtime

ACTIVATIONS = {
    "Sigmoid": 0, "Tanh": 0, "Relu": 0, "HardSigmoid": 2, "Affine": 2, "LeakyRelu": 1,
    "ThresholdedRelu": 1, "ScaledTanh": 2, "Elu": 1, "Softsign": 0, "Softplus": 0,
}  # fmt: skip


def drawn(seed, again=0):
    """(model, {input: array}, x (T, B, I), state or None, lengths or None) of one random node."""
    rng = np.random.default_rng([7, seed, again] if again else [7, seed])
    kind = ("LSTM", "GRU", "RNN")[seed % 3]
    plain = seed % 2 == 0  # what torch could have exported
    size, width, steps, batch = (int(rng.integers(1, n)) for n in (9, 7, 8, 5))
    direction = rng.choice(["forward", "bidirectional"] + ([] if plain else ["reverse"]))
    count = 2 if direction == "bidirectional" else 1
    gates = GATES[kind]
    # where activations have no bound, larger weights let the values and ORT's rounding explode
    scale = 0.7 if plain else 0.35
    real = lambda *shape: (scale * rng.standard_normal(shape)).astype(np.float32)  # noqa: E731
    stored = {"W": real(count, gates * size, width), "R": real(count, gates * size, size)}
    if rng.random() < 0.8:
        stored["B"] = real(count, 2 * gates * size)
    given, x = {}, real(steps, batch, width)
    lengths = rng.integers(0, steps + 1, batch) if rng.random() < 0.3 else None
    if lengths is not None:
        given["lens"] = lengths.astype(np.int32)
    attributes = {"hidden_size": size, "direction": str(direction)}
    if rng.random() < 0.3:
        attributes["layout"] = 0
    state = None
    if rng.random() < 0.5:
        state = [real(count, batch, size) for _ in range(2 if kind == "LSTM" else 1)]
        names = ("h0", "c0")
        stored_state = not plain and rng.random() < 0.4
        (stored if stored_state else given).update(zip(names, state, strict=False))
    if kind == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(0, 2))
    if not plain:
        number = {"LSTM": 3, "GRU": 2, "RNN": 1}[kind] * count
        if rng.random() < 0.6:
            names = [str(rng.choice(list(ACTIVATIONS))) for _ in range(number)]
            attributes["activations"] = names
            alphas = [float(rng.uniform(0.2, 0.9)) for n in names if ACTIVATIONS[n] > 0]
            betas = [float(rng.uniform(0.2, 0.9)) for n in names if ACTIVATIONS[n] > 1]
            attributes |= {"activation_alpha": alphas} if alphas else {}
            attributes |= {"activation_beta": betas} if betas else {}
        if rng.random() < 0.4:
            attributes["clip"] = float(rng.uniform(0.3, 1.5))
        if kind == "LSTM" and rng.random() < 0.4:
            attributes["input_forget"] = 1
        if kind == "LSTM" and rng.random() < 0.5:
            stored["P"] = real(count, 3 * size)
    order = ["X", "W", "R", "B", "lens", "h0", "c0", "P"]
    order = order[: 8 if kind == "LSTM" else 6]
    inputs = [n if n in stored or n in given or n == "X" else "" for n in order]
    outputs = ["y", "h", "c"][: 3 if kind == "LSTM" else 2]
    node = helper.make_node(kind, inputs, outputs, name="layer", **attributes)
    model = model_of([node], ["X", *given], outputs, stored)
    for value in model.graph.input:
        if value.name == "lens":
            value.type.tensor_type.elem_type = TensorProto.INT32
    kept = state if "h0" not in stored else None
    return model, given | {"X": x}, x, kept, lengths


def run_onnxruntime(path, given):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, given), strict=True))


@pytest.mark.parametrize("seed", range(120))
def test_drawn_graphs_agree_with_onnxruntime(tmp_path, seed):
    path = tmp_path / "drawn.onnx"
    for again in range(20):  # some activations let the values explode, and with them all rounding
        model, given, x, state, lengths = drawn(seed, again)
        onnx.save(model, path)
        reference = run_onnxruntime(path, given)
        if max(np.abs(array).max() for array in reference.values()) < 100:
            break
    if state is not None and len(state) == 1:
        state = [state[0], np.zeros_like(state[0])]
    if lengths is not None and not lengths.all():
        # Rows of no steps end in the state they began with; onnxruntime gives zeros.
        _, layer, weights = only_layer(path)
        start = dict(zip("hc", state or [], strict=False))
        start |= {name[-1]: weights[name] for name in layer.initial_state}
        for name in reference.keys() & {"h", "c"}:
            empty = lengths == 0
            assert not reference[name][:, empty].any()
            reference[name][:, empty] = start[name][:, empty] if name in start else 0
    check(path, x, reference, state, lengths)
