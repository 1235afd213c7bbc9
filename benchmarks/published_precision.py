# SPDX-License-Identifier: MIT
"""What published networks lose in fewer bits, by their own task.

    python benchmarks/published_precision.py

g2p-en's encoder and decoder (GRUs of 256 units) say every word of this repository's documents: how
many words, and of all phonemes how many, are said as in float32. silero-vad hears the demo's
recording frame by frame: the largest difference of a frame's probability, and how many frames are
judged otherwise. Both files are the tests', fetched out of their packages.
"""

import re
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / name) for name in ("", "support", "files"))]

import test_load_g2p as g2p  # noqa: E402
from published import path_of  # noqa: E402

import fastlstm  # noqa: E402
from fastlstm.demo.voice import FRAME, RECORDING, fetch, hear, read_wave  # noqa: E402


def said(words, dtype):
    """[the phonemes of each word] with weights of a dtype."""
    arrays = dict(np.load(path_of("checkpoint20.npz")))
    encoder, decoder = (
        fastlstm.GRU.from_state_dict(g2p.weights(arrays, part, "_l0")) for part in ("enc", "dec")
    )
    if dtype != "float32":
        encoder, decoder = encoder.quantize(dtype), decoder.quantize(dtype)
    found = []
    for word in words:
        text, _ = g2p.say(
            word, lambda x: encoder(x)[1], lambda x, h: decoder(x[None], h[None])[1][0], arrays
        )
        found.append(text.split())
    return found


def heard(dtype):
    """The probability of speech in each frame."""
    model = fastlstm.load_model(path_of("silero_vad.onnx"), dtype=dtype, num_threads=1)
    return hear(model.stream(sr=16000), read_wave(fetch(*RECORDING)))[0]


def main():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")]
    text = " ".join(path.read_text(encoding="utf-8") for path in sorted(pages))
    words = sorted(set(re.findall(r"\b[a-z]{3,20}\b", text)))
    base = said(words, "float32")
    print(f"g2p-en, {len(words)} words, {sum(map(len, base))} phonemes; said otherwise:\n")
    print("| dtype | words | phonemes |\n|---|---:|---:|")
    for dtype in ("float16", "bfloat16", "int8"):
        now = said(words, dtype)
        other = [(a, b) for a, b in zip(base, now, strict=True) if a != b]
        sounds = sum(sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
                     for a, b in other)  # fmt: skip
        print(f"| {dtype} | {len(other)} | {sounds} |", flush=True)
    speech = heard("float32")
    print(f"\nsilero-vad, {len(speech)} frames of {FRAME} samples:\n")
    print("| dtype | largest difference | judged otherwise |\n|---|---:|---:|")
    for dtype in ("float16", "bfloat16", "int8"):
        now = heard(dtype)
        flips = int(((now > 0.5) != (speech > 0.5)).sum())
        print(f"| {dtype} | {np.abs(now - speech).max():.1e} | {flips} |", flush=True)


if __name__ == "__main__":
    main()
