# SPDX-License-Identifier: MIT
"""Shapes, the work they mean, and how they are written, alone or as a sweep."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, dataclass

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
MOST = 1000  # shapes of one sweep

HELP = """\
A shape is T,B,I,H[,L[,D]] (steps, rows, inputs, hidden units, layers, directions), or as oneDNN's
benchdnn writes it: l1t30mb1sic512 (l layers, t steps, mb rows, sic = dhc = dic hidden units, slc
inputs; what is not said is l1 t1 mb2 slc = sic). Any number may be a sweep: 1/8/32 is a list,
64..512 doubles, 16..64+16 adds; = for I means the same as H: 100,1/32,=,128..512 is six shapes."""


@dataclass(frozen=True)
class Shape:
    """T steps, B rows, I inputs, H hidden units; L layers, D directions; which cell."""

    T: int
    B: int
    I: int
    H: int
    L: int = 1
    D: int = 1
    cell: str = "lstm"

    @property
    def bidirectional(self) -> bool:
        return self.D == 2

    @property
    def gates(self) -> int:
        return GATES[self.cell]

    @property
    def layer_inputs(self) -> list[int]:
        """The width of the input of each layer."""
        return [self.I] + [self.D * self.H] * (self.L - 1)

    def flops(self, steps: int | None = None) -> int:
        """2 G H (I + H) for each layer, direction and real step (default T x B steps); G gates.

        A multiply-add is two operations; the gates' functions are not counted.
        """
        steps = self.T * self.B if steps is None else steps
        work = sum(2 * self.gates * self.H * (width + self.H) for width in self.layer_inputs)
        return work * self.D * steps

    def recurrent_bytes(self) -> int:
        """4 G H^2: the weights of one layer and direction that every step has to read."""
        return 4 * self.gates * self.H * self.H

    def moved_bytes(self, precision: str = "float32") -> int:
        """The least a call can read and write: recurrent weights once a step, the others once."""
        size = {"float32": 4, "bfloat16": 2, "int8": 1, "bfloat16x3": 4, "bfloat16x6": 6}[precision]
        once = sum(size * self.gates * self.H * width * self.D for width in self.layer_inputs)
        steps = self.T * self.L * self.D * self.recurrent_bytes() * size // 4
        return once + steps + 4 * self.T * self.B * (self.I + self.D * self.H)

    def intensity(self, precision: str = "float32") -> float:
        """Operations for each byte of `moved_bytes`."""
        return self.flops() / self.moved_bytes(precision)

    def state_shape(self) -> tuple[int, int, int]:
        return self.L * self.D, self.B, self.H

    def output_shape(self) -> tuple[int, int, int]:
        return self.T, self.B, self.D * self.H

    def output_bytes(self) -> int:
        """y and the states in float32."""
        rows, batch, width = self.state_shape()
        states = 2 if self.cell == "lstm" else 1
        return 4 * (self.T * self.B * self.D * self.H + states * rows * batch * width)

    def record(self) -> dict:
        return asdict(self)

    def arguments(self) -> str:
        """As --shape takes it."""
        return ",".join(map(str, (self.T, self.B, self.I, self.H, self.L, self.D)))

    def __str__(self) -> str:
        text = f"{self.T}, {self.B}, {self.I}, {self.H}"
        if self.L > 1:
            text += f" x{self.L}"
        return text + (" bi" if self.bidirectional else "")


def _values(text: str) -> list[int]:
    """'8', '1/8/32', '64..512' (doubled) or '16..64+16' -> numbers from 1; [] if it is none."""
    found = []
    for part in text.split("/"):
        match = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9})(?:\+(\d{1,9}))?)?", part)
        if not match:
            return []
        first, last, step = (int(group or 0) for group in match.groups())
        last = last or first
        if first < 1 or (match[3] and step < 1) or last < first:
            return []
        while first <= last and len(found) <= MOST:
            found.append(first)
            first += step or first
    return found


def _wrong(text: str, why: str = "") -> ValueError:
    return ValueError(
        f"a shape is T,B,I,H[,L[,D]] or like l1t30mb1sic512, whole numbers from 1, at most 2 "
        f"directions; not {text!r}{why and ': ' + why}"
    )


def parse(text: str, cell: str = "lstm") -> list[Shape]:
    """One shape or sweep (see HELP) -> shapes, the last number running fastest.

    ValueError for anything else, and for more than 1000 shapes.
    """
    if re.match(r"\s*(l|t|mb|sic|slc|dhc|dic)\d", text):
        fields = _benchdnn(text)
    else:
        fields = [part.strip() for part in text.split(",")]
        if not 4 <= len(fields) <= 6:
            raise _wrong(text)
        fields += ["1"] * (6 - len(fields))
    same = fields[2] == "="
    numbers = [[0] if same and at == 2 else _values(field) for at, field in enumerate(fields)]
    if not all(numbers):
        raise _wrong(text)
    count = 1
    for each in numbers:
        count *= len(each)
    if count > MOST:
        raise _wrong(text, f"{count} shapes are more than {MOST}")
    shapes = []
    for T, B, I, H, L, D in itertools.product(*numbers):
        if D > 2:
            raise _wrong(text)
        shapes.append(Shape(T, B, H if same else I, H, L, D, cell))
    return shapes


def _benchdnn(text: str) -> list[str]:
    """lXtXmbX_sicX_slcX_dhcX_dicX_nS -> the fields of T,B,I,H,L,D. `_` is ignored, the name too."""
    bare = re.sub(r'\s*n"[^"]*"\s*$|_n\S*$', "", text.strip()).replace("_", "")
    token = r"(mb|sic|slc|dhc|dic|l|t)([\d./+]+)"
    if not re.fullmatch(f"(?:{token})+", bare):
        raise _wrong(text)
    found = re.findall(token, bare)
    given = dict(found)
    if len(given) < len(found):
        raise _wrong(text, "something is said twice")
    if "sic" not in given:
        raise _wrong(text, "sic has no default")
    sic = given["sic"]
    hidden = given.get("dhc", sic)
    if hidden != sic or given.get("dic", hidden) != hidden:
        raise _wrong(text, "sic, dhc and dic are the same without a projection")
    inputs = given.get("slc", "=")
    return [given.get("t", "1"), given.get("mb", "2"), inputs, hidden, given.get("l", "1"), "1"]
