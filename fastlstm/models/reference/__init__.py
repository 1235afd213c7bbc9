# SPDX-License-Identifier: MIT
"""Every operator of a graph in NumPy: what constants are folded by, what the NumPy and Numba
backends run, and what the C core is compared with. Shapes, types and memory are checked first.

call.py                   arguments, limits, errors; TABLE, the operators
elementwise.py            each element by itself; two inputs broadcast
shape.py, pick.py         elements moved by shapes, and by indices
linear.py                 products of matrices
windows.py, conv.py, pool.py    windows over spatial axes: their geometry, convolutions, pools
reduce.py, normalize.py   along axes: sums, maxima, sorting; softmax and normalisation
recurrent.py, masks.py    LSTM, GRU, RNN; Keras' masks
quantize.py               small integers with scales
planned.py                graph.OWN: products with activations, channels last, elementwise chains
resize.py, signal.py      Resize; Fourier transforms
run.py                    a graph, node by node
"""

from . import (  # noqa: F401 (they register their operators)
    conv,
    elementwise,
    linear,
    masks,
    normalize,
    pick,
    planned,
    pool,
    quantize,
    recurrent,
    reduce,
    resize,
    shape,
    signal,
)
from .call import MAX_BYTES, TABLE
from .run import compute, run

__all__ = ["MAX_BYTES", "TABLE", "compute", "run"]
