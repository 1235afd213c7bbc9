# SPDX-License-Identifier: MIT
"""Docstrings for mkdocstrings: those of the running package, for the names in its stubs, as
Markdown.

The package's docstrings are plain text: paragraphs, formulas that are indented, and lists of
`name   what it is` whose lines are indented under the second column. `markdown` makes paragraphs,
code and definition lists of them.
"""

import importlib
import inspect
import re

import griffe

ENTRY = re.compile(r"( *)(\S(?:.*?\S)??) {2,}(\S.*)")  # a name, two spaces or more, words


def _indent(line):
    return len(line) - len(line.lstrip(" "))


def _escaped(text):
    """Words of a docstring as Markdown: what is between backticks stays."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if i % 2 else re.sub(r"([*_\[\]#\\])", r"\\\1", _html(part))
                   for i, part in enumerate(parts))  # fmt: skip


def _is_name(text):
    """Whether text can be the left column of a list: names, quoted words, or short signatures."""
    return (
        re.fullmatch(r'[\w."\'*]+(?:\([\w, =]*\))?(?:,? (?:or )?[\w."\'*=]+){0,2}', text)
        is not None
    )


def _list(lines):
    """The definition list of a paragraph's lines; None if it is none."""
    entries, column = [], 0
    base = _indent(lines[0])
    for line in lines:
        found = ENTRY.fullmatch(line)
        if found and _indent(line) == base and _is_name(found[2]):
            entries.append([found[2], [found[3]]])
            column = found.start(3)
        elif entries and _indent(line) > base:
            entries[-1][1].append(line.strip())
        else:
            return None
    return entries if column else None


def markdown(docstring):
    """The docstring as Markdown."""
    made = []
    for paragraph in re.split(r"\n[ ]*\n", inspect.cleandoc(docstring or "")):
        lines = paragraph.split("\n")
        # A list may follow the paragraph that it belongs to without an empty line between.
        start = next((i for i in range(len(lines)) if _list(lines[i:])), len(lines))
        words, entries = lines[:start], _list(lines[start:]) if start < len(lines) else []
        if words and all(_indent(line) >= 4 for line in words if line):
            made.append("```text\n" + inspect.cleandoc("\n" + "\n".join(words)) + "\n```")
        elif words:
            made.append(_escaped(" ".join(line.strip() for line in words)))
        if entries:
            rows = "".join(
                f"<dt><code>{_html(name)}</code></dt><dd markdown='span'>"
                f"{_escaped(' '.join(each))}</dd>"
                for name, each in entries
            )
            made.append(f"<dl class='arguments' markdown='block'>{rows}</dl>")
    return "\n\n".join(made)


def _html(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def running(path):
    """What the dotted path names in the running package; None if nothing."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name, None)
        return found
    return None


class Docstrings(griffe.Extension):
    """Gives each object of the stubs the docstring that its namesake has."""

    def on_object(self, *, obj, **_):
        if obj.is_alias or obj.is_module:
            return
        path = obj.path.replace("fastlstm._Layer", "fastlstm.LSTM")
        path = path.replace("fastlstm._Cell", "fastlstm.LSTMCell")
        found = running(path)
        # Of attributes that are plain values only properties have a text of their own.
        if inspect.isclass(found) or callable(found) or isinstance(found, property):
            text = inspect.getdoc(found)
            if text and text != inspect.getdoc(getattr(object, obj.name, None)):
                obj.docstring = griffe.Docstring(markdown(text), parent=obj)
