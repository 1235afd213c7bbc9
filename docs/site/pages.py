# SPDX-License-Identifier: MIT
"""What mkdocs is told beyond mkdocs.yml: pages that are not Markdown files of docs/.

- docs/tutorials/*.py are programs whose comments are the text of a page: `page_of`.
- Documents of the repository that stand outside docs/ (OUTSIDE) are pages under their own paths.
- Links between documents are written so that they hold in the repository. A link to a file that
  is no page, such as source code, becomes plain text.
- The command line's page holds what `fastlstm COMMAND --help` says.
- mkdocstrings reads the stubs of the package: they have the types; the text comes from the code
  (docstrings.py).
"""

import argparse
import os
import posixpath
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "LICENSE",
           "benchmarks/README.md", "examples/*/*.md", "examples/*/*.png")  # fmt: skip
TYPED = ("errors.py", "variants.py", "files/__init__.py", "files/description.py",
         "engine/__init__.py", "engine/variants.py", "torch/__init__.py", "torch/model.py",
         "torch/modules.py", "onnxruntime.py", "score/__init__.py", "score/scorer.py", "ray.py",
         "dask.py")  # fmt: skip
NAMES_OF_TYPES = {  # of the stub, as the reference shows them; other aliases as they are defined
    "_Array": "Array",
    "_File": "str | PathLike[str] | bytes | BinaryIO",
    "_Path": "str | PathLike[str]",
    "_(?:State|Given|Up)": "State",
}
LINK = re.compile(r"(?<!\\)(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
COMMANDS, NAMES = "<!-- commands -->", "<!-- names of fastlstm.nn -->"

sys.path.insert(0, str(ROOT))  # the package of this checkout


def page_of(text):
    """The Markdown of a tutorial: comments that begin with `# %%` or go on from there are text,
    everything else is code. The file's docstring is the beginning."""
    head = re.match(r'(?:#[^\n]*\n)*"""(.*?)"""\n', text, re.S)
    parts, code, lines = [head[1].strip()], [], text[head.end() :].splitlines()

    def end_code():
        block = "\n".join(code).strip("\n")
        if block:
            parts.append(f"```python\n{block}\n```")
        code.clear()

    words = None  # of the text that is being read
    for line in lines:
        if line.startswith("# %%"):
            end_code()
            words = [line[4:].strip()]
        elif words is not None and line.startswith("#"):
            words.append(line[2:])
        else:
            if words is not None:
                parts.append("\n".join(words))
                words = None
            code.append(line)
    parts += [] if words is None else ["\n".join(words)]
    end_code()
    return "\n\n".join(parts) + "\n"


def outside():
    """Paths from the root of documents that stand outside docs/."""
    return sorted(f.relative_to(ROOT).as_posix() for name in OUTSIDE for f in ROOT.glob(name))


def commands():
    """What each command's --help says, as Markdown."""
    from fastlstm.cli.main import build_parser

    os.environ["COLUMNS"] = "100"
    (each,) = (
        a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)
    )  # fmt: skip
    text = []
    for name, parser in each.choices.items():
        parser.prog = f"fastlstm {name}"
        text.append(f"## fastlstm {name}\n\n```text\n{parser.format_help().strip()}\n```\n")
    return "\n".join(text)


NN = ("nn", "nn.functional", "nn.init", "nn.tensor", "nn.utils", "nn.utils.rnn")


def declared(module):
    """The names that a module's stub makes public, but for modules beside it."""
    import ast

    file = ROOT / "fastlstm" / module.replace(".", "/")
    file = file / "__init__.pyi" if file.is_dir() else file.with_suffix(".pyi")
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom) and node.module:  # not the modules beside it
            found |= {each.asname for each in node.names if each.asname}
        elif isinstance(node, ast.Assign):  # another name of a function
            found |= {target.id for target in node.targets}
        elif isinstance(node, ast.AnnAssign):
            found.add(node.target.id)
    return sorted((name for name in found if name[0] != "_"), key=str.lower)


