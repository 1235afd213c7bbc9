# SPDX-License-Identifier: MIT
"""A folder is one layer of ignorance: imports of fastlstm/ and includes of csrc/ point down only.

In both trees the folders (and, in Python, the modules beside them) stand in an order, lowest first,
and a file may name only what stands below its own place. Within each folder, at every depth, its
files and folders must not depend on one another in a circle. An import inside a function counts,
and so does a string that names a module, since importlib is given such strings.
"""

import ast
import functools
import graphlib
import re
from pathlib import Path

import pytest

import fastlstm

PACKAGE = Path(fastlstm.__file__).parent
CSRC = PACKAGE.parent / "csrc"

PYTHON_ORDER = (
    "errors", "engine", "config", "training", "files", "pool", "layers", "models", "nn", "variants",
    "cells",
    "__init__", "torch", "threadpool", "onnxruntime", "score", "ray", "dask", "serve", "bench",
    "demo", "cli", "__main__",
)  # fmt: skip
# "": the public header, csrc/fastlstm.h.
C_ORDER = ("", "base", "kernels", "network", "tape", "forward", "training", "ops", "onnxruntime")

# What only csrc/kernels/simd and csrc/base may have: headers, types, functions and compiler
# builtins of one instruction set. (cpuid and the like are test_package.py's.)
INTRINSIC = re.compile(
    r"\b(_mm\d*_\w+|__m(?:64|128|256|512)\w*|(?:float|int|uint|poly)\d+x\d+(?:x\d)?_t"
    r"|v[a-z0-9]+q(?:_\w+)?_[fsup](?:8|16|32|64)|__builtin_(?:ia32|neon|arm|aarch64)_\w+"
    r"|(?:\w*mmintrin|x86intrin|arm_\w+)\.h)\b"
)

needs_csrc = pytest.mark.skipif(
    not CSRC.exists(), reason="the C sources are not beside the package"
)


def circles(edges):
    """A line for each folder whose files and folders depend on one another in a circle. edges:
    [(path, path, where)], paths as tuples of names."""
    wrong = []
    for depth in range(max(len(path) for path, _, _ in edges)):
        graphs = {}
        for one, other, _ in edges:
            folder = one[:depth]
            if min(len(one), len(other)) > depth and other[:depth] == folder:
                graph = graphs.setdefault(folder, {})
                if one[depth] != other[depth]:
                    graph.setdefault(one[depth], set()).add(other[depth])
        for folder, graph in graphs.items():
            try:
                graphlib.TopologicalSorter(graph).prepare()
            except graphlib.CycleError as error:
                circle = " <- ".join(error.args[1])
                wrong.append(f"{'/'.join(folder) or 'the top'}: a circle: {circle}")
    return wrong


def pointing_up(edges, order, place):
    """A line for each edge to a place of `order` above its own. place: path -> its name there."""
    wrong = []
    for one, other, where in edges:
        own, asked = place(one), place(other)
        unknown = [name for name in (own, asked) if name not in order]
        if unknown:
            wrong.append(f"{where}: {unknown[0]!r} has no place in the order")
        elif order.index(own) < order.index(asked):
            wrong.append(f"{where}: {own or 'the top'} is below {asked}: it points up")
    return wrong


# Python


def python_modules(package):
    """{("engine", "__init__"): [its .py, its .pyi]}: every module, and the files that it has."""
    modules = {}
    for file in sorted([*package.rglob("*.py"), *package.rglob("*.pyi")]):
        modules.setdefault(file.relative_to(package).with_suffix("").parts, []).append(file)
    return modules


def imported(file, module, modules):
    """(module, line) of all that the file imports from the package, as python_modules names it."""

    def found(dotted):
        """The module that a dotted name is, or whose name it holds; None: not the package's."""
        first, *parts = dotted.split(".")
        if first != "fastlstm":
            return None
        if (*parts, "__init__") in modules:
            return (*parts, "__init__")
        return tuple(parts) if tuple(parts) in modules else None

    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            if any(name.startswith("fastlstm.") for name in names):
                names.append("fastlstm")  # `import fastlstm.torch` binds the package
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                around = ("fastlstm", *module)[: -node.level]
                base = ".".join((*around, base)).rstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                names.append(inner if found(inner) else base)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if re.fullmatch(r"fastlstm(\.\w+)+", node.value) else []
        for name in names:
            other = found(name)
            if other is not None and other != module:
                yield other, node.lineno


