# SPDX-License-Identifier: MIT
"""The stubs: what programs may rely on (mypy --strict over typing_usage.py), and that they say what
the code does (mypy's stubtest: every name, argument and default)."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastlstm

pytestmark = pytest.mark.once

PACKAGE = Path(fastlstm.__file__).parent
HERE = Path(__file__).parent
TUTORIALS = HERE.parents[1] / "docs" / "tutorials"

# The base classes have no public name; without one stubtest would not look at them.
STUBTEST = """
import sys, fastlstm
from fastlstm.layers import cells, recurrent
from mypy import stubtest
fastlstm._Layer, fastlstm._Cell = recurrent.Recurrent, cells._Cell
sys.exit(stubtest.main())
"""
# What a Recurrent tells the package about itself; a Tape is made by forward_train alone; what a
# Model tells its streams; what Cython adds; abstract parts of a base that only its subclasses have.
ALLOWED = r"""
fastlstm\.(_Layer|LSTM|GRU|RNN)\.(cell|has_c|cell_arguments|variant_arguments|variant)
fastlstm\.(_Layer|LSTM|GRU|RNN)\.(packed|without_weights|take_weights|copy_with)
fastlstm\.(_Layer|LSTM|GRU|RNN)\.(one_track|start_state|reorder|concat_size)
fastlstm\.(_Layer|LSTM|GRU|RNN)\.(weight_shapes|state_shapes|state_from_parts|state_parts)
fastlstm\._Layer\.(bias|batch_first|bidirectional|dropout|hidden_size|input_size|isa|kind|num_layers|num_threads)
fastlstm\._Cell\.(bias|hidden_size|input_size|isa)
fastlstm\.Model\.(graph|array|input|facts_of|named|plan_of|planned|planned_exactly|run|run_planned|state_pairs)
fastlstm\.Model\.__(getstate|setstate)__
fastlstm\.Tape\.__init__
fastlstm\.nn\.(array|module|containers|layers\.\w+)\..*
fastlstm\.engine\.c\._core\.__(reduce|setstate)_cython__
fastlstm\.engine\.c\._core\.__test__
"""

# Where the classes of fastlstm.nn come from; other names in them are not public.
NN = (
    "nn/array.pyi", "nn/module.pyi", "nn/containers.pyi", "nn/layers/activation.pyi",
    "nn/layers/attention.pyi", "nn/layers/conv.pyi", "nn/layers/linear.pyi", "nn/layers/norm.pyi",
    "nn/layers/pool.pyi", "nn/layers/recurrent.pyi",
)  # fmt: skip
# The stubs, and modules that have their types in them.
TYPED = (
    "__init__.pyi", "errors.py", "variants.py", "engine/__init__.py", "engine/variants.py",
    "engine/c/__init__.py", "engine/c/_core.pyi", "files/__init__.py", "files/description.py",
    "nn/__init__.pyi", "nn/functional/__init__.pyi", "nn/init.pyi", "nn/tensor.pyi",
    "nn/utils/__init__.pyi", "nn/utils/rnn.pyi", *NN,
)  # fmt: skip


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


def test_typed_extras(tmp_path):
    """Their modules import parts of the package that have no types, whose errors do not count."""
    program = HERE / "typing_extras.py"
    done = mypy(["-m", "mypy"], "--strict", "--follow-imports=silent", program, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not TUTORIALS.exists(), reason="the documents are not here")
def test_typed_tutorials(tmp_path):
    """As a reader's editor sees them: errors inside the package and inside torch do not count, nor
    that pyarrow has no types."""
    done = mypy(
        ["-m", "mypy"], "--strict", "--follow-imports=silent", "--untyped-calls-exclude=torch",
        "--disable-error-code=import-untyped",
        *sorted(TUTORIALS.glob("*.py")), cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


# Of torch and pyarrow much has no type, which is not this package's to change.
PYRIGHT = {
    "include": ["programs"],
    "typeCheckingMode": "strict",
    "reportMissingTypeStubs": False,
    "reportUnknownArgumentType": False,
    "reportUnknownMemberType": False,
    "reportUnknownVariableType": False,
}


def pyright(folder):
    """pyright in its strict mode over the programs of a folder."""
    (folder / "pyrightconfig.json").write_text(
        json.dumps(PYRIGHT | {"extraPaths": [str(PACKAGE.parent)]})
    )
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", folder],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(not TUTORIALS.exists(), reason="the documents are not here")
@pytest.mark.skipif(
    not (shutil.which("node") and importlib.util.find_spec("pyright")),
    reason="pyright is not installed, or node, which it would download",
)
def test_typed_for_pyright(tmp_path):
    """The tutorials and typing_usage.py; and a program that is wrong is found."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for file in (*TUTORIALS.glob("*.py"), HERE / "typing_usage.py", HERE / "typing_extras.py"):
        shutil.copy(file, programs)
    wrong = "import fastlstm\nfastlstm.LSTM(3, 4).hidden_size.upper()\n"
    (programs / "wrong.py").write_text(wrong)
    code, said = pyright(tmp_path)
    errors = [line for line in said.splitlines() if " - error: " in line]
    assert code == 1 and len(errors) == 1 and "wrong.py:2" in errors[0], said


@pytest.fixture
def stubs(tmp_path):
    """A folder with the stubs and nothing else, so that mypy does not read the package."""
    for name in TYPED:
        (tmp_path / "fastlstm" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / name, tmp_path / "fastlstm" / name)
    files = {f.relative_to(PACKAGE.parent) for f in PACKAGE.rglob("*.py")}
    files -= {Path("fastlstm", name).with_suffix(".py") for name in TYPED}
    without = [".".join(f.with_suffix("").parts).removesuffix(".__init__") for f in sorted(files)]
    (tmp_path / "allowed").write_text("\n".join(map(re.escape, without)) + ALLOWED)
    (tmp_path / "elsewhere").mkdir()
    return tmp_path


def names_in(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("stub", [name for name in TYPED if name.endswith(".pyi")])
def test_no_type_is_another_thing_of_the_module(stub):
    """fastlstm.nn.tensor has dtypes named `int` and `float`: a checker that meets one where a type
    is due says nothing, and takes any argument."""
    body = ast.parse((PACKAGE / stub).read_text()).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    types = [node.value for node in body if isinstance(node, ast.AnnAssign) and node.value]
    for function in functions:
        found = function.args
        given = (*found.posonlyargs, *found.args, found.vararg, *found.kwonlyargs, found.kwarg)
        types += [each.annotation for each in given if each is not None and each.annotation]
        types += [function.returns] if function.returns else []
    others = {function.name for function in functions}
    others |= {
        node.target.id for node in body if isinstance(node, ast.AnnAssign) and not node.value
    }
    assert not others & set().union(*map(names_in, types))


def stubtest(stubs):
    return mypy(
        ["-c", STUBTEST], "fastlstm", "--allowlist", stubs / "allowed", "--ignore-unused-allowlist",
        "--concise", cwd=stubs / "elsewhere", MYPYPATH=str(stubs),
    )  # fmt: skip


@pytest.mark.skipif(fastlstm.engine.NAME != "c", reason="_core.pyi is the extension's")
def test_the_stubs_say_what_the_code_does(stubs):
    done = stubtest(stubs)
    assert done.returncode == 0, done.stdout + done.stderr
