# SPDX-License-Identifier: MIT
"""The demo's printing: plain lines, and on a terminal a box, colour and letter by letter."""

import os
import shutil


class Page:
    """Prints to `file`. Colour only on a terminal, and not if NO_COLOR is set."""

    def __init__(self, file):
        self.file = file
        self.terminal = file.isatty()
        windows = os.name == "nt" and "WT_SESSION" not in os.environ
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or windows
        self.colour = self.terminal and not plain
        columns = shutil.get_terminal_size((80, 24)).columns if self.terminal else 80
        self.width = max(20, min(columns, 80) - 12)  # a line is broken at the first space past this
        self.column = 0

    def styled(self, text, code):
        """`text` with a terminal's code for colour or weight around it, where there is colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def line(self, text):
        print(text, file=self.file, flush=True)

    def can_write(self, text):
        """Whether the file's encoding has these characters."""
        try:
            text.encode(self.file.encoding or "ascii")
        except UnicodeEncodeError:
            return False
        return True

    def title(self, text):
        if not self.terminal:
            return self.line(text + "\n")
        edges = "╭─╮│╰╯"
        edges = edges if self.can_write(edges) else "+-+|++"
        top_left, bar, top_right, side, bottom_left, bottom_right = edges
        rule = bar * (len(text) + 4)
        self.line(f"{top_left}{rule}{top_right}")
        self.line(f"{side}  {self.styled(text, 1)}  {side}")
        self.line(f"{bottom_left}{rule}{bottom_right}")

    def mark(self, good, text):
        """A line in green, or in red if it is not good."""
        self.line(self.styled(text, 32 if good else 31))

    def text(self, text, bold=False):
        """Running text, wrapped and indented; a newline in it ends a paragraph."""
        for ch in text:
            if ch == "\n":
                self.column, ch = 0, "\n\n"
            elif ch == " " and self.column >= self.width:
                self.column, ch = 0, "\n"
            else:
                ch = ch if self.column else "  " + ch
                self.column += len(ch)
            self.file.write(self.styled(ch, 1) if bold else ch)
            if self.terminal:
                self.file.flush()

    def end_text(self):
        self.file.write("\n")
        self.column = 0
