# SPDX-License-Identifier: MIT
"""Builds wheels for Linux on one x86-64 machine, tries each, and says what was built and what ran.

    python release/wheels.py [--only WORDS] [--python PATH] [--musl] [--write]

A wheel is made for each Python of Debian's suites, for x86-64 and AArch64, glibc and musl. gcc
compiles for glibc, whose version 2.17 zig's linker then links against; zig does all for musl. Each
is renamed to what auditwheel calls it, installed beside that Python (debian.py) with numpy's wheel
from PyPI, and the tests that pyproject.toml names for cibuildwheel are run there; AArch64 runs
under qemu. --python adds a Python of this machine, for which a wheel is made and tried as well.
Pythons on musl come from no package, so --musl builds one, and without it those wheels are looked
at and not run. --write puts the table into docs/wheels.md.
"""

import argparse
import datetime
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
import musl
from debian import run

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "wheels"
PYTHONS = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}
GLIBC = "2.17"
ZIG = [sys.executable, "-m", "ziglang"]
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
PAGE = ROOT / "docs" / "wheels.md"
BEGIN, END = "<!-- made by release/wheels.py -->\n", "<!-- end -->\n"


def asked(program, words):
    """What an expression is in that Python."""
    code = f"import sys, sysconfig, json; print(json.dumps({words}))"
    return json.loads(run(program, "-c", code))


