# SPDX-License-Identifier: MIT
"""Malformed and giant graphs through load_model and a call: an error in one sentence, or an answer;
never a crash, much memory or much work. And wrong calls of a sound model."""

import functools
import os
import re
from pathlib import Path

import hostile_graphs
import numpy as np
import pytest
from conftest import not_with_asan
from hostile_graphs import model, node
from work import counted

import fastlstm
from fastlstm.errors import LoadError

pytestmark = pytest.mark.once

MAX_BYTES = 1 << 24  # of one call
MEMORY = 160 << 20  # bytes beside 64 for each byte of file: what constants may take, and copies
CALLS = 400_000  # of functions, and 400 more for each byte of file: a node has about 30 bytes
FAMILIES = ("names_and_order", "types_and_ranks", "bombs", "windows", "branches", "giants")
# What looks odd and is sound.
FINE = {
    "names_and_order: constant named as the input", "names_and_order: operator set 0",
    "names_and_order: operator set 1", "names_and_order: operator set 6",
    "types_and_ranks: Einsum without an end", "bombs: Range to -3",
    "bombs: Slice with start 9223372036854775807", "bombs: Slice with start -9223372036854775808",
    "bombs: Slice with start 2147483648", "bombs: Slice with step 9223372036854775807",
    "bombs: Slice with step 2147483648",
    "giants: sizes squared 80 times", "giants: sizes doubled 70 times",  # as int64 wraps around
    "giants: thousands of Ifs", "giants: fifteen thousand nodes",
    "giants: a state through thousands of views",
}  # fmt: skip


@functools.cache
def cases():
    return {
        f"{family}: {name}": data
        for family in FAMILIES
        for name, data in getattr(hostile_graphs, family)()
    }


def status(key):
    """VmRSS or VmHWM of this process, in bytes."""
    return 1024 * int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def outcome(path):
    """What loading a model and calling it with zeros raises, or its outputs."""
    try:
        made = fastlstm.load_model(path, max_bytes=MAX_BYTES)
        given = {}
        for value in made.inputs:
            shape = [n if isinstance(n, int) else 3 for n in value.shape or ()]
            given[value.name] = np.zeros(shape, value.dtype)
        return made.run(given)
    except (LoadError, MemoryError, ValueError) as error:
        return error


def one_sentence(text):
    return text and "\n" not in text and text.isprintable() and len(text) < 1000


@not_with_asan
@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="reads Linux' /proc")
@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_graphs(family, tmp_path):
    for name in (n for n in cases() if n.startswith(family)):
        path = tmp_path / "hostile.onnx"
        path.write_bytes(cases()[name])
        Path("/proc/self/clear_refs").write_text("5")
        before = status("VmRSS")
        found, calls = counted(lambda: outcome(path))  # noqa: B023 (called at once)
        grown, size = status("VmHWM") - before, len(cases()[name])
        assert calls <= CALLS + 400 * size, f"{name}: {calls} calls for {size} bytes"
        assert grown <= MEMORY + 64 * size, f"{name}: {grown} bytes of memory"
        if name in FINE:
            assert isinstance(found, list), f"{name}: {found!r}"
        else:
            assert isinstance(found, Exception), f"{name}: no error, but {[a.shape for a in found]}"
            assert one_sentence(str(found)), f"{name}: {found!r}"


def test_two_hundred():
    assert len(cases()) >= 200 and set(cases()) >= FINE


def test_wrong_calls_of_a_model(tmp_path):
    """Each is an error with what is due and what was given, and the model works after it."""
    path = tmp_path / "sound.onnx"
    inputs = {"x": (1, ["n", 4]), "i": (7, [2]), "b": (9, [])}
    path.write_bytes(model(
        [node("Gather", ["x", "i"], ["g"]), node("Where", ["b", "g", "c"], ["y"])], inputs,
        constants={"c": np.zeros((2, 4), np.float32)},
    ))  # fmt: skip
    sound = fastlstm.load_model(path)
    good = {"x": np.ones((3, 4), np.float32), "i": np.array([0, 2]), "b": np.array(True)}
    want = sound.run(good)[0].tobytes()
    for name, wrong, kind, words in (
        ("x", np.ones((3, 5), np.float32), ValueError, r"x: float32 \(n, 4\).*\(3, 5\)"),
        ("x", np.ones(4, np.float32), ValueError, r"x: float32 \(n, 4\).*\(4,\)"),
        ("x", np.ones((3, 4), complex), TypeError, "x: float32.*complex128"),
        ("x", np.array([["a"] * 4]), TypeError, "x: float32.*<U1"),
        ("x", [[1, 2], [3]], ValueError, "."),
        ("x", None, TypeError, "x: float32.*object"),
        ("i", np.array([0, 2, 1]), ValueError, r"i: int64 \(2\).*\(3,\)"),
        ("i", np.array([0.5, 1.5]), TypeError, "i: int64.*float64"),
        ("i", np.array([0, 3]), ValueError, r"\(Gather\).*\(3, 4\), \(2,\)"),
        ("i", np.array([-4, 0]), ValueError, r"\(Gather\).*out of range"),
        ("b", np.array([True]), ValueError, r"b: bool \(\).*\(1,\)"),
        ("b", np.array(1.0), TypeError, "b: bool.*float64"),
    ):
        with pytest.raises(kind, match=words) as caught:
            sound.run(good | {name: wrong})
        assert one_sentence(str(caught.value))
        assert sound.run(good)[0].tobytes() == want
    for call, words in (
        (lambda: sound(good["x"]), "missing inputs: i, b"),
        (lambda: sound(*good.values(), 1), r"3 inputs are due \(x, i, b\), got 4"),
        (lambda: sound(good["x"], x=good["x"]), "the input 'x' is given twice"),
        (lambda: sound(z=1), "there is no input 'z'; there are x, i, b"),
    ):
        with pytest.raises(TypeError, match=words):
            call()
    assert sound.run(good)[0].tobytes() == want
