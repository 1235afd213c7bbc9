# SPDX-License-Identifier: MIT
"""Trains the translator of deploy.py: an encoder, and a decoder with attention.

python train.py            # some minutes on two threads; writes encoder.safetensors,
                           # decoder.safetensors, pieces.txt and training.json
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import report  # noqa: E402
from common.beside import beside_pytorch, progress, set_rate, setup  # noqa: E402
from common.export import round_weights, save  # noqa: E402

from fastlstm.torch import accelerate  # noqa: E402
from translation.data import TRAIN, VALIDATION, encoded, learn_pieces, read_pairs  # noqa: E402
from translation.deploy import BEGIN, DECODER, ENCODER, END, PAD, PIECES, Pieces  # noqa: E402

SEED, BATCH, SIZE = 3, 64, 2400


class Network(nn.Module):
    """deploy.Translator's models as they are trained. source (S, B) and before (T, B) are numbers
    of pieces, PAD behind the end; the answer is the scores (T, B, V) of the piece after each of
    `before`."""

    def __init__(self, pieces, width=96, hidden=128, dropout=0.3):
        super().__init__()
        self.embedding = nn.Embedding(pieces, width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.encoder = nn.LSTM(width, hidden // 2, bidirectional=True)
        self.bridge = nn.Linear(hidden, hidden)
        self.decoder = nn.LSTM(width, hidden)
        self.keys = nn.Linear(hidden, hidden, bias=False)
        self.combine = nn.Linear(2 * hidden, width)
        self.bias = nn.Parameter(torch.zeros(pieces))  # scores: products with the embedding
        self.dropout = nn.Dropout(dropout)

    def forward(self, source, before):
        lengths = (source != PAD).sum(0)
        x = self.dropout(self.embedding(source))
        packed, (h, _) = self.encoder(pack_padded_sequence(x, lengths, enforce_sorted=False))
        memory, _ = pad_packed_sequence(packed)
        first = torch.tanh(self.bridge(torch.cat([h[0], h[1]], -1)))[None]
        y, _ = self.decoder(self.dropout(self.embedding(before)), (first, torch.zeros_like(first)))
        products = torch.einsum("tbh,sbh->tbs", y, self.keys(memory))
        products = products.masked_fill((source == PAD).T, -torch.inf)
        mixed = torch.einsum("tbs,sbh->tbh", products.softmax(-1), memory)
        out = torch.tanh(self.combine(self.dropout(torch.cat([y, mixed], -1))))
        return self.dropout(out) @ self.embedding.weight.T + self.bias


class Encoder(nn.Module):
    """What reads a text: ids (S,) -> memory and its keys (S, H), the decoder's first h."""

    def __init__(self, network):
        super().__init__()
        self.embedding, self.encoder = network.embedding, network.encoder
        self.keys, self.bridge = network.keys, network.bridge

    def forward(self, ids):
        memory, (h, _) = self.encoder(self.embedding(ids)[:, None])
        memory, last = memory[:, 0], torch.cat([h[0], h[1]], -1)
        return memory, self.keys(memory), torch.tanh(self.bridge(last))[None]


class Decoder(nn.Module):
    """What writes: before (T, B), the state and what was read -> log odds (T, B, V) of the piece
    after each, where it looked (T, B, S), and the next state."""

    def __init__(self, network):
        super().__init__()
        self.embedding, self.decoder = network.embedding, network.decoder
        self.combine, self.bias = network.combine, network.bias

    def forward(self, before, h, c, memory, keys):
        y, (h, c) = self.decoder(self.embedding(before), (h, c))
        looks = (y @ keys.T).softmax(-1)
        out = torch.tanh(self.combine(torch.cat([y, looks @ memory], -1)))
        scores = nn.functional.linear(out, self.embedding.weight, self.bias)
        return scores.log_softmax(-1), looks, h, c


FREE = {
    "ids": {0: "read"}, "memory": {0: "read"}, "keys": {0: "read"},
    "before": {0: "steps", 1: "rows"}, "h": {1: "rows"}, "c": {1: "rows"},
    "logs": {0: "steps", 1: "rows"}, "looks": {0: "steps", 1: "rows", 2: "read"},
    "next_h": {1: "rows"}, "next_c": {1: "rows"},
}  # fmt: skip


