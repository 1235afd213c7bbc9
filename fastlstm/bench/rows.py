# SPDX-License-Identifier: MIT
"""Rows, targets with their verdicts, and the JSON that holds a run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields

from .stats import Ratio

SCHEMA = 1
NAMES = {"way": "variant"}  # fields of a Row whose name in the JSON is another, that of older runs


@dataclass(frozen=True)
class Aim:
    """What a case should reach: `what` is a key of Row.measured."""

    what: str
    sign: str  # ">=" or "<="
    bound: float


@dataclass
class Target:
    """An aim, and what was found."""

    what: str
    sign: str
    bound: float
    value: float | None

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.bound if self.sign == ">=" else self.value <= self.bound

    def missed_by(self) -> float:
        """The shortfall as a share of the bound."""
        return abs(self.value / self.bound - 1)

    def verdict(self) -> str:
        if self.met is None:
            return "not measured"
        if self.met:
            return "met"
        per_cent = 100 * self.missed_by()
        return f"missed by {per_cent:.{0 if per_cent >= 9.95 else 1}f} %"

    def __str__(self) -> str:
        value = "" if self.value is None else f" {self.value:.3g}"
        return f"{self.what}{value} {self.sign} {self.bound:g}: {self.verdict()}"


@dataclass
class Row:
    """One line of the table, times in seconds; None where a column has no sense."""

    case: str
    kind: str  # the name of the case's kind
    who: str  # the engine, and what sets this row of it off from others: "fastlstm, 1 thread"
    way: str = ""  # the way the engine was called
    shape: dict | None = None
    threads: int = 1
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    cpu: float | None = None  # CPU seconds of a call, all threads
    first: float | None = None
    rss: int | None = None  # bytes: peak of a process that does nothing else
    gflops: float | None = None
    peak_share: float | None = None  # of the FMA peak of the cores in use
    bandwidth_share: float | None = None  # recurrent weights read once a step, of what can be read
    limit_share: float | None = None  # of the least time the two limits allow
    error: float | None = None
    wrong: bool = False
    spread: float | None = None  # of the times: interquartile range over median
    ratio: Ratio | None = None
    cpu_ratio: float | None = None  # the same ratio in CPU time
    noisy: list = field(default_factory=list)  # why, in words
    targets: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    walls: list = field(default_factory=list)  # seconds of a call, one for each round
    latency: list = field(default_factory=list)  # of single calls, at stats.QUANTILES
    detail: dict = field(default_factory=dict)
    measured: dict = field(default_factory=dict)  # {what: value} that a target may ask for
    precision: str = "float32"  # of products; sums, gates and states may be in more

    def remarks(self) -> str:
        marks = [f"WRONG by {self.error:.1e}"] if self.wrong else []
        marks += self.notes
        if self.noisy:
            marks.append(f"noisy: {', '.join(self.noisy)}")
        return "; ".join(marks)


def aim(rows: list[Row], aims) -> None:
    """Add each aim as a Target to the one of our rows that comes nearest to it or beyond."""
    ours = [row for row in rows if row.who == "fastlstm" and row.precision == "float32"]
    for each in aims:
        having = [row for row in ours if row.measured.get(each.what) is not None]
        if not having:
            if ours:
                ours[0].targets.append(Target(each.what, each.sign, each.bound, None))
            continue
        pick = max if each.sign == ">=" else min
        best = pick(having, key=lambda row: row.measured[each.what])
        value = best.measured[each.what]
        best.targets.append(Target(each.what, each.sign, each.bound, value))


# JSON


def _short(value):
    """Floats to six significant digits, in anything."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(each) for each in value]
    return value


def row_record(row: Row) -> dict:
    """A row as the JSON holds it: empty columns are left out."""
    fields_of = {NAMES.get(name, name): value for name, value in asdict(row).items()}
    empty = ([], {}, "")
    return _short(
        {k: v for k, v in fields_of.items() if not (v is None or v is False or v in empty)}
    )


def _known(record_type, record: dict) -> dict:
    """{field: value} of the fields of a dataclass that are in `record`."""
    names = {field.name: NAMES.get(field.name, field.name) for field in fields(record_type)}
    return {field: record[name] for field, name in names.items() if name in record}


def row_of(record: dict) -> Row:
    """The inverse of row_record."""
    row = Row(**_known(Row, record))
    row.ratio = row.ratio and Ratio(**_known(Ratio, row.ratio))
    row.targets = [Target(**{"value": None} | target) for target in row.targets]
    return row


@dataclass
class Run:
    """Everything of one `fastlstm bench`: what a report is made from."""

    created: str
    config: dict
    machine: dict
    roofline: dict
    settings: dict
    rows: list[Row]

    def dump(self) -> str:
        record = {"schema": SCHEMA} | _short(asdict(self) | {"rows": []})
        record["rows"] = [row_record(row) for row in self.rows]
        lines = [f"  {json.dumps(row)}" for row in record["rows"]]
        head = json.dumps({k: v for k, v in record.items() if k != "rows"}, indent=1)
        return head[:-2] + ',\n "rows": [\n' + ",\n".join(lines) + "\n ]\n}\n"


def load(path) -> Run:
    """The Run in a JSON file. ValueError in one sentence if it is none of this schema."""
    with open(path, encoding="utf-8") as file:
        try:
            record = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path}: not JSON: {error}") from None
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != SCHEMA:
        raise ValueError(
            f"{path}: this is not a run of `fastlstm bench` that can be read: schema {schema}, "
            f"and {SCHEMA} is wanted"
        )
    try:
        rows = [row_of(each) for each in record["rows"]]
        return Run(**{f.name: record[f.name] for f in fields(Run) if f.name != "rows"}, rows=rows)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: a part of the run is missing or wrong: {error}") from None
