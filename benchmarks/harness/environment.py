# SPDX-License-Identifier: MIT
"""Imported first by every script here: unset what would slow NumPy, before NumPy is loaded.

Some machines set these two for other programs; OpenBLAS reads them when it is loaded.
`UNSET` keeps what was taken away, so that the report can say so.
"""

import os

UNSET = {
    name: os.environ.pop(name)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    if name in os.environ
}
