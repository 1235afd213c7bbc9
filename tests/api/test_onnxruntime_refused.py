# SPDX-License-Identifier: MIT
"""fastlstm.onnxruntime: what is refused when a session is made, and calls that do not fit: a status
with words, never a crash."""

import ctypes
import json
import os
import re
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from recurrent_graphs import Case, session

import fastlstm
import fastlstm.onnxruntime
from fastlstm.cli import main as cli
from fastlstm.engine import backend

pytestmark = [pytest.mark.needs("c"), pytest.mark.once]
VERSION = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
TEXTS = pytest.mark.skipif(VERSION < (1, 25), reason="the names of activations cannot be read")


def refusal(case, **options):
    """What the error of making the session says behind fastlstm's name of the node."""
    with pytest.raises(Exception, match="fastlstm: ") as error:
        session(case.model(), **options)
    text = str(error.value)
    assert f"fastlstm: {case.op} node 'cell': " in text
    return text.partition("node 'cell': ")[2]


# (attributes of the node, what the refusal says); nodes() says the same
REFUSED = [
    ({"direction": "sideways"}, "the direction 'sideways' is unknown"),
    ({"direction": "both" * 30}, "the direction 'one too long' is unknown"),
    ({"clip": -1.0}, "clip is not greater than 0"),
    ({"clip": 0.0}, "clip is not greater than 0"),
    ({"clip": float("nan")}, "clip is not greater than 0"),
    ({"layout": 2}, "layout is neither 0 nor 1"),
    pytest.param(
        {"activations": ["Tanh", "Tanh"]}, "2 activations, 3 are due", marks=TEXTS,
    ),
    pytest.param(
        {"activations": ["Sigmoid", "Tanh", "Gelu"]}, "the activation 'Gelu' is unknown",
        marks=TEXTS,
    ),
    ({"activation_alpha": [0.1] * 7},
     "activation_alpha or activation_beta has more than 6 numbers"),
]  # fmt: skip


@pytest.mark.parametrize("attributes, says", REFUSED)
def test_nodes_that_are_refused(attributes, says, rng):
    case = Case(rng, "LSTM", **attributes)
    assert refusal(case) == says
    (node,) = fastlstm.onnxruntime.nodes(case.model())
    assert node.refused and not node.left
    if "too long" not in says:
        assert node.refused.lower() == says.lower()


@pytest.mark.parametrize(
    "attributes", [{"direction": 1}, {"clip": 1}, {"layout": 1.0}, {"input_forget": "yes"}]
)
def test_attributes_of_another_type(attributes, rng):
    """ONNX Runtime itself refuses them."""
    case = Case(rng, "LSTM", **attributes)
    for ours in (False, True):
        with pytest.raises(Exception, match="Mismatched attribute type"):
            session(case.model(), ours)
    (node,) = fastlstm.onnxruntime.nodes(case.model())
    assert f"the attribute '{next(iter(attributes))}' is" in node.refused


def test_numbers_of_another_type(rng):
    for op in ("LSTM", "GRU"):
        model = onnx.load_from_string(Case(rng, op).model())
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
        for tensor in model.graph.initializer:
            wide = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))
        with pytest.raises(Exception, match="its numbers are neither float32 nor float16"):
            session(model.SerializeToString())
        (node,) = fastlstm.onnxruntime.nodes(model.SerializeToString())
        assert node.refused == "its weights are neither float32 nor float16"


def test_activations_of_an_older_version(rng):
    for op in ("LSTM", "GRU"):
        names = ["Sigmoid", "Tanh", "Tanh"][: 3 if op == "LSTM" else 2]
        case = Case(rng, op, activations=names)
        (node,) = fastlstm.onnxruntime.nodes(case.model(), version=(1, 24))
        assert node.refused == "its activations can be read from onnxruntime 1.25 on"
        if VERSION < (1, 25):
            assert refusal(case) == node.refused.replace("its", "its attribute")
        else:
            session(case.model())
    (node,) = fastlstm.onnxruntime.nodes(Case(rng, "RNN").model(), version=(1, 24))
    assert node.left and node.refused is None


@pytest.mark.parametrize("size, says", [(-2, "hidden_size is negative"), (7, "(1, 28, 5) is due"),
                                        (1 << 40, "none of them 0")])  # fmt: skip
def test_a_hidden_size_that_the_weights_do_not_have(size, says, rng):
    case = Case(rng, "LSTM")
    case.hidden = size
    assert says in refusal(case)


