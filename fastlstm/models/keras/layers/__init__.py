# SPDX-License-Identifier: MIT
"""What each of Keras' layers computes: one function of a Call for each class, which register
themselves. By keras/src/layers of Keras 3.15 and of Keras 2; where versions differ it is said."""

from . import attention as attention
from . import basic as basic
from . import convolve as convolve
from . import merge as merge
from . import normalize as normalize
from . import operations as operations
from . import pool as pool
from . import recurrent as recurrent
from . import reshape as reshape
from .wrappers import time_distributed as time_distributed
