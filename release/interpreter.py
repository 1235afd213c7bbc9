# SPDX-License-Identifier: MIT
"""A Python of another kind than this machine's, unpacked in a folder, and how to start it here."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

TRIPLETS = {
    ("x86_64", "manylinux"): "x86_64-linux-gnu",
    ("aarch64", "manylinux"): "aarch64-linux-gnu",
    ("x86_64", "musllinux"): "x86_64-linux-musl",
    ("aarch64", "musllinux"): "aarch64-linux-musl",
}


@dataclass
class Python:
    """settings is the file of its sysconfig's variables, include the folders of Python.h and of
    what that includes, program what starts it here."""

    settings: Path
    include: list[Path]
    program: Path


def run(*words, **options):
    """Runs a command; where it fails, the end of what it said is the error."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        raise SystemExit(f"{words}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def starter(binary, machine, root, libraries):
    """A program beside the binary that runs it with the C library in root and the shared libraries
    in those folders; for a foreign CPU under qemu. sys.executable is that program, so what starts
    Python anew starts it the same way."""
    program = binary.with_name("python-here")
    path = ":".join(str(folder) for folder in libraries)
    loader = root / interpreter_of(binary).lstrip("/")
    if machine == "x86_64":
        start = f'{loader} --argv0 "$0" --library-path {path} {binary}'
    else:
        start = f'qemu-{machine} -L {root} -E LD_LIBRARY_PATH={path} -0 "$0" {binary}'
    program.write_text(f'#!/bin/sh\nexec {start} "$@"\n')
    program.chmod(0o755)
    return program


def interpreter_of(binary):
    """The program that an ELF file names as its loader."""
    said = run("readelf", "-lW", binary)
    return re.search(r"program interpreter: ([^\]]+)\]", said)[1]