@pytest.mark.parametrize("name", ["W", "R", "B", "P"])
@pytest.mark.parametrize("cut", [1, 2, 0])
def test_weights_of_other_shapes(name, cut, rng):
    """Where they are constants, when the session is made; where they are computed, in the call,
    after which the session goes on. cut: the last row is gone, an axis, or all elements."""
    case = Case(rng, "LSTM", peepholes=True)
    array = case.weights[name]
    wrong = [array[:, :0], array[:, :-1], array[0]][cut]
    case.weights[name] = np.ascontiguousarray(wrong)
    says = refusal(case)
    assert "is due" in says or "are due" in says
    assert f"{name} has the shape {wrong.shape}" in says or f"{name} {wrong.shape}" in says
    moving = Case(rng, "LSTM", peepholes=True, constant=False)
    made = session(moving.model())
    due = made.run(None, moving.feeds)
    # ONNX Runtime looks at the number of axes itself, which the model says
    with pytest.raises(Exception, match=r"is due|are due|Invalid rank|Unexpected input"):
        made.run(None, moving.feeds | {name: case.weights[name]})
    for one, other in zip(made.run(None, moving.feeds), due, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    "lengths, says",
    [
        ([-1, 2, 3], "sequence_lens[0] is -1, X has 7 steps"),
        ([7, 0, 8], "sequence_lens[2] is 8, X has 7 steps"),
        ([1, 2**31 - 1, 0], "sequence_lens[1] is 2147483647, X has 7 steps"),
        ([-(2**31), 0, 0], "sequence_lens[0] is -2147483648, X has 7 steps"),
        ([1, 2], "sequence_lens has the shape (2,), (3,) is due"),
        ([1, 2, 3, 4], "sequence_lens has the shape (4,), (3,) is due"),
        ([], "sequence_lens has the shape (0,), (3,) is due"),
    ],
)
def test_hostile_lengths(lengths, says, rng):
    for op in ("LSTM", "GRU", "RNN")[: 3 if VERSION >= (1, 25) else 2]:
        case = Case(rng, op, lengths=lengths, direction="bidirectional")
        with pytest.raises(Exception, match="node 'cell'") as error:
            session(case.model()).run(None, case.feeds)
        assert str(error.value).endswith(f"fastlstm: {op} node 'cell': {says}")


@pytest.mark.parametrize("name, shape, says", [
    ("X", (7, 3, 4), "X has the shape (7, 3, 4), (7, 3, 5) is due"),
    ("h0", (1, 2, 6), "initial_h has the shape (1, 2, 6), (1, 3, 6) is due"),
    ("h0", (2, 3, 6), "initial_h has the shape (2, 3, 6), (1, 3, 6) is due"),
    ("c0", (1, 3, 7), "initial_c has the shape (1, 3, 7), (1, 3, 6) is due"),
])  # fmt: skip
def test_inputs_of_other_shapes(name, shape, says, rng):
    case = Case(rng, "LSTM", initial=True)
    case.feeds[name] = np.zeros(shape, np.float32)
    with pytest.raises(Exception, match="is due") as error:
        session(case.model()).run(None, case.feeds)
    assert str(error.value).endswith(says)


def test_an_input_of_other_axes(rng):
    """The model's own types say nothing of axes, so ONNX Runtime lets all of them through."""
    case = Case(rng, "LSTM")
    model = onnx.load_from_string(case.model())
    model.graph.input[0].type.tensor_type.ClearField("shape")
    made = session(model.SerializeToString())
    for shape in ((), (5,), (3, 5), (7, 3, 5, 1), (1,) * 7):
        says = "(1, 1, 1, 1) and more axes" if len(shape) > 4 else str(shape)
        with pytest.raises(Exception, match=rf"X has the shape {re.escape(says)}, .* is due"):
            made.run(None, {"X": np.zeros(shape, np.float32)})


def test_no_memory(rng):
    """Wherever the C core's allocations fail, in making a session or in a call of it."""
    case = Case(rng, "LSTM", 9, 4, initial=True, lengths=[9, 1, 4, 9], layout=1,
                direction="bidirectional", constant=False)  # fmt: skip
    made = session(case.model())
    due = made.run(None, case.feeds)
    # new weights have to be packed in each call
    failed = 0
    for after in range(30):
        feeds = case.feeds | {"W": case.weights["W"] + np.float32(after + 1)}
        backend.fail_allocations(after)
        try:
            made.run(None, feeds)
        except Exception as error:
            assert "fastlstm: " in str(error) and "no memory" in str(error)
            failed += 1
        else:
            break
        finally:
            backend.fail_allocations(-1)
    assert failed >= 4
    for one, other in zip(made.run(None, case.feeds), due, strict=True):
        assert one.tobytes() == other.tobytes()
    constant = Case(rng, "LSTM").model()
    for after in range(3):
        backend.fail_allocations(after)
        try:
            with pytest.raises(Exception, match="no memory"):
                session(constant)
        finally:
            backend.fail_allocations(-1)


