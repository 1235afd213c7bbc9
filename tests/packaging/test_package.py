# SPDX-License-Identifier: MIT
"""The package as a whole: what importing it brings in, what it reports, rules of its structure."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastlstm

PACKAGE = Path(fastlstm.__file__).parent
ROOT = PACKAGE.parent
CSRC = ROOT / "csrc"
ISAS = (
    *("avx512-amx", "avx512-vnni", "avx512", "avx2-vnni", "avx2", "generic-fma", "generic"),
    *("neon-dot", "neon"),
)


def python(script, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith("FASTLSTM_")} | environment
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)


# Importing


def test_import_brings_in_numpy_and_nothing_else():
    script = (
        "import sys, json, numpy; before = set(sys.modules); import fastlstm; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    new = json.loads(python(script).stdout)
    assert "fastlstm" in new
    foreign = {name.partition(".")[0] for name in new} - {"fastlstm"} - sys.stdlib_module_names
    assert {name for name in foreign if name != "numpy" and "cython" not in name.lower()} == set()
    for heavy in ("ctypes", "subprocess", "multiprocessing", "asyncio", "argparse", "zipfile"):
        assert heavy not in new, f"import fastlstm imports {heavy}"


def test_import_and_first_use_leave_warnings_and_output_alone():
    script = "import fastlstm, numpy as np; fastlstm.LSTM(3, 4)(np.zeros((2, 1, 3)))"
    done = python("import warnings; warnings.simplefilter('error'); " + script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(
    getattr(sys, "_is_gil_enabled", lambda: True)(), reason="this Python always has its GIL"
)
def test_importing_leaves_the_gil_off():
    """On free-threaded CPython, and with the C core."""
    script = "import sys, fastlstm; print(sys._is_gil_enabled(), fastlstm.engine.NAME)"
    done = python("import warnings; warnings.simplefilter('error'); " + script)
    assert (done.stdout, done.stderr) == ("False c\n", "")


def test_what_calls_set_anew_is_guarded():
    """Attributes that a method sets which many threads may call at once: without a GIL two that set
    one, or one that reads it, would lose a reference to the object that was there."""
    source = PACKAGE / "engine" / "c" / "operators.pxi"
    if not source.exists():
        pytest.skip("an installed wheel has no Cython sources")
    text = source.read_text()
    program = text.partition("cdef class Program")[2].partition("def __dealloc__")
    calls = program[2].splitlines()
    anew = set(re.findall(r"self\.(\w+) = ", program[2]))
    assert anew == {"latest"}
    uses = [n for n, line in enumerate(calls) if re.search(r"self\.latest\b", line)]
    assert len(uses) == 2
    assert all("with cython.critical_section(self):" in calls[n - 1] for n in uses)


def declared(stub):
    """The public names that a stub's text declares at its top, not those it imports for itself."""
    names = set()
    for node in ast.parse(stub).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):  # `import a as a` re-exports
            names |= {alias.name for alias in node.names if alias.asname == alias.name}
    return {name for name in names if not name.startswith("_")}


def test_public_names_are_those_of_the_stub():
    """Found by dir() in a fresh interpreter, listed in __all__, and each one there."""
    public = declared((PACKAGE / "__init__.pyi").read_text())
    assert {"LSTM", "LoadError", "load", "show_config"} <= public
    assert set(fastlstm.__all__) == public and len(fastlstm.__all__) == len(public)
    script = (
        "import fastlstm; seen = dir(fastlstm); names = {}; exec('from fastlstm import *', names)\n"
        "print(*(name for name in seen if name[0] != '_'))\n"
        "print(*(name for name in names if name[0] != '_'))\n"
        "fastlstm.load, fastlstm.Verification; print(dir(fastlstm) == seen)"
    )
    seen, starred, same = python(script).stdout.splitlines()
    assert seen.split() == sorted(public) and set(starred.split()) == public and same == "True"
    assert issubclass(fastlstm.LoadError, ValueError)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", fastlstm.__version__)


# What it reports, and what its environment variables do


