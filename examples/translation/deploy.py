# SPDX-License-Identifier: MIT
"""Translates short texts of user interfaces from English to German, French or Spanish.

    python deploy.py "Enter a valid date." --to fr      # several texts, or - for lines of stdin
    python deploy.py --int8 --beam 4 --show             # texts of our own; --show: where it looks

fastlstm and NumPy only: one model reads the text in both directions, another writes the
translation, a piece at a time, and looks back at what was read (attention); the beam search is
NumPy's.
"""

import argparse
import re
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

import fastlstm

HERE = Path(__file__).parent
ENCODER, DECODER = HERE / "encoder.safetensors", HERE / "decoder.safetensors"
PIECES = HERE / "pieces.txt"
LANGUAGES = ("de", "fr", "es")
PAD, END, UNKNOWN = 0, 1, 2  # pieces with these numbers, and then one for each language
BEGIN = {language: 3 + k for k, language in enumerate(LANGUAGES)}
FIRST = 3 + len(LANGUAGES)  # the first piece that is text
HOLE = re.compile(r"%\(\w+\)[a-z]|%[sd]|\{[^{}\s]*\}")  # what a program fills in
MARKS = "\ue000\ue001\ue002\ue003"  # which stand for the first, second ... of a text
SPACE = "\u2581"
LENGTH = 0.8  # log odds are divided by the pieces' count to this power; chosen on validation texts
OWN = [
    "Enter a valid email address.",
    "The page could not be found.",
    "Please select a file.",
    "Change password",
    "This image is no longer available.",
    "You do not have permission to delete %(name)s.",
]


def with_marks(text):
    """(the text with a mark for each hole, the holes)."""
    holes = list(dict.fromkeys(HOLE.findall(text)))[: len(MARKS)]
    for hole, mark in zip(holes, MARKS, strict=False):
        text = text.replace(hole, mark)
    return text, holes


class Pieces:
    """Byte pair encoding: a text is cut into letters, and pairs are joined in the order in which
    they were learned.

    letters   a text of those that are known
    merges    [(left, right)]: each pair that was joined is a piece, behind the letters
    """

    def __init__(self, letters, merges):
        self.pieces = [""] * FIRST + list(letters) + ["".join(pair) for pair in merges]
        self.ids = {piece: k for k, piece in enumerate(self.pieces)}
        self.rank, self.cache = {pair: n for n, pair in enumerate(merges)}, {}

    @classmethod
    def read(cls, path=PIECES):
        """Of a file: a line of letters, then a pair in each line."""
        letters, *merges = path.read_text("utf-8").rstrip("\n").split("\n")
        return cls(letters, [tuple(line.split(" ")) for line in merges])

    def word(self, word):
        if word not in self.cache:
            parts = list(word)
            while len(parts) > 1:
                pairs = list(pairwise(parts))
                best = min(pairs, key=lambda pair: self.rank.get(pair, len(self.rank)))
                if best not in self.rank:
                    break
                at = pairs.index(best)
                parts[at : at + 2] = ["".join(best)]
            self.cache[word] = [self.ids.get(part, UNKNOWN) for part in parts]
        return self.cache[word]

    def encode(self, text):
        return [piece for word in words_of(text) for piece in self.word(word)]

    def decode(self, ids):
        text = "".join(self.pieces[k] for k in ids if k >= FIRST)
        return text.replace(SPACE, " ").strip()


def words_of(text):
    """Words, digits and marks, each with the space before it; no piece goes beyond one of them."""
    spaced = SPACE + SPACE.join(text.split())
    return re.findall(rf"{SPACE}?[^\W\d_]+|{SPACE}?\d|{SPACE}?[^\w{SPACE}]|.", spaced)