def test_other_objects_and_backends():
    with pytest.raises(TypeError, match=r"must be an onnxruntime\.SessionOptions, got int"):
        fastlstm.onnxruntime.register(3)
    script = (
        "import fastlstm.onnxruntime, onnxruntime\n"
        "try: fastlstm.onnxruntime.register(onnxruntime.SessionOptions())\n"
        "except RuntimeError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env=os.environ | {"FASTLSTM_BACKEND": "numpy"},
    )  # fmt: skip
    assert "needs the C core, and fastlstm runs on numpy" in done.stdout


def test_registered_twice(rng):
    case = Case(rng, "LSTM")
    options = onnxruntime.SessionOptions()
    for _ in range(2):
        fastlstm.onnxruntime.register(options)
    due = session(case.model()).run(None, case.feeds)
    for _ in range(2):
        found = onnxruntime.InferenceSession(case.model(), options).run(None, case.feeds)
        assert found[0].tobytes() == due[0].tobytes()


def test_a_registration_that_failed_is_tried_again(rng):
    class Options(onnxruntime.SessionOptions):
        def register_custom_ops_library(self, path):
            raise RuntimeError("too old")

    options = Options()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="too old"):
            fastlstm.onnxruntime.register(options)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("fastlstm.threads", "1")  # by hand: that registers nothing
    fastlstm.onnxruntime.register(options)
    case = Case(rng, "LSTM", layout=1)  # which ONNX Runtime's own refuses
    onnxruntime.InferenceSession(case.model(), options).run(None, case.feeds)


@pytest.mark.parametrize("version", [b"1.16.3", b"0.5.0", b"nonsense", b""])
def test_an_onnxruntime_that_is_too_old(version):
    """Its table of functions is shorter than what is used: it is asked for words alone."""
    said = []
    create = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)(
        lambda code, words: said.append(words) or 1
    )
    table = (ctypes.c_void_p * 1)(ctypes.cast(create, ctypes.c_void_p))
    asked = []

    def of(number):
        asked.append(number)
        return ctypes.addressof(table)

    get = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)(of)
    kept = ctypes.create_string_buffer(version)
    text = ctypes.CFUNCTYPE(ctypes.c_void_p)(lambda: ctypes.addressof(kept))
    base = (ctypes.c_void_p * 2)(
        ctypes.cast(get, ctypes.c_void_p), ctypes.cast(text, ctypes.c_void_p)
    )
    register = ctypes.CDLL(backend.__file__).RegisterCustomOps
    register.restype = ctypes.c_void_p
    assert register(None, base) == 1
    assert said == [b"fastlstm needs onnxruntime 1.17 or newer"]
    assert asked == [1]


def test_nodes_of_many_branches(rng):
    """Each once, though branches are read one after another and let go."""
    helper, case = onnx.helper, Case(rng, "LSTM", outputs=[0])
    output = [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, None)]
    ifs = []
    for n in range(50):
        branches = {}
        for name in ("then_branch", "else_branch"):
            (node,) = case.nodes()
            node.name = f"{name} {n}"
            branches[name] = helper.make_graph([node], name, [], output)
        ifs.append(helper.make_node("If", ["which"], [f"Z{n}"], **branches))
    model = onnx.load_from_string(case.model())
    del model.graph.node[:]
    model.graph.node.extend(ifs)
    found = fastlstm.onnxruntime.nodes(model.SerializeToString())
    assert len({node.name for node in found}) == len(found) == 100


def test_inspect_says_which_nodes(rng, tmp_path, capsys):
    path = tmp_path / "model.onnx"
    path.write_bytes(Case(rng, "LSTM").model())
    assert cli.main(["inspect", str(path), "--onnxruntime"]) == 0
    assert "cell  LSTM, run by fastlstm\n" in capsys.readouterr().out
    path.write_bytes(Case(rng, "GRU", clip=-1.0).model())
    assert cli.main(["inspect", str(path), "--onnxruntime"]) == 1
    assert "cell  GRU, refused: clip is not greater than 0\n" in capsys.readouterr().out
    assert cli.main(["inspect", str(path), "--onnxruntime", "--json"]) == 1
    (node,) = json.loads(capsys.readouterr().out)
    assert node["op"] == "GRU" and node["refused"]
    path.write_bytes(b"no model")
    assert cli.main(["inspect", str(path), "--onnxruntime"]) == 1
