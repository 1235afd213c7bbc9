# SPDX-License-Identifier: MIT
"""Rows, verdicts and the one table that is printed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

from .measure import NOISY


@dataclass
class Row:
    """One line of the table, times in seconds; None where a column has no sense."""

    case: str
    shape: str
    who: str
    variant: str = ""
    median: float | None = None
    p99: float | None = None
    cpu: float | None = None
    spread: float | None = None  # IQR / median of the times
    gflops: float | None = None
    peak_share: float | None = None
    limit_share: float | None = None
    first: float | None = None
    error: float | None = None
    ratio: float | None = None
    ratio_of: str = ""
    ratio_spread: float | None = None  # IQR / median of the ratio, round by round
    cpu_ratio: float | None = None  # the same ratio in CPU time
    targets: list = field(default_factory=list)  # [[what, value, ">=" or "<=", bound], ...]
    notes: list = field(default_factory=list)
    detail: dict = field(default_factory=dict)

    def aim(self, what: str, value: float | None, sign: str, bound: float) -> None:
        if value is not None:
            self.targets.append([what, value, sign, bound])

    def verdict(self) -> str:
        texts = []
        for what, value, sign, bound in self.targets:
            met = value >= bound if sign == ">=" else value <= bound
            texts.append(f"{what} {value:.3g} {sign} {bound:g} {'met' if met else 'MISSED'}")
        return "; ".join(texts)

    def is_wrong(self) -> bool:
        return any(note.startswith("WRONG") for note in self.notes)

    def mistrust(self) -> None:
        """On one thread wall and CPU time say the same, unless another program had the CPU."""
        if self.ratio and self.cpu_ratio and abs(self.ratio / self.cpu_ratio - 1) > NOISY:
            self.notes.append("ratio and CPU ratio differ")

    def remarks(self) -> str:
        remarks = list(self.notes)
        spread = self.spread if self.ratio_spread is None else self.ratio_spread
        if spread is not None and spread > NOISY:
            remarks.append("noisy")
        return ", ".join(remarks)


def _number(value, digits=3) -> str:
    """Three significant digits, without an exponent where there need not be one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(places, 4)}f}" if abs(value) >= 1e-4 else f"{value:.1e}"


def _scaled(name, scale):
    def cell(row):
        value = getattr(row, name)
        return _number(None if value is None else value * scale)

    return cell


# heading, cell, right-aligned
COLUMNS = [
    ("case", lambda row: row.case, False),
    ("T, B, I, H", lambda row: row.shape, False),
    ("who", lambda row: f"{row.who} ({row.variant})" if row.variant else row.who, False),
    ("us", _scaled("median", 1e6), True),
    ("p99 us", _scaled("p99", 1e6), True),
    ("CPU us", _scaled("cpu", 1e6), True),
    ("GFLOP/s", _scaled("gflops", 1), True),
    ("% peak", _scaled("peak_share", 100), True),
    ("% limit", _scaled("limit_share", 100), True),
    ("first ms", _scaled("first", 1e3), True),
    ("max error", lambda row: "" if row.error is None else f"{row.error:.0e}", True),
    ("ratio", _scaled("ratio", 1), True),
    ("of", lambda row: row.ratio_of, False),
    ("IQR %", _scaled("ratio_spread", 100), True),
    ("CPU ratio", _scaled("cpu_ratio", 1), True),
    ("target", lambda row: row.verdict(), False),
    ("remarks", lambda row: row.remarks(), False),
]


def _align(cells: list[list[str]], right: list[bool]) -> str:
    widths = [max(len(line[at]) for line in cells) for at in range(len(right))]

    def line(texts):
        done = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(texts, widths, right, strict=True)
        ]
        return "| " + " | ".join(done) + " |"

    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return "\n".join([line(cells[0]), line(rule), *(line(texts) for texts in cells[1:])])


def long_table(rows: list[Row]) -> str:
    """One line for each case and peer; columns that are empty throughout are left out."""
    columns = [(heading, [cell(row) for row in rows], right) for heading, cell, right in COLUMNS]
    columns = [column for column in columns if any(column[1])]
    lines = [[heading for heading, _, _ in columns]]
    lines += [[texts[at] for _, texts, _ in columns] for at in range(len(rows))]
    return _align(lines, [right for _, _, right in columns])


def wide_table(rows: list[Row]) -> str:
    """One line for each case: everybody's microseconds side by side, then fastlstm's columns.

    Of several fastlstm rows in a case (a step) it is the fastest.
    """
    cases: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        if row.median is not None:
            found = cases.setdefault((row.case, row.shape), {})
            found[row.who] = min(found.get(row.who, row), row, key=lambda each: each.median)
    names = list(dict.fromkeys(name for case in cases.values() for name in case))
    share = any(row.peak_share for row in rows)
    heads = ["case", "T, B, I, H", *(f"{name} us" for name in names), "ratio", "of", "IQR %"]
    heads += ["GFLOP/s"] + ["% peak"] * share + ["remarks"]
    lines = [heads]
    for (case, shape), found in cases.items():
        ours = found.get("fastlstm") or Row(case, shape, "")
        line = [case, shape]
        line += [_scaled("median", 1e6)(found[n]) if n in found else "" for n in names]
        line += [_number(ours.ratio), ours.ratio_of, _scaled("ratio_spread", 100)(ours)]
        line += [_number(ours.gflops)] + [_scaled("peak_share", 100)(ours)] * share
        wrong = [f"{name} WRONG" for name, row in found.items() if row.is_wrong()]
        line += [", ".join([remark for remark in (ours.remarks(), *wrong) if remark])]
        lines.append(line)
    right = [False, False, *([True] * len(names)), True, False, True, True]
    return _align(lines, right + [True] * share + [False])


def to_json(row: Row) -> dict:
    return asdict(row)


def from_json(record: dict) -> Row:
    return Row(**record)
