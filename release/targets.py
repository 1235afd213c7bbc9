# SPDX-License-Identifier: MIT
"""Compiles the C core for systems that this machine is not, by zig, which has their headers:

    python release/targets.py [--few] [TARGET ...]

Objects are made and not linked. --few takes only the files that ask something of the system. The C
that Cython makes of the extension is compiled too where pyconfig.h of such a Python is like that
of this one, which leaves Windows out. Exits with what the compiler said, warnings included.
"""

import argparse
import concurrent.futures
import os
import re
import runpy
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("aarch64-macos", "x86_64-macos", "x86_64-windows-gnu", "aarch64-linux-musl")
# What is not the same everywhere: headers and macros of a system, of a compiler, of a CPU.
SYSTEM = re.compile(r"_WIN32|__APPLE__|__linux__|<(sys/|pthread|windows|unistd|sched|cpuid)")


CACHE = os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(ROOT / "build" / "zig"))
CACHES = {"ZIG_GLOBAL_CACHE_DIR": CACHE, "ZIG_LOCAL_CACHE_DIR": CACHE}


def zig(target):
    """The command of zig's compiler for a target."""
    return [sys.executable, "-m", "ziglang", "cc", "-target", target]


def sources(target, few):
    """[(file, flags)] of the core, with the flags that setup.py gives each on that platform."""
    made = {}
    machine, system = target.split("-")[:2]
    platform = {"windows": "win-amd64", "macos": f"macosx-11.0-{machine}"}.get(system)
    before = dict(os.environ)
    os.environ["_PYTHON_HOST_PLATFORM"] = platform or f"linux-{machine}"
    os.environ["CC"] = shlex.join(zig(target))  # which setup.py asks for the flags that it knows
    os.environ |= CACHES
    sys.modules["setuptools"].setup = lambda **given: made.update(given)
    sys.modules["Cython.Build"].cythonize = lambda extensions, **_: extensions
    try:
        runpy.run_path(ROOT / "setup.py")
    finally:
        os.environ.clear()
        os.environ.update(before)
    found = []
    for _, library in made["libraries"]:
        flags = [flag.removeprefix("/clang:") for flag in library["cflags"]]
        flags += [f"-D{name}={value}" for name, value in library["macros"]]
        if "-mavx512f" in flags:  # zig names every feature, and this one is implied for others
            flags += ["-Xclang", "-target-feature", "-Xclang", "+evex512"]
        if system == "macos" and "-mcpu=generic+dotprod" in flags:  # its headers ask for aes too
            flags += ["-mcpu=apple_m1"]
        for file in library["sources"]:
            if (
                not few
                or SYSTEM.search((ROOT / file).read_text())
                or re.search("/(base|onnxruntime)/", file)
            ):
                found.append((file, [*flags, "-Icsrc"]))
    (extension,) = made["ext_modules"]
    generated = "build/" + extension.sources[0].replace(".pyx", ".c")
    if not few and system != "windows" and (ROOT / generated).exists():
        include = sysconfig.get_path("include")
        found.append((generated, ["-Icsrc", f"-I{include}", "-Wno-unreachable-code-fallthrough"]))
    return found


def compile_for(target, into, few=False):
    """[(file, what the compiler said)] of the files that gave an error or a warning, and how many
    there are in all."""
    jobs = sources(target, few)
    into.mkdir(parents=True, exist_ok=True)

    def one(job):
        file, flags = job
        name = file.replace("/", "-") + ".o"
        done = subprocess.run(
            [*zig(target), *flags, "-O0", "-Werror", "-c", file, "-o", into / name],
            cwd=ROOT, env=os.environ | CACHES, capture_output=True, text=True,
        )  # fmt: skip
        return file, done.stderr if done.returncode or not (into / name).exists() else ""

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        said = list(pool.map(one, jobs))
    return [(file, text) for file, text in said if text], len(jobs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="*", default=TARGETS)
    parser.add_argument("--few", action="store_true")
    arguments = parser.parse_args()
    wrong = 0
    for target in arguments.target:
        failed, count = compile_for(target, ROOT / "build" / "targets" / target, arguments.few)
        print(f"{target}: {count} files compiled, {len(failed)} with errors or warnings")
        for file, text in failed:
            print(f"\n{file}\n{text}")
        wrong += len(failed)
    sys.exit(bool(wrong))


# setup.py imports them by these names
import Cython.Build  # noqa: E402, F401
import setuptools  # noqa: E402, F401

if __name__ == "__main__":
    main()
