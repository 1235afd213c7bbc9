# SPDX-License-Identifier: MIT
"""docs/reliability.md, docs/files.md: every test and command that they name exists, and every
mutation has its code."""

import re
from pathlib import Path

import pytest
from mutations import PYTHON
from mutations_c import C

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="the documents are not here")


def named(text):
    """What the document names: ([(file, test or "")], [make's targets])."""
    tests = re.findall(r"`(?:python )?(tests/[\w/]+\.(?:py|c))(?:::(\w+))?`", text)
    return tests, re.findall(r"`make ([\w-]+)`", text)


def missing(text):
    tests, targets = named(text)
    made = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    lost = [f"make {target}" for target in targets if target not in made]
    for file, test in tests:
        there = (ROOT / file).exists()
        if not there or (test and f"\ndef {test}(" not in (ROOT / file).read_text()):
            lost.append(f"{file}::{test}")
    return lost


def test_every_test_in_the_document_exists():
    text = DOCUMENT.read_text()
    tests, targets = named(text)
    assert len(tests) > 60 and {"test", "test-full", "asan", "coverage"} <= set(targets)
    assert len(re.findall("`(?:python )?tests/", text)) == len(tests), (
        "one is written in another way"
    )
    assert missing(text) == []
    assert missing("`tests/bits/test_bits.py::test_gone` `tests/gone.py` `make gone`") == [
        "make gone", "tests/bits/test_bits.py::test_gone", "tests/gone.py::",
    ]  # fmt: skip


def test_every_test_of_the_table_of_files_exists():
    text = DOCUMENT.with_name("files.md").read_text()
    assert len(named(text)[0]) > 10 and missing(text) == []


def test_every_mutation_has_its_code_its_test_and_its_line():
    text = DOCUMENT.read_text()
    assert len(PYTHON + C) >= 30 and len(C) >= 15
    assert len({what for what, *_ in PYTHON + C}) == len(PYTHON + C)
    for what, file, old, new, test in PYTHON + C:
        source = (ROOT / file).read_text()
        assert old in source and source.replace(old, new) != source, what
        name, _, function = test.partition("::")
        assert f"\ndef {function.partition('[')[0]}(" in (ROOT / "tests" / name).read_text(), what
        assert f"| {what} | `tests/{test.partition('[')[0]}` |" in text, what
