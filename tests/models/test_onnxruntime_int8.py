# SPDX-License-Identifier: MIT
"""fastlstm.onnxruntime with quantized=True: DynamicQuantizeLSTM by the int8 engine."""

import numpy as np
import onnxruntime
import pytest
from published import path_of
from recurrent_graphs import Case, Quantized, session

import fastlstm.onnxruntime
from fastlstm.engine import backend
from fastlstm.engine.int8 import Codes
from fastlstm.files.onnx.gates import in_torch_order

pytestmark = [pytest.mark.needs("c"), pytest.mark.once]
DIRECTIONS = ["forward", "reverse", "bidirectional"]
INPUTS = ["int8", "int16"]


def results(case, **options):
    return session(case.model(), quantized=True, **options).run(None, case.feeds)


def of_numbers(case, **options):
    """The results of the float32 LSTM of the numbers that the codes stand for."""
    codes, case.inputs = case.inputs, case.inputs[:8]
    while not case.inputs[-1]:
        case.inputs = case.inputs[:-1]
    data = Case.nodes(case)
    kept, case.weights = case.weights, case.numbers
    case.nodes = lambda: data
    try:
        return session(case.model(), **options).run(None, case.feeds)
    finally:
        case.inputs, case.weights = codes, kept
        del case.nodes


def of_engine(case, reverse, inputs):
    """The engine itself on the codes: Y, Y_h, Y_c as ONNX has them."""
    codes = case.weights
    count, size, gates = codes["W"].shape
    hidden = gates // 4
    variant = None
    if reverse:
        from fastlstm.engine.variants import USUAL, Variant

        variant = Variant((USUAL["LSTM"],), reverse=True)
    net = backend.Net("lstm", size, hidden, 0, 1, count, None, variant, "int8", inputs)
    for d in range(count):
        pair = []
        for name in "WR":
            turned = np.ascontiguousarray(in_torch_order(codes[name][d].T, "LSTM", hidden))
            scales = np.broadcast_to(codes[f"{name}s"][d], (gates,))
            scales = in_torch_order(scales, "LSTM", hidden).copy()
            pair.append(Codes(turned, scales))
        b = [in_torch_order(part, "LSTM", hidden) for part in np.split(codes["B"][d], 2)]
        net.set(0, d, *pair, *b, None)
    lengths = case.feeds["lens"].astype(np.int64) if "lens" in case.feeds else None
    state = (case.feeds["h0"], case.feeds["c0"])
    y, (h, c) = net.forward(case.feeds["X"], state, None, lengths, True, False, 1)
    y = y.reshape(*y.shape[:2], count, hidden).transpose(0, 2, 1, 3)
    return [np.ascontiguousarray(a) for a in (y, h, c)]


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("per_column", [False, True])
def test_codes_of_the_engine_have_its_bits(per_column, direction, inputs, rng):
    """int8 with zero points of 0, as onnxruntime.quantization makes them."""
    for constant in (True, False):
        case = Quantized(rng, 9, 3, 20, 33, per_column=per_column, direction=direction,
                         initial=True, lengths=[9, 1, 4], constant=constant)  # fmt: skip
        due = of_engine(case, direction == "reverse", inputs)
        for threads in (1, 2):
            for one, other in zip(results(case, threads=threads, inputs=inputs), due, strict=True):
                assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("dtype, zero", [("uint8", False), ("uint8", True), ("int8", True)])
