# SPDX-License-Identifier: MIT
"""Trains the network of deploy.py anew, in a sixth of the demo's epochs.

    python train.py         # a minute or two of CPU; training.json, .cache/text/model.safetensors
    python train.py --demo  # model.safetensors, of the demo's checkpoint: nothing is trained

The demo's checkpoint is what ../charlm/train.py makes in six epochs; one is enough to see it learn.
The novels are in Debian's r-cran-janeaustenr.
"""

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "charlm")]

from common import report  # noqa: E402
from common.beside import beside_pytorch, progress, setup  # noqa: E402
from common.data import CACHE, Debian, archive, checked  # noqa: E402
from common.export import save  # noqa: E402

import fastlstm  # noqa: E402
from fastlstm.torch import accelerate  # noqa: E402

PACKAGE = Debian("r-cran-janeaustenr", "1.0.0-1")
FOLDER = "usr/lib/R/site-library/janeaustenr/data/"
FILES = {
    "Rdata.rdx": "cab8cbe4ce965d3b42b35c03383bafccc0eb78151f70e4748ead45270470c22f",
    "Rdata.rdb": "8fb5198960d0da724b1562f96e4221e5c1b41ff455000280b02c55980c3d8f21",
}
SEED, TRAINED = 1775, CACHE / "text" / "model.safetensors"
DEMO = Path(fastlstm.__file__).parent / "demo" / "data" / "austen.pt"


def charlm():
    """../charlm/train.py as a module."""
    spec = importlib.util.spec_from_file_location("charlm_train", HERE.parent / "charlm/train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def network_of(path):
    """The network of a checkpoint by ../charlm/train.py."""
    weights = torch.load(path, weights_only=True)["model"]
    network = charlm().CharModel()
    network.load_state_dict({name: array.to(network.state_dict()[name].dtype)
                             for name, array in weights.items()})  # fmt: skip
    return network


class Step(nn.Module):
    """The network with its state as tensors of their own: ids (T, B), h and c (1, B, H) -> scores
    (T, B, letters), the next h and c."""

    def __init__(self, network):
        super().__init__()
        self.embedding, self.lstm, self.head = network.embedding, network.lstm, network.head

    def forward(self, ids, h, c):
        y, (h, c) = self.lstm(self.embedding(ids), (h, c))
        return self.head(y), h, c


def deployed(network):
    """(the Step, an example call's arguments, names of its inputs, of its outputs, free axes)"""
    zeros = torch.zeros(network.lstm.num_layers, 2, network.lstm.hidden_size)
    arguments = torch.zeros(3, 2, dtype=torch.int64), zeros, zeros
    inputs, outputs = ["ids", "h", "c"], ["scores", "next_h", "next_c"]
    free = {name: {1: "rows"} for name in (*inputs, *outputs)}
    free["ids"][0] = free["scores"][0] = "letters"
    return Step(network), arguments, inputs, outputs, free


def novels():
    """The folder with the two files, as charlm's reader takes it."""
    folder, files = CACHE / "text", archive(PACKAGE)
    for name, sha256 in FILES.items():
        path = folder / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(checked(files[FOLDER + name], sha256, name))
    return folder


def loss_of(model, chunk):
    """Of letters (T + 1, B): each from those before it."""
    logits, _ = model(chunk[:-1])
    return F.cross_entropy(logits.flatten(0, 1), chunk[1:].flatten())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--demo", action="store_true", help="the demo's network, not trained anew")
    args = parser.parse_args()
    if args.demo:
        save(args.out / "model.safetensors", *deployed(network_of(DEMO)))
        return

    setup(SEED)
    module = charlm()
    ids, held = module.split_novels(novels())
    model = module.CharModel()
    parameters = sum(p.numel() for p in model.parameters())
    text = module.columns(ids, 16)
    first = [text[at : at + 65] for at in range(0, 64 * 30, 64)]
    beside = beside_pytorch(model, loss_of, first, 3e-3)
    accelerate(model)
    options = argparse.Namespace(
        seed=SEED, batch=16, steps=64, epochs=args.epochs, rate=3e-3, clip=1.0, rounded=0.3
    )
    start = time.process_time()
    module.train(model, ids, held, options, progress)
    seconds = time.process_time() - start
    module.round_weights(model)
    result = module.CharModel()
    result.load_state_dict(model.state_dict())
    bits = module.bits_per_character(result, held)
    save(TRAINED, *deployed(result))
    report.keep(
        args.out / "training.json",
        {"parameters": parameters, "cpu_seconds": seconds, "epochs": args.epochs,
         "bits_per_character": bits, **beside},
    )  # fmt: skip
    print(f"{bits:.3f} bits a character held out, {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
