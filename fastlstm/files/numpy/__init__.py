# SPDX-License-Identifier: MIT
"""NumPy's .npz, and pickled dicts of arrays."""
