# SPDX-License-Identifier: MIT
"""How positive or negative is a sentence, on the scale from -4 to 4 that people rated it on?

    python deploy.py "The plot is thin, but what a cast!"     # several sentences, or lines of stdin
    python deploy.py --int8                                   # some sentences of our own

fastlstm and NumPy only. One file is the whole model; another holds the words that it knows and the
values that people gave to single words.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

import numpy as np

import fastlstm

MODEL, WORDS = (Path(__file__).with_name(name) for name in ("model.safetensors", "words.json"))
TOKEN = re.compile(
    r"https?://\S+|@\w+"  # an address, a name
    r"|[<>]?[:;=8][-o*']?[)\](\[dDpP/\\:}{@|]|<3"  # a face, a heart
    r"|[A-Za-z]+(?:'[a-z]+)?|\d+|!+|\?+|\.\.+|[^\sA-Za-z\d]"
)
MOST = 60  # tokens of a sentence that are read
OWN = [
    "What a wonderful little film!",
    "The plot is thin, but what a cast!",
    "I would not call it good.",
    "The battery died after two days and nobody answered my letters.",
    "The committee meets on Tuesday.",
    "Finally home :)",
]


def tokens(sentence):
    """Words, numbers, marks and faces, as they are written; at least one."""
    text = sentence.replace("&amp;", "&").replace("''", '"').replace(" n't", "n't")
    return TOKEN.findall(text)[:MOST] or ["."]


class Vocabulary:
    """From tokens to numbers.

    words     {word in small letters: its row of the embedding}; row 0 is every other word's
    lexicon   {word: the value people gave it alone, from -4 to 4}
    """

    def __init__(self, words, lexicon):
        self.words, self.lexicon = words, lexicon

    @classmethod
    def read(cls, path=WORDS):
        """Of the file that train.py writes."""
        found = json.loads(path.read_text("utf-8"))
        return cls({word: row for row, word in enumerate(found["words"], 1)}, found["lexicon"])

    def ids(self, found):
        return [self.words.get(token.lower(), 0) for token in found]

    def features(self, found):
        """For each token: half its lexicon value, whether all is capitals, whether the first is."""
        value = self.lexicon.get
        return [
            (
                value(token.lower(), value(token, 0.0)) / 2,
                float(len(token) > 1 and token.isupper()),
                float(token[:1].isupper()),
            )
            for token in found
        ]


class Sentiment:
    """A model of sentences of one length: ids (B, T) and features (B, T, 3) -> ratings (B,)."""

    def __init__(self, dtype="float32"):
        self.vocabulary = Vocabulary.read()
        self.model = fastlstm.load_model(MODEL, dtype=dtype, num_threads=1)

    def arrays(self, found):
        """What the model takes of a sentence's tokens: ids (1, T), features (1, T, 3)."""
        ids, features = self.vocabulary.ids(found), self.vocabulary.features(found)
        return np.array([ids]), np.array([features], np.float32)

    def rate(self, sentences):
        """Ratings (B,) of a list of sentences; those of one length run side by side."""
        rows = [self.arrays(tokens(sentence)) for sentence in sentences]
        ratings = np.empty(len(rows), np.float32)
        for length in {ids.shape[1] for ids, _ in rows}:
            chosen = [b for b, (ids, _) in enumerate(rows) if ids.shape[1] == length]
            parts = zip(*[rows[b] for b in chosen], strict=True)
            ratings[chosen] = self.model(*map(np.concatenate, parts))
        return ratings

    def shares(self, sentence):
        """(tokens, what the rating loses when each is left out (T,))."""
        found = tokens(sentence)
        ids, features = self.arrays(found)
        rating, every = self.model(ids, features), range(len(found))
        if len(found) == 1:  # without it there is no sentence
            return found, rating - self.rate([""])
        without = [[other for other in every if other != t] for t in every]
        return found, rating - self.model(ids[0, without], features[0, without])


def coloured(found, shares, colour):
    """The sentence's tokens, green where they raise the rating and red where they lower it."""
    if not colour:
        return " ".join(found)
    paint = {1: "\033[1;32m", -1: "\033[1;31m", 0: ""}
    signs = [int(np.sign(s)) if abs(s) >= 0.25 else 0 for s in shares]
    return " ".join(
        f"{paint[s]}{token}\033[0m" if s else token for token, s in zip(found, signs, strict=True)
    )


def bar(rating, half=12):
    """-4 to 4 as a bar from the middle."""
    n = round(min(abs(rating), 4) / 4 * half)
    left, right = ("#" * n if rating < 0 else "", "#" * n if rating > 0 else "")
    return f"{left:>{half}}|{right:<{half}}"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sentences", nargs="*", help="what to rate; - reads lines of stdin")
    parser.add_argument("--int8", action="store_true", help="weights as 8-bit integers")
    args = parser.parse_args(arguments)

    start = time.perf_counter()
    model = Sentiment("int8" if args.int8 else "float32")
    model.rate(["."])  # a model's first call plans how all calls run
    loaded = time.perf_counter() - start
    sentences = args.sentences or OWN
    if sentences == ["-"]:
        sentences = (line.strip() for line in sys.stdin if line.strip())
    colour, count, taken = sys.stdout.isatty(), 0, 0.0
    for sentence in sentences:
        start = time.perf_counter()
        rating = model.rate([sentence])[0]
        taken, count = taken + time.perf_counter() - start, count + 1
        print(f"{rating:+5.2f} {bar(rating)} {coloured(*model.shares(sentence), colour)}")
    if count:
        print(
            f"\n{model.model.dtype}: read in {loaded * 1e3:.0f} ms, "
            f"{taken / count * 1e6:.0f} microseconds a sentence, without PyTorch"
        )


if __name__ == "__main__":
    main()
