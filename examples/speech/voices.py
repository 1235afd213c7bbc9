# SPDX-License-Identifier: MIT
"""Speech by eSpeak NG, through the library that the package espeakng-loader brings.

speaker = Speaker()
samples = speaker.say("four two", "en-us+f3", rate=160, pitch=50)     # 8 kHz, float32

eSpeak NG varies some voices at random, from a seed that it takes from the clock. say() sets that
seed, and the C library's for the voices that use rand(). A sound also depends a little on what was
said before it: the same calls in the same order give the same sounds.
"""

import ctypes

import numpy as np

RATE = 8000
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


class Speaker:
    """The synthesiser; one in a process."""

    def __init__(self):
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, data, 1)
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
