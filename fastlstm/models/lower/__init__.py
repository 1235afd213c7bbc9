# SPDX-License-Identifier: MIT
"""From a planned graph to a program of the C core."""

from . import recurrent as recurrent  # these modules register their functions in TABLE
from . import shape as shape
from .builder import TABLE as TABLE
from .builder import Builder as Builder