@functools.cache
def python_edges():
    modules = python_modules(PACKAGE)
    return [
        (module, other, f"{file.relative_to(PACKAGE).as_posix()}:{line}")
        for module, files in modules.items()
        for file in files
        for other, line in imported(file, module, modules)
    ]


def wrong_imports(edges):
    return circles(edges) + pointing_up(edges, PYTHON_ORDER, lambda path: path[0])


def test_imports_point_down():
    assert len(python_edges()) > 200, "hardly any import was found"
    assert wrong_imports(python_edges()) == []


def test_the_extension_imports_nothing_of_the_package():
    """At run time. Its declarations, .pxd, come from files beside it, in no circle."""
    edges = []
    for file in (file for end in ("pyx", "pxd", "pxi") for file in PACKAGE.rglob(f"*.{end}")):
        text = file.read_text()
        for line in re.findall(r"^\s*((?:from|c?import)\s+(?:\.|fastlstm).*)", text, re.M):
            found = re.match(r"from \.(\w+) cimport ", line)
            assert found and (file.parent / f"{found[1]}.pxd").exists(), f"{file}: {line}"
            edges.append(((file.stem,), (found[1],), line))
    assert len(edges) > 3 and circles(edges) == []


WRONG_IMPORTS = [
    ("engine/arguments.py", "from ..config import check_isa\n", "engine is below config"),
    ("files/find.py", "def f():\n    from ..layers.build import make\n", "files is below layers"),
    ("training/tape.py", "import fastlstm.torch\n", "training is below torch"),
    ("layers/stream.py", "from fastlstm import LSTM\n", "layers is below __init__"),
    ("config.py", "from . import layers\n", "config is below layers"),
    ("errors.py", 'LATER = {"load": "fastlstm.files.read"}\n', "errors is below files"),
    ("layers/recurrent.py", "def f():\n    from . import lstm\n", "layers: a circle"),
    ("engine/shared/network.py", "from ..numpy import backend\n", "engine: a circle"),
    ("engine/arguments.py", "from .. import engine\n", "engine: a circle"),
    ("files/onnx/wire.py", "from . import graph\n", "files/onnx: a circle"),
    ("engine/new.py", "from ..elsewhere.module import f\n", "'elsewhere' has no place"),
]


@pytest.mark.parametrize("file, text, says", WRONG_IMPORTS)
def test_a_wrong_import_is_found(tmp_path, file, text, says):
    """Each added by itself to what the package's files import."""
    modules = python_modules(PACKAGE) | {("elsewhere", "module"): []}
    added = tmp_path / "added.py"
    added.write_text(text)
    module = Path(file).with_suffix("").parts
    edges = [(module, other, file) for other, _ in imported(added, module, modules)]
    assert len(edges) == 1 or file == "training/tape.py"
    wrong = wrong_imports(python_edges() + edges)
    assert any(says in line for line in wrong), wrong


# C


def code_of(file):
    """A C file's text without its comments."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", file.read_text(), flags=re.S)


def c_files(csrc):
    return sorted([*csrc.rglob("*.c"), *csrc.rglob("*.h")])


def c_edges(csrc):
    """The includes: a name is looked for beside the file, then from csrc/ on."""
    edges = []
    for file in c_files(csrc):
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', code_of(file), re.M):
            places = [p for p in (file.parent / name, csrc / name) if p.is_file()]
            assert places, f"{file}: {name} is not in csrc/"
            one, other = (p.resolve().relative_to(csrc.resolve()) for p in (file, places[0]))
            edges.append((one.parts, other.parts, f'{one.as_posix()} includes "{name}"'))
    return edges


def wrong_headers(csrc):
    """Every .c in a folder includes a .h of its own name; but a file of isa/ is one instruction
    set's table of kernels, which the dispatcher declares."""
    wrong = []
    for file in csrc.rglob("*/*.c"):
        here = file.relative_to(csrc)
        text = code_of(file)
        names = {Path(name).name for name in re.findall(r'include\s*"([^"]+)"', text)}
        if here.parts[:2] == ("kernels", "isa"):
            continue
        if not file.with_suffix(".h").exists():
            wrong.append(f"{here.as_posix()} has no header of its own")
        elif file.with_suffix(".h").name not in names:
            wrong.append(f"{here.as_posix()} does not include its own header")
    folders = {file.relative_to(csrc).parts[0] for file in csrc.rglob("*/*.[ch]")}
    at_the_top = {file.name for file in csrc.glob("*.[ch]")}
    if folders and at_the_top != {"fastlstm.h"}:
        wrong.append(f"csrc/ has folders, and files beside them: {sorted(at_the_top)}")
    return wrong


