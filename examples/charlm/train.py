# SPDX-License-Identifier: MIT
"""Train the character model that `fastlstm demo` runs: Jane Austen, one letter at a time.

    apt-get download r-cran-janeaustenr
    python train.py r-cran-janeaustenr_*.deb --out ../../fastlstm/demo/data

It writes two files: austen.pt, by torch.save, and austen_logits.npz, what PyTorch itself computes
for a fixed text, which the demo compares fastlstm with. While it trains, the LSTM runs through
fastlstm.torch.accelerate; the numbers in austen_logits.npz are torch.nn.LSTM's. One thread
throughout; seeds are fixed, though sums differ in the last bit from one CPU or PyTorch to another,
and so will the text.
"""

import argparse
import contextlib
import math
import re
import time
import unicodedata
from pathlib import Path

import numpy as np
import torch
from austen import read_novels
from torch import nn
from torch.nn import functional as F

from fastlstm.torch import accelerate

VOCAB = "\n !\"'(),-.0123456789:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PRIME = "It is a truth universally acknowledged, that"
HEADING = re.compile(r"(volume|chapter) [ivxl\d]+\b|(finis|the end)\W*$", re.IGNORECASE)
HELD_OUT = 0.04  # of each novel, at its end
REFERENCE_STEPS = 400
GRID = 1 / 8  # the weights of the file are whole multiples of it, so that a wheel packs them well


def fold(text):
    """Only characters of VOCAB: accents, emphasis marks and the rare rest are dropped."""
    text = unicodedata.normalize("NFKD", text.replace("&", "and"))
    return "".join(ch for ch in text if ch in VOCAB)


def novel_text(lines):
    """One paragraph a line, line breaks of the print undone, headings and front matter gone."""
    blocks = re.split(r"\n\s*\n", "\n".join(lines))
    paragraphs = [" ".join(fold(block).split()) for block in blocks]
    headings = [n for n, p in enumerate(paragraphs) if HEADING.match(p)]
    body = paragraphs[headings[0] :]
    if "A NOTE ON THE TEXT" in body:  # an editor's, after Northanger Abbey
        body = body[: body.index("A NOTE ON THE TEXT")]
    return "\n".join(p for p in body if p and not HEADING.match(p)) + "\n"


def split_novels(source):
    """Training text and held-out text, as arrays of ids."""
    train, held = [], []
    for lines in read_novels(source).values():
        text = novel_text(lines)
        cut = text.index("\n", int(len(text) * (1 - HELD_OUT))) + 1
        train.append(text[:cut])
        held.append(text[cut:])
    return encode("".join(train)), encode("".join(held))


def encode(text):
    return torch.tensor([VOCAB.index(ch) for ch in text])


class CharModel(nn.Module):
    def __init__(self, embedding=24, hidden=192, layers=1):
        super().__init__()
        # The vocabulary as code points, beside the weights: a reader of tensors finds it there.
        self.register_buffer("vocab", torch.tensor([ord(ch) for ch in VOCAB], dtype=torch.int32))
        self.embedding = nn.Embedding(len(VOCAB), embedding)
        self.lstm = nn.LSTM(embedding, hidden, num_layers=layers)
        self.head = nn.Linear(hidden, len(VOCAB))

    def forward(self, ids, state=None):  # ids (T, B) -> logits (T, B, V)
        y, state = self.lstm(self.embedding(ids), state)
        return self.head(y), state


def columns(ids, batch):
    """(N, batch): the text cut into `batch` long runs, read side by side."""
    n = len(ids) // batch
    return ids[: n * batch].view(batch, n).t().contiguous()


@torch.inference_mode()
def bits_per_character(model, ids, batch=8, steps=256):
    model.eval()
    ids, state, nats = columns(ids, batch), None, 0.0
    for at in range(0, len(ids) - 1, steps):
        chunk = ids[at : at + steps + 1]
        logits, state = model(chunk[:-1], state)
        loss = F.cross_entropy(logits.flatten(0, 1), chunk[1:].flatten(), reduction="sum")
        nats += loss.item()
    model.train()
    return nats / math.log(2) / ((len(ids) - 1) * batch)


@torch.no_grad()
def round_weights(model):
    """Round to what the file will hold: matrices to multiples of GRID, biases to float16."""
    for p in model.parameters():
        p.copy_((p / GRID).round() * GRID if p.dim() > 1 else p.half())


@contextlib.contextmanager
def rounded(model):
    """Within it the model has rounded weights; after it those it had before."""
    exact = [p.detach().clone() for p in model.parameters()]
    round_weights(model)
    try:
        yield
    finally:
        with torch.no_grad():
            for p, before in zip(model.parameters(), exact, strict=True):
                p.copy_(before)


