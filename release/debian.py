# SPDX-License-Identifier: MIT
"""Pythons of any architecture out of Debian's packages, unpacked into a folder: nothing is
installed, and no right beyond writing there is needed. apt-get asks the mirrors that this system
asks, with an index of its own for each architecture and suite."""

import glob
import os
import re
import shutil
import subprocess
from pathlib import Path

from interpreter import TRIPLETS, Python, run, starter

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SUITES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}


def mirror():
    """The address of Debian's packages that this system is set up with."""
    files = ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")]
    text = "".join(Path(f).read_text() for f in files if os.path.exists(f))
    found = re.search(r"^(?:URIs:|deb(?: \[.*\])?) *(\S+/debian)/?(?:\s|$)", text, re.M)
    if not found:
        raise SystemExit("no mirror of Debian's packages in /etc/apt: this needs one")
    return found[1]


class Packages:
    """The packages of one suite (bookworm ...) for one kind of CPU."""

    def __init__(self, folder, machine, suite):
        architecture = ARCHITECTURES[machine]
        self.state = Path(folder).resolve() / f"apt-{suite}-{architecture}"
        for name in ("lists/partial", "archives/partial", "etc"):
            (self.state / name).mkdir(parents=True, exist_ok=True)
        (self.state / "status").touch()
        key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        kinds = ("deb", "deb-src") if machine == "x86_64" else ("deb",)
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
        folder = into / name
        if not folder.exists():
            into.mkdir(parents=True, exist_ok=True)
            self.apt("source", "--tar-only", "--download-only", name, cwd=into)
            (archive,) = into.glob(f"{name}_*.orig.tar.?z")
            folder.mkdir()
            run("tar", "xf", archive, "-C", folder, "--strip-components=1")
        return folder


def headers_of(root, triplet, into):
    """Folders of Python.h and pyconfig.h alone, without those of the C library beside them."""
    if not into.exists():
        include = root / "usr" / "include"
        for folder in include.glob("python3*"):
            shutil.copytree(folder, into / folder.name)
            shutil.copytree(include / triplet / folder.name, into / triplet / folder.name)
    return [*into.glob("python3*"), into]


def python(folder, machine, version):
    """Debian's Python of that version (3.11 ...) for that kind of CPU (x86_64, aarch64), with a C
    library of its own."""
    architecture, triplet = ARCHITECTURES[machine], TRIPLETS[machine, "manylinux"]
    root = Path(folder).resolve() / f"python{version}-{architecture}"
    if not root.exists():
        # NumPy's wheels need the last
        names = (f"python{version}", f"libpython{version}-dev", "libstdc++6")
        Packages(folder, machine, SUITES[version]).unpack(root, *names)
    library = root / "usr" / "lib" / f"python{version}"
    return Python(
        library / f"_sysconfigdata__{triplet}.py",
        headers_of(root, triplet, root.parent / "headers" / root.name),
        starter(
            root / "usr" / "bin" / f"python{version}",
            machine,
            root,
            [root / "usr" / "lib" / triplet],
        ),
    )
