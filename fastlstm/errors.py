# SPDX-License-Identifier: MIT
"""The errors fastlstm raises beyond Python's own."""


class LoadError(ValueError):
    """A file cannot be loaded. The text names the file, the place in it and the rule it broke."""
