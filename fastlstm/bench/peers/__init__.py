# SPDX-License-Identifier: MIT
"""One module for each engine that is compared, all with the same face.

A module has

    version() -> str                     ImportError when it is not installed
    variants(shape, threads, carry, lengths) -> [str]
                                         ways to call it that are worth trying, the fastest is kept;
                                         [] where it cannot do the case
    build(weights, shape, threads, variant=None, carry=False, lengths=None) -> Runner

`weights` are PyTorch's names and layout; `carry` means that the state goes from call to call, as
in a stream; `lengths` is None or the real steps of each row. This package is one of the two places
where fastlstm imports other engines, each in its own module and only when it is asked for.

A Runner is a Call that takes an input and gives its output. A Call is kept as source text, which is
timed as it stands (no wrapper around it, the way `timeit` does it) and is also what `once` runs:
what is checked is what is timed.
"""

from __future__ import annotations

import importlib
import timeit
from abc import ABC, abstractmethod
from contextlib import nullcontext

# In the order of the tables. fastlstm comes first: every ratio is against it.
MODULES = {
    "fastlstm": "ours",
    "torch": "pytorch",
    "onnxruntime": "ort",
    "openvino": "ov",
    "ncnn": "ncnn_net",
}


class Call:
    """What is timed.

    `statement` uses names of `namespace` and leaves its result in `y` (in the engine's own type);
    `setup` runs before the first call of each timed loop and puts the state back to the start.
    """

    setup = "pass"
    results = "y"  # names that `statement` may leave behind, by comma
    fixed_output = False  # True: every call writes into the same `y`

    def __init__(self, statement: str, namespace: dict):
        self.statement = statement
        self.namespace = namespace
        self.timer = timeit.Timer(statement, self.setup, globals=namespace)
        keeping = f"global {self.results}\n{self.setup}"
        self._keeping = timeit.Timer(statement, keeping, globals=namespace)

    def context(self):
        """What has to be entered around the calls."""
        return nullcontext()

    def once(self, calls: int = 1) -> float:
        """The statement, from the starting state; its results stay. Gives the seconds it took."""
        with self.context():
            return self._keeping.timeit(calls)

    def drop(self) -> None:
        """Let go of the last output, where the next call makes its own."""
        if not self.fixed_output:
            self.namespace.pop("y", None)

    def close(self) -> None:
        """Let go of the engine's sessions and buffers."""
        self.namespace.clear()


class Runner(Call, ABC):
    """A network that is ready to be called."""

    @abstractmethod
    def load(self, x, state=None) -> None:
        """Take (T, B, I) float32 input, and (h, c) where the runner carries a state."""

    @abstractmethod
    def output(self):
        """The `y` of the last `once` as a NumPy array (T, B, D H)."""


def load_peers(names=None):
    """(found, missing): {name: module} of what is installed, {name: reason} of what is not.

    fastlstm itself is always among them. ValueError for a name that is none.
    """
    unknown = set(names or ()) - set(MODULES)
    if unknown:
        raise ValueError(f"unknown peers {sorted(unknown)}; there are {', '.join(MODULES)}")
    found, missing = {}, {}
    for name, module_name in MODULES.items():
        if names is not None and name not in names and name != "fastlstm":
            continue
        module = importlib.import_module(f"{__name__}.{module_name}")
        try:
            module.version()
        except ImportError as error:
            missing[name] = str(error)
        else:
            found[name] = module
    return found, missing
