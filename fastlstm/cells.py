# SPDX-License-Identifier: MIT
"""Pickles of cells name this module: what they name is in layers/cells.py."""

from .layers.cells import GRUCell as GRUCell
from .layers.cells import LSTMCell as LSTMCell
from .layers.cells import RNNCell as RNNCell
