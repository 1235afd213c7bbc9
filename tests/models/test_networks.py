# SPDX-License-Identifier: MIT
"""Networks drawn after published models, exported by torch's two exporters, against torch and
ONNX Runtime at several sizes; and what the plan has made of them."""

import collections
import importlib.util
import os

import networks_more  # noqa: F401 (it registers its networks)
import numpy as np
import onnxruntime
import pytest
import torch
from conftest import FULL
from networks import EXPORTERS, FIXED_TIME, NETWORKS, TRACED, exported, sizes_of

import fastlstm


def need_onnxscript():
    if importlib.util.find_spec("onnxscript") is None:
        assert not os.environ.get("CI"), "torch's newer exporter needs onnxscript"
        pytest.skip("torch's newer exporter needs onnxscript")


def session_of(data):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def loaded(name, how, tmp_path, **options):
    if how != "script":
        need_onnxscript()
    path = tmp_path / f"{name}.onnx"
    data, module = exported(name, how)
    path.write_bytes(data)
    return fastlstm.load_model(path, **options), module, data


def outputs_of(made):
    return [a.numpy() for a in (made if isinstance(made, tuple) else (made,))]


def assert_close(y, due):
    assert (y.dtype, y.shape) == (due.dtype, due.shape)
    assert np.abs(y - due).max(initial=0) <= 1e-5 * np.abs(due).max(initial=0)


# torch's newer exporter takes up to half a minute for each: make test exports only these with it.
FEW = ("VoiceFrame", "DeepFilter", "Attention", "GruLoop", "Conditioned")
EXPORTS = [
    (name, how) for name in NETWORKS for how in EXPORTERS if how == "script" or FULL or name in FEW
]


@pytest.mark.parametrize("name, how", EXPORTS)
def test_a_network_gives_the_numbers_of_torch_and_onnxruntime(name, how, tmp_path, rng):
    model, module, data = loaded(name, how, tmp_path)
    session = session_of(data)
    for batch, time in sizes_of(name, how):
        feeds = NETWORKS[name].feeds(rng, batch, time)
        with torch.no_grad():
            due = outputs_of(module(*map(torch.from_numpy, feeds.values())))
        made = model.run(feeds)
        assert len(made) == len(due)
        for y, one, other in zip(made, due, session.run(None, feeds), strict=True):
            assert_close(y, one)
            assert_close(y, other)


@pytest.mark.once
@pytest.mark.skipif(not FULL, reason="minutes")
@pytest.mark.parametrize("name", FIXED_TIME)
def test_what_the_newer_exporter_does_not_export_with_a_free_time(name):
    """It refuses, or its file, although it says that the time is free, takes one time only. All
    other networks are tried at several times, above."""
    need_onnxscript()
    session = None
    with pytest.raises(Exception, match=FIXED_TIME[name]):
        session = session_of(exported(name, "dynamo, free time")[0])
        session.run(None, NETWORKS[name].feeds(np.random.default_rng(1), *NETWORKS[name].sizes[0]))
    assert (session is not None) == (FIXED_TIME[name] is TRACED)


def plan_of(name, how, tmp_path):
    """The nodes of the plan for the largest size of a network, and {operator: how many}."""
    model, _, _ = loaded(name, how, tmp_path)
    feeds = NETWORKS[name].feeds(np.random.default_rng(5), *sizes_of(name, how)[-1])
    arrays = [model.array(value.name, feeds[value.name]) for value in model.inputs]
    nodes = model.plan_of(arrays).graph.nodes
    return nodes, collections.Counter(node.op for node in nodes)


