# SPDX-License-Identifier: MIT
"""The Numba backend: loops over rows and gates, compiled for the machine."""
