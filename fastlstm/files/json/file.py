# SPDX-License-Identifier: MIT
"""JSON files: a state dict, {name: nested lists of numbers}, at any depth, with torch's names; and
the models of RTNeural and NAM (audio.py)."""

from ..contents import Contents
from ..find import find
from . import audio
from .text import BOM, arrays_in, parse


def is_json(source):
    """Whether the file begins as a JSON object with a key, or an empty one. A safetensors file may
    begin with these bytes too: as a length of less than 2^48, zeros follow."""
    head = source.head.removeprefix(BOM).lstrip()
    return (
        head[:1] == b"{" and head[1:].lstrip()[:1] in (b'"', b"}") and b"\0" not in source.head[:8]
    )


def read(source, options=None):
    """Contents of a file of JSON. Lists of numbers are arrays (text.py); their names are the keys
    that lead to them, joined with dots."""
    value = parse(source)
    if value.__class__ is not dict:
        raise source.error("JSON", "an object is due, {name: numbers}")
    arrays = arrays_in(source, value)
    if audio.is_nam(value) or audio.is_rtneural(value):
        contents = Contents(arrays, {}, source=source)
        (audio.add_nam if audio.is_nam(value) else audio.add_rtneural)(contents, value)
        return contents
    return find(arrays, source, options)
