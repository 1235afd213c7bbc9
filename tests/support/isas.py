# SPDX-License-Identifier: MIT
"""The instruction sets that tests go through."""

import fastlstm

EVERY = fastlstm.runnable_isas()
# Those with kernels of floats of their own: sets that have kernels for products of codes or of
# tiles, and are called so, share those of floats with the set without (tests/c/hooks_driver.c).
FLOATS = [name for name in EVERY if not name.endswith(("-vnni", "-dot", "-amx"))]
