# SPDX-License-Identifier: MIT
"""fastlstm.onnxruntime: ONNX Runtime's results from this package's LSTM, GRU and RNN in it."""

import functools
import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import ASAN, FULL
from recurrent_graphs import Case, draw, session
from test_onnx_nodes import array, cases_of
from test_onnx_published import drawn

import fastlstm
import fastlstm.onnxruntime

pytestmark = [pytest.mark.needs("c"), pytest.mark.once]
VERSION = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
ISAS = fastlstm.runnable_isas()
OPS = ["LSTM", "GRU", "RNN"][: 3 if VERSION >= (1, 25) else 2]  # RNN is left to older versions


@pytest.fixture
def on(monkeypatch):
    """f(isa): sessions made later run on that instruction set."""
    return functools.partial(monkeypatch.setattr, fastlstm.onnxruntime.config, "DEFAULT_ISA")


def results(case, **options):
    return session(case.model(), **options).run(None, case.feeds)


def equal(one, other):
    return all(
        a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("block", range(10))
def test_drawn_graphs_give_onnxruntimes_results(block, on):
    """To 2e-6 of the outputs' scale, which is 1 or, of states without a bound, their largest."""
    seeds = range(30 * block, 30 * (block + 1) if FULL else 30 * block + 6)
    for seed in seeds:
        case = draw(seed, VERSION)
        on(ISAS[seed % len(ISAS)])
        due = results(case, ours=False)
        found = results(case, threads=1 + seed % 2)
        for y, expected in zip(found, due, strict=True):
            assert (y.dtype, y.shape) == (expected.dtype, expected.shape), case.name
            scale = max(1, np.abs(expected).max(initial=0))
            assert np.abs(y - expected).max(initial=0) <= 2e-6 * scale, (seed, case.name)


@pytest.mark.skipif(VERSION < (1, 25), reason="the names of activations cannot be read")
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_an_rnn_uses_the_first_of_more_activations(direction):
    """ONNX's own default has two, whatever the direction: in a session, and as a whole model."""
    count = 2 if direction == "bidirectional" else 1
    for names in (["Tanh", "Tanh", "Tanh"], ["Relu", "Tanh", "Softsign"]):
        one, more = (
            Case(np.random.default_rng(4), "RNN", direction=direction, activations=some)
            for some in (names[:count], names[: count + 1])
        )
        due = results(one)
        assert equal(results(more), due)
        (node,) = fastlstm.onnxruntime.nodes(more.model())
        assert node.refused is None and not node.left
        y = fastlstm.load_model(more.model())(more.feeds["X"])[0]
        assert np.abs(y - due[0]).max() <= 2e-6


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", OPS)
def test_layout_1_has_the_bits_of_layout_0(op, direction):
    """ONNX Runtime's own operators do not have it."""
    first, second = (
        Case(np.random.default_rng(3), op, initial=True, lengths=[7, 2, 5], direction=direction,
             layout=layout)
        for layout in (0, 1)
    )  # fmt: skip
    axes = dict.fromkeys(("X", "h0", "c0"), (1, 0, 2))
    second.feeds |= {
        n: np.ascontiguousarray(first.feeds[n].transpose(a))
        for n, a in axes.items()
        if n in first.feeds
    }
    y, *states = results(first)
    moved = [y.transpose(2, 0, 1, 3), *(s.transpose(1, 0, 2) for s in states)]
    assert equal(results(second), [np.ascontiguousarray(a) for a in moved])


@pytest.mark.parametrize("op", OPS)
def test_weights_computed_at_run_time(op, rng):
    """They have the bits of constants, and a call that brings others is of those."""
    fixed = Case(rng, op, direction="bidirectional", peepholes=op == "LSTM")
    moving = Case(rng, op, direction="bidirectional", peepholes=op == "LSTM", constant=False)
    moving.feeds |= fixed.weights | {"X": fixed.feeds["X"]}
    made = session(moving.model())
    due = results(fixed)
    for _ in range(2):
        assert equal(made.run(None, moving.feeds), due)
    for name in fixed.weights:
        before = fixed.weights[name]
        fixed.weights[name] = before.copy()
        fixed.weights[name].flat[-1] += 1
        other = results(fixed)
        assert not equal(other, due)
        assert equal(made.run(None, moving.feeds | fixed.weights), other)
        fixed.weights[name] = before
        assert equal(made.run(None, moving.feeds), due)


@pytest.mark.parametrize("op", OPS)
def test_no_steps_and_no_rows(op, rng):
    """The final states of rows without a step are zeros, as ONNX Runtime has them. Without any
    step or row, for which its own operators end the process, outputs are empty or zeros."""
    case = Case(rng, op, initial=True, lengths=[0, 3, 0], direction="bidirectional")
    y, *states = results(case)
    assert not y[:, :, [0, 2]].any() and y[:3, :, 1].all()
    for state in states:
        assert not state[:, [0, 2]].any() and state[:, 1].all()
    for steps, batch in ((0, 3), (4, 0), (0, 0)):
        case = Case(rng, op, steps, batch, initial=True, direction="bidirectional")
        y, *states = results(case)
        assert y.shape == (steps, 2, batch, 6)
        for state in states:
            assert state.shape == (2, batch, 6) and not state.any()


@pytest.mark.parametrize("op", OPS)
def test_the_node_tests_of_the_onnx_package(op):
    cases = cases_of(op.lower())
    assert len(cases) >= 3
    for case in cases:
        if VERSION < (1, 21):  # they do not know set 22, whose operators differ in types alone
            case.model.opset_import[0].version, case.model.ir_version = 14, 8
        for inputs, due in case.data_sets:
            made = session(case.model.SerializeToString())
            names = [value.name for value in case.model.graph.input]
            feeds = {n: array(v) for n, v in zip(names, inputs, strict=True)}
            for y, expected in zip(made.run(None, feeds), due, strict=True):
                np.testing.assert_allclose(y, array(expected), rtol=1e-5, atol=1e-6)


def test_float16_nodes_are_computed_in_float32(rng):
    for op in OPS:
        case = Case(rng, op, initial=True, direction="bidirectional", peepholes=op == "LSTM")
        model = onnx.load_from_string(case.model())
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
        for tensor in model.graph.initializer:
            half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
        feeds = {name: array.astype(np.float16) for name, array in case.feeds.items()}
        data = model.SerializeToString()
        due, found = (session(data, ours).run(None, feeds) for ours in (False, True))
        for y, expected in zip(found, due, strict=True):
            assert y.dtype == np.float16
            np.testing.assert_allclose(y, expected, atol=1e-3)
        (node,) = fastlstm.onnxruntime.nodes(data)
        assert str(node) == f"{op}, run by fastlstm in float32"


PUBLISHED = [
    "silero_vad.onnx", "silero_vad.onnx at 8 kHz", "silero_vad.onnx, three rows",
    "silero_vad_16k_sequence.onnx", "silero_vad_half.onnx", "silero_vad_op18_ifless.onnx",
    "enc.onnx", "df_dec.onnx", "dksplit-int8.onnx", "Run_1663829550_Stage_0.onnx",
    "plcmos_v2.onnx",
]  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files(name, rng):
    needed = {"Run_1663829550_Stage_0.onnx": (1, 25), "silero_vad_op18_ifless.onnx": (1, 18)}
    if needed.get(name, VERSION) > VERSION:
        pytest.skip("these versions cannot read it themselves")
    path, feeds = drawn(name, rng)
    due, found = (session(path, ours).run(None, feeds) for ours in (False, True))
    for y, expected in zip(found, due, strict=True):
        assert (y.dtype, y.shape) == (expected.dtype, expected.shape)
        assert np.abs(y - expected).max() <= 5e-6 * max(1, np.abs(expected).max())
    nodes = fastlstm.onnxruntime.nodes(path)
    assert not any(node.refused for node in nodes)
    assert any(node.left for node in nodes) == (name == "dksplit-int8.onnx")
    assert bool(nodes) == (name != "silero_vad_op18_ifless.onnx")
    if name == "silero_vad.onnx":  # its If holds another model for each of two sampling rates
        assert len(nodes) == 4


SIZES = [  # T, B, I, H, direction: of one thread; divided by rows; by directions; by units
    (3, 2, 8, 16, "forward"), (40, 32, 64, 128, "forward"), (40, 3, 64, 160, "bidirectional"),
    (30, 1, 64, 512, "forward"), (20, 2, 64, 640, "reverse"), (1, 1, 256, 256, "forward"),
    (2, 3, 100, 201, "reverse"), (9, 1, 33, 130, "forward"),
]  # fmt: skip


@pytest.mark.parametrize("steps, batch, size, hidden, direction", SIZES)
def test_threads_do_not_change_the_bits(steps, batch, size, hidden, direction, rng):
    for op, lengths in itertools.product(("LSTM", "GRU"), (False, True)):
        scale = 1 / np.sqrt(hidden)
        rows = rng.integers(1, steps + 1, batch) if lengths else None
        case = Case(rng, op, steps, batch, size, hidden, rows, True, scale=scale,
                    direction=direction)  # fmt: skip
        one = results(case)
        for threads in (2, 3):
            made = session(case.model(), threads=threads)
            for _ in range(3):
                assert equal(made.run(None, case.feeds), one)


@pytest.mark.skipif(ASAN, reason="torch's RNN is no part of it")
def test_a_model_from_torch(rng, tmp_path):
    """Stacked and bidirectional, with the transposes between layers that its exporter writes."""
    torch = pytest.importorskip("torch")
    for make in (torch.nn.LSTM, torch.nn.GRU):
        module = make(12, 20, num_layers=2, bidirectional=True, batch_first=True).eval()
        path = tmp_path / f"{make.__name__}.onnx"
        torch.onnx.export(
            module, (torch.zeros(2, 5, 12),), str(path), dynamo=False, input_names=["x"],
            dynamic_axes={"x": {0: "b", 1: "t"}},
        )  # fmt: skip
        x = rng.standard_normal((3, 9, 12)).astype(np.float32)
        due = module(torch.from_numpy(x))[0].detach().numpy()
        np.testing.assert_allclose(session(str(path)).run(None, {"x": x})[0], due, atol=2e-6)


def test_the_benchmark_has_it_as_an_engine_of_its_own():
    """Which takes part when it is named, and computes what fastlstm does."""
    from fastlstm.bench import model, peers
    from fastlstm.bench.shapes import Shape

    name = "onnxruntime+fastlstm"
    assert name not in peers.load_peers()[0]
    found, missing = peers.load_peers([name])
    assert set(found) == {"fastlstm", name} and not missing
    shape = Shape(5, 3, 8, 16, L=2, D=2)
    weights, outputs = model.make_weights(shape), {}
    for who, peer in found.items():
        for carry in (False, True):
            runner = peers.first_way(peer, shape, 1, carry)(weights)
            runner.load(model.make_input(shape))
            runner.once(2)
            outputs[who, carry] = np.array(runner.output())
            runner.close()
    for carry in (False, True):
        assert equal([outputs["fastlstm", carry]], [outputs[name, carry]])
