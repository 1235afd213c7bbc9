# SPDX-License-Identifier: MIT
"""The C extension `_core`: csrc/ for Python. It is not there where it could not be built."""
