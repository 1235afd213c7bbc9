# SPDX-License-Identifier: MIT
"""Speech by eSpeak NG, through the library that the package espeakng-loader brings.

speaker = Speaker()
samples = speaker.say("four two", "en-us+f3", rate=160, pitch=50)     # 8 kHz, float32

eSpeak NG varies some voices at random, from a seed that it takes from the clock. say() sets that
seed, and the C library's for the voices that use rand(). A sound also depends a little on what was
said before it: the same calls in the same order give the same sounds.

The package's voices are compared with a SHA-256, and so is its library on the systems in LIBRARIES;
on others its sounds are taken as they are.
"""

import ctypes
import platform
from pathlib import Path

import numpy as np
from common.data import DataError, checked, digest

RATE = 8000
VOICES = "16279acc1d4559aac2bf47df243035dc88384f01f652d5ab8bde37786aeda43c"  # names and contents
LIBRARIES = {  # of espeakng-loader 0.2.4
    ("Linux", "x86_64"): "b15ce0803b26254e8a0d088c6b9281a2637b2b02613147cc320cfdefaf2c3ccf",
    ("Darwin", "arm64"): "bb635eee1ee9c456f4a5cf06fb6cb352ecdd4d61e1951743b423ef22bb57f470",
    ("Windows", "AMD64"): "646d387acbc7ac2aa45e3625aa00a6835ae5d446ff8b0748298c3900b4dde258",
}
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan")
PEOPLE = [  # variants of eSpeak NG that sound like people
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "adam", "Alex",
    "Alicia", "Andrea", "Andy", "anika", "Annie", "antonio", "belinda", "benjamin", "boris",
    "caleb", "david", "Denis", "Diogo", "ed", "edward", "Gene", "Henrique", "Hugo", "ian", "iven",
    "Jacky", "john", "Lee", "linda", "marcelo", "Marco", "Mario", "max", "Michael", "michel",
    "miguel", "Mike", "Nguyen", "norbert", "pablo", "paul", "pedro", "quincy", "Reed", "rob",
    "robert", "sandro", "shelby", "steph", "Storm", "travis", "victor", "zac",
]  # fmt: skip
SYNCHRONOUS, UTF8, RATE_OF_SPEECH, PITCH, RANGE = 2, 1, 1, 3, 4  # of espeak-ng's speak_lib.h


def check(library, data):
    """DataError if the library or the folder of voices is not the one that is known."""
    files = {p.relative_to(data).as_posix(): p for p in data.rglob("*") if p.is_file()}
    found = digest({name: path.read_bytes() for name, path in files.items()})
    if found != VOICES:
        raise DataError(f"eSpeak NG's voices in {data} have the SHA-256 {found}, not {VOICES}")
    known = LIBRARIES.get((platform.system(), platform.machine()))
    if known:
        checked(library.read_bytes(), known, str(library))


class Speaker:
    """The synthesiser; one in a process."""

    def __init__(self):
        import espeakng_loader

        library, data = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
        check(Path(library), Path(data))
        self.library = ctypes.CDLL(library)
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), 1)
        if self.rate <= 0:
            raise RuntimeError("eSpeak NG does not start")
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self.library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        self.parts, self.callback = [], kind(self._take)
        self.library.espeak_SetSynthCallback(self.callback)

    def _take(self, samples, count, _events):
        if samples and count:
            self.parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text, voice, rate=160, pitch=50, span=50, seed=1):
        """The samples at 8 kHz, as 16-bit amplitudes in float32."""
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"eSpeak NG has no voice {voice}")
        for what, value in ((RATE_OF_SPEECH, rate), (PITCH, pitch), (RANGE, span)):
            self.library.espeak_SetParameter(what, int(value), 0)
        self.library.espeak_ng_SetRandSeed(seed)
        ctypes.CDLL(None).srand(seed)
        self.parts.clear()
        content = text.encode() + b"\0"
        self.library.espeak_Synth(content, len(content), 0, 1, 0, UTF8, None, None)
        return resampled(np.concatenate(self.parts).astype(np.float32), self.rate, RATE)


def resampled(samples, rate, wanted):
    """Of another rate, by its Fourier transform: what is above half the new rate is cut off."""
    n = round(len(samples) * wanted / rate)
    spectrum = np.fft.rfft(samples)
    kept = np.zeros(n // 2 + 1, complex)
    count = min(len(kept), len(spectrum))
    kept[:count] = spectrum[:count]
    return (np.fft.irfft(kept, n) * (n / len(samples))).astype(np.float32)
