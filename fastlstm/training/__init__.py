# SPDX-License-Identifier: MIT
"""Training of one layer: forward_train, backward, and what they keep between them. A layer is given
as an object (layers/recurrent.py); nothing here makes one from a file or knows its class.

    forward_backward.py  both calls        tape.py  Tape and Grads
    checkpoint.py        forward_train(checkpoint=k): segments of time, computed twice
    merge.py             two directions' outputs made one, for calls without gradients too
"""

from .forward_backward import backward, forward
from .tape import Grads, Tape

__all__ = ["Grads", "Tape", "backward", "forward"]
