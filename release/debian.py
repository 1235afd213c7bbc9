# SPDX-License-Identifier: MIT
"""Pythons of any architecture out of Debian's packages, unpacked into a folder: nothing is
installed, and no right beyond writing there is needed. apt-get asks the mirrors that this system
asks, with an index of its own for each architecture and suite."""

import glob
import os
import re
import subprocess
from pathlib import Path

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
LOADERS = {"amd64": "lib64/ld-linux-x86-64.so.2", "arm64": "lib/ld-linux-aarch64.so.1"}


def run(*words, **options):
    """Runs a command; where it fails, the end of what it said is the error."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        raise SystemExit(f"{words}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def mirror():
    """The address of Debian's packages that this system is set up with."""
    files = ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")]
    text = "".join(Path(f).read_text() for f in files if os.path.exists(f))
    found = re.search(r"^(?:URIs:|deb(?: \[.*\])?) *(\S+/debian)/?(?:\s|$)", text, re.M)
    if not found:
        raise SystemExit("no mirror of Debian's packages in /etc/apt: this needs one")
    return found[1]


class Packages:
    """The packages of one suite (bookworm ...) for one architecture (amd64, arm64)."""

    def __init__(self, folder, architecture, suite):
        self.architecture, self.suite = architecture, suite
        self.state = Path(folder).resolve() / f"apt-{suite}-{architecture}"
        for name in ("lists/partial", "archives/partial", "etc"):
            (self.state / name).mkdir(parents=True, exist_ok=True)
        (self.state / "status").touch()
        key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        kinds = ("deb", "deb-src") if architecture == "amd64" else ("deb",)
        (self.state / "sources.list").write_text(
            "".join(f"{kind} {key} {mirror()} {suite} main\n" for kind in kinds)
        )
        settings = {
            "APT::Architecture": architecture, "APT::Architectures": architecture,
            "APT::Sandbox::User": "root", "Acquire::Languages": "none", "Dir::State": self.state,
            "Dir::State::status": self.state / "status", "Dir::Cache": self.state,
            "Dir::Etc::sourcelist": self.state / "sources.list", "Dir::Etc::sourceparts": "-",
        }  # fmt: skip
        self.settings = self.state / "apt.conf"
        self.settings.write_text("".join(f'{k} "{v}";\n' for k, v in settings.items()))
        self.environment = os.environ | {"APT_CONFIG": str(self.settings)}
        if not any((self.state / "lists").glob("*Packages*")):
            self.apt("update")

    def apt(self, *words, **options):
        return run("apt-get", "-q", *words, env=self.environment, **options)

    def unpack(self, root, *names):
        """Packages and all that they depend on, unpacked into root."""
        root.mkdir(parents=True)
        for name in ("lib", "lib64", "bin", "sbin"):  # as on a Debian system
            (root / "usr" / name).mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(f"usr/{name}")
        for old in (self.state / "archives").glob("*.deb"):
            old.unlink()
        self.apt("install", "--download-only", "-y", "--no-install-recommends", *names)
        for package in sorted((self.state / "archives").glob("*.deb")):
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=-1) as tar:
                options = ("--keep-directory-symlink", "--no-same-owner", "--exclude=./usr/share")
                run("tar", "x", *options, "-C", root, stdin=tar.stdout)
        return root

    def source(self, name, into):
        """The folder of a source package as its authors released it, without Debian's changes."""
        into.mkdir(parents=True, exist_ok=True)
        self.apt("source", "--download-only", name, cwd=into)
        (archive,) = into.glob(f"{name}_*.orig.tar.?z")
        folder = into / name
        folder.mkdir(exist_ok=True)
        run("tar", "xf", archive, "-C", folder, "--strip-components=1")
        return folder


def python(folder, architecture, suite, version):
    """(root, program): Debian's Python unpacked, and a program beside it that runs it here, on a C
    library of its own and, for a foreign architecture, under qemu. sys.executable is that program,
    so what starts Python anew starts it the same way."""
    root = Path(folder).resolve() / f"python{version}-{architecture}"
    program = root / "usr" / "bin" / "python-here"
    if not program.exists():
        # NumPy's wheels need the last
        names = (f"python{version}", f"libpython{version}-dev", "libstdc++6")
        Packages(folder, architecture, suite).unpack(root, *names)
        binary, loader = root / "usr" / "bin" / f"python{version}", root / LOADERS[architecture]
        if architecture == "amd64":
            libraries = root / "usr" / "lib" / TRIPLETS[architecture]
            start = f'{loader} --argv0 "$0" --library-path {libraries} {binary}'
        else:
            start = f'qemu-aarch64 -L {root} -0 "$0" {binary}'
        program.write_text(f'#!/bin/sh\nexec {start} "$@"\n')
        program.chmod(0o755)
    return root, program
