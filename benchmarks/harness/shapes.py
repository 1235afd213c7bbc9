# SPDX-License-Identifier: MIT
"""Shapes, the work they mean, and the grid of the forward table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """T steps, B rows, I inputs, H hidden units, and the stack around them."""

    T: int
    B: int
    I: int
    H: int
    layers: int = 1
    bidirectional: bool = False

    @classmethod
    def parse(cls, text: str) -> Shape:
        """'T,B,I,H', 'T,B,I,H,layers' or 'T,B,I,H,layers,directions' -> Shape."""
        try:
            numbers = [int(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in (4, 5, 6) or min(numbers) < 1 or (numbers[5:] or [1])[0] > 2:
            raise ValueError(
                f"a shape is T,B,I,H[,layers[,directions]], whole numbers from 1 and at most "
                f"2 directions, not {text!r}"
            )
        return cls(*numbers[:5], bidirectional=numbers[5:] == [2])

    @property
    def D(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def layer_inputs(self) -> list[int]:
        """The width of the input of each layer."""
        return [self.I] + [self.D * self.H] * (self.layers - 1)

    def flops(self, steps: int | None = None) -> int:
        """8 H (I + H) for each layer, direction and real step (default T x B steps).

        A multiply-add is two operations; the gates are not counted.
        """
        steps = self.T * self.B if steps is None else steps
        return sum(8 * self.H * (width + self.H) * self.D * steps for width in self.layer_inputs)

    def state_shape(self) -> tuple[int, int, int]:
        return self.layers * self.D, self.B, self.H

    def output_shape(self) -> tuple[int, int, int]:
        return self.T, self.B, self.D * self.H

    def output_bytes(self) -> int:
        """y, h and c in float32."""
        rows, batch, width = self.state_shape()
        return 4 * (self.T * self.B * self.D * self.H + 2 * rows * batch * width)

    def __str__(self) -> str:
        text = f"{self.T}, {self.B}, {self.I}, {self.H}"
        if self.layers > 1:
            text += f" x{self.layers}"
        return text + (" bi" if self.bidirectional else "")


# The forward table, in its order: (T, B, I, H).
GRID = [
    Shape(1, 1, 64, 64),
    Shape(1, 1, 128, 128),
    Shape(1, 1, 256, 256),
    Shape(1000, 1, 1, 16),
    Shape(1000, 1, 1, 32),
    Shape(1000, 1, 1, 64),
    Shape(1000, 1, 80, 128),
    Shape(100, 1, 128, 128),
    Shape(100, 1, 256, 256),
    Shape(100, 1, 512, 512),
    Shape(100, 1, 1024, 1024),
    Shape(100, 4, 256, 256),
    Shape(100, 8, 512, 512),
    Shape(100, 32, 128, 128),
    Shape(100, 32, 256, 256),
    Shape(100, 32, 512, 512),
    Shape(50, 128, 256, 256),
    Shape(50, 128, 512, 512),
    Shape(50, 32, 1024, 1024),
]

# The stacks the forward table has no row for.
STACKS = [
    Shape(100, 1, 128, 128, layers=2),
    Shape(100, 32, 128, 128, layers=2),
    Shape(100, 1, 128, 128, bidirectional=True),
    Shape(100, 32, 128, 128, bidirectional=True),
    Shape(100, 8, 256, 256, layers=2, bidirectional=True),
]

# Batches between the ones of the grid, so that "B >= 4, any H" is looked at everywhere.
BATCHES = [
    Shape(100, 4, 64, 64),
    Shape(100, 4, 128, 128),
    Shape(100, 4, 512, 512),
    Shape(100, 8, 128, 128),
    Shape(100, 8, 256, 256),
    Shape(100, 16, 64, 64),
    Shape(100, 16, 256, 256),
    Shape(100, 24, 256, 256),
    Shape(100, 64, 100, 100),
]

QUICK = [
    Shape(1, 1, 64, 64),
    Shape(20, 1, 32, 64),
    Shape(10, 8, 64, 64),
    Shape(10, 3, 16, 24, layers=2, bidirectional=True),
]