def has_intrinsics(csrc):
    return {
        file.relative_to(csrc).as_posix()
        for file in c_files(csrc)
        if INTRINSIC.search(code_of(file))
    }


def wrong_intrinsics(csrc):
    return [
        f"{name} has what one instruction set has"
        for name in sorted(has_intrinsics(csrc))
        if not name.startswith(("kernels/simd/", "base/"))
    ]


def wrong_includes(csrc):
    edges = c_edges(csrc)
    folder = lambda path: path[0] if len(path) > 1 else ""  # noqa: E731
    return circles(edges) + pointing_up(edges, C_ORDER, folder)


@needs_csrc
def test_includes_point_down():
    assert len(c_edges(CSRC)) > 40, "hardly any include was found"
    assert wrong_includes(CSRC) == []


@needs_csrc
def test_every_c_file_in_a_folder_has_its_own_header():
    assert wrong_headers(CSRC) == []


@needs_csrc
def test_intrinsics_only_where_instruction_sets_are_known():
    names = {Path(name).name for name in has_intrinsics(CSRC)}
    assert {"vec_avx2.h", "vec_avx512.h", "vec_neon.h"} <= names, "the pattern misses some"
    assert wrong_intrinsics(CSRC) == []


# A small tree like csrc/, and what breaks it.
C_TREE = {
    "fastlstm.h": "int f(void);",
    "base/alloc.h": "",
    "base/alloc.c": '#include "alloc.h"\n#include <immintrin.h>',
    "kernels/contract.h": '#include "base/alloc.h"\n#include "fastlstm.h"',
    "kernels/simd/vec_avx2.h": '#include "base/alloc.h"\n__m256 x;',
    "kernels/isa/kernels_avx2.c": '#include "kernels/simd/vec_avx2.h"\n',
    "network/pack.h": '#include "kernels/contract.h"',
    "network/pack.c": '#include "network/pack.h"',
    "forward/tile.h": '#include "network/pack.h"',
}
WRONG_C = [
    ("network/pack.h", '#include "forward/tile.h"', "network is below forward"),
    ("fastlstm.h", '#include "base/alloc.h"', "the top is below base"),
    ("base/alloc.c", '#include "../network/pack.h"', "base is below network"),
    ("elsewhere/x.h", '#include "fastlstm.h"', "'elsewhere' has no place"),
    ("kernels/simd/vec_avx2.h", '#include "kernels/contract.h"', None),
    ("kernels/contract.h", '#include "simd/vec_avx2.h"', None),
    ("kernels/simd/vec_avx2.h", '#include "kernels/isa/table.h"', "kernels: a circle"),
    ("forward/tile.c", '#include "network/pack.h"', "does not include its own header"),
    ("forward/grid.c", '#include "forward/tile.h"', "has no header of its own"),
    ("lone.c", "", "files beside them"),
    ("forward/tile.h", "#include <immintrin.h>", "what one instruction set has"),
    ("forward/tile.h", "#include <arm_neon.h>", "what one instruction set has"),
    ("kernels/contract.h", "a = _mm256_add_ps(a, b);", "what one instruction set has"),
    ("kernels/isa/kernels_avx2.c", "a = vfmaq_f32(a, b, c);", "what one instruction set has"),
    ("network/pack.c", "a = vreinterpretq_s32_f32(b);", "what one instruction set has"),
    ("network/pack.c", "__builtin_ia32_pause();", "what one instruction set has"),
    ("network/pack.c", "/* _mm_pause() */ __builtin_prefetch(p); // __m128", None),
]


@pytest.mark.parametrize("file, text, says", WRONG_C)
def test_wrong_c_is_found(tmp_path, file, text, says):
    """says None: it is not wrong."""
    table = {"kernels/isa/table.h": '#include "kernels/simd/vec_avx2.h"'}
    for name, content in (C_TREE | table).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    everything = lambda: (  # noqa: E731
        wrong_includes(tmp_path) + wrong_headers(tmp_path) + wrong_intrinsics(tmp_path)
    )
    assert everything() == []
    (tmp_path / file).parent.mkdir(exist_ok=True)
    with open(tmp_path / file, "a") as target:
        target.write(f"\n{text}\n")
    wrong = everything()
    assert any(says in line for line in wrong) if says else wrong == [], wrong
