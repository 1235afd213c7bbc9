# SPDX-License-Identifier: MIT
"""`fastlstm demo`: a small network trained on Jane Austen, without PyTorch.

Loads the checkpoint PyTorch wrote (fastlstm/data/austen.pt, made by examples/charlm/train.py),
checks what comes out of it against what PyTorch computed, writes a page, and says how fast.
"""

import math
import os
import re
import shutil
import sys
import time
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

import fastlstm

DATA = Path(__file__).with_name("data")
PRIME = "It is a truth universally acknowledged, that"
PREFIX = "model."
PROMISE = 2e-6  # of an LSTM output: see check_reference
HELP = "write a page in the manner of Jane Austen, checked against PyTorch's own numbers"
QUOTES = str.maketrans(  # single and double quotation marks, dashes, tab
    {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2013: "-", 0x2014: "--", 9: " "}
)
SENTENCE_END = re.compile(r"[a-z]{3}[.!?][\"')]*$")


def add_arguments(parser):
    parser.add_argument("--prime", default=PRIME, help="how the text begins")
    parser.add_argument("--length", type=int, default=700, metavar="N", help="characters to write")
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.6,
        metavar="X",
        help="how daring: 0 always takes the likeliest character, 1 follows the model's odds",
    )
    parser.add_argument("--seed", type=int, default=None, help="the same seed, the same text")
    parser.add_argument(
        "--data", type=Path, default=DATA, metavar="DIR", help="another model by train.py"
    )
    parser.add_argument("--no-torch", action="store_true", help="no comparison with PyTorch")


def run(args):
    """The whole demo; 0, or 1 if the numbers are not PyTorch's."""
    if not (math.isfinite(args.temperature) and args.temperature >= 0):
        raise ValueError(f"--temperature {args.temperature}: give 0 or a positive number")
    if args.length < 1:
        raise ValueError(f"--length {args.length}: give 1 or more")
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(2))
    if seed < 0:
        raise ValueError(f"--seed {seed}: give 0 or more")
    page = Page(sys.stdout)
    page.title("fastlstm demo: an LSTM that read Jane Austen")

    start = time.perf_counter()
    model = CharModel(args.data / "austen.pt")
    took = time.perf_counter() - start
    lstm = model.lstm
    prime = model.encode(args.prime)
    page.line(
        f"A PyTorch checkpoint, {lstm.num_layers} layers of {lstm.hidden_size} units, "
        f"{model.parameters:,} weights: read in {took * 1e3:.0f} ms."
    )

    check = check_reference(model, args.data / "austen_logits.npz")
    for text in check.lines():
        page.line(text)
    if not check.agrees:
        page.mark(False, f"NOT PyTorch's numbers, on {lstm.isa}: please report this as a bug.")
        return 1
    page.mark(
        True, f"PyTorch's numbers, on {lstm.isa}; the same bits all at once and step by step."
    )

    page.line("")
    page.text("".join(model.vocab[k] for k in prime), bold=True)
    written = []
    try:
        for k in write(model, prime, args.length, args.temperature, np.random.default_rng(seed)):
            written.append(k)
            page.text(model.vocab[k])
    finally:
        page.end_text()
    page.line("")
    page.line(f"(seed {seed}, temperature {args.temperature:g}: {len(written)} characters)")
    report_speed(model, np.concatenate([prime, written]), page, not args.no_torch)
    return 0


class CharModel:
    """Embedding, LSTM, head: NumPy on either side of the engine."""

    def __init__(self, path):
        sd = fastlstm.read_state_dict(path)
        try:
            self.vocab = "".join(map(chr, sd[PREFIX + "vocab"]))
            self.embedding = np.asarray(sd[PREFIX + "embedding.weight"], np.float32)  # (V, I)
            # The head in float64: its own rounding then hides nothing of the LSTM's.
            self.weight = sd[PREFIX + "head.weight"].astype(np.float64)  # (V, H)
            self.bias = sd[PREFIX + "head.bias"].astype(np.float64)
        except KeyError as error:
            raise fastlstm.LoadError(
                f"{path}: no {error} in it; the demo runs checkpoints of examples/charlm/train.py"
            ) from None
        self.parameters = sum(v.size for k, v in sd.items() if k != PREFIX + "vocab")
        self.lstm = fastlstm.LSTM.from_state_dict(sd, prefix=PREFIX + "lstm.", num_threads=1)

    def encode(self, text):
        """Ids (T,) of the characters the model knows: others lose their accents or are dropped."""
        text = unicodedata.normalize("NFKD", text.translate(QUOTES))
        ids = [self.vocab.index(ch) for ch in text if ch in self.vocab]
        if not ids:
            raise ValueError("--prime: the model knows none of its characters; try English text")
        return np.array(ids)

    def logits(self, y):
        """(..., H) -> (..., V), float64."""
        return y @ self.weight.T + self.bias


@dataclass
class Check:
    """How far fastlstm's logits are from those PyTorch computed for the same text, at most."""

    torch: str  # its version
    steps: int
    float32: float  # from PyTorch's in float32
    float64: float  # from PyTorch's in float64: the exact ones, as far as float32 can tell
    torch_float32: float  # PyTorch's own in float32 from its own in float64
    allowed: float  # of the first two
    same_bits: bool  # a stream, one step at a time, gives the bits of one call

    @property
    def agrees(self):
        return self.float32 <= self.allowed and self.float64 <= self.allowed and self.same_bits

    def lines(self):
        own, each = self.torch_float32, PROMISE
        yield f"Logits of {self.steps} characters, largest difference from PyTorch {self.torch}"
        yield f"  in float32   {self.float32:.1e}"
        yield f"  in float64   {self.float64:.1e}  (PyTorch's own float32 from it: {own:.1e})"
        yield f"  allowed      {self.allowed:.1e}  (what {each:.0e} in every LSTM output comes to)"
        if not self.same_bits:
            yield "  and a stream, step by step, does not give the bits of one call"


