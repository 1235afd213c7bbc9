# SPDX-License-Identifier: MIT
"""The recurrent layers that people make, from arguments or from files, and their saving. Nothing
here knows a file format (files/), an instruction set, threads or arithmetic (engine/).

    recurrent.py                 what all layers share    variants.py  what torch's lack
    lstm.py gru.py rnn.py        equations and arguments  cells.py     one step at a time
    stream.py                    state kept between calls rows.py      the rows of a pool
    weights.py                   a layer's arrays, packed for the engine, and their dtypes
    build.py load.py save.py     a layer of a description of files/, of a file, and to a file
    verify.py                    which mistake explains a difference from a reference
    error.py                     how far a quantized layer is from its original
"""

from .cells import GRUCell, LSTMCell, RNNCell
from .gru import GRU
from .lstm import LSTM
from .rnn import RNN
from .stream import Stream

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "Stream"]
