# SPDX-License-Identifier: MIT
"""Devices: there is the CPU."""


class device:
    """The CPU."""

    def __init__(self, type, index=None):
        check_device(type)
        self.type, self.index = "cpu", index

    def __repr__(self):
        return "device(type='cpu')"

    def __str__(self):
        return "cpu"

    def __eq__(self, other):
        return str(other).partition(":")[0] == "cpu"

    def __hash__(self):
        return hash("cpu")


def check_device(value):
    """RuntimeError unless `value` names the CPU."""
    if str(value).partition(":")[0] != "cpu":
        raise RuntimeError(f"fastlstm.nn runs on the CPU: there is no device {str(value)!r}")
