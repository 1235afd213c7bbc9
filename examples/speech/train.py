# SPDX-License-Identifier: MIT
"""Teaches two LSTM layers to hear digits, from synthesised voices and one recorded one.

python train.py            # some minutes on two threads; writes model.safetensors, training.json
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import report  # noqa: E402
from common.beside import beside_pytorch, progress, set_rate, setup  # noqa: E402
from common.export import round_weights, save  # noqa: E402

from fastlstm.torch import accelerate  # noqa: E402
from speech.data import (  # noqa: E402
    cepstra_of,
    people,
    recorded,
    synthesised,
    warped,
    word_by_word,
)
from speech.deploy import BLANK, CEPSTRA, PAIR, STATE, WORDS, best_path  # noqa: E402

SEED, BATCH, WORD_BY_WORD, FLUENT, ALLISONS = 11, 32, 1200, 800, 400
START, LONGEST = 30, 300  # frames that the first mean counts for; over which it forgets


class Network(nn.Module):
    """deploy.Recogniser's network as it is trained: x (T, B, 26), pairs of frames less their
    running mean -> scores (T, B, 12)."""

    def __init__(self, hidden=96, dropout=0.2):
        super().__init__()
        self.lstm = nn.LSTM(PAIR * CEPSTRA, hidden, num_layers=2)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, len(WORDS) + 1)

    def forward(self, x):
        return self.head(self.dropout(self.lstm(x)[0]))


class Step(nn.Module):
    """What is deployed: frames (2, B, 13) as they come and the state -> scores (B, 12) and the next
    state, of which every part starts as zeros.

    mean    the running mean (B, 13) of the cepstra, less the training set's
    count   how many frames it is of (B, 1)
    h, c    the LSTMs'
    """

    def __init__(self, network, mean, scale):
        super().__init__()
        self.lstm, self.head = network.lstm, network.head
        self.register_buffer("centre", torch.as_tensor(mean))
        self.register_buffer("scale", torch.as_tensor(scale))

    def forward(self, frames, mean, count, h, c):
        rows = []
        for frame in (frames - self.centre).unbind():
            count = (count + 1).clamp(max=LONGEST - START)
            mean = mean + (frame - mean) / (count + START)
            rows.append((frame - mean) / self.scale)
        y, (h, c) = self.lstm(torch.cat(rows, -1)[None], (h, c))
        return self.head(y)[0], mean, count, h, c


def deployed(network, mean, scale):
    """(the Step, an example call's arguments, names of its inputs, of its outputs, free axes)"""
    step, layers, rows = Step(network, mean, scale).eval(), network.lstm.num_layers, 2
    zeros = torch.zeros(layers, rows, network.lstm.hidden_size)
    frames, running = torch.zeros(PAIR, rows, CEPSTRA), torch.zeros(rows, CEPSTRA)
    arguments = frames, running, torch.zeros(rows, 1), zeros, zeros
    inputs = ["frames", *STATE]
    outputs = ["scores", *STATE.values()]
    names = [*inputs, *outputs]
    free = {n: {1 if n in ("frames", "h", "c", "next_h", "next_c") else 0: "rows"} for n in names}
    return step, arguments, inputs, outputs, free


def keep(state, mean, scale, path):
    """Writes what deploy.py reads, of a trained network's state dict."""
    network = Network()
    network.load_state_dict(state)
    round_weights(network)
    save(path, *deployed(network, mean, scale))


class Normalizer:
    """Cepstra less their running mean, as Step has it, of any number of rows in NumPy."""

    def __init__(self, mean, scale):
        self.mean, self.scale, self.count = np.array(mean, np.float64), scale, START

    def step(self, cepstra):
        self.count = min(self.count + 1, LONGEST)
        self.mean += (cepstra - self.mean) / self.count
        return (cepstra - self.mean) / self.scale


def loss_of(model, batch):
    """CTC: the words in their order, wherever they are."""
    x, lengths, words, counts = batch
    scores = model(x).log_softmax(-1)
    return nn.functional.ctc_loss(scores, words, lengths, counts, BLANK, zero_infinity=True)


def label_loss_of(model, batch):
    """Cross-entropy of the words' last parts, at their known times; the rest is blank, and counts
    for less, since there is more of it."""
    x, labels = batch
    weights = torch.ones(len(WORDS) + 1)
    weights[BLANK] = 0.3
    scores = model(x).flatten(0, 1)
    return nn.functional.cross_entropy(scores, labels.flatten(), weights)


def batch_of(utterances, mean, scale, rng=None):
    """Utterances as tensors: (x, lengths, words, counts of words); with rng each in another voice,
    pace and room."""
    if rng is not None:
        utterances = [warped(said, rng) for said in utterances]
    mels = [said.mel for said in utterances]
    lengths = np.array([len(mel) // PAIR for mel in mels])
    longest = lengths.max() * PAIR
    cepstra = np.zeros((longest, len(mels), CEPSTRA))
    for b, mel in enumerate(mels):
        own = cepstra_of(mel)[:longest]
        cepstra[: len(own), b] = own
        cepstra[len(own) :, b] = own[-1]
    step = Normalizer(np.tile(mean, (len(mels), 1)), scale).step
    rows = np.array([step(frame) for frame in cepstra], np.float32)
    x = rows.reshape(-1, PAIR, len(mels), CEPSTRA).transpose(0, 2, 1, 3)
    x = torch.from_numpy(np.ascontiguousarray(x.reshape(len(x), len(mels), -1)))
    words = [torch.tensor(said.words) for said in utterances]
    return (
        x,
        torch.from_numpy(lengths),
        nn.utils.rnn.pad_sequence(words, batch_first=True),
        torch.tensor([len(w) for w in words]),
    )


def labelled(utterances, mean, scale, rng):
    """The same with a label for each step in place of the words: (x, labels (T, B))."""
    utterances = [warped(said, rng) for said in utterances]
    x = batch_of(utterances, mean, scale)[0]
    labels = np.full(x.shape[:2], BLANK)
    for b, said in enumerate(utterances):
        own = said.labels[PAIR - 1 :: PAIR][: len(x)]
        labels[: len(own), b] = own
    return x, torch.from_numpy(labels)


def distance(a, b):
    """Words to insert, delete or exchange to make a of b."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


@torch.inference_mode()
def error_rate(model, utterances, mean, scale):
    """Wrong words per word, in percent."""
    model.eval()
    x, lengths, _, _ = batch_of(utterances, mean, scale)
    classes = model(x).argmax(-1).numpy()
    model.train()
    wrong = sum(
        distance(said.words, best_path(classes[: lengths[b], b]))
        for b, said in enumerate(utterances)
    )
    return 100 * wrong / sum(len(said.words) for said in utterances)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--updates", type=int, default=2500)
    parser.add_argument("--rate", type=float, default=3e-3, help="Adam's, falls along a cosine")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()

    setup(SEED, threads=2)
    rng = np.random.default_rng(SEED)
    seen, unseen = people()
    alone, own = word_by_word(WORD_BY_WORD, seen, rng), recorded(ALLISONS, rng)
    fluent, validation = synthesised(FLUENT, seen, rng), synthesised(100, unseen, rng)
    every = np.concatenate([cepstra_of(said.mel) for said in alone + own + fluent])
    mean, scale = every.mean(0).astype(np.float32), every.std(0).astype(np.float32)
    print(f"{len(every) / 6000:.0f} minutes of speech", flush=True)

    def draw(pools, make):
        """A batch of utterances, so many of each pool, in other voices each time."""
        chosen = [pool[k] for pool, n in pools for k in rng.integers(0, len(pool), n)]
        return make(chosen, mean, scale, rng)

    third = BATCH // 3
    # First when each word is over, which is quick to learn; then CTC, which also learns from words
    # that run into one another.
    timed = (label_loss_of, labelled, [(alone, BATCH - third), (own, third)])
    free = (loss_of, batch_of, [(alone, third), (own, third), (fluent, BATCH - 2 * third)])

    model = Network()
    beside = beside_pytorch(model, loss_of, [draw(free[2], batch_of) for _ in range(20)], args.rate)
    accelerate(model)
    optimizer = torch.optim.Adam(model.parameters(), args.rate)
    start, history, recent = time.process_time(), [], []
    for n in progress(range(args.updates), "updates"):
        set_rate(optimizer, args.rate, n, args.updates, warm=50)
        optimizer.zero_grad()
        loss_function, make, pools = timed if n < args.updates * 0.4 else free
        loss = loss_function(model, draw(pools, make))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent.append(loss.item())
        if (n + 1) % 250 == 0 or n + 1 == args.updates:
            wrong = error_rate(model, validation, mean, scale)
            history.append({"update": n + 1, "loss": float(np.mean(recent)), "wrong": wrong})
            print(
                f"{n + 1}: loss {np.mean(recent):.3f}, {wrong:.1f} % wrong in voices unheard",
                flush=True,
            )
            recent = []
    seconds = time.process_time() - start
    keep(model.state_dict(), mean, scale, args.out / "model.safetensors")
    parameters = sum(p.numel() for p in model.parameters())
    report.keep(
        args.out / "training.json",
        {"parameters": parameters, "cpu_seconds": seconds, "history": history, **beside},
    )
    print(f"{parameters:,} parameters, {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
