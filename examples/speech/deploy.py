# SPDX-License-Identifier: MIT
"""Hears spoken English digits in a wav file, frame by frame, as if it came from a microphone.

    python deploy.py                       # a recording made by a speech synthesiser
    python deploy.py recording.wav         # 16 bit, one channel, 8 kHz or a multiple of it
    python deploy.py recording.wav --voice silero_vad.onnx      # a voice detector in front

fastlstm and NumPy only: features are NumPy's, the model a stream, a word is reported when it
becomes the best class of a step.
"""

import argparse
import time
import wave
from pathlib import Path

import numpy as np

import fastlstm

HERE = Path(__file__).parent
MODEL, RECORDING = HERE / "model.safetensors", HERE / "digits.wav"
WORDS = ("zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
BLANK = len(WORDS)  # CTC's class for "nothing new"
RATE, HOP, WINDOW, SIZE, BANDS, CEPSTRA = 8000, 80, 200, 256, 20, 13  # frames of 25 ms, each 10 ms
STATE = {"mean": "next_mean", "count": "next_count", "h": "next_h", "c": "next_c"}
PAIR = 2  # frames that the network reads at once: a step is 20 ms


def mel_bands():
    """(SIZE / 2 + 1, BANDS): triangles of unit area, evenly spaced in mel up to 4 kHz."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    hertz = np.arange(SIZE // 2 + 1)[:, None] * RATE / SIZE
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hertz - left) / (middle - left), (right - hertz) / (right - middle)
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)


def cosines():
    """(BANDS, CEPSTRA): the orthonormal discrete cosine transform."""
    k, n = np.arange(CEPSTRA), np.arange(BANDS)[:, None]
    found = np.cos(np.pi * k * (n + 0.5) / BANDS) * np.sqrt(2 / BANDS)
    found[:, 0] /= np.sqrt(2)
    return found


MEL, COSINES, HAMMING = mel_bands(), cosines(), np.hamming(WINDOW)


def emphasised(samples, before=0.0):
    """High tones made louder: every sample less 0.97 of the one before it."""
    x = np.asarray(samples, np.float64)
    return x - 0.97 * np.append(before, x[:-1])


def mel_of(frames):
    """Log energies in mel bands (n, BANDS) of emphasised frames (n, WINDOW)."""
    frames = (frames - frames.mean(1, keepdims=True)) * HAMMING
    return np.log(np.abs(np.fft.rfft(frames, SIZE)) ** 2 @ MEL + 1.0)


def log_mel(samples):
    """The same of all frames of a recording: 16-bit amplitudes (N,) -> (frames, BANDS)."""
    if len(samples) < WINDOW:
        return np.zeros((0, BANDS))
    return mel_of(np.lib.stride_tricks.sliding_window_view(emphasised(samples), WINDOW)[::HOP])


def stretched(mel, factor):
    """Bands (T, BANDS) as of another throat: band b becomes what band factor * b was."""
    bands = np.arange(BANDS)
    place = np.clip(bands * factor, 0, BANDS - 1)
    low = np.minimum(place.astype(int), BANDS - 2)
    part = place - low
    return mel[:, low] * (1 - part) + mel[:, low + 1] * part


def pairs_of(cepstra):
    """(T, 13) -> (T // 2, 2, 1, 13): what a stream takes, a pair of frames after the other."""
    whole = len(cepstra) // PAIR * PAIR
    return np.float32(cepstra[:whole]).reshape(-1, PAIR, 1, CEPSTRA)


def best_path(classes):
    """CTC's words of the best class of every step: repetitions count once, blanks not at all."""
    before = np.concatenate([[BLANK], classes[:-1]])
    return [int(c) for c, b in zip(classes, before, strict=True) if c not in (b, BLANK)]


class Recogniser:
    """The model: two frames of cepstra (2, B, 13) -> less their running mean, two LSTM layers ->
    scores (B, 12) of eleven words and blank. The running mean is a state too, which forgets slowly:
    the microphone and the room drop out."""

    def __init__(self, path=MODEL, dtype="float32"):
        self.model = fastlstm.load_model(path, dtype=dtype, num_threads=1)

    def stream(self):
        """What takes two frames after the other, of one recording."""
        return self.model.stream(state=STATE)

    def scores(self, cepstra):
        """(T // 2, 12) of the cepstra (T, 13) of a whole recording."""
        stream = self.stream()
        found = [stream.step(pair)[0] for pair in pairs_of(cepstra)]
        return np.reshape(found, (-1, len(WORDS) + 1))

    def words(self, cepstra):
        return [WORDS[k] for k in best_path(self.scores(cepstra).argmax(1))]


class Listener:
    """Samples in, words out as soon as they are recognised."""

    def __init__(self, recogniser, stretch=1.0):
        self.stream = recogniser.stream()
        self.cosines = stretched(np.eye(BANDS), stretch) @ COSINES
        self.last, self.waiting = 0.0, np.zeros(0)  # samples, emphasised, of frames to come
        self.frames, self.word = [], BLANK
        self.scores = []  # of every step so far

    def hear(self, samples):
        """The words recognised within these samples, an array (N,) of any length."""
        if not len(samples):
            return []
        self.waiting = np.append(self.waiting, emphasised(samples, self.last))
        self.last, found = float(samples[-1]), []
        while len(self.waiting) >= WINDOW:
            self.frames.append(mel_of(self.waiting[None, :WINDOW]) @ self.cosines)
            self.waiting = self.waiting[HOP:]
            if len(self.frames) == PAIR:
                found += self.step(np.array(self.frames, np.float32))
                self.frames = []
        return found

    def step(self, frames):
        self.scores.append(self.stream.step(frames)[0])
        best, before = int(self.scores[-1].argmax()), self.word
        self.word = best
        return [WORDS[best]] if best not in (before, BLANK) else []


class VoiceGate:
    """silero's voice detector in front: samples go on from where a voice is heard, a little before
    included, to half a second after it."""

    CHUNK, CONTEXT, AFTER = 256, 32, 4000

    def __init__(self, path):
        self.detector = fastlstm.load_model(path).stream(sr=RATE)
        self.context = np.zeros(self.CONTEXT, np.float32)
        self.waiting, self.before, self.left = np.zeros(0), np.zeros(self.CHUNK * 4), 0

    def pass_on(self, samples):
        """Those of the samples that are to be heard, 0 where there is no voice."""
        self.waiting, found = np.append(self.waiting, samples), []
        while len(self.waiting) >= self.CHUNK:
            chunk, self.waiting = self.waiting[: self.CHUNK], self.waiting[self.CHUNK :]
            frame = np.concatenate([self.context, chunk / 32768]).astype(np.float32)
            self.context = frame[-self.CONTEXT :]
            if float(np.ravel(self.detector.step(frame[None]))[0]) > 0.5:
                if self.left <= 0:
                    found.append(self.before)
                self.left = self.AFTER
            if self.left > 0:
                found.append(chunk)
            self.left -= self.CHUNK
            self.before = np.append(self.before[self.CHUNK :], chunk)
        return np.concatenate(found) if found else np.zeros(0)


def read_wave(path):
    """The samples (N,) as 16-bit amplitudes, at 8 kHz."""
    try:
        with wave.open(str(path)) as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            content = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise SystemExit(f"{path}: {str(error) or 'no wav file'}") from None
    if channels != 1 or width != 2 or rate % RATE:
        raise SystemExit(
            f"{path}: {channels} channels, {8 * width} bits, {rate} Hz; one channel, 16 bits "
            f"and a multiple of {RATE} Hz are due"
        )
    samples = np.frombuffer(content, "<i2").astype(np.float64)
    if not len(samples):
        raise SystemExit(f"{path}: no samples")
    times = rate // RATE
    if times > 1:  # no tones above 4 kHz, then every second, third ... sample
        spectrum = np.fft.rfft(samples)
        spectrum[len(spectrum) // times :] = 0
        samples = np.fft.irfft(spectrum, len(samples))[::times]
    return samples


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recording", nargs="?", default=RECORDING, help="a wav file")
    parser.add_argument("--int8", action="store_true", help="weights as 8-bit integers")
    parser.add_argument("--voice", metavar="ONNX", help="silero's voice detector, as a file")
    parser.add_argument("--stretch", type=float, default=1.0, help="of the bands, 0.7 to 1.2")
    args = parser.parse_args(arguments)
    if not 0.5 <= args.stretch <= 2:
        parser.error("--stretch: 0.5 to 2")

    samples = read_wave(args.recording)
    samples = np.append(samples, np.zeros(RATE // 2))  # the last word ends in silence
    recogniser = Recogniser(dtype="int8" if args.int8 else "float32")
    listener = Listener(recogniser, args.stretch)
    gate, taken, words = VoiceGate(args.voice) if args.voice else None, [], []
    for at in range(0, len(samples) - HOP + 1, HOP):  # 10 ms at a time, as a microphone gives them
        start = time.perf_counter()
        heard = samples[at : at + HOP]
        found = listener.hear(gate.pass_on(heard) if gate else heard)
        taken.append(time.perf_counter() - start)
        words += found
        for word in found:
            print(f"{(at + HOP) / RATE:6.2f} s  {word}")
    print(
        f"\nheard: {' '.join(words) or 'nothing'}\n{recogniser.model.dtype}: "
        f"{1e6 * sum(taken) / len(taken):.0f} microseconds for 10 ms of sound, at most "
        f"{1e6 * max(taken):.0f}"
    )


if __name__ == "__main__":
    main()