class Target:
    """A Python on a machine and a C library, the Python that builds for it, and the one that runs
    what was built, if there is one."""

    def __init__(self, version, machine, libc, builder, root, program):
        self.version, self.machine, self.libc = version, machine, libc
        self.builder, self.root, self.program = builder, root, program
        self.name = f"cp{version.replace('.', '')}-{libc}-{machine}"

    def settings(self):
        """The variables of sysconfig under which the wheel is built: those of the Python it is for,
        with the compilers of this machine."""
        triplet = f"{self.machine}-linux-gnu"
        if self.root:
            library = self.root / "usr" / "lib" / f"python{self.version}"
            file = library / f"_sysconfigdata__{triplet}.py"
            found = {}
            exec(file.read_text(), found)
            settings = found["build_time_vars"]
        else:
            settings = asked(self.program, "sysconfig.get_config_vars()")
        if self.libc == "musllinux":
            triplet = f"{self.machine}-linux-musl"
            for name in ("EXT_SUFFIX", "SOABI", "MULTIARCH"):
                settings[name] = settings[name].replace("-linux-gnu", "-linux-musl")
            compiler = " ".join([*ZIG, "cc", "-target", triplet])
            # zig names every feature of a CPU, and -mavx512f does not imply its long vectors then
            more = " -Xclang -target-feature -Xclang +evex512" if self.machine == "x86_64" else ""
            linker, archiver = f"{compiler} -shared", " ".join([*ZIG, "ar"])
        else:
            gcc = "gcc" if self.machine == "x86_64" else "aarch64-linux-gnu-gcc"
            ccache = "ccache " if shutil.which("ccache") else ""
            compiler, archiver, more = ccache + gcc, gcc.replace("gcc", "ar"), ""
            linker = " ".join([*ZIG, "cc", "-target", f"{triplet}.{GLIBC}", "-shared"])
        return settings | {
            "CC": compiler, "CFLAGS": "-O2 -fwrapv -DNDEBUG" + more, "CCSHARED": "-fPIC",
            "OPT": "", "BASECFLAGS": "", "LDFLAGS": "", "LDSHARED": linker, "AR": archiver,
            "ARFLAGS": "rcs", "CPPFLAGS": "",
        }  # fmt: skip

    def headers(self):
        """Folders of Python.h and pyconfig.h, without those of the C library beside them."""
        if not self.root:
            return [asked(self.program, "sysconfig.get_path('include')")]
        into = WORK / "headers" / self.name
        if not into.exists():
            include = self.root / "usr" / "include"
            for folder in include.glob("python3*"):
                shutil.copytree(folder, into / folder.name)
                there = f"{self.machine}-linux-gnu/{folder.name}"
                shutil.copytree(include / there, into / there)
        return [*into.glob("python3*"), into]

    def build(self):
        """The wheel, by setuptools in the builder."""
        source = WORK / f"source-{self.name}"
        copy_sources(source)
        (source / "settings").mkdir()
        # the core's objects are the same for every Python, and compiled once
        objects = WORK / f"objects-{self.libc}-{self.machine}"
        (source / "setup.cfg").write_text(f"[build]\nbuild_temp = {objects}\n")
        name = "_sysconfigdata_of_the_target"
        (source / "settings" / f"{name}.py").write_text(f"build_time_vars = {self.settings()!r}\n")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTLSTM_")}
        for variable in ("CC", "CFLAGS", "LDFLAGS", "LDSHARED", "AR"):
            environment.pop(variable, None)
        environment |= {
            "PYTHONPATH": f"{source / 'settings'}:{WORK / 'tools'}",
            "_PYTHON_SYSCONFIGDATA_NAME": name,
            "_PYTHON_HOST_PLATFORM": f"linux-{self.machine}",
            "CFLAGS": " ".join(f"-I{folder}" for folder in self.headers()),
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
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTLSTM_")}
        environment |= {"PYTHONPATH": str(site)}
        started = time.monotonic()
        done = subprocess.run(
            [self.program, "-m", *command, "-p", "no:cacheprovider"],
            cwd=folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        (folder / "log").write_text(done.stdout + done.stderr)
        last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1].strip("= ")
        words = "import fastlstm; print(fastlstm.engine.NAME, *fastlstm.runnable_isas())"
        engine = subprocess.run(
            [self.program, "-c", words], cwd=folder, env=environment, capture_output=True, text=True
        ).stdout.split()
        return {
            "tests": last, "failed": done.returncode, "seconds": time.monotonic() - started,
            "engine": engine,
        }  # fmt: skip


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


def targets(more, with_musl):
    """All that is asked for, in an order in which what runs natively comes first."""
    for path in more:
        version = asked(path, "'%d.%d' % sys.version_info[:2]")
        free = asked(path, "bool(sysconfig.get_config_var('Py_GIL_DISABLED'))")
        version += "t" if free else ""
        yield Target(version, "x86_64", "manylinux", path, None, path)
    for libc in ("manylinux", "musllinux"):
        for machine, architecture in MACHINES.items():
            for version, suite in PYTHONS.items():
                _, builder = debian.python(WORK, "amd64", suite, version)
                root, program = debian.python(WORK, architecture, suite, version)
                if libc == "musllinux":
                    built = with_musl and machine == "x86_64" and version == musl.VERSION
                    program = musl.python(WORK) if built else None
                yield Target(version, machine, libc, builder, root, program)


def how_it_ran(row, machine):
    if not row["tests"]:
        return "built; no such Python here to run it"
    return row["tests"].split(" in ")[0] + (" (qemu)" if machine == "aarch64" else "")


def table(rows):
    lines = [
        f"{datetime.date.today()}, gcc {run('gcc', '-dumpfullversion').strip()}, "
        f"zig {run(*ZIG, 'version').strip()}.\n",
        "| wheel | bytes | auditwheel | tests |", "|---|---:|---|---|",
    ]  # fmt: skip
    for name, row in rows.items():
        ran = how_it_ran(row, name.rpartition("-")[2])
        label = re.sub(r"^fastlstm-[\d.]+-|\.whl$", "", row["wheel"])
        lines.append(f"| `{label}` | {row['bytes']:,} | {row['platform']} | {ran} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a part of the names: cp311, aarch64 ...")
    parser.add_argument("--python", action="append", default=[], help="one more, of this machine")
    parser.add_argument("--musl", action="store_true", help="build a Python on musl and run it")
    parser.add_argument("--write", action="store_true", help="put the table into docs/wheels.md")
    arguments = parser.parse_args()
    prepare()
    results = WORK / "results.json"
    rows = json.loads(results.read_text()) if results.exists() else {}
    failed = []
    for target in targets(arguments.python, arguments.musl):
        if arguments.only not in target.name:
            continue
        wheel = target.build()
        platform = word_of_auditwheel(wheel)
        wheel = renamed(wheel, platform)
        row = {"wheel": wheel.name, "bytes": wheel.stat().st_size, "platform": platform}
        row |= target.try_out(wheel) if target.program else {"tests": "", "failed": 0}
        rows[target.name] = row
        print(f"{wheel.name}  {row['bytes']:,} bytes  auditwheel: {platform}")
        print(f"    {how_it_ran(row, target.machine)}  {' '.join(row.get('engine', []))}")
        sys.stdout.flush()
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
