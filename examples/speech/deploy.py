# SPDX-License-Identifier: MIT
"""Hears spoken English digits in a wav file, frame by frame, as if it came from a microphone.

    python deploy.py                       # a recording made by a speech synthesiser
    python deploy.py recording.wav         # 16 bit, one channel, 8 kHz or a multiple of it
    python deploy.py recording.wav --voice silero_vad.onnx      # a voice detector in front

fastlstm and NumPy only: features are NumPy's, the two LSTMs a stream, a word is reported when it
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


class Normalizer:
    """Cepstra less their running mean, which begins as the training set's and forgets slowly: the
    microphone and the room drop out."""

    START, LONGEST = 30, 300  # frames that the first mean counts for; over which it forgets

    def __init__(self, mean, scale):
        self.mean, self.scale, self.count = np.array(mean, np.float64), scale, self.START

    def step(self, cepstra):
        self.count = min(self.count + 1, self.LONGEST)
        self.mean += (cepstra - self.mean) / self.count
        return (cepstra - self.mean) / self.scale


def normalized(cepstra, mean, scale):
    step = Normalizer(mean, scale).step
    return np.array([step(row) for row in cepstra], np.float32).reshape(-1, CEPSTRA)


def paired(rows):
    """(T, 13) -> (T // 2, 26): two frames side by side."""
    n = len(rows) // PAIR
    return np.ascontiguousarray(rows[: n * PAIR].reshape(n, PAIR * CEPSTRA))


def best_path(classes):
    """CTC's words of the best class of every step: repetitions count once, blanks not at all."""
    before = np.concatenate([[BLANK], classes[:-1]])
    return [int(c) for c, b in zip(classes, before, strict=True) if c not in (b, BLANK)]


class Recogniser:
    """Two frames of 13 cepstra -> two LSTM layers -> scores of eleven words and blank."""

    def __init__(self, path=MODEL, dtype="float32"):
        tensors = fastlstm.read_state_dict(path)
        self.mean, self.scale = tensors["mean"], tensors["scale"]
        self.weight = tensors["head.weight"].astype(np.float32)
        self.bias = tensors["head.bias"].astype(np.float32)
        self.lstm = fastlstm.load(path, "lstm.", dtype=dtype, num_threads=1)

    def scores(self, cepstra):
        """(T // 2, 12) of the cepstra (T, 13) of a whole recording."""
        x = paired(normalized(cepstra, self.mean, self.scale))
        return self.lstm(x[:, None])[0][:, 0] @ self.weight.T + self.bias

    def words(self, cepstra):
        return [WORDS[k] for k in best_path(self.scores(cepstra).argmax(1))]

    def doubt(self, cepstra):
        """How unsure the network is: the mean over the steps of -log of the best class's odds."""
        scores = self.scores(cepstra).astype(np.float64)
        return np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1)).mean()

    def stream(self, stretch=1.0):
        return Listener(self, stretch)


class Listener:
    """Samples in, words out as soon as they are recognised."""

    def __init__(self, recogniser, stretch=1.0):
        self.recogniser, self.lstm = recogniser, recogniser.lstm.stream()
        self.stretch = stretch
        self.normalizer = Normalizer(recogniser.mean, recogniser.scale)
        self.last, self.waiting = 0.0, np.zeros(0)  # samples, emphasised, of frames to come
        self.rows, self.word = [], BLANK
        self.scores = []  # of every step so far

    def hear(self, samples):
        """The words recognised within these samples, an array (N,) of any length."""
        if not len(samples):
            return []
        self.waiting = np.append(self.waiting, emphasised(samples, self.last))
        self.last, found = float(samples[-1]), []
        while len(self.waiting) >= WINDOW:
            mel = stretched(mel_of(self.waiting[None, :WINDOW]), self.stretch)[0]
            self.waiting = self.waiting[HOP:]
            self.rows.append(self.normalizer.step(mel @ COSINES))
            if len(self.rows) == PAIR:
                found += self.step(np.concatenate(self.rows).astype(np.float32))
                self.rows = []
        return found

    def step(self, x):
        y = self.lstm.step(x[None])[0]
        self.scores.append(y @ self.recogniser.weight.T + self.recogniser.bias)
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
    parser.add_argument("--int8", action="store_true", help="LSTM weights as 8-bit integers")
    parser.add_argument("--voice", metavar="ONNX", help="silero's voice detector, as a file")
    parser.add_argument("--stretch", type=float, default=1.0, help="of the bands, 0.7 to 1.2")
    args = parser.parse_args(arguments)
    if not 0.5 <= args.stretch <= 2:
        parser.error("--stretch: 0.5 to 2")

    samples = read_wave(args.recording)
    samples = np.append(samples, np.zeros(RATE // 2))  # the last word ends in silence
    listener = Recogniser(dtype="int8" if args.int8 else "float32").stream(args.stretch)
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
        f"\nheard: {' '.join(words) or 'nothing'}\n{listener.recogniser.lstm.dtype}: "
        f"{1e6 * sum(taken) / len(taken):.0f} microseconds for 10 ms of sound, at most "
        f"{1e6 * max(taken):.0f}"
    )


if __name__ == "__main__":
    main()