def test_other_codes_have_the_bits_of_float32(dtype, zero, per_column, rng):
    for direction in DIRECTIONS:
        case = Quantized(rng, 7, 2, 12, 17, per_column=per_column, dtype=dtype, zero=zero,
                         direction=direction, peepholes=True, clip=2.0)  # fmt: skip
        for one, other in zip(results(case), of_numbers(case), strict=True):
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_scale_and_zero_point_in_all(shape, rng):
    case = Quantized(rng, 4, 2, 6, 8, dtype="uint8", direction="bidirectional")
    for name in "WR":
        scale, zero = np.float32(0.003), np.uint8(120)
        case.weights |= {f"{name}s": np.full(shape, scale), f"{name}z": np.full(shape, zero)}
        numbers = (case.weights[name].astype(np.float32) - zero) * scale
        case.numbers[name] = np.ascontiguousarray(numbers.transpose(0, 2, 1))
    for one, other in zip(results(case), of_numbers(case), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_code_of_minus_128(rng):
    """For which the engine has none."""
    case = Quantized(rng, 4, 1, 6, 8)
    case.weights["W"][0, 0, 0] = -128
    case.numbers["W"][0, 0, 0] = np.float32(-128) * case.weights["Ws"][0]
    for one, other in zip(results(case), of_numbers(case), strict=True):
        assert one.tobytes() == other.tobytes()


def test_nearer_to_the_numbers_of_the_codes_than_onnxruntime(rng):
    """Which makes 8-bit codes of X, all of it by one scale, and of each step's states. Root mean
    squares over ten nodes each."""
    for per_column in (False, True):
        ours, with_16_bits, theirs = [], [], []
        for _ in range(10):
            case = Quantized(rng, 20, 4, 32, 48, per_column=per_column, direction="bidirectional",
                             scale=0.15)  # fmt: skip
            due = of_numbers(case)[0]
            plain = session(case.model(), False).run(None, case.feeds)[0]
            ours.append(((results(case)[0] - due) ** 2).mean())
            with_16_bits.append(((results(case, inputs="int16")[0] - due) ** 2).mean())
            theirs.append(((plain - due) ** 2).mean())
        assert 2 * np.mean(with_16_bits) < np.mean(ours) < np.mean(theirs) < 0.02**2


def test_other_inputs_are_refused():
    options = onnxruntime.SessionOptions()
    with pytest.raises(ValueError, match="inputs must be 'int8' or 'int16', got 'int4'"):
        fastlstm.onnxruntime.register(options, quantized=True, inputs="int4")


@pytest.mark.parametrize("name, shape", [
    ("W", (1, 6, 31)), ("R", (1, 9, 32)), ("Ws", (2,)), ("Wz", (1, 31)), ("Rs", (1, 31)),
    ("Rz", (3,)), ("Rs", (1, 1, 32)),
])  # fmt: skip
def test_what_does_not_fit_is_refused(name, shape, rng):
    case = Quantized(rng, 4, 1, 6, 8)
    case.weights[name] = np.zeros(shape, case.weights[name].dtype)
    with pytest.raises(Exception, match="fastlstm: DynamicQuantizeLSTM node 'cell': ") as error:
        session(case.model(), quantized=True)
    assert "is due" in str(error.value) or "do not fit together" in str(error.value)


def test_hostile_lengths(rng):
    case = Quantized(rng, 4, 2, 6, 8, lengths=[5, -1])
    with pytest.raises(Exception, match=r"sequence_lens\[0\] is 5, X has 4 steps"):
        results(case)


def test_a_published_file(rng):
    """dksplit's three layers, beside ONNX Runtime's other operators of the same domain."""
    path = str(path_of("dksplit-int8.onnx"))
    feeds = {"chars": np.arange(24).reshape(1, 24) % 27 + 1}
    due = session(path, False).run(None, feeds)
    found = session(path, quantized=True).run(None, feeds)
    for y, expected in zip(found, due, strict=True):
        assert np.abs(y - expected).max() <= 0.05 * np.abs(expected).max()
    nodes = fastlstm.onnxruntime.nodes(path, quantized=True)
    assert [node.refused for node in nodes] == [None] * 3
    assert not any(node.left for node in nodes)


def test_without_being_asked_it_stays_onnxruntimes(rng):
    case = Quantized(rng, 4, 2, 6, 8)
    plain, ours = (session(case.model(), ours).run(None, case.feeds) for ours in (False, True))
    for one, other in zip(plain, ours, strict=True):
        assert one.tobytes() == other.tobytes()
    (node,) = fastlstm.onnxruntime.nodes(case.model())
    assert node.left