@torch.no_grad()
def deployed(network):
    """{a file's name: (module, an example call's arguments, names of inputs, of outputs)}"""
    encoder, decoder = Encoder(network).eval(), Decoder(network).eval()
    ids, before = torch.arange(5), torch.zeros(1, 2, dtype=torch.int64)
    memory, keys, h = encoder(ids)
    h = h.repeat(1, 2, 1)  # two rows
    said = before, h, torch.zeros_like(h), memory, keys
    return {
        ENCODER.name: (encoder, (ids,), ["ids"], ["memory", "keys", "h"]),
        DECODER.name: (
            decoder, said, ["before", "h", "c", "memory", "keys"],
            ["logs", "looks", "next_h", "next_c"],
        ),
    }  # fmt: skip


def keep(network, letters, merges, folder):
    """Writes what deploy.py reads; the network's weights must be numbers of float16."""
    for name, parts in deployed(network).items():
        save(folder / name, *parts, FREE)
    lines = [letters, *(" ".join(pair) for pair in merges)]
    (folder / PIECES.name).write_text("\n".join(lines) + "\n", "utf-8")


def loss_of(model, batch):
    source, target, languages = batch
    before = torch.cat([languages[None], target[:-1]])
    scores = model(source, before)
    smoothing = 0.1 if model.training else 0.0
    return nn.functional.cross_entropy(
        scores.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=smoothing
    )


def padded(rows):
    """Rows of numbers as columns (longest, len(rows))."""
    found = np.full((max(map(len, rows)), len(rows)), PAD)
    for b, row in enumerate(rows):
        found[: len(row), b] = row
    return torch.from_numpy(found)


def batch_of(rows):
    """rows: [(language, ids, ids of the translation)]"""
    source = padded([[BEGIN[to], *ids, END] for to, ids, _ in rows])
    return source, padded([ids for *_, ids in rows]), torch.tensor([BEGIN[to] for to, *_ in rows])


def epoch_of(rows, rng):
    """Batches of translations of about equal lengths, in a random order."""
    order = sorted(rng.permutation(len(rows)), key=lambda i: len(rows[i][2]))
    batches = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    return [batch_of([rows[i] for i in batches[n]]) for n in rng.permutation(len(batches))]


def train(model, rows, validation, args, rng):
    accelerate(model)
    optimizer = torch.optim.Adam(model.parameters(), args.rate, betas=(0.9, 0.98))
    total, done, history = args.epochs * math.ceil(len(rows) / BATCH), 0, []
    for epoch in range(1, args.epochs + 1):
        losses = []
        for batch in progress(epoch_of(rows, rng), f"epoch {epoch}"):
            set_rate(optimizer, args.rate, done, total, warm=300)
            optimizer.zero_grad()
            loss = loss_of(model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            done += 1
            losses.append(loss.item())
        model.eval()
        with torch.inference_mode():
            held = loss_of(model, validation).item()
        model.train()
        history.append({"loss": float(np.mean(losses)), "validation": held})
        if epoch % 5 == 0 or epoch == args.epochs:
            print(f"epoch {epoch}: loss {np.mean(losses):.3f}, validation {held:.3f}", flush=True)
    return history


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rate", type=float, default=3e-3, help="Adam's, falls along a cosine")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()

    setup(SEED, threads=2)
    pairs = read_pairs()
    known = [p for p in pairs if p.part == TRAIN]
    letters, merges = learn_pieces([t for p in known for t in (p.english, p.translation)], SIZE)
    pieces = Pieces(letters, merges)
    rows = encoded(known, pieces)
    validation = batch_of(encoded([p for p in pairs if p.part == VALIDATION], pieces))
    spoken = sum(p.spoken for p in known)
    print(f"{len(known)} translations to learn from, {spoken} of them spoken prompts")
    rng = np.random.default_rng(SEED)
    model = Network(len(pieces.pieces))
    beside = beside_pytorch(model, loss_of, epoch_of(rows, rng)[:40], args.rate)
    start = time.process_time()
    history = train(model, rows, validation, args, rng)
    seconds = time.process_time() - start
    network = Network(len(pieces.pieces))
    network.load_state_dict(model.state_dict())
    round_weights(network)
    keep(network, letters, merges, args.out)
    parameters = sum(p.numel() for p in model.parameters())
    pairs = {"pairs": len(known), "spoken": spoken}
    report.keep(
        args.out / "training.json",
        {"parameters": parameters, "cpu_seconds": seconds, **pairs, "history": history, **beside},
    )
    print(f"{parameters:,} parameters, {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
