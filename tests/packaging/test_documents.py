# SPDX-License-Identifier: MIT
"""README and documents: their code runs, their pictures and their site are what the sources say."""

import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import run_page

import fastlstm

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not (ROOT / "mkdocs.yml").exists(), reason="the documents are not here"),
]


def text_of(path):
    return path.read_text()


def of_the_site(name):
    """The module docs/site/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documents():
    """README, and every Markdown page of the site, wherever it stands."""
    outside = [ROOT / path for path in of_the_site("pages").outside() if path.endswith(".md")]
    return sorted({ROOT / "README.md", *DOCS.rglob("*.md"), *outside})


def pages():
    """All documents in which there is something to run, and the tutorials."""
    if not DOCS.exists():
        return []
    found = [page for page in documents() if run_page.blocks(text_of(page))]
    return sorted([*found, *(DOCS / "tutorials").glob("*.py")])


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_code_of_a_page_runs(page, tmp_path):
    """In an empty folder but for the checkout's files that pages name, as a reader would."""
    shutil.copytree(DOCS / "tutorials" / "data", tmp_path / "docs" / "tutorials" / "data")
    shutil.copy(Path(fastlstm.__file__).parent / "demo" / "data" / "austen.pt", tmp_path)
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "support" / "run_page.py", page],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"FASTLSTM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"CPU of all pages so far: {used.ru_utime + used.ru_stime:.1f} s")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_that_is_wrong_is_found(tmp_path):
    for code, said in (
        ("```python\nx = 1\nassert x == 2\n```\n", "AssertionError"),
        ("```sh\nfastlstm bench --no-such-option\n```\n", "--no-such-option"),
        ("```sh\nmake nothing-here\n```\n", "make nothing-here"),
        ('```python\nprint(1)\n```\n\n```text title="printed"\n2\n```\n', "'2' was not printed"),
        ("text\n\n    make gone     # a target\n", "make gone"),
        ("```sh\nmake demo NAME=gone\n```\n", "NAME=gone"),
        ("```sh\npython examples/text/gone.py\n```\n", "no such program"),
        ("```sh\npython examples/text/deploy.py --gone\n```\n", "--gone"),
        ("text\n\n    cc -O2 gone.c\n", "gone.c"),
    ):
        page = tmp_path / "page.md"
        page.write_text(code)
        done = subprocess.run(
            [sys.executable, run_page.__file__, page], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode and said in done.stderr, code


@pytest.mark.parametrize("name", ["ratios", "panel"])
def test_pictures_are_those_of_the_runs(name):
    for path, drawn in of_the_site(name).pictures().items():
        assert path.read_text() == drawn, f"make it again: python docs/site/{name}.py"


def test_links_of_the_documents_lead_somewhere():
    """Relative links and anchors of every document: the site's own check knows no README.md."""
    lost = []
    for page in {*ROOT.glob("*.md"), *documents(), *(DOCS / "tutorials").glob("*.py")}:
        plain = re.sub(r"^```.*?^```", "", text_of(page), flags=re.S | re.M)
        targets = re.findall(r"\]\(([^()\s#]*)(#[^()\s]*)?\)|(?:src|srcset)=\"([^\"]+)\"", plain)
        for link, anchor, picture in targets:
            target = page.parent / (link or picture or page.name)
            if re.match(r"[a-z]+:", link):
                continue
            if not target.exists() or (anchor and anchor[1:] not in anchors(target)):
                lost.append(f"{page.relative_to(ROOT)}: {link or picture}{anchor}")
    assert lost == []


def anchors(page):
    """What a link into a document can name: its headings, as a forge and the site spell them."""
    headings = re.findall(r"^(?:# %% )?#+ (.*)", text_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_picture_in_words_is_that_of_the_runs(page):
    assert of_the_site("ratios").alt() in " ".join(text_of(ROOT / page).split())


def test_reports_ask_for_what_is_installed():
    templates = [
        f for f in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if f.stem != "config"
    ]
    assert len(templates) >= 3
    yaml = pytest.importorskip("yaml")
    for file in templates:
        form = yaml.safe_load(text_of(file))
        assert form["name"] and form["description"]
        asked = {each["attributes"]["label"]: each for each in form["body"] if "id" in each}
        assert asked["Output of `fastlstm info`"]["validations"]["required"], file.name


def test_the_citation_has_what_a_citation_needs():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["message"] and citation["title"] and citation["authors"][0]["name"]
    assert citation["license"] == "MIT"


def test_a_public_address_is_named_everywhere_or_nowhere():
    """The metadata, the citation, and the sentence of docs/versions.md that there is none yet."""
    metadata = "[project.urls]" in text_of(ROOT / "pyproject.toml")
    citation = re.search(r"^(url|repository-code):", text_of(ROOT / "CITATION.cff"), re.M)
    words = " ".join(text_of(DOCS / "versions.md").split())
    assert metadata == bool(citation) == ("there is no public address yet" not in words)


def test_the_version_is_one():
    version = f"version: {fastlstm.__version__}\n"
    assert version in text_of(ROOT / "CITATION.cff")
    settings = text_of(ROOT / "pyproject.toml")
    assert f'\nversion = "{fastlstm.__version__}"\n' in settings


# Modules whose public names have a page, beside fastlstm.nn's, whose page is made of its stubs.
PUBLIC = ("fastlstm", "fastlstm.torch", "fastlstm.onnxruntime", "fastlstm.score", "fastlstm.ray",
          "fastlstm.dask")  # fmt: skip


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module):
    pages = [text_of(page) for page in (DOCS / "reference").glob("*.md")]
    documented = set(re.findall(r"^::: ([\w.]+)$", "\n".join(pages), re.M))
    public = importlib.import_module(module).__all__
    assert public and {f"{module}.{name}" for name in public if name != "nn"} <= documented


def test_every_name_that_a_page_imports_is_in_the_reference():
    """Whatever module it is of: what a page teaches is public."""
    reference = "\n".join(text_of(page) for page in (DOCS / "reference").glob("*.md"))
    taught = set()
    for page in pages():
        for module, names in re.findall(
            r"^from (fastlstm[\w.]*) import (\w+(?:, \w+)*)", text_of(page), re.M
        ):
            taught |= {(module, name) for name in names.split(", ")}
    assert {("fastlstm.demo", "DATA"), ("fastlstm.score", "score")} <= taught
    taught.remove(("fastlstm.nn", "tensor"))  # a module, whose names the page of nn has
    missing = [(m, name) for m, name in taught if not re.search(rf"[`.]{name}\b", reference)]
    assert missing == []


def of_torchs(module):
    """The public names of a module of fastlstm.nn, as the module itself has them."""
    found = importlib.import_module(f"fastlstm.{module}")
    internal = {"held_dtype", "sizes_of", "wrap", "plain", "parametrizations_refused"}
    return {
        name
        for name, each in vars(found).items()
        if name[0] != "_" and name not in internal and callable(each)
        and str(getattr(each, "__module__", None)).startswith("fastlstm.nn")
    }  # fmt: skip


def test_every_name_of_nn_is_in_the_reference():
    """The page is made of the stubs; here the modules themselves are asked what they have."""
    pages = of_the_site("pages")
    shown = dict(zip(pages.NN, re.split(r"^## ", pages.names(), flags=re.M)[1:]))
    assert len(of_torchs("nn")) > 70 and len(of_torchs("nn.functional")) > 50
    for module, text in shown.items():
        missing = {name for name in of_torchs(module) if not re.search(rf"<code>{name}\b", text)}
        assert missing == set(), module


def test_help_has_words_for_every_public_name():
    """help() of each name, and of each method that is its own, begins with a sentence."""
    for module in PUBLIC:
        for name in set(importlib.import_module(module).__all__) - {"nn"}:
            each = getattr(importlib.import_module(module), name)
            assert each.__doc__ and len(each.__doc__.split()) > 3, name
            for method, found in vars(each).items() if isinstance(each, type) else ():
                due = callable(found) or isinstance(found, property | classmethod)
                if due and method[0] != "_" and method != "forward":  # which is torch.nn's
                    assert found.__doc__, f"{name}.{method} has no docstring"
    for module in of_the_site("pages").NN:
        for name in of_torchs(module):
            assert getattr(importlib.import_module(f"fastlstm.{module}"), name).__doc__, name


@pytest.mark.skipif(
    not importlib.util.find_spec("mkdocstrings"), reason="mkdocs is not installed: make docs"
)
def test_the_site_builds_strictly(tmp_path):
    """Without a warning: every link and every name of the reference is there."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "reference" / "layers.html").read_text()
    assert "with torch.nn.LSTM's arguments" in text and "batch_first" in text
    text = (tmp_path / "reference" / "nn.html").read_text()
    assert "torch.nn.ReLU6, for inference." in text and "Tanhshrink(" in text
    assert (tmp_path / "tutorials" / "voice.html").exists()


@pytest.mark.skipif(not DOCS.exists(), reason="the documents are not here")
def test_the_containers_page_shows_its_file():
    shown = (DOCS / "tutorials/container.py").read_text()
    assert (DOCS / "tutorials/Containerfile").read_text() in shown
