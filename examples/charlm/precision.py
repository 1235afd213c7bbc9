# SPDX-License-Identifier: MIT
"""What fewer bits cost the demo's network: bits a character on the held-out text of train.py.

    python precision.py r-cran-janeaustenr_*.deb

The LSTM computes in each precision, the embedding and the head in float32 and float64.
"""

import argparse
from pathlib import Path

import numpy as np
from train import columns, split_novels

from fastlstm.demo import DATA
from fastlstm.demo.model import CharModel

BATCH, STEPS = 8, 256  # as train.py measures


def bits_per_character(model, lstm, ids):
    """ids (N, B): B runs of text, read side by side."""
    state, nats = None, 0.0
    for at in range(0, len(ids) - 1, STEPS):
        chunk = ids[at : at + STEPS + 1]
        y, state = lstm(model.embedding[chunk[:-1]], state)
        logits = model.logits(y)
        top = logits.max(-1, keepdims=True)
        total = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
        nats += float((total - np.take_along_axis(logits, chunk[1:, :, None], -1)[..., 0]).sum())
    return nats / np.log(2) / ((len(ids) - 1) * ids.shape[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of austen.pt")
    args = parser.parse_args()
    model = CharModel(args.data / "austen.pt")
    held_out = columns(split_novels(args.source)[1], BATCH).numpy()
    exact = bits_per_character(model, model.lstm, held_out)
    print(f"{held_out.size} characters")
    print(f"{'float32':20} {exact:.5f}")
    for dtype, inputs in (("float16", "int16"), ("bfloat16", "int16"), ("int8", "int16"),
                          ("int8", "int8")):  # fmt: skip
        found = bits_per_character(model, model.lstm.quantize(dtype, inputs), held_out)
        name = f"{dtype}, inputs {inputs}" if dtype == "int8" else dtype
        print(f"{name:20} {found:.5f} {found - exact:+.5f}")


if __name__ == "__main__":
    main()
