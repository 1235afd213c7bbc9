# SPDX-License-Identifier: MIT
"""From a planned graph to a program of the C core."""

from . import conv as conv  # these modules register their functions in TABLE
from . import copy as copy
from . import linear as linear
from . import norm as norm
from . import pointwise as pointwise
from . import recurrent as recurrent
from . import reduce as reduce
from . import resize as resize
from . import shape as shape
from .builder import TABLE as TABLE
from .builder import Builder as Builder
