# SPDX-License-Identifier: MIT
"""JSON text as Python's values, in memory that is bounded before any is taken, and the arrays in
them. What the arrays are for is not known here.

A list of numbers, or of lists of numbers that are all of one length, and so on, is an array: int64
if all are whole numbers, else float64, which holds every float32 that was written exactly. A number
alone is not.
"""

import json
from itertools import chain

import numpy as np

from ..source import show

BOM = b"\xef\xbb\xbf"  # what some editors put before UTF-8
MAX_DEPTH = 50  # objects and lists inside each other on the way to an array; files nest about five
MAX_DIMS = 5  # of an array: the weights of Conv3d have 5
MAX_NAMES, MAX_NAME = 100_000, 4096  # arrays, and characters in one name
# Characters in all names together: BASE_TEXT, and 4 for each byte of the file but MORE_TEXT at
# most.
BASE_TEXT, MORE_TEXT = 256 << 10, 4 << 20
# Bytes that CPython takes at most for what begins or ends with a character: a number with its
# places in two lists and its element of an array (","), a list, a dict, and half a text.
_COSTS = {b",": 48, b"[": 88, b"{": 232, b'"': 32}
# All may take FACTOR bytes for each byte of the file, and SLACK: numbers of 17 digits take 2.2.
FACTOR, SLACK = 3, 40 << 20


def parse(source):
    """The value of a file of JSON. LoadError if it is none, or would take too much memory."""
    data = source.read(0, source.size)
    largest = int(np.frombuffer(data, np.uint8).max()) if data else 0
    wide = 1 if largest < 0xC4 else 2 if largest < 0xF0 else 4  # bytes of a character of the text
    cost = wide * len(data) + sum(each * data.count(key) for key, each in _COSTS.items())
    limit = FACTOR * len(data) + SLACK
    if cost > limit:
        raise source.error(
            "JSON", f"its values would take up to {cost} bytes, {limit} is the limit; "
            "use safetensors",
        )  # fmt: skip
    try:
        # The codec "utf-8-sig" would be imported at its first use, and a load imports nothing.
        text = str(memoryview(data)[3 if data[:3] == BOM else 0 :], "utf-8")
    except UnicodeDecodeError as error:
        raise source.error(f"byte {error.start}", "the text is not UTF-8") from None
    del data
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise source.error(f"character {error.pos}", f"no JSON: {error.msg}") from None
    except ValueError:
        raise source.error("JSON", "a whole number of more than 4,300 digits") from None
    except RecursionError:
        raise source.error("JSON", f"nested deeper than {MAX_DEPTH}") from None


def array_of(value):
    """The array that a list is, or None; None of what is no list, too."""
    shape, first = [], value
    while first.__class__ is list:
        if not first or len(shape) == MAX_DIMS:
            return None
        shape.append(len(first))
        first = first[0]
    flat = value
    for size in shape[1:]:
        if not all(each.__class__ is list and len(each) == size for each in flat):
            return None
        flat = list(chain.from_iterable(flat))
    kinds = set(map(type, flat)) if shape else set()
    if not kinds or not kinds <= {int, float}:
        return None
    try:
        return np.array(flat, np.int64 if kinds == {int} else np.float64).reshape(shape)
    except OverflowError:  # an int beyond 64 bits
        return None


class _Walk:
    """source: for errors; found: {name: array}; text: characters that names may still have."""

    def __init__(self, source):
        self.source, self.found = source, {}
        self.text = BASE_TEXT + min(4 * source.size, MORE_TEXT)

    def visit(self, name, value, depth):
        """Find the arrays in a dict or list, whose name is `name`."""
        if depth > MAX_DEPTH:
            raise self.source.error("JSON", f"nested deeper than {MAX_DEPTH}")
        if value.__class__ is list:
            array = array_of(value)
            if array is not None:
                self.text -= len(name)
                if self.text < 0 or len(self.found) >= MAX_NAMES:
                    raise self.source.error("JSON", "too many arrays, or too long names")
                self.found[name] = array
                return
        items = value.items() if value.__class__ is dict else enumerate(value)
        for key, child in items:
            if child.__class__ not in (dict, list):
                continue
            key = str(key)
            try:
                key.encode()
            except UnicodeError:
                raise self.source.error("JSON", f"the name {show(key)} is not Unicode") from None
            if len(name) + len(key) >= MAX_NAME:
                raise self.source.error("JSON", f"a name longer than {MAX_NAME}")
            self.visit(f"{name}.{key}" if name else key, child, depth + 1)


def arrays_in(source, value):
    """{name: array} of the arrays in the dict `value`. Keys are joined with dots, the elements of
    lists that are not arrays are numbered."""
    walk = _Walk(source)
    walk.visit("", value, 1)
    return walk.found
