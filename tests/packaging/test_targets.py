# SPDX-License-Identifier: MIT
"""The C core compiles for systems that no test here runs on, by zig's compiler and headers."""

import importlib.util
from pathlib import Path

import pytest
from conftest import FULL

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not (ROOT / "release").exists(), reason="the sources are not here"),
    pytest.mark.skipif(not importlib.util.find_spec("ziglang"), reason="zig is not installed"),
]


@pytest.fixture(scope="module")
def targets():
    spec = importlib.util.spec_from_file_location("targets", ROOT / "release" / "targets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("target", ["aarch64-macos", "x86_64-windows-gnu"])
def test_what_asks_the_system_compiles_elsewhere(targets, target, tmp_path):
    """Threads, memory, clocks, the CPU's features, the operators of ONNX Runtime."""
    failed, count = targets.compile_for(target, tmp_path, few=True)
    assert count >= 8 and failed == []


@pytest.mark.skipif(not FULL, reason="a minute or more; with FASTLSTM_FULL=1, and in make wheels")
@pytest.mark.parametrize("target", ["aarch64-macos", "x86_64-macos", "x86_64-windows-gnu"])
def test_all_of_the_core_compiles_elsewhere(targets, target, tmp_path):
    failed, count = targets.compile_for(target, tmp_path)
    assert count > 60 and failed == []


def test_a_file_that_does_not_compile_there_is_found(targets, tmp_path, monkeypatch):
    (tmp_path / "broken.c").write_text("#include <sys/auxv.h>\nint fl_x;\n")
    flags = ["-std=gnu11"]
    monkeypatch.setattr(targets, "sources", lambda *_: [(str(tmp_path / "broken.c"), flags)])
    ((_, said),), _ = targets.compile_for("aarch64-macos", tmp_path / "out", few=True)
    assert "auxv.h" in said
