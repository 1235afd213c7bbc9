# SPDX-License-Identifier: MIT
"""Goes on with what you write, in the manner of Jane Austen, a letter at a time.

    python deploy.py                    # asks for beginnings; :t 0.9 sets the temperature
    python deploy.py "My dear Mr. Knightley," --temperature 0.8 --length 300 --seed 3

fastlstm and NumPy only. The model is the network of `fastlstm demo`, whole: numbers of letters in,
scores of the next letter out. A stream keeps its state from letter to letter.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import fastlstm

MODEL = Path(__file__).with_name("model.safetensors")
LETTERS = "\n !\"'(),-.0123456789:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
IDS = {letter: k for k, letter in enumerate(LETTERS)}
OWN = ["It is a truth universally acknowledged, that", "My dear Emma,"]


def encode(text):
    """Numbers (T,) of the letters that the model knows; others are dropped."""
    return np.array([IDS[letter] for letter in text if letter in IDS], np.int64)


class Writer:
    """The model: numbers of letters (T, B) -> embedding (24) -> LSTM (192) -> scores (T, B, 75) of
    the letter after each. h and c, the LSTM's state, are inputs and outputs too."""

    def __init__(self, path=MODEL, dtype="float32"):
        self.model = fastlstm.load_model(path, dtype=dtype, num_threads=1)

    def stream(self):
        return self.model.stream(state={"h": "next_h", "c": "next_c"})

    def scores(self, text):
        """Scores (T, 75) of the letter after each of a text's."""
        return self.stream().step(encode(text)[:, None])[:, 0]

    def continued(self, text, length, temperature, seed=0):
        """Yields `length` letters that go on with the text, each drawn from what the model says.

        temperature   the scores are divided by it: 0 takes the likeliest letter, 1 follows the
                      model, more is wilder
        """
        ids = encode(text)
        if not len(ids):
            raise ValueError("the text has no letter that the model knows; try English")
        rng, stream = np.random.default_rng(seed), self.stream()
        for _ in range(length):
            scores = stream.step(ids[:, None])[-1, 0]
            # The greatest of scores with Gumbel's noise is drawn with the odds that they stand for.
            ids = np.argmax(scores + temperature * rng.gumbel(size=len(LETTERS)), keepdims=True)
            yield LETTERS[ids[0]]


def write(model, text, args, temperature, seed):
    """Prints the text and what follows it as it comes; seconds for a letter."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"{bold}{text}{plain}", end="", flush=True)
    start, column = time.perf_counter(), len(text)
    for letter in model.continued(text, args.length, temperature, seed):
        wrap = letter == " " and column > 78
        column = 0 if wrap or letter == "\n" else column + 1
        print("\n" if wrap else letter, end="", flush=args.slow > 0)
        time.sleep(args.slow)
    taken = (time.perf_counter() - start) / max(1, args.length)
    print("\n")
    return taken


def beginnings():
    """(text, temperature or None) as a person types them, until the end of the input."""
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line.startswith(":t"):
            try:
                yield None, float(line[2:])
            except ValueError:
                print("a number is due, as in :t 0.7")
        elif line:
            yield line, None


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("texts", nargs="*", help="beginnings; without them you are asked for some")
    parser.add_argument("--temperature", type=float, default=0.6, help="0 to 2 or so")
    parser.add_argument("--length", type=int, default=240, help="letters to write")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same text")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds to wait after a letter")
    parser.add_argument("--int8", action="store_true", help="weights as 8-bit integers")
    parser.add_argument("--model", default=MODEL, help="another file by train.py")
    args = parser.parse_args(arguments)
    if not 0 <= args.temperature < float("inf") or args.length < 1 or args.seed < 0:
        parser.error("temperature and seed are 0 or more, length 1 or more")

    model, temperature, taken = (
        Writer(args.model, dtype="int8" if args.int8 else "float32"),
        args.temperature,
        [],
    )
    list(model.continued("It", 2, 0.0))  # a model's first calls plan how all calls run
    asked = not args.texts and sys.stdin.isatty()
    given = beginnings() if asked else ((text, None) for text in args.texts or OWN)
    for n, (text, changed) in enumerate(given):
        if changed is not None:
            temperature = max(0.0, changed)
            continue
        try:
            taken.append(write(model, text, args, temperature, args.seed + n))
        except ValueError as error:
            print(f"\n{error}")
    if taken:
        print(f"{model.model.dtype}: {1e6 * sum(taken) / len(taken):.0f} microseconds a letter")


if __name__ == "__main__":
    main()
