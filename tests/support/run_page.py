# SPDX-License-Identifier: MIT
"""Runs the code of one page of the documents: python run_page.py PAGE, in a folder of its own.

Blocks of Python run in order, in one namespace; those that need OTHERS end where they import them.
Of commands, `fastlstm info`, `inspect`, `convert` and `score` run and the arguments of the others
are parsed; what other commands name is looked up: programs and their options, make's targets,
extras, files of the checkout. A block in another language is read by nobody, but one marked
title="printed" must be what the page printed. A tutorial (.py) is a program with such a page in its
comments; if it has a Path `folder`, commands on files in there run in it.
"""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Files that a reader downloads: of commands on them the options alone are checked.
DOWNLOADED = {"silero_vad.onnx"}
OTHERS = {"keras", "tensorflow"}  # frameworks that pages may show and tests do not install
WORDS = re.compile(r"(?:fastlstm|pip|python|make|arecord|pytest|apt-get|cc) ")


def blocks(text):
    """[(language, title, line, code)] of a Markdown text; what is indented by four spaces and
    begins as a command does is shell as well."""
    found = []
    fenced = re.compile(r'^```(\w*)(?: title="([^"]*)")?\n(.*?)^```', re.S | re.M)
    for each in fenced.finditer(text):
        line = text.count("\n", 0, each.start()) + 1
        found.append((each[1], each[2] or "", line, each[3]))
    rest = fenced.sub(lambda m: "\n" * m[0].count("\n"), text)
    for each in re.finditer(r"(?:^    \S.*\n)(?:^(?:    .*)?\n)*", rest, re.M):
        code = re.sub(r"^ {4}", "", each[0], flags=re.M)
        if WORDS.match(code):
            found.append(("sh", "", rest.count("\n", 0, each.start()) + 1, code))
    return sorted(found, key=lambda block: block[2])


def program(words, folder):
    """Checks `python WORDS` of a page in a folder: the program is there, and it, or a module beside
    it, has the options that are given."""
    at = next((n for n, word in enumerate(words) if word.endswith(".py")), None)
    if at is None:
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/")), words
        return
    found = [place / words[at] for place in (ROOT, folder) if (place / words[at]).exists()]
    assert found, f"python {words[at]}: no such program"
    beside = found[0].parent.glob("*.py") if "examples" in found[0].parts else [found[0]]
    source = "".join(file.read_text() for file in beside)
    for option in (word.partition("=")[0] for word in words[at + 1 :] if word[:2] == "--"):
        assert f'"{option}"' in source, f"{words[at]} has no option {option}"


def command(line, folder, files):
    """Runs or checks one line of a shell, of a page in `folder`; in `files` is what it may name."""
    line = line.rpartition("| fastlstm ")[2] if "| fastlstm " in line else line
    line = "fastlstm " + line if line[:4] == "run " else line
    line = re.sub(r" \[(-[^]]*)\]", r" \1", line)  # what may be left out is checked as well
    words = shlex.split(line, comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):  # a variable for one command
        del words[0]
    if not words:
        return
    name, *words = words
    if name == "fastlstm":
        from fastlstm.cli.main import build_parser, main

        files = files if words[1:] and (files / words[1]).exists() else Path()
        scored = words[0] == "score" and all((files / word).exists() for word in words[1:3])
        runs = scored or words[0] in ("info", "inspect", "convert")
        if runs and not DOWNLOADED & {*words}:
            with contextlib.chdir(files):
                assert main(words) == 0, line
        else:
            build_parser().parse_args(words)
    elif name == "python":
        program(words, folder)
    elif name == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert words[0] in targets, line
        for example in re.findall(r"\bNAME=(\w+)", line):
            assert (ROOT / "examples" / example).is_dir(), line
    elif name == "pip":
        settings = (ROOT / "pyproject.toml").read_text()
        for extra in re.findall(r"\[(\w+)\]", line):
            assert f"\n{extra} = [" in settings, line
    elif name == "cc":
        sources = [word for word in words if word.endswith(".c")]
        assert sources and all((ROOT / word).exists() for word in sources), line
    else:
        assert name in ("pytest", "export", "cd", "apt-get"), (
            f"{line}: a command that is not checked"
        )


def run(page):
    """Runs all of it; an assertion or an error of the page's own ends it."""
    sys.path.insert(0, str(ROOT))
    text, space = page.read_text(), {"__name__": "__main__", "__file__": str(page)}
    said = io.StringIO()
    if page.suffix == ".py":
        sys.argv = [str(page)]
        with contextlib.redirect_stdout(said):
            exec(compile(text, page, "exec"), space)
        text = re.sub(r'(?s)^.*?"""(.*?)"""', r"\1", text, count=1)
        text = re.sub(r"^# ?(?:%% ?)?", "", text, flags=re.M)
    printed = []
    for language, title, line, code in blocks(text):
        if language == "python":
            compiled = compile("\n" * line + code, page, "exec")
            try:
                with contextlib.redirect_stdout(said):
                    exec(compiled, space)
            except ModuleNotFoundError as error:
                if error.name not in OTHERS:
                    raise
        elif language == "sh":
            files = space.get("folder")
            files = files if isinstance(files, Path) else Path()
            for each in code.replace("\\\n", " ").splitlines():
                with contextlib.redirect_stdout(said):
                    command(each, page.parent, files)
        elif title == "printed":
            printed.append(code)
    at, lines = 0, said.getvalue().splitlines()
    for line in "".join(printed).splitlines():
        assert line in lines[at:], f"{page.name}: {line!r} was not printed; printed was:\n" + (
            "\n".join(lines)
        )
        at = lines.index(line, at) + 1


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve())
