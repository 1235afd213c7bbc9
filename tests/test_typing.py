# SPDX-License-Identifier: MIT
"""The stubs: what programs may rely on (mypy --strict over typing_usage.py), and that they say what
the code does (mypy's stubtest: every name, argument and default)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastlstm

PACKAGE = Path(fastlstm.__file__).parent
HERE = Path(__file__).parent

# The base classes have no public name; without one stubtest would not look at them.
STUBTEST = """
import sys, fastlstm
from fastlstm import cells, recurrent
from mypy import stubtest
fastlstm._Layer, fastlstm._Cell = recurrent.Recurrent, cells._Cell
sys.exit(stubtest.main())
"""
# What a Recurrent tells the package about itself; a Tape is made by forward_train alone; what
# Cython adds; abstract parts of a base that only its subclasses have.
ALLOWED = r"""
fastlstm\.(_Layer|LSTM|GRU|RNN)\.(core|gates|own|odd|has_c)
fastlstm\._Layer\.(bias|batch_first|bidirectional|dropout|hidden_size|input_size|isa|kind|num_layers|num_threads)
fastlstm\._Cell\.(bias|hidden_size|input_size|isa)
fastlstm\.Tape\.__init__
fastlstm\._core\.__(reduce|setstate)_cython__
fastlstm\._core\.__test__
"""


def mypy(module, *arguments, cwd, **environment):
    if PACKAGE.parent.name != "site-packages":  # where mypy looks by itself, and only so
        environment = {"MYPYPATH": str(PACKAGE.parent)} | environment
    return subprocess.run(
        [sys.executable, *module, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
    )  # fmt: skip


def test_typed_programs(tmp_path):
    done = mypy(["-m", "mypy"], "--strict", HERE / "typing_usage.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def stubs(tmp_path):
    """A folder with the stubs and nothing else, so that mypy does not read the package."""
    (tmp_path / "fastlstm").mkdir()
    for name in ("__init__.pyi", "_core.pyi", "errors.py", "variants.py"):
        shutil.copy(PACKAGE / name, tmp_path / "fastlstm")
    modules = {f.stem for f in PACKAGE.glob("[!_]*.py")} | {"__main__"}
    modules |= {f.parent.name for f in PACKAGE.glob("*/__init__.py")}
    without = rf"fastlstm\.({'|'.join(modules - {'errors', 'variants'})})(\..*)?" + "\n"
    (tmp_path / "allowed").write_text(without + ALLOWED)
    (tmp_path / "elsewhere").mkdir()
    return tmp_path


def stubtest(stubs):
    return mypy(
        ["-c", STUBTEST], "fastlstm", "--allowlist", stubs / "allowed", "--ignore-unused-allowlist",
        "--concise", cwd=stubs / "elsewhere", MYPYPATH=str(stubs),
    )  # fmt: skip


@pytest.mark.skipif(fastlstm.backends.NAME != "c", reason="_core.pyi is the extension's")
def test_the_stubs_say_what_the_code_does(stubs):
    done = stubtest(stubs)
    assert done.returncode == 0, done.stdout + done.stderr
