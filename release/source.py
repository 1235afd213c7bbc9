# SPDX-License-Identifier: MIT
"""Pythons that no package has, built from Debian's sources of them: 3.14 without a GIL, and 3.14 on
musl. gcc compiles for glibc, zig for musl. One for another kind of CPU is built with the help of
Debian's Python of the same version, which runs here."""

import os
import shutil
import sys
from pathlib import Path

import debian
import packaged
from interpreter import TRIPLETS, Python, run, starter

SUITE = "forky"
HERE = "x86_64"  # the CPU that builds


def compiler(machine, libc):
    if libc == "musllinux":
        return f"{sys.executable} -m ziglang cc -target {TRIPLETS[machine, libc]}"
    gcc = "gcc" if machine == HERE else f"{TRIPLETS[machine, libc]}-gcc"
    return f"ccache {gcc}" if shutil.which("ccache") else gcc


def build(folder, machine, libc, version, prefix):
    """Configures, compiles and installs it under prefix."""
    number = version.rstrip("t")
    released = debian.Packages(folder, HERE, SUITE).source(f"python{number}", folder / "sources")
    work = folder / f"build-{prefix.name}"
    work.mkdir(exist_ok=True)
    zlib = packaged.zlib(folder, machine, libc)
    options = [f"--prefix={prefix}", "--disable-test-modules", "--without-ensurepip"]
    options += ["--disable-gil"] if version.endswith("t") else []
    triplet = TRIPLETS[machine, libc]
    if (machine, libc) != (HERE, "manylinux"):
        options += [f"--host={triplet}", f"--build={TRIPLETS[HERE, 'manylinux']}"]
        options += [f"--with-build-python={debian.python(folder, HERE, number).program}"]
        options += ["ac_cv_file__dev_ptmx=yes", "ac_cv_file__dev_ptc=no"]
    environment = os.environ | {
        "CC": compiler(machine, libc), "CFLAGS": f"-O1 -I{zlib}", "LDFLAGS": f"-L{zlib}",
        "PKG_CONFIG": "false",  # libraries of this machine are not the target's
    }  # fmt: skip
    run(released / "configure", *options, cwd=work, env=environment)
    run("make", "-s", f"-j{os.cpu_count()}", cwd=work, env=environment)
    run("make", "-s", "install", cwd=work, env=environment)


def python(folder, machine, libc, version):
    """The Python of that version (3.14, 3.14t) on that C library and kind of CPU, built unless it
    is there."""
    folder = Path(folder).resolve()
    prefix = folder / f"built{version}-{libc}-{machine}"
    binary = prefix / "bin" / f"python{version}"
    if not binary.exists():
        build(folder, machine, libc, version, prefix)
    system = packaged.c_library(folder, machine, libc)
    libraries = [
        system / "usr" / "lib" / TRIPLETS[machine, libc],
        packaged.zlib(folder, machine, libc),
    ]
    (settings,) = (prefix / "lib" / f"python{version}").glob("_sysconfigdata*.py")
    return Python(
        settings,
        [prefix / "include" / f"python{version}"],
        starter(binary, machine, system, libraries),
    )