class Translator:
    """encoder   pieces (S,) -> what was read: memory and its keys (S, H), the decoder's first h
    decoder   pieces (T, B), h, c, memory, keys -> log odds (T, B, V) of the piece after each,
              where it looked (T, B, S), h, c
    """

    def __init__(self, dtype="float32"):
        self.pieces, options = Pieces.read(), {"dtype": dtype, "num_threads": 1}
        self.encoder = fastlstm.load_model(ENCODER, **options)
        self.decoder = fastlstm.load_model(DECODER, **options)

    def ids(self, text, to):
        """What the encoder reads of a text with marks: the language, the pieces, the end."""
        return np.array([BEGIN[to], *self.pieces.encode(text), END])

    def translate(self, text, to="de", beam=4, longest=80, length=LENGTH):
        """(the translation, its pieces, where it looked for each (T, S)).

        length   the best is the one with the greatest log odds / pieces ** length: at 0 it is the
                 likeliest, which is often too short, above 1 long ones win
        """
        marked, holes = with_marks(text)
        memory, keys, h = self.encoder(self.ids(marked, to))
        c = np.zeros_like(h)
        rows = [([], 0.0, [])]  # pieces so far, log probability, looks
        last, done = np.array([[BEGIN[to]]]), []
        for _ in range(longest):
            logs, looks, h, c = self.decoder(last, h, c, memory, keys)
            total = logs[0] + np.array([row[1] for row in rows], np.float32)[:, None]
            best = np.argsort(total, axis=None)[::-1][: 2 * beam]
            grown, parents = [], []
            for row, piece in zip(*np.unravel_index(best, total.shape), strict=True):
                pieces, _, seen = rows[row]
                new = ([*pieces, int(piece)], float(total[row, piece]), [*seen, looks[0, row]])
                if piece == END:
                    done.append(new)
                elif len(grown) < beam:
                    grown.append(new)
                    parents.append(row)
            if len(done) >= beam:
                break
            rows, last = grown, np.array([[new[0][-1] for new in grown]])
            h, c = h[:, parents], c[:, parents]
        pieces, _, seen = max(done or rows, key=lambda row: row[1] / len(row[0]) ** length)
        translation = self.pieces.decode(pieces)
        for hole, mark in zip(holes, MARKS, strict=False):
            translation = translation.replace(mark, hole)
        return translation, pieces, np.array(seen)


def show_looks(model, text, to, pieces, looks):
    """For each piece of the translation, the piece of the text it looked at most."""
    ids = model.ids(with_marks(text)[0], to)
    names = ["<to>" if k in BEGIN.values() else "<end>" if k == END else model.pieces.pieces[k]
             for k in ids]  # fmt: skip
    for piece, look in zip(pieces, looks, strict=True):
        name = "<end>" if piece == END else model.pieces.pieces[piece]
        at = int(look.argmax())
        print(f"    {name:<16} {'#' * int(20 * look[at]):<20} {names[at]}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("texts", nargs="*", help="what to translate; - reads lines of stdin")
    parser.add_argument("--to", choices=LANGUAGES, help="German, French, Spanish; default: all")
    parser.add_argument("--beam", type=int, default=4, help="translations followed at once")
    parser.add_argument("--int8", action="store_true", help="weights as 8-bit integers")
    parser.add_argument("--show", action="store_true", help="where each piece looked")
    args = parser.parse_args(arguments)
    if args.beam < 1:
        parser.error("--beam: 1 or more")

    model = Translator(dtype="int8" if args.int8 else "float32")
    texts = args.texts or OWN
    if texts == ["-"]:
        texts = (line.strip() for line in sys.stdin if line.strip())
    count, taken = 0, 0.0
    for text in filter(str.strip, texts):
        print(text)
        for to in [args.to] if args.to else LANGUAGES:
            start = time.perf_counter()
            translation, pieces, looks = model.translate(text, to, args.beam)
            taken, count = taken + time.perf_counter() - start, count + 1
            print(f"  {to}  {translation}")
            if args.show:
                show_looks(model, text, to, pieces, looks)
    if count:
        print(f"\n{model.decoder.dtype}: {1e3 * taken / count:.1f} ms a translation")


if __name__ == "__main__":
    main()