def test_show_config_says_what_is_there(capsys):
    fastlstm.show_config()
    text = capsys.readouterr().out
    assert fastlstm.__version__ in text
    for word in ("compiler", "isa", "backend", "threads", "python", "numpy"):
        assert word in text.lower(), word
    for isa in ISAS:
        line = next(line for line in text.splitlines() if line.strip().startswith(isa + " "))
        assert ("runs" in line) == (isa in fastlstm.runnable_isas())
        assert "runs" in line or "not built" in line or "lacks" in line
    assert isinstance(fastlstm.config_dict(), dict)
    assert fastlstm.__version__ in json.dumps(fastlstm.config_dict())


def test_runnable_instruction_sets():
    isas = fastlstm.runnable_isas()
    assert isas, "there is always one"
    assert "generic" in isas
    assert set(isas) <= set(ISAS)
    assert len(set(isas)) == len(isas)
    assert fastlstm.LSTM(1, 1).isa == isas[0]
    for isa in isas:
        assert fastlstm.LSTM(1, 1, isa=isa).isa == isa


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo to compare with")
def test_runnable_agrees_with_the_kernels_flags():
    """What Linux says this CPU and this kernel can do is what is offered, if it was built."""
    flags = set(
        re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[
            1
        ].split()
    )
    isas = fastlstm.config_dict()["isas"]
    for isa, needs in (
        ("avx2", {"avx2", "fma"}),
        ("avx512", {"avx512f", "fma"}),
        ("avx2-vnni", {"avx2", "fma", "avx_vnni"}),
        ("avx512-vnni", {"avx512f", "fma", "avx512_vnni"}),
        ("avx512-amx", {"avx512_vnni", "amx_tile", "amx_int8", "amx_bf16"}),
    ):
        if isas[isa] != "not built":
            if not needs <= flags:
                assert isa not in fastlstm.runnable_isas()
            elif isa == "avx2":
                assert isa in fastlstm.runnable_isas()


@pytest.mark.parametrize("isa", sorted(set(ISAS) - set(fastlstm.runnable_isas())))
def test_an_instruction_set_that_cannot_run_is_refused(isa):
    with pytest.raises(ValueError, match=re.escape(isa)) as caught:
        fastlstm.LSTM(3, 4, isa=isa)
    assert "built" in str(caught.value) or "CPU" in str(caught.value)
    done = python("import fastlstm", FASTLSTM_ISA=isa)
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert isa in done.stderr


@pytest.mark.parametrize("isa", fastlstm.runnable_isas())
def test_the_environment_chooses_the_instruction_set(isa):
    done = python("import fastlstm; print(fastlstm.LSTM(1, 1).isa)", FASTLSTM_ISA=isa)
    assert done.stdout.strip() == isa, done.stderr


@pytest.mark.parametrize(
    "name, value",
    [
        ("FASTLSTM_ISA", "sse9"), ("FASTLSTM_ISA", "AVX 2"), ("FASTLSTM_BACKEND", "fortran"),
        ("FASTLSTM_NUM_THREADS", "0"), ("FASTLSTM_NUM_THREADS", "-1"),
        ("FASTLSTM_NUM_THREADS", "two"), ("FASTLSTM_NUM_THREADS", "1.5"),
        ("FASTLSTM_NUM_THREADS", "99999999999999999999"),
    ],
)  # fmt: skip
def test_a_bad_environment_is_an_import_error_that_names_the_good_values(name, value):
    done = python("import fastlstm", **{name: value})
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert name in last and value in last
    good = {
        "FASTLSTM_ISA": fastlstm.runnable_isas(),
        "FASTLSTM_BACKEND": ["c", "numba", "numpy"],
        "FASTLSTM_NUM_THREADS": [],
    }
    for word in good[name]:
        assert word in last


def test_a_good_number_of_threads_is_taken():
    script = "import fastlstm, numpy as np; fastlstm.LSTM(3, 4)(np.zeros((2, 1, 3))); print('fine')"
    for value in ("1", "2"):
        done = python(script, FASTLSTM_NUM_THREADS=value)
        assert done.stdout == "fine\n", done.stderr


# Structure; what may import and include what is packaging/test_imports_point_down.py's

DETECTION = re.compile(
    r"cpuid|xgetbv|getauxval|hwcap|__builtin_cpu_\w+|IsProcessorFeaturePresent|sysctl", re.I
)


def code_of(path):
    """The file's text without its comments."""
    text = path.read_text()
    if path.suffix in (".c", ".h"):
        return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)
    return re.sub(r"#[^\n]*", "", text)


def c_files():
    return sorted([*CSRC.rglob("*.c"), *CSRC.rglob("*.h")])


