# SPDX-License-Identifier: MIT
"""The opcodes of pickles that push a number, a text or a run of bytes.

Protocols 1 to 5 write them in binary; protocol 0, and some of them protocol 1, as a line of text.
"""

import codecs
import struct

import numpy as np

from .pickle_machine import MAX_PICKLE, Machine
from .pickle_tree import BYTES

MAX_INT_BYTES = 255  # what LONG1 can say; PyTorch's largest int, its magic number, has 10
MAX_DIGITS = 620  # characters of a number written as text: an int of 255 bytes has 614


class Scalars(Machine):
    """A Machine with the methods of these opcodes, whose argument is the opcode's operand."""

    def push_byte(self, value):
        self.stack.append(value)  # CPython keeps ints of 0 to 255 once: they take no memory

    def push_number(self, value):
        self.charge(32)
        self.stack.append(value)

    def push_signed(self, value):
        self.push_number(value - ((value & 0x80000000) << 1))

    def push_long(self, count):
        if count > MAX_INT_BYTES:
            raise self.error(f"an int of {count} bytes, {MAX_INT_BYTES} is the limit")
        self.charge(32 + 2 * count)
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def push_float(self):
        self.charge(24)
        self.stack.append(struct.unpack(">d", self.take(8))[0])

    def push_text(self, count):
        """Text as UTF-8, `count` bytes of it."""
        text = self._text(self.take(count))
        if text is None:
            raise self.error("a string that is not UTF-8")
        self.stack.append(text)

    def push_string(self, count):
        """A byte string of Python 2, which may be text or data: text if it is UTF-8."""
        raw = self.take(count)
        text = self._text(raw)
        self.stack.append(self.bytes_of(raw) if text is None else text)

    def _text(self, raw):
        """The text whose UTF-8 the memoryview `raw` is; None if it is no UTF-8."""
        # CPython stores 1, 2 or 4 bytes for each character of a str, by its widest one. That is
        # seen from the largest byte of the UTF-8; short texts are charged 4 without a look.
        count = len(raw)
        lead = int(np.frombuffer(raw, np.uint8).max()) if count > 255 else 0xFF
        wide = 1 if lead < 0xC4 else 2 if lead < 0xF0 else 4
        self.charge(64 + wide * count)
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError:
            return None

    def push_bytes(self, count):
        self.stack.append(self.bytes_of(self.take(count)))

    def bytes_of(self, raw):
        """The value that stands for the bytes `raw`. A subclass may keep them."""
        return BYTES

    # ---- lines of text

    def number(self):
        """The text of a line that holds a number."""
        return str(self.line(MAX_DIGITS, "a number"), "latin-1")

    def push_int_line(self):
        text = self.number()
        if text in ("00", "01"):  # how protocols 0 and 1 write a bool
            self.stack.append(text == "01")
        else:
            self._push_parsed(int, text)

    def push_long_line(self):
        self._push_parsed(int, self.number().removesuffix("L"))

    def push_float_line(self):
        self._push_parsed(float, self.number())

    def _push_parsed(self, number, text):
        """Push number(text). number: int or float."""
        self.charge(32 + len(text))
        try:
            self.stack.append(number(text))
        except ValueError:
            raise self.error("no number") from None

    def push_string_line(self):
        """A byte string as Python 2's repr: text if it is ASCII without escapes, else bytes."""
        raw = self.line(MAX_PICKLE, "a string")
        if len(raw) < 2 or raw[0] != raw[-1] or raw[0] not in b"'\"":
            raise self.error("a string without quotes")
        self.charge(64 + len(raw))
        text = str(raw[1:-1], "latin-1")
        self.stack.append(BYTES if "\\" in text or not text.isascii() else text)

    def push_unicode_line(self):
        r"""Text in which \uXXXX stands for characters beyond Latin-1."""
        raw = self.line(MAX_PICKLE, "a string")
        self.charge(64 + 5 * len(raw))
        try:
            # Not str(raw, "raw_unicode_escape"), whose first call imports the codec.
            text, _ = codecs.raw_unicode_escape_decode(raw)
            text.encode()  # a surrogate, which is no character, has no UTF-8
        except UnicodeError:
            raise self.error("a string with a malformed character") from None
        self.stack.append(text)
