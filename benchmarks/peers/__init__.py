# SPDX-License-Identifier: MIT
"""One module for each engine that is compared, all with the same face.

A module has

    NAME                                 what the tables call it
    version() -> str                     ImportError when it is not installed
    variants(shape, threads, carry, lengths) -> [str]
                                         ways to call it that are worth trying; the fastest is kept
    build(weights, shape, threads, variant=None, carry=False, lengths=None) -> Runner

`weights` are PyTorch's names and layout; `carry` means that the state goes from call to call, as
in a stream; `lengths` is None or the real steps of each row.

A Runner keeps its call as source text, which is timed as it stands (no wrapper around it, the way
`timeit` does it) and is also what `run` executes: what is checked is what is timed.
"""

from __future__ import annotations

import importlib
from contextlib import nullcontext

# In the order of the tables. fastlstm comes first: every ratio is against it.
MODULES = {
    "fastlstm": "fast",
    "torch": "pytorch",
    "onnxruntime": "ort",
    "openvino": "ov",
}


class Runner:
    """A network that is ready to be called.

    `statement` uses names of `namespace` and leaves its result in `y` (in the engine's own type);
    `setup` runs before the first call of each timed loop and puts the state back to the start.
    """

    setup = "pass"
    fixed_output = False  # True: every call writes into the same `y`

    def __init__(self, statement: str, namespace: dict):
        self.statement = statement
        self.namespace = namespace
        self._code = compile(statement, "<statement>", "exec")

    def load(self, x, state=None) -> None:
        """Take (T, B, I) float32 input, and (h, c) where the runner carries a state."""
        raise NotImplementedError

    def context(self):
        """What has to be entered around the calls."""
        return nullcontext()

    def start(self) -> None:
        """Put the carried state back to what `load` was given (zeros if nothing)."""
        exec(self.setup, self.namespace)

    def call(self) -> None:
        """The statement, once."""
        with self.context():
            exec(self._code, self.namespace)

    def output(self):
        """The last `y` as a NumPy array (T, B, D H)."""
        raise NotImplementedError

    def drop(self) -> None:
        """Let go of the last output, where the next call makes its own."""
        if not self.fixed_output:
            self.namespace.pop("y", None)

    def run(self, x):
        """x (T, B, I) -> y (T, B, D H) in NumPy, from the starting state."""
        self.load(x)
        self.start()
        self.call()
        return self.output()

    def close(self) -> None:
        """Let go of the engine's sessions and buffers."""
        self.namespace.clear()


def load_peers(names=None):
    """(found, missing): {name: module} of what is installed, {name: reason} of what is not."""
    unknown = set(names or ()) - set(MODULES)
    if unknown:
        raise ValueError(f"unknown peers {sorted(unknown)}; there are {list(MODULES)}")
    found, missing = {}, {}
    for name, module_name in MODULES.items():
        if names and name not in names:
            continue
        module = importlib.import_module(f"{__name__}.{module_name}")
        try:
            module.version()
        except ImportError as error:
            missing[name] = str(error)
        else:
            found[name] = module
    return found, missing
