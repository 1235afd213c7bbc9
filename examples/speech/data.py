# SPDX-License-Identifier: MIT
"""Spoken digits: synthesised voices and one recorded one to learn from, other people to be tested
on.

Training: eSpeak NG's voices (voices.py), and Allison Smith's recordings of the digits, in Debian's
asterisk-core-sounds-en-wav. Test: two speakers of TIDIGITS, 31 utterances as cepstra, in Debian's
pocketsphinx-testdata, with what the recogniser pocketsphinx made of them.
"""

import io
import re
import wave
from typing import NamedTuple

import numpy as np
from common.data import Debian, read_many

from speech.deploy import BLANK, COSINES, HOP, RATE, WORDS, log_mel, stretched
from speech.voices import ACCENTS, PEOPLE, Speaker

ASTERISK = Debian("asterisk-core-sounds-en-wav", "1.6.1-1")
ALLISON = "usr/share/asterisk/sounds/en_US_f_Allison/digits/"
FILES = dict(zip(WORDS, ["0", "oh", *"123456789"], strict=True))
SPHINX = Debian("pocketsphinx-testdata", "0.8+5prealpha+1-15")
TIDIGITS = "usr/share/pocketsphinx/test/data/tidigits/"
HELD_VOICES = 8  # of PEOPLE, the last, for validation


def allison():
    """{word: samples}"""
    wanted = {f"{ALLISON}{name}.wav": word for word, name in FILES.items()}
    files = read_many(
        ASTERISK, wanted.__contains__,
        "a76ed303580226e0bb1b3da45beda96d7bf5ceacf466a8ded1decd612bc70785",
    )  # fmt: skip
    found = {}
    for name, content in files.items():
        with wave.open(io.BytesIO(content)) as file:
            found[wanted[name]] = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return {word: samples.astype(np.float64) for word, samples in found.items()}


def tidigits():
    """[(speaker, words, cepstra (T, 13), pocketsphinx's words)]"""
    ends = (".mfc", ".lsn", "-fsg.match")
    files = read_many(
        SPHINX, lambda name: name.startswith(TIDIGITS) and name.endswith(ends),
        "c587b7c64fb75a8164a4285e7b4112cda63d890fd51aea78c79e7d1847295617",
    )  # fmt: skip
    by_sphinx = dict(matches(files[TIDIGITS + "test-tidigits-fsg.match"].decode()))
    found = []
    for name, words in matches(files[TIDIGITS + "tidigits.lsn"].decode()):
        content = files[f"{TIDIGITS}{name}.mfc"]
        count = int.from_bytes(content[:4], "little")
        order = "<" if 4 * count + 4 == len(content) else ">"
        cepstra = np.frombuffer(content[4:], order + "f4").reshape(-1, 13).astype(np.float64)
        found.append((name.split(".")[0], words, cepstra, by_sphinx[name]))
    return found


def matches(text):
    """(utterance, words) of lines like: one two (man.ah.12a -1234)"""
    for line in filter(str.strip, text.splitlines()):
        words, name = re.fullmatch(r"(.*)\((\S+).*\)", line.strip()).groups()
        yield name, words.split()


class Utterance(NamedTuple):
    """mel (T, 20): log energies; words as numbers; labels (T,): the word that is nearly over at a
    frame, or BLANK; None where it is not known when each word was said."""

    mel: np.ndarray
    words: list
    labels: np.ndarray | None = None


def noisy(samples, rng):
    """(at a random loudness, with silence around and a hiss between 5 and 50 dB below; samples of
    silence before)."""
    gaps = [np.zeros(int(rng.uniform(0.05, 0.4) * RATE)) for _ in range(2)]
    x = np.concatenate([gaps[0], samples, gaps[1]])
    x = x * 10 ** rng.uniform(-1.2, 0)
    level = np.sqrt(np.mean(x**2)) * 10 ** (-rng.uniform(5, 50) / 20)
    hiss = rng.standard_normal(len(x))
    hiss += rng.uniform(0, 2) * np.convolve(hiss, np.ones(8) / 8, "same")
    return x + level * hiss, len(gaps[0])


def trimmed(samples):
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def joined(parts, rng):
    """(words one after the other, with pauses or a little into one another; the first sample of
    each and the one after its last)."""
    x, spans = parts[0], [(0, len(parts[0]))]
    for part in parts[1:]:
        gap = max(int(rng.uniform(-0.06, 0.25) * RATE), -len(part), -len(x))
        start = len(x) + gap
        longer = np.zeros(start + len(part))
        longer[: len(x)] = x
        longer[start:] += part
        x = longer
        spans.append((start, len(x)))
    return x, spans


def utterance(parts, words, rng):
    """An Utterance of words spoken one by one."""
    samples, spans = joined(parts, rng)
    samples, before = noisy(samples, rng)
    mel = log_mel(samples)
    labels = np.full(len(mel), BLANK)
    for word, (start, end) in zip(words, spans, strict=True):
        first, last = before + start + 0.6 * (end - start), before + end + 0.05 * RATE
        labels[int(first / HOP) : int(last / HOP)] = word
    return Utterance(mel, words, labels)


def digits(rng):
    return [int(k) for k in rng.integers(0, len(WORDS), rng.choice([1, 2, 3, 4, 5, 7]))]


def voice_of(people, rng):
    """Arguments of Speaker.say for a random voice."""
    return {
        "voice": f"{rng.choice(ACCENTS)}+{rng.choice(people)}",
        "rate": rng.uniform(120, 230),
        "pitch": rng.uniform(15, 85),
        "span": rng.uniform(20, 80),
        "seed": int(rng.integers(1, 2**31)),
    }


def synthesised(count, people, rng):
    """Utterances of strings of digits, spoken by random voices without a pause."""
    speaker, found = Speaker(), []
    for _ in range(count):
        words = digits(rng)
        text = (", " if rng.random() < 0.3 else " ").join(WORDS[k] for k in words)
        samples, _ = noisy(speaker.say(text, **voice_of(people, rng)), rng)
        found.append(Utterance(log_mel(samples), words))
    return found


def word_by_word(count, people, rng):
    """Utterances of strings of digits by random voices, each word spoken alone and then joined."""
    speaker, found, each = Speaker(), [], 4
    for _ in range(-(-count // each)):
        voice = voice_of(people, rng)
        spoken = [trimmed(speaker.say(word, **voice)) for word in WORDS]
        for _ in range(each):
            words = digits(rng)
            found.append(utterance([spoken[k] for k in words], words, rng))
    return found[:count]


def recorded(count, rng):
    """The same of Allison's words."""
    own, found = allison(), []
    spoken = [trimmed(own[word]) for word in WORDS]
    for _ in range(count):
        words = digits(rng)
        found.append(utterance([spoken[k] for k in words], words, rng))
    return found


def warped(said, rng):
    """An utterance in another throat, pace and room: bands and time stretched, a tilt added."""
    mel = stretched(said.mel, rng.uniform(0.82, 1.22))
    times = np.arange(0, len(mel) - 1, rng.uniform(0.75, 1.3))
    first, part = times.astype(int), (times % 1)[:, None]
    mel = mel[first] * (1 - part) + mel[first + 1] * part
    mel = mel + rng.normal(0, 1) + rng.normal(0, 1.5) * np.linspace(-1, 1, mel.shape[1])
    return Utterance(mel, said.words, None if said.labels is None else said.labels[first])


def cepstra_of(mel):
    return mel @ COSINES


def people():
    """(those to train on, those to validate on)"""
    return PEOPLE[:-HELD_VOICES], PEOPLE[-HELD_VOICES:]
