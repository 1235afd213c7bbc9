# SPDX-License-Identifier: MIT
from typing import Any, NoReturn

from . import rnn as rnn

def parametrizations_refused(module: Any, *args: Any, **kwargs: Any) -> NoReturn: ...

weight_norm = parametrizations_refused
spectral_norm = parametrizations_refused

def clip_grad_norm_(*args: Any, **kwargs: Any) -> NoReturn: ...
