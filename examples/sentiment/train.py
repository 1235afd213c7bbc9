# SPDX-License-Identifier: MIT
"""Trains the sentence rater of deploy.py on what people said of 23,619 sentences.

    python train.py            # half a minute of CPU; writes model.safetensors, words.json
                           # and training.json

The data are in the source distribution of vaderSentiment 3.3.2 (data.py).
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import export, report  # noqa: E402
from common.beside import beside_pytorch, progress, set_rate, setup  # noqa: E402

from fastlstm.torch import accelerate  # noqa: E402
from sentiment.data import TEST, TRAIN, VALIDATION, read_lexicon, read_sentences  # noqa: E402
from sentiment.deploy import MODEL, WORDS, Vocabulary, tokens  # noqa: E402

SEED, BATCH = 2014, 64


class Network(nn.Module):
    """As it is trained: ids (T, B), features (T, B, 3) and lengths (B,) -> ratings (B,)."""

    def __init__(self, words, embedding=24, hidden=64, dropout=(0.5, 0.5)):
        super().__init__()
        self.embedding = nn.Embedding(words + 1, embedding)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.lstm = nn.LSTM(embedding + 3, hidden, bidirectional=True)
        self.head = nn.Linear(4 * hidden, 1)
        self.drop_inputs, self.drop_outputs = nn.Dropout(dropout[0]), nn.Dropout(dropout[1])

    def forward(self, ids, features, lengths):
        x = torch.cat([self.drop_inputs(self.embedding(ids)), features], -1)
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        y, _ = pad_packed_sequence(self.lstm(packed)[0])
        over = (torch.arange(len(y))[:, None] >= lengths)[..., None]
        largest = y.masked_fill(over, -torch.inf).amax(0)
        pooled = torch.cat([largest, y.sum(0) / lengths[:, None]], -1)
        return self.head(self.drop_outputs(pooled))[:, 0]


class Rater(nn.Module):
    """What deploy.py runs: ids (B, T) and features (B, T, 3) of sentences of one length -> ratings
    (B,)."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, ids, features):
        x = torch.cat([self.network.embedding(ids), features], -1).transpose(0, 1)
        y, _ = self.network.lstm(x)
        return self.network.head(torch.cat([y.amax(0), y.mean(0)], -1))[:, 0]


def deployed(rater):
    """What common.export takes: any number of sentences of any one length."""
    both = {0: "sentences", 1: "tokens"}
    free = {"ids": both, "features": both, "rating": {0: "sentences"}}
    example = torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 2, 3)
    return rater, example, ["ids", "features"], ["rating"], free


class Batches:
    """Sentences as tensors; training batches are of about equal lengths, in a random order."""

    def __init__(self, sentences, vocabulary):
        self.rows = [tokens(s.text) for s in sentences]
        self.ids = [vocabulary.ids(row) for row in self.rows]
        self.features = [vocabulary.features(row) for row in self.rows]
        self.lengths = np.array([len(row) for row in self.rows])
        self.ratings = np.array([s.rating for s in sentences], np.float32)
        self.rng = np.random.default_rng(SEED)

    def batch(self, chosen, forget=0.0):
        """(ids, features, lengths, ratings); `forget` of the words become unknown ones."""
        lengths = self.lengths[chosen]
        ids = np.zeros((lengths.max(), len(chosen)), np.int64)
        features = np.zeros((*ids.shape, 3), np.float32)
        for b, i in enumerate(chosen):
            ids[: lengths[b], b] = self.ids[i]
            features[: lengths[b], b] = self.features[i]
        ids[self.rng.random(ids.shape) < forget] = 0
        arrays = (ids, features, lengths, self.ratings[chosen])
        return tuple(torch.from_numpy(array) for array in arrays)

    def epoch(self, indices):
        """A list of arrays of indices, one for each batch."""
        order = self.rng.permutation(indices)
        chunks = np.array_split(order, max(1, len(order) // (20 * BATCH)))
        chunks = [c[np.argsort(self.lengths[c], kind="stable")] for c in chunks]
        batches = [c[at : at + BATCH] for c in chunks for at in range(0, len(c), BATCH)]
        return [batches[n] for n in self.rng.permutation(len(batches))]

    @torch.inference_mode()
    def rated(self, model, indices, batch=256):
        """The model's ratings of the sentences at the indices."""
        model.eval()
        found = [
            model(*self.batch(indices[at : at + batch])[:3]).numpy()
            for at in range(0, len(indices), batch)
        ]
        model.train()
        return np.concatenate(found)


def loss_of(model, batch):
    """Half the squared error below 1, the absolute error less a half above."""
    *inputs, ratings = batch
    return nn.functional.smooth_l1_loss(model(*inputs), ratings)


def vocabulary_of(sentences, lexicon, least):
    """Words that occur at least so often in the training set, the frequent first."""
    counts = Counter(t.lower() for s in sentences if s.part == TRAIN for t in tokens(s.text))
    words = [word for word, count in counts.most_common() if count >= least]
    return Vocabulary({word: row for row, word in enumerate(words, 1)}, lexicon)


def train(model, data, parts, args):
    accelerate(model)
    optimizer = torch.optim.AdamW(model.parameters(), args.rate, weight_decay=args.decay)
    total, done, history = args.epochs * len(data.epoch(parts[TRAIN])), 0, []
    for epoch in range(1, args.epochs + 1):
        losses = []
        for chosen in progress(data.epoch(parts[TRAIN]), f"epoch {epoch}"):
            set_rate(optimizer, args.rate, done, total, warm=100)
            optimizer.zero_grad()
            loss = loss_of(model, data.batch(chosen, args.forget))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            done += 1
            losses.append(loss.item())
        ratings = data.rated(model, parts[VALIDATION])
        r = np.corrcoef(ratings, data.ratings[parts[VALIDATION]])[0, 1]
        history.append({"loss": float(np.mean(losses)), "validation": float(r)})
        print(f"epoch {epoch}: loss {history[-1]['loss']:.3f}, validation r {r:.3f}", flush=True)
    return history


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=2e-3, help="Adam's, falls along a cosine")
    parser.add_argument("--decay", type=float, default=1e-2, help="of the weights")
    parser.add_argument("--forget", type=float, default=0.1, help="part of words made unknown")
    parser.add_argument("--least", type=int, default=3, help="occurrences of a word that is known")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()

    setup(SEED)
    lexicon, sentences = read_lexicon(), read_sentences()
    vocabulary = vocabulary_of(sentences, lexicon, args.least)
    data = Batches(sentences, vocabulary)
    part_of = np.array([s.part for s in sentences])
    parts = {part: np.flatnonzero(part_of == part) for part in (TRAIN, VALIDATION, TEST)}
    model = Network(len(vocabulary.words))
    parameters = sum(p.numel() for p in model.parameters())
    print({name: len(indices) for name, indices in parts.items()}, f"{parameters:,} parameters")

    first = [data.batch(chosen, args.forget) for chosen in data.epoch(parts[TRAIN])[:50]]
    beside = beside_pytorch(model, loss_of, first, args.rate)
    start = time.process_time()
    history = train(model, data, parts, args)
    seconds = time.process_time() - start

    export.round_weights(model)
    export.save(args.out / MODEL.name, *deployed(Rater(model)))
    report.keep(args.out / WORDS.name, {"words": list(vocabulary.words), "lexicon": lexicon})
    report.keep(
        args.out / "training.json",
        {"parameters": parameters, "cpu_seconds": seconds, "history": history, **beside},
    )
    print(f"{seconds:.0f} s of CPU; what was written is in {args.out}")


if __name__ == "__main__":
    main()
