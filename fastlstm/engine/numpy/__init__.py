# SPDX-License-Identifier: MIT
"""The NumPy backend: a step of all rows at a time. It runs everywhere."""
