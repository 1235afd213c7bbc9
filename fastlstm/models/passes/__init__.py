# SPDX-License-Identifier: MIT
"""Passes: each takes a graph and gives an equal one that is simpler, or closer to what the C core
runs. They know no files and no C; `plan` in this folder's parent says in which order they run."""
