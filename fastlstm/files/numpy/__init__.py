# SPDX-License-Identifier: MIT
"""NumPy's .npz (npz.py), and pickled arrays and dicts of arrays (pickle.py)."""