def python_files():
    return sorted(
        f for end in ("py", "pyi", "pyx", "pxd", "pxi") for f in PACKAGE.rglob("*." + end)
    )


needs_sources = pytest.mark.skipif(
    not CSRC.exists(), reason="the C sources are not beside the package"
)


def having(pattern, files):
    return {f.name for f in files if re.search(pattern, code_of(f))}


@needs_sources
def test_cpu_detection_only_in_dispatch():
    assert having(DETECTION, c_files()) == {"dispatch.c"}
    assert having(DETECTION, python_files()) == set()


@needs_sources
def test_the_c_core_knows_no_python_no_files_no_environment():
    files = c_files()
    assert len(files) > 10
    assert having(r"\bPython\.h\b|\bPy[A-Z]\w+", files) == set()
    assert having(r"<stdio\.h>|\b(f|s|sn|v)?printf\b|\bfopen\b|\bputs\b", files) == set()
    assert having(r"\bgetenv\b|\bsetenv\b|\benviron\b", files) == set()
    assert having(r"\bomp_\w+|\bpragma\s+omp\b", files) == set()


@needs_sources
def test_memory_comes_from_one_place():
    pattern = (
        r"\b(malloc|calloc|realloc|aligned_alloc|posix_memalign|_aligned_malloc|alloca|mmap)\s*\("
    )
    assert len(having(pattern, c_files())) == 1


def test_nogil_only_at_the_boundary():
    """In _core.pyx, its declarations and what it includes, and where Numba's functions are made."""
    if not (PACKAGE / "engine/c/_core.pyx").exists():
        pytest.skip("the Cython source is not beside the package")
    found = {
        f.relative_to(PACKAGE).as_posix()
        for f in python_files()
        if re.search(r"\bnogil\b", code_of(f))
    }
    assert "engine/c/_core.pyx" in found
    python = {name for name in found if not name.startswith("engine/c/")}
    assert python <= {"engine/numba/loops.py", "engine/numba/backend.py"}


ENGINES = r"torch|onnxruntime|openvino|ncnn"


def test_other_engines_are_imported_in_their_own_modules_only():
    """torch by what works with it; the engines fastlstm is compared with by their adapters, each
    when it is asked for and not at the module's top."""
    anywhere, at_the_top = set(), set()
    for f in python_files():
        name = f.relative_to(PACKAGE).as_posix()
        if re.search(rf"^\s*(import|from)\s+({ENGINES})\b|import_module\(.torch", code_of(f), re.M):
            anywhere.add(name)
        if re.search(rf"^(import|from)\s+({ENGINES})\b", code_of(f), re.M):
            at_the_top.add(name)
    adapters = {name for name in anywhere if name.startswith("bench/peers/")}
    assert "bench/peers/pytorch.py" in adapters
    ours = {name for name in anywhere if name.startswith("torch/")}
    assert "torch/modules.py" in ours
    # Peers of whole models, imported when they are asked for; torch exports a network for them.
    whole = {"bench/networks.py", "bench/whole.py"}
    assert anywhere - adapters - ours - whole <= {"demo/torch_speed.py", "onnxruntime.py"}
    assert at_the_top - ours <= {"demo/torch_speed.py"}


def test_no_unsafe_loading_and_no_fast_math():
    assert (
        having(r"^\s*(import|from)\s+pickle\b|(?<![.\w])(?<!def )(eval|exec)\(", python_files())
        == set()
    )
    build = [
        f for f in (ROOT / "setup.py", ROOT / "pyproject.toml", ROOT / "Makefile") if f.exists()
    ]
    for f in build:
        assert not re.search(r"-ffast-math|-Ofast|-march=native|-funsafe-math", code_of(f)), f
    if (ROOT / "setup.py").exists():
        assert "-ffp-contract=off" in (ROOT / "setup.py").read_text()


def test_every_source_has_its_licence_line_and_a_readable_length():
    files = [*python_files(), *c_files()]
    for top in ("tests", "benchmarks", "examples", "release"):
        files += [f for f in (ROOT / top).rglob("*.*") if f.suffix in (".py", ".c", ".h")]
    for f in files:
        lines = f.read_text().splitlines()
        assert any("SPDX-License-Identifier: MIT" in line for line in lines[:2]), f
        assert len(lines) <= 450, f
