# SPDX-License-Identifier: MIT
"""The demo's second part: a voice detector hears a recording, frame by frame.

The detector is silero-vad's ONNX file, 16 kHz: a frame is 512 new samples behind the last 64 of the
frame before, and its state goes from frame to frame. The recording is half a minute of two people
who talk to each other. Both are in published packages and are fetched at the first run
(bench/fetch.py); without a network the demo says so and goes on.
"""

import os
import time
import wave
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ..bench.fetch import FetchError
from ..bench.fetch import fetch as fetch

DETECTOR = (
    "silero-vad", "6.2.3", "silero_vad/data/silero_vad.onnx",
    "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
)  # fmt: skip
RECORDING = (
    "pyannote.audio", "3.3.2", "pyannote/audio/sample/sample.wav",
    "c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e",
)  # fmt: skip
RATE, FRAME, CONTEXT = 16000, 512, 64
WIDE, HIGH = 60, 4  # of the picture, in characters
BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*%#"


def read_wave(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """The samples of a .wav file, (n,) float32 from -1 to 1. ValueError if it is not one channel of
    16 bits at RATE."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, RATE):
            raise ValueError(f"{path}: one channel of 16 bits at {RATE} Hz is due")
        raw = file.readframes(file.getnframes())
    return np.frombuffer(raw, "<i2").astype(np.float32) / np.float32(32768)


def hear(stream, samples):
    """(probability that somebody speaks, seconds it took) of each frame: arrays (frames,)."""
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), samples])
    voice, seconds = [], []
    for at in range(0, len(samples) - FRAME + 1, FRAME):
        frame = padded[None, at : at + CONTEXT + FRAME]
        begin = time.perf_counter()
        p = stream.step(frame)
        seconds.append(time.perf_counter() - begin)
        voice.append(p.item())
    return np.array(voice), np.array(seconds)


def columns(values, wide=WIDE):
    """Means of `values` in `wide` equal parts."""
    return [part.mean() if part.size else 0.0 for part in np.array_split(values, wide)]


def bars(levels, high, blocks=BLOCKS):
    """Lines of text, the highest first, that draw levels from 0 to 1 as bars."""
    full = len(blocks) - 1
    steps = [round(float(np.clip(level, 0, 1)) * high * full) for level in levels]
    return [
        "".join(blocks[min(max(step - row * full, 0), full)] for step in steps)
        for row in reversed(range(high))
    ]


def report_voice(page):
    """Fetch, hear, draw. Prints through `page`."""
    page.line("")
    try:
        detector, recording = fetch(*DETECTOR), fetch(*RECORDING)
    except FetchError as error:
        page.line(f"No voice detector this time: {error}.")
        return
    from ..models.load import load_model

    begin = time.perf_counter()
    stream = load_model(detector, num_threads=1).stream(sr=RATE)
    samples = read_wave(recording)
    hear(stream, samples[: 4 * FRAME])  # plans are made at the first frame
    ready = time.perf_counter() - begin
    stream.reset()
    voice, seconds = hear(stream, samples)
    loud = np.sqrt(np.mean(samples[: len(voice) * FRAME].reshape(-1, FRAME) ** 2, axis=1))
    page.line(
        f"A whole model, silero-vad's ONNX file, hears {len(samples) / RATE:.0f} seconds of two "
        "people talking:"
    )
    blocks = BLOCKS if page.can_write(BLOCKS) else PLAIN
    sound = bars(np.sqrt(np.array(columns(loud)) / max(loud.max(), 1e-9)), 1, blocks)
    for name, lines, code in (
        ("sound", sound, 2),
        ("voice", bars(columns(voice), HIGH, blocks), 36),
    ):
        for n, line in enumerate(lines):
            page.line(f"  {name if n == len(lines) - 1 else '':5} {page.styled(line, code)}")
    spoken = (voice > 0.5).mean() * len(samples) / RATE
    ends = f"0 s{len(samples) / RATE:>{WIDE - 5}.0f} s"
    page.line(f"        {ends}")
    page.line(
        f"{len(voice)} frames of {1000 * FRAME / RATE:.0f} ms, somebody speaks for {spoken:.0f} s; "
        f"{median(seconds) * 1e6:.0f} microseconds a frame\n"
        f"  (one thread, state kept in the stream; read and ready in {ready * 1e3:.0f} ms)."
    )
