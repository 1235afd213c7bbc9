# SPDX-License-Identifier: MIT
"""The demo's character model, and sampling text from it.

V characters in the vocabulary, I numbers in the embedding of one, H hidden units:

    ids (T,) -> embedding (T, I) -> LSTM (T, H) -> head: logits (T, V)

The LSTM is fastlstm's; the embedding is an index and the head a NumPy product.
"""

import os
import re
import unicodedata
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastlstm

PREFIX = "model."  # of the state dict's names in the checkpoint
SENTENCE_END = re.compile(r"[a-z]{3}[.!?][\"')]*$")
MOST_MORE = 200  # characters that a text may be longer than asked, to end with its sentence
TYPOGRAPHY = str.maketrans(  # single and double quotation marks, dashes, tab
    {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2013: "-", 0x2014: "--", 9: " "}
)


class CharModel:
    """The model of a checkpoint that examples/charlm/train.py wrote.

    vocab       str of V characters; an id is a place in it
    embedding   (V, I) float32
    lstm        fastlstm.LSTM, on one thread
    weight      (V, H) float64 and bias (V,) float64: the head. In float64 the head's own rounding
                does not hide any of the LSTM's.
    parameters  how many weights the checkpoint holds

    LoadError if the file is not such a checkpoint.
    """

    def __init__(self, path: os.PathLike[str] | str) -> None:
        sd = fastlstm.read_state_dict(path)
        try:
            self.vocab = "".join(map(chr, sd[PREFIX + "vocab"]))
            self.embedding = np.asarray(sd[PREFIX + "embedding.weight"], np.float32)
            self.weight = sd[PREFIX + "head.weight"].astype(np.float64)
            self.bias = sd[PREFIX + "head.bias"].astype(np.float64)
        except KeyError as error:
            raise fastlstm.LoadError(
                f"{path}: no {error} in it; the demo runs checkpoints of examples/charlm/train.py"
            ) from None
        self.parameters = sum(v.size for k, v in sd.items() if k != PREFIX + "vocab")
        self.lstm = fastlstm.load(path, PREFIX + "lstm.", num_threads=1)

    def encode(self, text):
        """Ids (T,) of the characters the model knows: others lose their accents or are dropped.

        ValueError if none is left.
        """
        text = unicodedata.normalize("NFKD", text.translate(TYPOGRAPHY))
        ids = [self.vocab.index(ch) for ch in text if ch in self.vocab]
        if not ids:
            raise ValueError("--prime: the model knows none of its characters; try English text")
        return np.array(ids)

    def logits(self, y: np.ndarray[Any, Any]) -> NDArray[np.float64]:
        """The head: (..., H) -> (..., V), float64."""
        return y @ self.weight.T + self.bias


def write(model, prime, length, temperature, rng):
    """Yield ids one by one, each sampled from what the model says follows all before it.

    prime        ids (T,) that the text begins with; they are not yielded
    length       how many at the least; the text goes on to the end of its sentence, for MOST_MORE
                 characters at most
    temperature  the logits are divided by it; 0 takes the likeliest character
    rng          numpy.random.Generator
    """
    stream = model.lstm.stream()
    y = stream(model.embedding[prime])[-1:].copy()  # (1, H)
    text = ""
    while len(text) < length or (
        len(text) < length + MOST_MORE and not SENTENCE_END.search(text[-9:])
    ):
        logits = model.logits(y[0])
        if temperature == 0:
            k = int(np.argmax(logits))
        else:
            p = np.cumsum(np.exp((logits - logits.max()) / temperature))
            k = min(int(np.searchsorted(p, rng.random() * p[-1], side="right")), len(p) - 1)
        text += model.vocab[k]
        yield k
        stream.step(model.embedding[k : k + 1], out=y)
