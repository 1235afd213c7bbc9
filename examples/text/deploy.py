# SPDX-License-Identifier: MIT
"""Goes on with what you write, in the manner of Jane Austen, a letter at a time.

    python deploy.py                    # asks for beginnings; :t 0.9 sets the temperature
    python deploy.py "My dear Mr. Knightley," --temperature 0.8 --length 300 --seed 3

fastlstm and NumPy only. The model is the one of `fastlstm demo`, which PyTorch wrote; a stream
keeps its state from letter to letter.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import fastlstm

MODEL = Path(fastlstm.__file__).parent / "demo" / "data" / "austen.pt"
OWN = ["It is a truth universally acknowledged, that", "My dear Emma,"]


class Writer:
    """letter -> embedding (24) -> LSTM (192) -> scores (75) of the next letter."""

    def __init__(self, path=MODEL, dtype="float32"):
        tensors = fastlstm.read_state_dict(path)
        tensors = {k.removeprefix("model."): v for k, v in tensors.items()}
        self.letters = "".join(map(chr, tensors["vocab"]))
        self.ids = {letter: k for k, letter in enumerate(self.letters)}
        self.embedding = tensors["embedding.weight"].astype(np.float32)
        self.weight = tensors["head.weight"].astype(np.float32)
        self.bias = tensors["head.bias"].astype(np.float32)
        self.lstm = fastlstm.load(path, "lstm.", dtype=dtype, num_threads=1)

    def encode(self, text):
        """Numbers of the letters that the model knows; others are dropped."""
        return np.array([self.ids[letter] for letter in text if letter in self.ids], int)

    def scores(self, text):
        """Scores (T, 75) of the letter after each of a text's."""
        return self.lstm(self.embedding[self.encode(text)][:, None])[0][:, 0] @ self.weight.T + (
            self.bias
        )

    def continued(self, text, length, temperature, seed=0):
        """Yields `length` letters that go on with the text, each drawn from what the model says.

        temperature   the scores are divided by it: 0 takes the likeliest letter, 1 follows the
                      model, more is wilder
        """
        ids = self.encode(text)
        if not len(ids):
            raise ValueError("the text has no letter that the model knows; try English")
        rng, stream = np.random.default_rng(seed), self.lstm.stream()
        y = stream(self.embedding[ids])[-1]
        for _ in range(length):
            scores = y @ self.weight.T + self.bias
            if temperature == 0:
                k = int(scores.argmax())
            else:
                odds = np.cumsum(np.exp((scores - scores.max()).astype(np.float64) / temperature))
                k = min(int(np.searchsorted(odds, rng.random() * odds[-1])), len(odds) - 1)
            yield self.letters[k]
            y = stream.step(self.embedding[k : k + 1])[0]


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
    parser.add_argument("--int8", action="store_true", help="LSTM weights as 8-bit integers")
    parser.add_argument("--model", default=MODEL, help="another file by train.py")
    args = parser.parse_args(arguments)
    if not 0 <= args.temperature < float("inf") or args.length < 1 or args.seed < 0:
        parser.error("temperature and seed are 0 or more, length 1 or more")

    model, temperature, taken = (
        Writer(args.model, dtype="int8" if args.int8 else "float32"),
        args.temperature,
        [],
    )
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
        print(f"{model.lstm.dtype}: {1e6 * sum(taken) / len(taken):.0f} microseconds a letter")


if __name__ == "__main__":
    main()