def check_reference(model, path):
    """Runs the reference text and compares.

    A logit is w . y + b: were every LSTM output y off by PROMISE, it could be off by as much as
    PROMISE * sum |w|. The least such sum of all logits is what is allowed to every one of them. The
    heads add nothing: here and in the reference they are float64, rounded once. Single outputs say
    less than the logits: a trained network's large weights magnify rounding, so that PyTorch's own
    ways to run this one (oneDNN or not, all at once or step by step) differ by 2e-6 to 6e-6 in
    the worst of its outputs.
    """
    try:
        with np.load(path) as file:
            ids, float32, float64 = file["ids"], file["logits"], file["exact"]
            version = str(file["torch"]).split("+")[0]
    except (KeyError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: not the reference train.py writes, or damaged ({error}); install fastlstm "
            "again or run train.py"
        ) from None
    x = model.embedding[ids]
    y, _ = model.lstm(x)
    stream, steps = model.lstm.stream(), np.empty_like(y)
    for t in range(len(x)):
        stream.step(x[t : t + 1], out=steps[t : t + 1])
    logits = model.logits(y).astype(np.float32)

    def largest(a, b):
        return float(np.abs(a.astype(np.float64) - b).max())

    return Check(
        torch=version,
        steps=len(ids),
        float32=largest(logits, float32),
        float64=largest(logits, float64),
        torch_float32=largest(float32, float64),
        allowed=PROMISE * float(np.abs(model.weight).sum(axis=1).min()),
        same_bits=np.array_equal(y.view(np.uint32), steps.view(np.uint32)),
    )


def write(model, prime, length, temperature, rng):
    """Yields ids, each sampled from what the stream says follows the ones before it.

    Goes on past `length` to the end of the sentence, for 200 characters at most.
    """
    stream = model.lstm.stream()
    y = stream(model.embedding[prime])[-1:].copy()  # (1, H)
    text = ""
    while len(text) < length or (len(text) < length + 200 and not SENTENCE_END.search(text[-9:])):
        logits = model.logits(y[0])
        if temperature == 0:
            k = int(np.argmax(logits))
        else:
            p = np.cumsum(np.exp((logits - logits.max()) / temperature))
            k = min(int(np.searchsorted(p, rng.random() * p[-1], side="right")), len(p) - 1)
        text += model.vocab[k]
        yield k
        stream.step(model.embedding[k : k + 1], out=y)


def report_speed(model, ids, page, with_torch):
    """Steps per second of the LSTM alone, then PyTorch's where there is one."""
    rows = model.embedding[ids]
    inputs, stream = [row[None] for row in rows], model.lstm.stream()
    y = np.empty((1, model.lstm.output_size), np.float32)

    def one_pass():
        stream.reset()
        start = time.perf_counter()
        for x in inputs:
            stream.step(x, out=y)
        return time.perf_counter() - start

    once = min(one_pass(), one_pass())
    seconds = median(one_pass() for _ in range(int(np.clip(0.3 / once, 5, 101))))
    page.line(
        f"Speed: {len(ids) / seconds:,.0f} steps a second, {seconds / len(ids) * 1e6:.1f} "
        f"microseconds each\n  ({model.lstm.isa}, one thread; the LSTM alone, without printing)."
    )
    if not with_torch:
        return
    try:
        from fastlstm import _torch_speed
    except (ImportError, OSError):
        page.line("To compare with PyTorch on this machine: pip install torch, and run this again.")
        return
    seconds = _torch_speed.compare(model.lstm.state_dict(), one_pass, rows)
    ours = seconds.pop("fastlstm")
    page.line(f"PyTorch {_torch_speed.VERSION}, the same steps, by turns, one thread:")
    for name, theirs in seconds.items():
        page.line(
            f"  {name + ':':<13}{len(ids) / theirs:>8,.0f} steps a second; "
            f"fastlstm is {theirs / ours:.1f} times as fast."
        )


class Page:
    """Prints; on a terminal with a box, colour (unless NO_COLOR is set) and letter by letter."""

    def __init__(self, file):
        self.file = file
        self.terminal = file.isatty()
        windows = os.name == "nt" and "WT_SESSION" not in os.environ
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or windows
        self.colour = self.terminal and not plain
        columns = shutil.get_terminal_size((80, 24)).columns if self.terminal else 80
        self.width = max(20, min(columns, 80) - 12)  # break at the first space past this
        self.column = 0

    def styled(self, text, code):
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def line(self, text):
        print(text, file=self.file, flush=True)

    def title(self, text):
        if not self.terminal:
            return self.line(text + "\n")
        edges = "╭─╮│╰╯"
        try:
            edges.encode(self.file.encoding or "ascii")
        except UnicodeEncodeError:
            edges = "+-+|++"
        a, bar, b, side, c, d = edges
        rule = bar * (len(text) + 4)
        self.line(f"{a}{rule}{b}\n{side}  {self.styled(text, 1)}  {side}\n{c}{rule}{d}")

    def mark(self, good, text):
        self.line(self.styled(text, 32 if good else 31))

    def text(self, text, bold=False):
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