# {network: {operator of the plan: how many there are}}. Each LSTM, GRU and RNN, each cell, and each
# loop over cells is one Recurrent, but for TwoCells, whose cells read what later ones gave.
PLANS = {
    "VoiceFrame": {"Recurrent": 1, "ConvLast": 5, "Transpose": 2, "Pointwise": 1, "Linear": 0},
    "VoiceSequence": {"Recurrent": 1, "ConvLast": 1, "Linear": 1},
    "Beats": {"Recurrent": 1, "ConvLast": 1, "MaxPoolLast": 1, "Linear": 2},
    "DeepFilter": {"Recurrent": 1, "ConvLast": 4, "ConvTransposeLast": 1, "MatMul": 1, "Linear": 1},
    "TextLine": {"Recurrent": 2, "ConvLast": 7, "MaxPoolLast": 4, "Transpose": 2, "Relu": 0},
    "LanguageId": {"Recurrent": 1, "Linear": 1, "Gather": 2},
    "Morphology": {"Recurrent": 1, "Linear": 2},
    "PhonemeStep": {"Recurrent": 1, "Linear": 1, "Pointwise": 0},
    "SpeechQuality": {"Recurrent": 1, "ConvLast": 2, "MaxPoolLast": 2, "LeakyRelu": 0},
    "Attention": {"Recurrent": 1, "Linear": 3, "MatMul": 1, "Tanh": 0},
    "Residual": {"Recurrent": 3, "LayerNormalization": 3, "Linear": 2},
    "Dilated": {"Recurrent": 1, "ConvLast": 3, "Mul": 0},
    "LstmLoop": {"Recurrent": 1, "Sigmoid": 0, "Pointwise": 0, "Split": 0},
    "GruLoop": {"Recurrent": 1, "Sigmoid": 0, "Pointwise": 0, "Split": 0, "Linear": 0},
    "RnnLoop": {"Recurrent": 1, "Tanh": 0, "Linear": 0},
    "TwoCells": {"Recurrent": 6, "Sigmoid": 0, "Pointwise": 0, "Linear": 3},
    "Denoiser": {"Recurrent": 1, "ConvLast": 2, "ConvTransposeLast": 2, "Relu": 0},
    "Gated": {"Recurrent": 1, "Linear": 1, "Pointwise": 2},
}
GONE = {"LSTM", "GRU", "RNN", "Conv", "ConvTranspose", "MaxPool", "AveragePool", "Einsum", "Gemm",
        "BatchNormalization", "Identity", "If"}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_what_the_plan_made_of_a_network(name, tmp_path):
    nodes, count = plan_of(name, "script", tmp_path)
    assert {op: count[op] for op in PLANS[name]} == PLANS[name]
    assert not GONE & set(count)
    kinds = {node.op for node in nodes if "activation" in node.attrs}
    if name == "TextLine":  # every Conv2d has its BatchNorm in its weights, and its ReLU
        assert kinds == {"ConvLast"}
        assert sum("activation" in node.attrs for node in nodes) == count["ConvLast"]
    if name == "Gated":  # |y|, -, exp, 2 *, - 0.5, clip: one step; hardtanh, / 3, +
        assert sum(len(node.attrs.get("code", ())) for node in nodes) >= 9


def test_an_unrolled_loop_is_one_layer_of_all_steps(tmp_path):
    for name in ("LstmLoop", "GruLoop", "RnnLoop"):
        nodes, _ = plan_of(name, "script", tmp_path)
        (run,) = (node for node in nodes if node.op == "Recurrent")
        assert run.attrs["layer"].kind == name.removesuffix("Loop").upper()
        assert run.attrs["layer"].hidden_size == 12


class TwoCells(torch.nn.Module):
    """Two cells of the same sizes, one after the other, that are no loop: their weights differ."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.GRUCell(4, 5), torch.nn.GRUCell(4, 5)

    def forward(self, x, h):
        return self.second(x[:, 1], self.first(x[:, 0], h))


def test_cells_of_other_weights_stay_apart(tmp_path, rng):
    module, path = TwoCells().eval(), tmp_path / "two.onnx"
    given = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 2, 4), (3, 5))]
    tensors = tuple(map(torch.from_numpy, given))
    torch.onnx.export(module, tensors, path, dynamo=False, input_names=["x", "h"])
    model = fastlstm.load_model(path)
    with torch.no_grad():
        assert_close(model(*given), module(*tensors).numpy())
    nodes = model.plan_of(
        [model.array(*each) for each in zip("xh", given, strict=True)]
    ).graph.nodes
    assert [node.op for node in nodes].count("Recurrent") == 2
