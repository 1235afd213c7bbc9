# SPDX-License-Identifier: MIT
"""`fastlstm demo`, run as people run it, with PyTorch out of reach unless a test says otherwise."""

import gzip
import importlib.util
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from fastlstm import demo
from fastlstm.demo import reference
from fastlstm.demo.model import SENTENCE_END
from fastlstm.demo.page import Page

ROOT = Path(demo.__file__).parents[2]
PRIME = demo.PRIME

# Runs the command line in a process where `import torch` fails as it does without PyTorch.
WITHOUT_TORCH = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from fastlstm.cli.main import main
code = main(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(code)
"""

# Leaves `import torch` alone, and tells whether anything used it.
WATCHING_TORCH = """
import sys
from fastlstm.cli.main import main
code = main(sys.argv[1:])
print("torch imported:", "torch" in sys.modules)
sys.exit(code)
"""


def run_demo(*arguments, program=WITHOUT_TORCH, **env):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-c", program, "demo", "--no-voice", *map(str, arguments)],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=500,
        env=os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"} | env,
    )


def page_of(result):
    """The text the model wrote: between the verdict and the line with the seed."""
    assert result.returncode == 0, result.stderr
    found = re.search(r"step by step\.\n\n(.*)\n\n\(seed", result.stdout, re.DOTALL)
    assert found, result.stdout
    return found[1]


@pytest.fixture
def data(tmp_path):
    """A copy of the demo's data, to be damaged."""
    return Path(shutil.copytree(demo.DATA, tmp_path / "data"))


@pytest.fixture(scope="module")
def model():
    return demo.CharModel(demo.DATA / "austen.pt")


def rewrite(data, **changes):
    with np.load(data / "austen_logits.npz") as file:
        arrays = {name: file[name] for name in file.files}
    for name, change in changes.items():
        change(arrays[name])
    np.savez(data / "austen_logits.npz", **arrays)


def test_without_torch():
    result = run_demo("--seed", 1, "--length", 300)
    text = page_of(result)
    assert result.stderr == ""
    assert "\nPyTorch's numbers, on" in result.stdout
    assert "steps a second" in result.stdout
    assert "pip install torch" in result.stdout
    assert "times as fast" not in result.stdout
    assert text.startswith("  " + PRIME)
    assert 300 <= len(" ".join(text.split())) - len(PRIME) <= 600
    assert "\x1b" not in result.stdout  # not a terminal: no colour, no box
    assert result.stdout.isascii()


def test_the_same_seed_writes_the_same_text():
    first, again, other = (page_of(run_demo("--seed", seed, "--length", 200)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.once
def test_temperature_0_needs_no_seed():
    first, second = (
        page_of(run_demo("--seed", seed, "--length", 120, "--temperature", 0)) for seed in (1, 2)
    )
    assert first == second


@pytest.mark.once
def test_without_a_seed_it_names_the_one_it_took():
    first = run_demo("--length", 150)
    seed = re.search(r"\(seed (\d+),", first.stdout)[1]
    assert page_of(run_demo("--length", 150, "--seed", seed)) == page_of(first)


def test_torch_stays_unimported_where_it_is_installed():
    pytest.importorskip("torch", reason="without torch, test_without_torch is this test")
    result = run_demo("--length", 50, "--no-torch", program=WATCHING_TORCH)
    assert result.returncode == 0, result.stderr
    assert "torch imported: False" in result.stdout


@pytest.mark.once
def test_comparison_with_torch():
    pytest.importorskip("torch", reason="compares with PyTorch")
    result = run_demo("--length", 50, program=WATCHING_TORCH, OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr
    figures = re.findall(r"(nn\.LSTM\w*): +[\d,]+ steps a second.* [\d.]+ times", result.stdout)
    assert figures == ["nn.LSTM", "nn.LSTMCell"]
    assert "torch imported: True" in result.stdout


def test_shipped_files_are_small():
    """As a wheel holds them: deflated."""
    packed = {f.name: len(zlib.compress(f.read_bytes())) for f in demo.DATA.iterdir()}
    assert set(packed) == {"austen.pt", "austen_logits.npz"}
    assert packed["austen.pt"] < 130_000
    assert packed["austen_logits.npz"] < 10_000


def test_reference_is_what_torch_computes_today():
    """The reference file itself: recomputed by the PyTorch that is installed."""
    torch = pytest.importorskip("torch", reason="recomputes PyTorch's reference")
    saved = torch.load(demo.DATA / "austen.pt", weights_only=True)
    sd = {k: v.float() if v.is_floating_point() else v for k, v in saved["model"].items()}
    with np.load(demo.DATA / "austen_logits.npz") as file:
        ids, float32, float64 = (torch.tensor(file[k]) for k in ("ids", "logits", "exact"))
    lstm = torch.nn.LSTM(sd["embedding.weight"].shape[1], sd["head.weight"].shape[1])
    prefix = "lstm."
    lstm.load_state_dict({k[len(prefix) :]: v for k, v in sd.items() if k.startswith(prefix)})
    head, following = sd["head.weight"].double(), ids[1:, None].long()
    with torch.inference_mode():
        x = sd["embedding.weight"][ids[:-1]]
        y32, y64 = lstm(x)[0], lstm.double()(x.double())[0]
        logits32, logits64 = (
            (y.double() @ head.T + sd["head.bias"].double()).gather(1, following)[:, 0]
            for y in (y32, y64)
        )
    # In float64 all that may differ is the order of sums; in float32 too, by more.
    assert (logits64 - float64).abs().max() <= 1e-9
    assert (logits32 - float32).abs().max() <= reference.PROMISE * head.abs().sum(1).min()
    assert saved["vocab"] == "".join(map(chr, sd["vocab"].tolist()))


def test_weights_are_what_the_example_says():
    """examples/charlm: few different values, so that they pack well; and the figure they reach."""
    torch = pytest.importorskip("torch", reason="reads the checkpoint as PyTorch does")
    saved = torch.load(demo.DATA / "austen.pt", weights_only=True)
    for name, weight in saved["model"].items():
        if weight.dim() > 1:
            assert weight.dtype == torch.float16
            assert torch.equal(weight, (weight * 8).round() / 8), name
    readme = ROOT / "examples" / "charlm" / "README.md"
    if readme.exists():
        assert f"**{saved['bits_per_character']:.3f}**" in readme.read_text()


def test_check_figures(model):
    check = demo.check_reference(model, demo.DATA / "austen_logits.npz")
    assert check.agrees
    assert check.steps == 399
    assert 0 < check.float32 <= check.allowed
    # As near to the exact result as PyTorch: twice its rounding error at the very most.
    assert 0 < check.float64 <= 2 * check.torch_float32
    # What is allowed must be able to fail: far below what tells one character from another.
    assert check.allowed < 1e-3


@pytest.mark.once
@pytest.mark.parametrize("name", ["logits", "exact"])
@pytest.mark.parametrize("change", [1e-3, np.nan, np.inf])
def test_one_wrong_number_fails(data, name, change):
    def spoil(array):
        array[100] += change

    rewrite(data, **{name: spoil})
    result = run_demo("--data", data, "--length", 50)
    assert result.returncode == 1
    assert "NOT PyTorch's numbers" in result.stdout
    assert PRIME not in result.stdout


@pytest.mark.once
def test_another_text_fails(data):
    def spoil(ids):
        ids[10] = (ids[10] + 1) % 50

    rewrite(data, ids=spoil)
    assert run_demo("--data", data).returncode == 1


@pytest.mark.once
@pytest.mark.parametrize("file", ["austen.pt", "austen_logits.npz"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "empty", "text"])
def test_damaged_files_end_in_one_sentence(data, file, damage):
    path = data / file
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)
    else:
        path.write_bytes(b"" if damage == "empty" else b"Not a file of numbers.\n")
    result = run_demo("--data", data, "--length", 50)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert str(path) in result.stderr


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments",
    [
        ("--temperature", "-1"),
        ("--temperature", "nan"),
        ("--length", "0"),
        ("--seed", "-3"),
        ("--prime", ""),
        ("--prime", "\u4f60\u597d"),
    ],
)
def test_wrong_arguments_end_in_one_sentence(arguments):
    result = run_demo(*arguments)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert arguments[0] in result.stderr


def test_prime_is_folded(model):
    def folded(text):
        return "".join(model.vocab[k] for k in model.encode(text))

    assert folded("\u201cIt\u2019s na\u00efve,\u201d\u4f60 he\tsaid\u2014once*") == (
        '"It\'s naive," he said--once'
    )
    assert folded(PRIME) == PRIME


def test_text_ends_with_its_sentence(model):
    rng = np.random.default_rng(3)
    ids = list(demo.write(model, model.encode(PRIME), 100, 0.7, rng))
    text = "".join(model.vocab[k] for k in ids)
    assert 100 <= len(text) <= 300
    assert len(text) == 300 or SENTENCE_END.search(text)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_colour_on_a_terminal_only(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("WT_SESSION", "1")  # on Windows, a terminal that knows colours
    for file, coloured, boxed in ((Terminal(), True, True), (io.StringIO(), False, False)):
        page = Page(file)
        page.title("A title")
        page.mark(True, "good")
        assert ("\x1b[" in file.getvalue()) is coloured
        assert ("\u256d" in file.getvalue()) is boxed
    monkeypatch.setenv("NO_COLOR", "1")
    page = Page(file := Terminal())
    page.title("A title")
    page.text("bold", bold=True)
    assert "\x1b" not in file.getvalue()


def test_lines_are_wrapped(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    page = Page(file := Terminal())
    page.text("word and " * 40 + "end.\nNext")
    lines = file.getvalue().split("\n")
    assert all(len(line) <= 60 for line in lines)
    assert lines[-2:] == ["", "  Next"]


def test_austen_reader(tmp_path):
    """examples/charlm/austen.py on a package made here, in the layout of the real one."""
    path = ROOT / "examples/charlm/austen.py"
    if not path.exists():
        pytest.skip("examples are not part of an installed package")
    spec = importlib.util.spec_from_file_location("austen", path)
    austen = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(austen)

    def ints(*values):
        return struct.pack(f">{len(values)}i", *values)

    def char(text, flags=0x40009):
        return ints(flags, len(text)) + text

    head = b"X\n" + ints(3, 0x40201, 0x30500, 5) + b"UTF-8"
    novel = head + ints(16, 3) + char(b"CHAPTER I") + char(b"", 0x40009) + char(b"Emma.")
    record = struct.pack(">I", len(novel)) + zlib.compress(novel)

    def named(value, *names):
        end = ints(0x402, 1) + char(b"names") + ints(16, len(names))
        return value + end + b"".join(map(char, names)) + ints(254)

    where = named(ints(0x213, 1) + ints(13, 2, 7, len(record)), b"emma")
    again = ints(0x402, 0x1FF, 16, 1) + char(b"variables") + ints(254)  # "names", by reference
    index = head + ints(0x213, 1) + where + again
    base = tmp_path / austen.DATA
    base.parent.mkdir(parents=True)
    base.with_suffix(".rdx").write_bytes(gzip.compress(index))
    base.with_suffix(".rdb").write_bytes(b"\0" * 7 + record)
    assert austen.read_novels(tmp_path) == {"emma": ["CHAPTER I", "", "Emma."]}
    with pytest.raises(ValueError, match="not an R object"):
        austen.RObject(b"X\n" + ints(9, 0, 0))
    with pytest.raises(ValueError, match="ends early"):
        austen.RObject(novel[:-2])
