# SPDX-License-Identifier: MIT
"""Checkpoints of torch.save that are records of another zip archive: those of Stable-Baselines3,
and what torch.export.save wrote before PyTorch 2.9.

Stable-Baselines3 (its documentation's "On saving and loading") saves an agent as a zip archive:
    data              JSON: hyperparameters, with pickles in base64, which are not looked at
    policy.pth        torch.save of the policy's state dict: the only part that is read
    *.optimizer.pth, pytorch_variables.pth     optimisers, and variables beside the policy
    _stable_baselines3_version, system_info.txt
People pack such a folder again, so that the records may be deflated or stand in a folder.
"""

import re

from ..record import Record
from ..stored_zip import directory, is_zip
from . import packed, stream
from . import zip as torch_zip

# Bytes of a record once inflated: weights hardly deflate, so that this is far above what they need,
# and zeros that inflate a thousand times stay below what a load may take.
MORE = 8 << 20


def read_checkpoint(archive, entry):
    """Contents of the checkpoint that is the record `entry` of a StoredZip. LoadError if it is
    none."""
    with Record(archive, entry, archive.source.size + MORE) as record:
        if torch_zip.is_torch_zip(record):
            return packed.read(record)
        if stream.is_torch_stream(record):
            return stream.read(record)
        raise record.error("file", "no checkpoint of torch.save")


def _policy(source):
    """The name of the record policy.pth that has `data` or a version beside it; None without."""
    names = directory(source).entries if is_zip(source) else ()
    for name in names:
        folder = re.fullmatch(r"((?:[^/]+/)?)policy\.pth", name)
        if folder and any(
            f"{folder[1]}{each}" in names for each in ("data", "_stable_baselines3_version")
        ):
            return name
    return None


def is_stable_baselines(source):
    return _policy(source) is not None


def read_stable_baselines(source, options=None):
    """Contents of the policy's checkpoint, under the names that it has in policy.pth."""
    archive = directory(source)
    archive.check(may_deflate=lambda name: True)
    return read_checkpoint(archive, archive.entries[_policy(source)])
