# SPDX-License-Identifier: MIT
"""Files that nobody here wrote, each run without its own framework and held to that framework.

silero-vad 6.2.3 in five formats of the same network, g2p-fa 1.1.0. (beatnet and textgenrnn have
tests of their own.) The reference is PyTorch or ONNX Runtime on weights that they read themselves.
"""

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper
from published import FILES, path_of

from fastlstm import LoadError, load, load_all
from fastlstm.files.read import inspect, sniff

pytestmark = pytest.mark.once

BOUND = 2e-6
TORCH = ("silero_vad.jit", "silero_vad_16k.safetensors", "weights")
ONNX = [n for n in FILES if n.startswith("silero") and n.endswith(".onnx")]
IN_OPERATORS = "silero_vad_op18_ifless.onnx"


def _silero_input(rng):
    """(T, B, 128) like what the layer gets in the network: after a convolution and a ReLU."""
    return np.maximum(rng.standard_normal((100, 2, 128)) / 3, 0).astype(np.float32)


def _theirs(name):
    """{name: tensor} by the format's own library."""
    path = path_of(name)
    if name.endswith(".jit"):
        return dict(torch.jit.load(path).state_dict())
    if name.endswith(".safetensors"):
        return safetensors.torch.load_file(path)
    return torch.load(path, map_location="cpu")


def _reference(state, prefix, cell, x, layers):
    """torch's outputs for x (T, B, I), in float64."""
    own = {n[len(prefix) :]: v.float() for n, v in state.items() if n.startswith(prefix)}
    rows, width = own["weight_ih" if cell else "weight_ih_l0"].shape
    module = torch.nn.LSTM(width, rows // 4, layers)
    module.load_state_dict({f"{n}_l0" if cell else n: v for n, v in own.items()})
    with torch.no_grad():
        return module.double()(torch.from_numpy(x).double())[0].numpy()


@pytest.mark.parametrize("name", TORCH)
def test_files_of_torch(rng, name):
    path, state = path_of(name), _theirs(name)
    kind, arrays, layers = inspect(path)
    for each, tensor in state.items():
        assert arrays[each].tobytes() == tensor.contiguous().numpy().tobytes(), each
    assert len(layers) == (1 if name.endswith("safetensors") else 2)
    for prefix, layer in layers.items():
        assert (layer.kind, layer.hidden_size) == ("LSTM", 256 if name == "weights" else 128)
        x = _silero_input(rng)
        if name == "weights":  # words: rows of the embedding before the layer
            table = arrays[prefix.replace("rnn.", "embedding.weight")]
            x = table[rng.integers(0, len(table), (20, 3))]
        exact = _reference(state, prefix, layer.cell, x, layer.num_layers)
        # against float64: in float32 torch itself is up to 3e-6 from it in g2p-fa's trained weights
        assert np.abs(load(path, prefix)(x)[0] - exact).max() <= BOUND, prefix
    assert kind == {"silero_vad.jit": "torchscript", "weights": "torch"}.get(name, "safetensors")


def _nodes(graph):
    for node in graph.node:
        yield graph, node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _session(model, node):
    """ONNX Runtime on one node, cut out: X in, Y out; the nodes that compute its weights, wherever
    in the model they are, stay as they were."""
    made, stored, keep = {}, {}, []
    for graph, each in _nodes(model.graph):
        made |= dict.fromkeys(each.output, each)
        stored |= {tensor.name: tensor for tensor in graph.initializer}

    def need(name):
        each = made.get(name)
        if each is not None and each not in keep:
            for below in each.input:
                need(below)
            keep.append(each)

    for name in node.input[1:4]:
        need(name)
    lstm = helper.make_node(
        "LSTM", ["X", *node.input[1:4]], ["Y", "", ""], hidden_size=node.attribute[0].i
    )
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "XY"]
    used = {name for each in (*keep, lstm) for name in each.input}
    stored = [tensor for name, tensor in stored.items() if name in used]
    cut = helper.make_graph([*keep, lstm], "cut", info[:1], info[1:], stored)
    cut = helper.make_model(cut, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(cut.SerializeToString(), options)


@pytest.mark.parametrize("name", [name for name in ONNX if name != IN_OPERATORS])
def test_files_of_onnx(rng, name):
    path = path_of(name)
    model = onnx.load(path)
    nodes = [n for _, n in _nodes(model.graph) if n.op_type == "LSTM"]
    layers = load_all(path)
    assert nodes and len(layers) == len(nodes)
    x = _silero_input(rng)
    for node, (prefix, layer) in zip(nodes, layers.items(), strict=True):
        assert prefix == f"{node.name}."
        (expected,) = _session(model, node).run(["Y"], {"X": x})
        assert np.abs(layer(x)[0] - expected[:, 0]).max() <= BOUND


def test_the_one_in_single_operators_says_so():
    with pytest.raises(LoadError, match="written out as single operators"):
        load_all(path_of(IN_OPERATORS))
    assert sniff(path_of(IN_OPERATORS)) == "onnx"


def test_the_same_network_in_several_formats():
    """silero-vad's networks of 16 and 8 kHz: the same weights from five files, bit by bit."""
    scripted = load_all(path_of("silero_vad.jit"))
    both = load_all(path_of("silero_vad.onnx"))
    pairs = [
        ("", load(path_of("silero_vad_16k_sequence.onnx"))),
        ("", load(path_of("silero_vad_openvino_16k.onnx"))),
        ("", load(path_of("silero_vad_16k_op15.onnx"), "/model/decoder/rnn/LSTM")),
        ("", both["If_0_then_branch__Inline_0__/decoder/rnn/LSTM."]),
        ("_8k", both["If_0_else_branch__Inline_0__/decoder/rnn/LSTM."]),
    ]
    for which, other in pairs:
        first = scripted[f"_model{which}.decoder.rnn."].state_dict()
        for name, array in other.state_dict().items():
            assert np.array_equal(array, first[name]), name