def names():
    """The classes and functions of fastlstm.nn, their arguments and what they say, as Markdown."""
    import importlib
    import inspect

    sys.path.insert(0, str(Path(__file__).parent))
    from docstrings import markdown

    text = []
    for module in NN:
        found = importlib.import_module(f"fastlstm.{module}")
        text.append(f"## fastlstm.{module}\n")
        rows = []
        for name in declared(module):
            each = getattr(found, name)
            if not callable(each):  # a number or a dtype
                continue
            first = markdown(each.__doc__).split("\n\n")[0]
            signature = f"{name}{inspect.signature(each)}".replace("<", "&lt;")
            rows.append(f"<dt><code>{signature}</code></dt><dd markdown='span'>{first}</dd>")
        text.append(f"<dl class='arguments signatures' markdown='block'>{''.join(rows)}</dl>\n")
    return "\n".join(text)


def on_config(config):
    """The stubs, alone in a folder, so that the rest of the package is not read; and the modules
    that have their types in them."""
    stubs, package = ROOT / "build" / "stubs", ROOT / "fastlstm"
    shutil.rmtree(stubs, ignore_errors=True)
    for file in [*package.rglob("*.pyi"), *(package / name for name in TYPED)]:
        target = stubs / file.relative_to(ROOT)
        if "c" not in file.parts:  # the extension's
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    stub = stubs / "fastlstm" / "__init__.pyi"
    text = stub.read_text()
    aliases = re.findall(r"^(_\w+): TypeAlias = (.*?)(?:  #.*)?$", text, re.M)
    meanings = dict(aliases) | NAMES_OF_TYPES
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.startswith(("_", "class")):
            for _ in range(2):  # an alias may be made of others
                for name, meaning in meanings.items():
                    line = re.sub(rf"\b{name}\b", lambda _, m=meaning: m, line)
            lines[i] = line
    stub.write_text("\n".join(lines))
    return config


def on_files(files, config):
    from mkdocs.structure.files import File  # not needed by tests that ask for the pages' names

    for file in sorted((ROOT / "docs" / "tutorials").glob("*.py")):
        name = f"tutorials/{file.stem}.md"
        files.append(File.generated(config, name, content=page_of(file.read_text())))
    for path in outside():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    run = ROOT / "docs" / "benchmark" / "index.html"  # README.md is the folder's index
    files.append(File.generated(config, "benchmark/page.html", abs_src_path=str(run)))
    return files


def repository_path(page):
    """Where the document of a page is in the repository."""
    if page.startswith("tutorials/"):
        return f"docs/{page.removesuffix('.md')}.py"
    return page if page in outside() else f"docs/{page}"


def page_path(path):
    """The page, or other file of the site, that a file of the repository is; None if it is none."""
    if path in outside():
        return path
    if path == "docs/benchmark/index.html":
        return "benchmark/page.html"
    if re.fullmatch(r"docs/tutorials/\w+\.py", path):
        return path.removeprefix("docs/").removesuffix(".py") + ".md"
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def linked(text, page):
    """The Markdown with its links as they are on the site."""
    folder = posixpath.dirname(repository_path(page))

    def link(found):
        mark, words, target = found.groups()
        target, hash, anchor = target.partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if not (ROOT / path).exists() and not path.startswith("docs/"):
            return found[0]  # mkdocs will say that it is not there
        there = page_path(path)
        if there is None:
            return words
        there = posixpath.relpath(there, posixpath.dirname(page) or ".")
        return f"{mark}[{words}]({there}{hash}{anchor})"

    pieces = re.split(r"(^```.*?^```|^ *\n(?: {4}[^\n]*\n)+)", text, flags=re.S | re.M)
    return "".join(each if i % 2 else LINK.sub(link, each) for i, each in enumerate(pieces))


def on_page_markdown(text, page, config, files):
    if COMMANDS in text:
        text = text.replace(COMMANDS, commands())
    if NAMES in text:
        text = text.replace(NAMES, names())
    return linked(text, page.file.src_uri)
