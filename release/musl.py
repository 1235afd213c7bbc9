# SPDX-License-Identifier: MIT
"""A Python on musl, built from Debian's sources of Python and zlib by musl-gcc: its package
musl-tools has to be installed."""

import os
import shutil

from debian import Packages, run

VERSION, SUITE = "3.13", "trixie"

COMPILER = """#!/bin/sh
# musl-gcc, which would name glibc's triplet when it is asked for its own
[ "$1" = --print-multiarch ] && exec echo "$(uname -m)-linux-musl"
exec {ccache} musl-gcc "$@"
"""


def python(folder):
    """The program, built unless it is there."""
    if not shutil.which("musl-gcc"):
        raise SystemExit("--musl needs musl-gcc: apt-get install musl-tools")
    prefix = folder.resolve() / "musl"
    program = prefix / "bin" / f"python{VERSION}"
    if program.exists():
        return program
    sources = Packages(folder, "amd64", SUITE)
    compiler = prefix / "cc"
    prefix.mkdir(exist_ok=True)
    compiler.write_text(COMPILER.format(ccache=shutil.which("ccache") or ""))
    compiler.chmod(0o755)
    environment = os.environ | {"CC": str(compiler), "CFLAGS": f"-O2 -fPIC -I{prefix}/include"}
    environment["LDFLAGS"] = f"-L{prefix}/lib"
    for name, options in (
        ("zlib", ["--static"]),
        (f"python{VERSION}", ["--disable-test-modules", "--without-ensurepip"]),
    ):
        source = sources.source(name, folder / "sources")
        run("./configure", f"--prefix={prefix}", *options, cwd=source, env=environment)
        run("make", "-s", f"-j{os.cpu_count()}", cwd=source, env=environment)
        run("make", "-s", "install", cwd=source, env=environment)
    return program
