# SPDX-License-Identifier: MIT
"""CONTRIBUTING.md says of every source file what it holds: none is missing, and none named that is
gone."""

import ast
import fnmatch
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# of csrc/
FOLDERS = ("base", "kernels", "network", "tape", "forward", "training", "ops", "onnxruntime")
UNLISTED = ("__init__", "fastlstm")  # a package's first module; the public header

pytestmark = pytest.mark.skipif(
    not (ROOT / "csrc").exists(), reason="the sources are not beside the tests"
)


def listed(text):
    """The names in the first column of the tables whose heading is a folder: paths from the root,
    without the file's ending, or patterns of them."""
    names, folder = [], None
    for line in text.splitlines():
        cells = (
            [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else [""]
        )
        heading = re.fullmatch(r"(fastlstm/\w*/?|\w+/)", cells[0])
        if heading and not cells[0].startswith("`"):
            folder = cells[0].rstrip("/")
            folder = f"csrc/{folder}" if folder in FOLDERS else folder
        elif not line.startswith("|"):
            folder = None
        elif folder and cells[0].startswith("`"):
            for name in re.findall(r"`([^`]+)`", cells[0]):
                names.append(f"{folder}/{re.sub(r'[.][ch]$', '', name)}")
    return names


def sources():
    """Every source file's path from the root, without its ending."""
    files = [
        *(ROOT / "csrc").rglob("*.[ch]"),
        *(
            file
            for end in ("py", "pyx", "pxd", "pxi")
            for file in (ROOT / "fastlstm").rglob(f"*.{end}")
        ),
    ]
    paths = {file.relative_to(ROOT).with_suffix("").as_posix() for file in files}
    return sorted(path for path in paths if path.rpartition("/")[2] not in UNLISTED)


def differences(names, files):
    """(files that no name fits, names that fit no file)."""
    missing = [f for f in files if not any(fnmatch.fnmatchcase(f, n) for n in names)]
    gone = [n for n in names if not any(fnmatch.fnmatchcase(f, n) for f in files)]
    return missing, gone


def test_every_source_file_is_listed_and_no_other():
    names = listed((ROOT / "CONTRIBUTING.md").read_text())
    assert len(names) > 60, "the tables were not found"
    assert differences(names, sources()) == ([], [])


def unnamed(package):
    """The modules of a package whose docstring lists its files, or would, that it does not name."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    named = set(re.findall(r"\w+\.py\b", text))
    files = {file.name for file in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    return sorted(files - named) if len(named) > 1 else []


def test_a_package_that_lists_its_files_lists_all_of_them():
    packages = {file.parent for file in (ROOT / "fastlstm").rglob("__init__.py")}
    packages.remove(ROOT / "fastlstm" / "bench" / "peers")  # names two files of other packages
    found = {str(package): unnamed(package) for package in packages}
    assert {name: files for name, files in found.items() if files} == {}


def longest_function_of_c(folder):
    """(lines, name, file) of the longest function: from its line of parameters or before to the
    brace in the first column. `clang-format` puts both braces there."""
    found = []
    for file in folder.rglob("*.[ch]"):
        lines = file.read_text().splitlines()
        for start in (n for n, line in enumerate(lines) if line == "{"):
            head = start
            while head and lines[head - 1] and not lines[head - 1].endswith(("*/", "}", ";")):
                head -= 1
            end = lines.index("}", start)
            name = re.search(r"(\w+)\(", " ".join(lines[head:start]))
            found.append((end - start + 1, name and name[1], file.relative_to(ROOT).as_posix()))
    return max(found)


def longest_function_of_python(folder):
    found = [
        (node.end_lineno - node.lineno + 1, node.name, file.relative_to(ROOT).as_posix())
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return max(found)


def test_the_longest_functions_are_named():
    text = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    for lines, name, file in (
        longest_function_of_c(ROOT / "csrc"), longest_function_of_python(ROOT / "fastlstm"),
    ):  # fmt: skip
        assert f"`{name}` (`{file}`, {lines} lines" in text, (lines, name, file)


def test_a_missing_file_and_a_stale_name_are_found():
    text = (
        "| base/ | x |\n|---|---|\n| `alloc`, `old.h` | memory |\n\n"
        "| fastlstm/files/ | y |\n|---|---|\n| `torch/*` | z |\n"
    )
    files = ["csrc/base/alloc", "csrc/base/new", "fastlstm/files/torch/zip"]
    assert differences(listed(text), files) == (["csrc/base/new"], ["csrc/base/old"])
