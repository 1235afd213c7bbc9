# SPDX-License-Identifier: MIT
"""What is timed: a statement as source text, with the names it uses.

The text is timed as it stands, with no wrapper around it, the way `timeit` does it, and it is also
what `once` runs: what is checked is what is timed.
"""

from __future__ import annotations

import timeit
from abc import ABC, abstractmethod
from contextlib import nullcontext


class Call:
    """A statement that is timed.

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
        """A context manager to enter around the calls: threads and modes that an engine needs."""
        return nullcontext()

    def once(self, calls: int = 1) -> float:
        """Run the statement `calls` times from the starting state; the results stay in `namespace`.
        Returns the seconds it took."""
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
    """A network of one engine that is ready to be called."""

    @abstractmethod
    def load(self, x, state=None) -> None:
        """Take (T, B, I) float32 input, and (h, c) where the runner carries a state."""

    @abstractmethod
    def output(self):
        """The `y` of the last `once` as a NumPy array (T, B, D H)."""
