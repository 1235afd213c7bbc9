# SPDX-License-Identifier: MIT
"""DynamicQuantizeLSTM by fastlstm beside ONNX Runtime's own products of 8-bit codes. On a CPU with
AMX both use its tiles, which a thread has once: each must find them as it needs them, whatever the
other left, and this package leaves none in use. Elsewhere the numbers must be right all the same.
"""

import ctypes
import os
import shutil
import subprocess

import numpy as np
import onnxruntime
import pytest
from c_core import X86
from onnx import TensorProto, helper, numpy_helper
from recurrent_graphs import Quantized, session
from together import together

import fastlstm
from fastlstm import config

pytestmark = [pytest.mark.needs("c"), pytest.mark.once]
# XGETBV of 1: the parts of a thread's state that are not as they are at first. Bits 17 and 18 are
# those of the tiles.
IN_USE = """
unsigned tiles_in_use(void)
{
    unsigned a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
    return a >> 17 & 3;
}
"""


class Products:
    """ONNX Runtime's MatMulInteger of uint8 by int8, of sizes that its tiles are used for. The
    first matrix's codes have 7 bits: on AVX2 without VNNI it adds two products in 16 bits, and
    saturates."""

    def __init__(self, rng):
        self.a = rng.integers(0, 128, (64, 256)).astype(np.uint8)
        b = rng.integers(-127, 128, (256, 128)).astype(np.int8)
        self.due = self.a.astype(np.int32) @ b.astype(np.int32)
        graph = helper.make_graph(
            [helper.make_node("MatMulInteger", ["a", "b"], ["y"])], "graph",
            [helper.make_tensor_value_info("a", TensorProto.UINT8, [64, 256])],
            [helper.make_tensor_value_info("y", TensorProto.INT32, [64, 128])],
            [numpy_helper.from_array(b, "b")],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 14)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def right(self):
        return np.array_equal(self.session.run(None, {"a": self.a})[0], self.due)


def cells(rng, monkeypatch):
    """[(a session, its feeds, the outputs' bytes without tiles)]: of many rows, and of one."""
    found = []
    for steps, batch, hidden in ((5, 16, 64), (3, 40, 100), (7, 1, 96)):
        case = Quantized(rng, steps, batch, 72, hidden, initial=True, per_column=True)
        with monkeypatch.context() as changed:
            if "avx512-vnni" in fastlstm.runnable_isas():
                changed.setattr(config, "DEFAULT_ISA", "avx512-vnni")
            due = session(case.model(), quantized=True).run(None, case.feeds)
        made = session(case.model(), quantized=True)
        found.append((made, case.feeds, [y.tobytes() for y in due]))
    return found


def bits(made, feeds):
    return [y.tobytes() for y in made.run(None, feeds)]


def test_both_in_turn_on_one_thread(rng, monkeypatch):
    products, ours = Products(rng), cells(rng, monkeypatch)
    for _ in range(30):
        for made, feeds, due in ours:
            assert products.right()
            assert bits(made, feeds) == due


def test_both_on_eight_threads(rng, monkeypatch):
    products, ours = Products(rng), cells(rng, monkeypatch)
    wrong = []

    def work(n):
        for turn in range(30):
            made, feeds, due = ours[(n + turn) % len(ours)]
            if not products.right() or bits(made, feeds) != due:
                wrong.append((n, turn))

    together(work)
    assert not wrong


@pytest.mark.skipif(
    not X86 or "avx512-amx" not in fastlstm.runnable_isas() or not shutil.which("cc"),
    reason="needs AMX and a C compiler",
)
def test_no_tile_is_in_use_after_a_call(rng, monkeypatch, tmp_path):
    """Which would be saved and loaded with every change of threads. ONNX Runtime leaves them in
    use, so a call that has used them is seen to have let them go."""
    source, library = tmp_path / "tiles.c", tmp_path / "tiles.so"
    source.write_text(IN_USE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    in_use = ctypes.CDLL(os.fspath(library)).tiles_in_use
    products, ours = Products(rng), cells(rng, monkeypatch)
    for made, feeds, due in ours[:2]:
        assert products.right()
        left = in_use()
        assert bits(made, feeds) == due
        assert in_use() == 0
        if not left:
            pytest.skip("ONNX Runtime used no tiles")
