# SPDX-License-Identifier: MIT
"""Trains the network of deploy.py anew, in a sixth of the demo's epochs.

    python train.py         # a minute or two of CPU; writes training.json, .cache/text/austen.pt

The demo's own checkpoint is what ../charlm/train.py makes in six epochs; one is enough to see it
learn. The novels are in Debian's r-cran-janeaustenr.
"""

import argparse
import importlib.util
import sys
import time
from pathlib import Path

from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "charlm")]

from common import report  # noqa: E402
from common.beside import beside_pytorch, progress, setup  # noqa: E402
from common.data import CACHE, Debian, archive, checked  # noqa: E402

from fastlstm.torch import accelerate  # noqa: E402

PACKAGE = Debian("r-cran-janeaustenr", "1.0.0-1")
FOLDER = "usr/lib/R/site-library/janeaustenr/data/"
FILES = {
    "Rdata.rdx": "cab8cbe4ce965d3b42b35c03383bafccc0eb78151f70e4748ead45270470c22f",
    "Rdata.rdb": "8fb5198960d0da724b1562f96e4221e5c1b41ff455000280b02c55980c3d8f21",
}
SEED, CHECKPOINT = 1775, CACHE / "text" / "austen.pt"


def charlm():
    """../charlm/train.py as a module."""
    spec = importlib.util.spec_from_file_location("charlm_train", HERE.parent / "charlm/train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    args = parser.parse_args()

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
    module.save(result, CACHE / "text", bits_per_character=bits)
    report.keep(
        args.out / "training.json",
        {"parameters": parameters, "cpu_seconds": seconds, "epochs": args.epochs,
         "bits_per_character": bits, **beside},
    )  # fmt: skip
    print(f"{bits:.3f} bits a character held out, {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
