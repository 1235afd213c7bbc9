# SPDX-License-Identifier: MIT
"""The trained network, taught more by one speaker's few utterances, to be tested on another's.

python adapt.py            # a minute of CPU, a process for each of two speakers; models in .cache
"""

import itertools
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common.beside import progress, set_rate, setup  # noqa: E402
from common.data import CACHE  # noqa: E402
from common.export import weights_of  # noqa: E402

from fastlstm.torch import accelerate  # noqa: E402
from speech.data import Utterance, people, recorded, synthesised, tidigits  # noqa: E402
from speech.deploy import COSINES, MODEL, WORDS  # noqa: E402
from speech.train import SEED, Network, batch_of, keep, loss_of  # noqa: E402

UPDATES, RATE = 300, 1.5e-3


def path_of(speaker):
    return CACHE / f"speech-{speaker}.safetensors"


def adapt(speaker, own, others):
    """Half of each batch is the speaker's, in other throats and paces, half is as before."""
    setup(SEED)
    rng, network, weights = np.random.default_rng(SEED), Network(), weights_of(MODEL)
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    mean, scale = weights["centre"].numpy(), weights["scale"].numpy()
    accelerate(network)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    for n in progress(range(UPDATES), speaker):
        set_rate(optimizer, RATE, n, UPDATES)
        chosen = [pool[k] for pool in (own, others) for k in rng.integers(0, len(pool), 16)]
        optimizer.zero_grad()
        loss_of(network, batch_of(chosen, mean, scale, rng)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    keep(network.state_dict(), mean, scale, path_of(speaker))


def main():
    rng = np.random.default_rng(SEED + 3)
    others = synthesised(400, people()[0], rng) + recorded(200, rng)
    own = {}
    for speaker, said, cepstra, _ in tidigits():
        # Cepstra are bands without their finest detail: bands of them can be stretched as well.
        utterance = Utterance(cepstra @ COSINES.T, [WORDS.index(word) for word in said])
        own.setdefault(speaker, []).append(utterance)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(own), spawn) as pool:
        list(pool.map(adapt, own, own.values(), itertools.repeat(others)))


if __name__ == "__main__":
    main()
