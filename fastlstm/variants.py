# SPDX-License-Identifier: MIT
"""What layers may have beyond torch's, and Layer, the description of a layer of any file."""

from .engine.variants import DEFAULTS as DEFAULTS
from .engine.variants import RELU as RELU
from .engine.variants import SIGMOID as SIGMOID
from .engine.variants import TANH as TANH
from .engine.variants import USUAL as USUAL
from .engine.variants import Activation as Activation
from .engine.variants import Activations as Activations
from .engine.variants import Variant as Variant
from .engine.variants import checked_activations as checked_activations
from .engine.variants import checked_clip as checked_clip
from .engine.variants import checked_number as checked_number
from .files.description import Layer as Layer
from .files.description import variants as variants
