# SPDX-License-Identifier: MIT
"""`fastlstm demo`: a small network trained on Jane Austen, and a voice detector, without PyTorch.

The command loads a checkpoint that PyTorch wrote (data/austen.pt, by examples/charlm/train.py),
compares what the network computes with what PyTorch computed, writes a page and measures speed.

model.py      the network: embedding, LSTM, head; and how a text is sampled from it
reference.py  the comparison with PyTorch's numbers, which are in data/austen_logits.npz
speed.py      steps a second; torch_speed.py the same by PyTorch, where it is installed
voice.py      a whole model, fetched at the first run, over a recording: a picture of what it hears
page.py       printing, with colour on a terminal
"""

import math
import os
import sys
import time
from pathlib import Path

import numpy as np

from .model import CharModel, write
from .page import Page
from .reference import check_reference
from .speed import report_speed
from .voice import report_voice

DATA = Path(__file__).with_name("data")
PRIME = "It is a truth universally acknowledged, that"
HELP = "write a page in the manner of Jane Austen, checked against PyTorch's own numbers"


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
    parser.add_argument(
        "--no-voice", action="store_true", help="no voice detector, nothing fetched"
    )


def run(args):
    """Run the whole demo. Returns the exit code: 0, or 1 if the numbers are not PyTorch's."""
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
    layers = "1 layer" if lstm.num_layers == 1 else f"{lstm.num_layers} layers"
    page.line(
        f"A PyTorch checkpoint, {layers} of {lstm.hidden_size} units, "
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
    report_speed(model, np.concatenate([prime, written]), page, with_torch=not args.no_torch)
    if not args.no_voice:
        report_voice(page)
    return 0
