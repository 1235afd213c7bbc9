# SPDX-License-Identifier: MIT
"""The memory that this process has."""

import os


def resident():
    """Bytes of this process in memory; 0 where there is no /proc to read them from."""
    try:
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
