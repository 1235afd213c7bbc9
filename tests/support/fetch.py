# SPDX-License-Identifier: MIT
"""Weight files of published packages, for the tests: fetched once, checked, kept outside git.

    path = fetch("beatnet", "1.1.3", "BeatNet/models/model_1_weights.pt", sha256=..., archive=...)

The package is downloaded with pip (the index that pip is set up for), never installed, and only
the one member is taken out of it. The folder is $FASTLSTM_TEST_CACHE, or ~/.cache/fastlstm-tests.
What cannot be fetched or has changed is a FetchError: a test that needs it fails.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

MAX_MEMBER = 256 << 20


class FetchError(RuntimeError):
    """The file could not be fetched, or is not the one expected."""


def folder():
    given = os.environ.get("FASTLSTM_TEST_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "fastlstm-tests"


def _digest(data):
    return hashlib.sha256(data).hexdigest()


def _member(archive, member):
    """The bytes of one file of a wheel or source archive. "a.tar.gz!b" is the file b of the archive
    a in it."""
    member, _, inner = member.partition("!")
    if inner:
        with tempfile.TemporaryDirectory() as target:
            path = Path(target) / Path(member).name
            path.write_bytes(_member(archive, member))
            return _member(path, inner)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
                data = file.read(MAX_MEMBER + 1)
        else:
            with tarfile.open(archive) as opened:
                file = opened.extractfile(member)
                if file is None:
                    raise KeyError(member)
                data = file.read(MAX_MEMBER + 1)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise FetchError(f"{archive.name}: no file {member}: {error}") from None
    if len(data) > MAX_MEMBER:
        raise FetchError(f"{archive.name}: {member} is larger than {MAX_MEMBER} bytes")
    return data


def _download(name, version, target):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", target]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", f"{name}=={version}"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    found = sorted(Path(target).iterdir())
    if done.returncode or len(found) != 1:
        raise FetchError(f"pip download {name}=={version} failed:\n{done.stderr[-2000:]}")
    return found[0]


@contextmanager
def package(name, version, sha256=None):
    """f(member) -> its bytes, of the wheel or source archive, which is downloaded; `sha256` is
    compared before anything in it is read."""
    with tempfile.TemporaryDirectory() as target:
        path = _download(name, version, target)
        found = _digest(path.read_bytes())
        if sha256 is not None and found != sha256:
            raise FetchError(f"{path.name}: SHA-256 {found}, expected {sha256}")
        yield lambda member: _member(path, member)


def fetch_all(name, version, members, archive=None):
    """{file: path} of {file: (member of the package, SHA-256 of its bytes)}: the names that they
    have in the cache. One download for all that are not there.

    archive: SHA-256 of the wheel or source archive.
    """
    home = folder() / f"{name}-{version}"
    paths = {file: home / file for file in members}
    missing = [
        file for file, path in paths.items()
        if not path.is_file() or _digest(path.read_bytes()) != members[file][1]
    ]  # fmt: skip
    if not missing:
        return paths
    with package(name, version, archive) as read:
        for file in missing:
            member, sha256 = members[file]
            data = read(member)
            if _digest(data) != sha256:
                what = f"{member} of {name} {version}"
                raise FetchError(f"{what}: SHA-256 {_digest(data)}, not {sha256}")
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=home, delete=False) as written:
                written.write(data)
            os.replace(written.name, paths[file])  # whole or not at all, whatever else runs
    return paths


def fetch(name, version, member, sha256, archive=None):
    """The path of one `member` of the package, as fetch_all says."""
    file = Path(member).name
    return fetch_all(name, version, {file: (member, sha256)}, archive)[file]
