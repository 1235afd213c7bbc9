# SPDX-License-Identifier: MIT
"""The letter model beside counted letters (n-grams) and a compressor, on the ends of the novels.

python evaluate.py         # writes results.json, README's tables, the pictures, tests' outputs

The demo's model, and the one that train.py has just made.
"""

import lzma
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import pictures, report, timing  # noqa: E402
from common.scores import interval  # noqa: E402

from text.deploy import LETTERS, MODEL, Writer, encode  # noqa: E402
from text.train import DEMO, TRAINED, charlm, deployed, network_of, novels  # noqa: E402

BLOCK = 500  # letters that are drawn together
OF_RUN = "this LSTM, one epoch by train.py"
STRETCHES = 20  # of the held-out text, whose compressed sizes are told apart
SAMPLE = "She had been forced into prudence in her youth, she learned romance as she grew older."


def bits_of(writer, held, chunk=20000):
    """Bits (N,) for each letter of the held-out text, all letters before it read."""
    stream, found, last = writer.stream(), [], None
    for at in range(0, len(held), chunk):
        ids = held[at : at + chunk]
        scores = stream.step(ids[:, None])[:, 0].astype(np.float64)
        scores -= scores.max(1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        if last is not None:
            logs = np.concatenate([last, logs])
            ids = np.concatenate([held[at - 1 : at], ids])
        found.append(-logs[np.arange(len(ids) - 1), ids[1:]] / np.log(2))
        last = logs[-1:]
    return np.concatenate(found)


def counted(train, held, order, letters):
    """Bits (N,) of the n-gram model of that order (Witten and Bell's interpolation)."""

    def codes(ids, length):
        """Numbers of the stretches of `length` letters that end before or at each place."""
        total = np.zeros(len(ids) - length + 1, np.int64)
        for k in range(length):
            total = total * letters + ids[k : len(ids) - length + 1 + k]
        return total

    odds = np.full(len(held) - 1, 1 / letters)
    for before in range(order):
        stretches, counts = np.unique(codes(train, before + 1), return_counts=True)
        contexts = stretches // letters
        known, first, kinds = np.unique(contexts, return_index=True, return_counts=True)
        totals = np.add.reduceat(counts, first)
        asked = codes(held, before + 1)[max(0, 1 - before) :]
        start = len(odds) - len(asked)  # the first letters have no such context

        def look_up(table, values, keys):
            at = np.minimum(np.searchsorted(table, keys), len(table) - 1)
            return np.where(table[at] == keys, values[at], 0)

        count = look_up(stretches, counts, asked)
        total = look_up(known, totals, asked // letters)
        new = look_up(known, kinds, asked // letters)
        seen = total > 0
        mixed = (count + new * odds[start:]) / np.maximum(total + new, 1)
        odds[start:] = np.where(seen, mixed, odds[start:])
    return -np.log2(odds)


def compressed(train, held):
    """Bits a letter that xz needs for the held-out text after the training text, with an interval:
    of STRETCHES stretches, what each adds to all before it."""

    def size(end):
        ids = np.concatenate([train, held[:end]])
        return len(lzma.compress("".join(LETTERS[k] for k in ids).encode(), preset=6))

    ends = np.linspace(0, len(held), STRETCHES + 1).astype(int)
    with ThreadPoolExecutor(2) as pool:
        sizes = np.array(list(pool.map(size, ends)))
    bits, counts = 8 * np.diff(sizes), np.diff(ends)
    return interval(lambda i: bits[i].sum() / counts[i].sum(), STRETCHES)


def torch_scores(text):
    import torch

    with torch.inference_mode():
        return network_of(DEMO).eval()(torch.from_numpy(encode(text))[:, None])[0][:, 0].numpy()


def speed(text):
    """Microseconds for a letter: embedding, one step, scores."""
    import torch
    from common.peers import session

    parts, ids = deployed(network_of(DEMO)), encode(text * 5)
    step, onnx = parts[0].eval(), session(*parts)
    zeros = torch.zeros(1, 1, step.lstm.hidden_size)

    @torch.inference_mode()
    def torch_run():
        h, c = zeros, zeros
        for row in torch.from_numpy(ids):
            _, h, c = step(row[None, None], h, c)

    def onnx_run():
        h = c = zeros.numpy()
        for row in ids:
            _, h, c = onnx.run(None, {"ids": row[None, None], "h": h, "c": c})

    def fast(dtype):
        writer = Writer(dtype=dtype)

        def run():
            stream = writer.stream()
            for row in ids:
                stream.step(row[None, None])

        return run

    engines = {
        "fastlstm, float32": fast("float32"), "fastlstm, int8": fast("int8"),
        "ONNX Runtime": onnx_run, "PyTorch": torch_run,
    }  # fmt: skip
    engines = {name: timing.passes(run, len(ids)) for name, run in engines.items()}
    return {"what": "a letter", "engines": timing.microseconds(engines)}


def draw(writer):
    """A sentence of Persuasion: how surprising each letter was, for common.pictures."""
    bits = bits_of(writer, encode(SAMPLE))

    def drawn(plt, colours):
        figure, axis = plt.subplots(figsize=(9, 2.1), layout="constrained")
        axis.bar(range(1, len(SAMPLE)), bits)
        letters = SAMPLE.replace(" ", "\u00b7")
        axis.set_xticks(range(len(SAMPLE)), letters, fontsize=9)
        axis.set(xlim=(-1, len(SAMPLE)), ylabel="bits of surprise")
        axis.set_xlabel("letters of the sentence; \u00b7 is a space", fontsize=9)
        axis.tick_params(axis="x", length=0)
        return figure

    return drawn


def main():
    import torch

    if not TRAINED.exists():
        raise SystemExit(f"{TRAINED} is not there: run train.py first")
    torch.set_num_threads(1)
    train, held = (part.numpy() for part in charlm().split_novels(novels()))
    writers = {dtype: Writer(dtype=dtype) for dtype in ("float32", "int8")}
    bits = {f"this LSTM, {dtype}": bits_of(writer, held) for dtype, writer in writers.items()}
    bits[OF_RUN] = bits_of(Writer(TRAINED), held)
    for order in (3, 5, 7):
        bits[f"{order}-grams"] = counted(train, held, order, len(LETTERS))
    rows = {
        who: {"held out": interval(lambda i, b=b: b[i].mean(), len(b), BLOCK, draws=300)}
        for who, b in bits.items()
    }
    rows["xz"] = {"held out": compressed(train, held)}
    exact = torch_scores(SAMPLE)
    text = "".join(LETTERS[k] for k in held[:4000])
    long = torch_scores(text)
    table = {"better": "lower", "digits": 3, "rows": rows}
    results = {
        "verdict": report.verdict("bits a letter of unread text", table, "held out"),
        "scores": {"bits a letter": table},
        "row_of_run": OF_RUN,
        "letters": {"train": len(train), "held_out": len(held)},
        "training": report.read(HERE, "training.json"),
        "deployed": {
            "file_kb": MODEL.stat().st_size / 1e3,
            **{f"{dtype}_difference": float(np.abs(writer.scores(text) - long).max())
               for dtype, writer in writers.items()},
        },
        "speed": speed(SAMPLE),
        "installed_mb": timing.installed("fastlstm", "numpy", "onnxruntime", "torch"),
        "made_with": report.made_with("torch", "onnxruntime"),
    }  # fmt: skip
    report.keep(HERE / "outputs.json", {"text": SAMPLE, "scores": exact[-1].tolist()})
    pictures.save(HERE / "letters", draw(writers["float32"]))
    report.write(HERE, results)
    print("\n".join(report.lines(results)))


if __name__ == "__main__":
    main()
