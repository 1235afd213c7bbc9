# SPDX-License-Identifier: MIT
"""Which backend runs: the C extension, else Numba, else plain NumPy. Chosen once, at import.

`backend` is its module, one of MODULES, which all have the same names in them; NAME is its name and
REASON says in words why it was chosen. Nothing in this folder knows the layers that people make, or
files.

    c/       the extension over csrc/          shared/       what Numba and NumPy have in common
    numba/   its arithmetic once more          arguments.py  a caller's arguments made canonical
    numpy/   the equations, step by step       variants.py   what torch's layers do not have
    int8.py, bfloat16.py   matrices of codes and of bfloat16 numbers, for every backend
    parts.py               which products are made of bfloat16 parts where a precision asks for it
"""

import importlib
import os
import warnings
from typing import Any

MODULES = {  # best first
    "c": "fastlstm.engine.c._core",
    "numba": "fastlstm.engine.numba.backend",
    "numpy": "fastlstm.engine.numpy.backend",
}
_HELP = {
    "c": "the extension is not there: install a wheel that has it, or a C compiler and build again",
    "numba": "pip install fastlstm[numba]",
    "numpy": "",
}


def _choose() -> tuple[Any, str, str]:
    asked = os.environ.get("FASTLSTM_BACKEND", "")
    if asked and asked not in MODULES:
        raise ImportError(
            f"FASTLSTM_BACKEND={asked}: backend {asked!r} is not known; there are: "
            + ", ".join(MODULES)
        )
    missing = []
    for name in [asked] if asked else MODULES:
        try:
            module = importlib.import_module(MODULES[name])
        except Exception as e:  # one that is there but broken must not stop the next
            missing.append(f"no {name} backend: {e}")
            if asked:
                raise ImportError(f"FASTLSTM_BACKEND={asked}: {e}; {_HELP[name]}") from None
        else:
            reason = "FASTLSTM_BACKEND" if asked else "; ".join(missing) or "the best that works"
            if missing:
                warnings.warn(
                    f"fastlstm runs on {name}, slower than its C core: {reason}. "
                    f"FASTLSTM_BACKEND={name} says that this is meant",
                    RuntimeWarning,
                    stacklevel=4,
                )
            return module, name, reason
    raise AssertionError("NumPy is always there")


backend, NAME, REASON = _choose()
