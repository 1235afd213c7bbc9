# SPDX-License-Identifier: MIT
"""What the Numba and the NumPy backend share: layers, directions, lengths, the tape; without C."""
