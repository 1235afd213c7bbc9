# SPDX-License-Identifier: MIT
"""How positive or negative is a sentence, on the scale from -4 to 4 that people rated it on?

    python deploy.py "The plot is thin, but what a cast!"     # several sentences, or lines of stdin
    python deploy.py --int8                                   # some sentences of our own

fastlstm and NumPy only. The file holds the weights under PyTorch's names, the words that they know
and the values that people gave to single words.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import numpy as np

import fastlstm

MODEL = Path(__file__).with_name("model.safetensors")
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
    def of(cls, tensors):
        """From the tensors of the file: texts are their UTF-8 bytes, a word a line."""
        words, valued = (
            bytes(tensors[name]).decode().split("\n") for name in ("words", "lexicon.words")
        )
        values = tensors["lexicon.values"].astype(np.float32).tolist()
        ids = {word: row for row, word in enumerate(words, 1)}
        return cls(ids, dict(zip(valued, values, strict=True)))

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
    """embedding (V, E) and three features a token -> LSTM in both directions (2H) -> the largest
    and the mean output over the tokens (4H) -> the rating."""

    def __init__(self, path=MODEL, dtype="float32"):
        tensors = fastlstm.read_state_dict(path)
        self.vocabulary = Vocabulary.of(tensors)
        self.embedding = tensors["embedding.weight"].astype(np.float32)
        self.weight = tensors["head.weight"].astype(np.float32)
        self.bias = tensors["head.bias"].astype(np.float32)
        self.lstm = fastlstm.load(path, "lstm.", dtype=dtype, num_threads=1)

    def rate(self, sentences):
        """Ratings (B,) of a list of sentences."""
        return self.rate_tokens([tokens(sentence) for sentence in sentences])

    def rate_tokens(self, rows):
        lengths = np.array([len(row) for row in rows])
        x = np.zeros((lengths.max(), len(rows), self.lstm.input_size), np.float32)
        width = self.embedding.shape[1]
        for b, row in enumerate(rows):
            x[: len(row), b, :width] = self.embedding[self.vocabulary.ids(row)]
            x[: len(row), b, width:] = self.vocabulary.features(row)
        y, _ = self.lstm(x, lengths=lengths)  # zeros after a row's end
        over = np.arange(len(x))[:, None, None] >= lengths[:, None]
        largest = np.where(over, -np.inf, y).max(0)
        pooled = np.concatenate([largest, y.sum(0) / lengths[:, None].astype(np.float32)], 1)
        return (pooled @ self.weight.T + self.bias)[:, 0]

    def shares(self, sentence):
        """(tokens, what the rating loses when each is left out (T,))."""
        found = tokens(sentence)
        without = [found[:t] + found[t + 1 :] or ["."] for t in range(len(found))]
        ratings = self.rate_tokens([found, *without])
        return found, ratings[0] - ratings[1:]


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
    parser.add_argument("--int8", action="store_true", help="LSTM weights as 8-bit integers")
    parser.add_argument("--model", default=MODEL, help="another file by train.py")
    args = parser.parse_args(arguments)

    start = time.perf_counter()
    model = Sentiment(args.model, dtype="int8" if args.int8 else "float32")
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
            f"\n{model.lstm.dtype}: read in {loaded * 1e3:.0f} ms, "
            f"{taken / count * 1e6:.0f} microseconds a sentence, without PyTorch"
        )


if __name__ == "__main__":
    main()