def train(model, ids, held, args, progress=lambda items, text: items):
    """progress(items, text) gives the items, and may show how far they are."""
    rng = torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    rows = args.batch
    per_epoch = math.ceil(((len(ids) - args.steps) // rows - 1) / args.steps)
    total, warm, done, start = args.epochs * per_epoch, 200, 0, time.process_time()
    for epoch in range(1, args.epochs + 1):
        offset = int(torch.randint(args.steps, (), generator=rng))
        text = columns(ids[offset : len(ids) - args.steps + offset], rows)
        state, nats = None, 0.0
        for at in progress(range(0, len(text) - 1, args.steps), f"epoch {epoch}"):
            chunk = text[at : at + args.steps + 1]
            rate = min(1, (done + 1) / warm) * (1 + math.cos(math.pi * done / total)) / 2
            for group in optimizer.param_groups:
                group["lr"] = args.rate * rate
            optimizer.zero_grad()
            # In the last part of the training the loss and its gradient are those of the rounded
            # weights, while the optimizer's small steps add up in weights that are not rounded.
            last = done >= (1 - args.rounded) * total
            with rounded(model) if last else contextlib.nullcontext():
                logits, state = model(chunk[:-1], state)
                loss = F.cross_entropy(logits.flatten(0, 1), chunk[1:].flatten())
                loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), args.clip)
            optimizer.step()
            # Truncated back-propagation: the state goes on, the gradient does not. Now and then a
            # row starts afresh, because sampling starts from zeros too.
            keep = (torch.rand(1, rows, 1, generator=rng) > 0.02).float()
            state = tuple(s.detach() * keep for s in state)
            nats, done = nats + loss.item(), done + 1
        with rounded(model) if last else contextlib.nullcontext():
            bits = bits_per_character(model, held)
        print(
            f"epoch {epoch:2d}/{args.epochs}  train {nats / per_epoch / math.log(2):.4f}  "
            f"held-out {bits:.4f} bits/character{', rounded' if last else ''}  "
            f"{(time.process_time() - start) / 60:.1f} min of CPU",
            flush=True,
        )


@torch.inference_mode()
def sample(model, prime, length, temperature, seed):
    """The prime and what follows it; ids of both as one (T,) tensor."""
    rng = torch.Generator().manual_seed(seed)
    ids = encode(prime)
    logits, state = model(ids[:, None])
    for _ in range(length):
        p = F.softmax(logits[-1, 0] / temperature, dim=-1)
        ids = torch.cat([ids, torch.multinomial(p, 1, generator=rng)])
        logits, state = model(ids[-1:, None], state)
    return ids


@torch.inference_mode()
def save(model, out, **figures):
    """Write the two files.

    The reference holds, for each character of a fixed text but the first, its logit after the text
    before it: from an LSTM in float32, and again from one in float64, from which float32's rounding
    can be read. The head is float64 in both, so that the difference is that of the LSTM alone.
    """
    model.eval()
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    torch.save({"vocab": VOCAB, "model": weights, **figures}, out / "austen.pt")
    ids = sample(model, PRIME, REFERENCE_STEPS - len(PRIME), 0.7, seed=0)
    x = model.embedding(ids[:-1, None])
    y, exact = model.lstm(x)[0].double(), model.lstm.double()(x.double())[0]
    following = ids[1:, None]
    y, exact = (model.head.double()(each)[:, 0].gather(1, following) for each in (y, exact))
    np.savez(
        out / "austen_logits.npz",
        ids=ids.numpy().astype(np.int32),
        logits=y[:, 0].numpy(),
        exact=exact[:, 0].numpy(),
        torch=np.array(torch.__version__),
    )
    for file in ("austen.pt", "austen_logits.npz"):
        print(f"{file}: {(out / file).stat().st_size:,} bytes")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("source", help="r-cran-janeaustenr_*.deb, or the folder it was unpacked to")
    p.add_argument("--out", type=Path, default=Path("."), help="where the two files go")
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--batch", type=int, default=16, help="runs of text side by side")
    p.add_argument("--steps", type=int, default=64, help="characters between updates")
    p.add_argument("--rate", type=float, default=3e-3, help="Adam's rate before its decay")
    p.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient")
    p.add_argument("--rounded", type=float, default=0.3, help="part of the training, at its end")
    p.add_argument("--seed", type=int, default=1775)
    args = p.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    ids, held = split_novels(args.source)
    model = CharModel()
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(ids):,} characters, {len(held):,} held out; {parameters:,} parameters", flush=True)
    accelerate(model)
    train(model, ids, held, args)
    print(f"held-out: {bits_per_character(model, held):.4f} bits/character before rounding")
    round_weights(model)
    result = CharModel()  # with a torch.nn.LSTM
    result.load_state_dict(model.state_dict())
    bits = bits_per_character(result, held)
    print(f"held-out: {bits:.4f} bits/character\n")
    print("".join(VOCAB[i] for i in sample(result, PRIME, 1000, 0.7, seed=1).tolist()))
    save(result, args.out, bits_per_character=bits)


if __name__ == "__main__":
    main()
