# SPDX-License-Identifier: MIT
"""release/, which makes wheels on one machine: it knows every Python that a forge would build for,
and what docs/wheels.md says of the wheels agrees with itself."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not (ROOT / "release").exists(), reason="the sources are not here"),
]


@pytest.fixture
def wheels(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "release"))
    return importlib.import_module("wheels")


def test_every_python_that_a_forge_builds_for_is_known(wheels):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    versions = {f"3.{number}" for number in re.findall(r"cp3(\d+t?)-", settings["build"])}
    assert len(versions) >= 5
    assert set(wheels.ORIGINS["manylinux"]) == versions == set(wheels.ORIGINS["musllinux"])
    names = [target.name for target in wheels.targets([])]
    assert len(set(names)) == len(names) == 4 * len(versions)
    assert "cp314t-musllinux-aarch64" in names
    few = [target.name for target in wheels.targets(["cp311", "aarch64"])]
    assert few == ["cp311-manylinux-aarch64", "cp311-musllinux-aarch64"]


@pytest.mark.skipif(sys.platform != "linux", reason="ELF")
def test_a_python_is_started_on_a_c_library_of_its_own(wheels, tmp_path):
    """The program beside it, with this machine's own libraries for a start."""
    interpreter = importlib.import_module("interpreter")
    binary = tmp_path / "python"
    binary.symlink_to(Path(sys.executable).resolve())
    folders = interpreter.run("ldd", binary)
    libraries = {str(Path(p).parent) for p in re.findall(r"=> (/\S+)", folders)}
    machine = interpreter.run("uname", "-m").strip()
    if machine != "x86_64":
        pytest.skip("another machine's programs are started by qemu")
    program = interpreter.starter(binary, machine, Path("/"), sorted(libraries))
    said = interpreter.run(program, "-I", "-S", "-c", "import sys; print(sys.executable)")
    assert said.strip() == str(program)


def test_a_row_says_what_ran_and_under_what(wheels):
    row = {
        "wheel": "fastlstm-0.1.0-cp311-cp311-manylinux_2_17_aarch64.whl", "bytes": 1234567,
        "platform": "manylinux_2_17_aarch64", "tests": "3 passed, 1 skipped in 2.00s",
        "engine": ["c", "neon-dot", "neon"],
    }  # fmt: skip
    by = {target.name: wheels.what_ran(row, target)[1] for target in ran_here(wheels)}
    assert by["cp311-manylinux-aarch64"] == "Debian's 3.11, qemu"
    assert by["cp312-manylinux-x86_64"] == "krunner's 3.12"
    assert by["cp313-musllinux-x86_64"] == "Alpine's 3.13"
    target = wheels.Target("3.11", "aarch64", "manylinux")
    assert wheels.what_ran(row, target)[::2] == ("3 passed, 1 skipped", "c: neon-dot, neon")
    assert wheels.what_ran(row | {"tests": ""}, target) == ("not run", "", "")
    last = wheels.table({target.name: row}).splitlines()[-1]
    assert last.startswith("| `cp311-cp311-manylinux_2_17_aarch64` | 1,234,567 |")
    assert last.endswith(" | 3 passed, 1 skipped | Debian's 3.11, qemu | c: neon-dot, neon |")


def ran_here(wheels):
    """The targets for which there is a Python to run."""
    origins = wheels.ORIGINS
    return [t for t in wheels.targets([]) if origins[t.libc][t.version] is not wheels.derived]


def test_the_list_of_wheels_agrees_with_itself(wheels):
    """Each row's name has the platform that auditwheel said; its tests failed nowhere, ran on the C
    core, and by a Python that there is: under qemu if for AArch64."""
    text = wheels.PAGE.read_text().split(wheels.BEGIN)[1].split(wheels.END)[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line[:3] == "| `"]
    rows = [[cell.strip() for cell in row] for row in rows]
    assert rows and len({row[0] for row in rows}) == len(rows)
    runnable = {
        (t.version.replace(".", ""), t.libc, t.machine): t.version for t in ran_here(wheels)
    }
    for name, size, platform, tests, python, engine in rows:
        assert name.strip("`").endswith(platform), name
        assert 1_000_000 < int(size.replace(",", "")) < 2_000_000, name
        _, version, kind, machine = re.match(
            r"`cp(\d+)-cp(\d+t?)-([a-z]+).*_(x86_64|aarch64)`", name
        ).groups()
        there = runnable.get((version, kind, machine))
        if not there or tests == "not run":
            assert (tests, python, engine) == ("not run", "", ""), name
            continue
        left_out = f", {len(wheels.LONG)} deselected" if machine == "aarch64" else ""
        assert re.fullmatch(rf"\d+ passed(, \d+ skipped)?{left_out}", tests), name
        assert re.fullmatch(rf"[\w']+ {there}(, qemu)?", python), name
        assert (machine == "aarch64") == python.endswith(", qemu"), name
        assert engine.startswith("c: ") and ("neon" in engine) == (machine == "aarch64"), name


def test_what_is_left_out_under_qemu_is_there(wheels):
    """Each name of the list is a test's, of a file that wheels are tried with."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    files = [word for word in settings["test-command"].split() if word.endswith(".py")]
    text = "".join((ROOT / file).read_text() for file in files)
    for name in wheels.LONG:
        assert len(re.findall(rf"^def test_\w*{name}\w*\(", text, re.M)) == 1, name
