# SPDX-License-Identifier: MIT
"""ONNX files of published packages on recorded speech: voice detectors frame by frame with their
state, a noise filter's three graphs one after the other, and judges of speech. The reference is
ONNX Runtime, which keeps a state and hands arrays on for itself."""

import numpy as np
import onnxruntime
import pytest
from published import path_of

import fastlstm
from fastlstm.bench.fetch import fetch
from fastlstm.demo.voice import RATE, RECORDING, read_wave

F = np.float32
BOUND = 1e-5  # of an output's largest number; of 1 where it is a probability


@pytest.fixture(scope="module")
def speech():
    """Ten seconds at RATE: nobody speaks in the first."""
    return read_wave(fetch(*RECORDING))[5 * RATE : 15 * RATE]


def session(file):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(str(path_of(file)), options)


def frames(samples, size, context, count):
    """(count, context + size): each frame with the samples before it."""
    padded = np.pad(samples, (context, 0))
    return np.stack([padded[i * size : i * size + context + size] for i in range(count)])


def power(samples, size, hop):
    """(frames, size / 2 + 1): the power spectrum."""
    count = (len(samples) - size) // hop + 1
    cut = np.stack([samples[i * hop : i * hop + size] for i in range(count)])
    return np.abs(np.fft.rfft(cut * np.hanning(size))) ** 2


def bands(spectrum, count):
    """(frames, count): mean powers of bands whose widths grow with their frequency; the lowest have
    one bin, which neighbours may share."""
    edges = np.geomspace(4, spectrum.shape[1] - 1, count + 1).astype(int)
    return np.add.reduceat(spectrum, edges[:-1], axis=1) / np.maximum(np.diff(edges), 1)


def decibels(spectrum):
    return 10 * np.log10(spectrum + 1e-10)


def assert_same(made, due, probability=False):
    scale = 1 if probability else np.abs(due).max()
    assert made.shape == due.shape
    error = np.abs(made - due).max() / scale
    print(f"{error:.1e}")
    assert error <= BOUND


DETECTORS = {  # file: (rate, has an input for it)
    "silero_vad.onnx": (16000, True),
    "silero_vad.onnx at 8 kHz": (8000, True),
    "silero_vad_16k_op15.onnx": (16000, True),
    "silero_vad_op18_ifless.onnx": (16000, True),
    "silero_vad_half.onnx": (16000, False),
    "silero_vad_openvino_16k.onnx": (16000, False),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_voice_detectors(name, speech):
    """Three seconds: nobody, then somebody speaks."""
    rate, given = DETECTORS[name]
    file = name.partition(" ")[0]
    constants = {"sr": rate} if given else {}
    stream, theirs = fastlstm.load_model(path_of(file)).stream(**constants), session(file)
    state, made, due = np.zeros((2, 1, 128), F), [], []
    for frame in frames(speech[:: RATE // rate], rate * 512 // RATE, rate // 250, 94)[:, None]:
        feed = {"input": frame, "state": state, **{k: np.array(v) for k, v in constants.items()}}
        probability, state = theirs.run(None, feed)
        due.append(probability)
        made.append(stream.step(frame))
    assert_same(np.array(made), np.array(due), probability=True)
    assert np.min(due) < 0.1 and np.max(due) > 0.9
    assert_same(np.asarray(stream.state["state"]), state)


def test_a_detector_of_a_sequence(speech):
    file, none = "silero_vad_16k_sequence.onnx", np.zeros((1, 1, 128), F)
    x = frames(speech, 512, 64, 94)
    made, due = fastlstm.load_model(path_of(file))(x, none, none), session(file)
    due = due.run(None, dict(zip(("input", "h", "c"), (x, none, none), strict=True)))
    for i, (y, expected) in enumerate(zip(made, due, strict=True)):
        assert_same(y, expected, probability=i == 0)
    assert due[0].min() < 0.1 and due[0].max() > 0.9


def test_a_noise_filter(speech):
    """DeepFilterNet: 200 frames of 10 ms; the decoders get what ONNX Runtime's encoder gives."""
    spectrum = np.fft.rfft(
        frames(speech[RATE:], 160, 160, 200) * np.sin(np.pi * (np.arange(320) + 0.5) / 320)
    )
    level = decibels(bands(np.abs(spectrum) ** 2, 32))
    low = spectrum[:, :96] / np.sqrt(np.mean(np.abs(spectrum[:, :96]) ** 2))
    given = {
        "feat_erb": ((level - level.mean(0)) / 40)[None, None].astype(F),
        "feat_spec": np.stack([low.real, low.imag])[None].astype(F),
    }
    for file in ("enc.onnx", "erb_dec.onnx", "df_dec.onnx"):
        theirs, model = session(file), fastlstm.load_model(path_of(file))
        feed = {value.name: given[value.name] for value in theirs.get_inputs()}
        due, made = theirs.run(None, feed), model(**feed)
        made = [made] if isinstance(made, np.ndarray) else made
        for value, y, expected in zip(theirs.get_outputs(), made, due, strict=True):
            assert_same(y, expected)
            given[value.name] = expected


def judged(file, speech):
    """{input: array} of a judge of speech: samples, or logarithms of spectra and of bands."""
    if file == "sig_bak_ovr.onnx":
        return {"input_1": speech[None, :144160]}
    if file in ("sig.onnx", "bak_ovr.onnx"):
        return {"input_1": np.log10(power(speech, 320, 160)[None, :901] + 1e-12)}
    if file == "model_v8.onnx":
        return {"input_1": decibels(bands(power(speech, 320, 160), 120))[None, :900] / 40 + 1}
    if file == "plcmos_v2.onnx":
        spectrum = np.log10(power(speech, 512, 256) + 1e-10)
        return {"degraded_audio": spectrum[None, None], "rater_embed": np.full((1, 64), 0.1)}
    noisy = speech + 0.01 * np.random.default_rng(1).standard_normal(len(speech))
    level = [decibels(bands(power(s, 512, 256), 160)) / 40 for s in (noisy[::-1], noisy, speech)]
    return {"input": np.stack(level)[None], "h0": np.zeros((4, 1, 96 if "1668" in file else 64))}


@pytest.mark.once  # NumPy takes 7 seconds for some
@pytest.mark.parametrize(
    "file",
    [
        "sig_bak_ovr.onnx", "sig.onnx", "bak_ovr.onnx", "model_v8.onnx", "plcmos_v2.onnx",
        "Run_1663829550_Stage_0.onnx", "Run_1663915512_Stage_0.onnx", "Run_1668423760_Stage_0.onnx",
    ],
)  # fmt: skip
def test_judges_of_speech(file, speech):
    """speechmos: ten seconds at once."""
    given = {name: np.asarray(a, F) for name, a in judged(file, speech).items()}
    due, made = session(file).run(None, given), fastlstm.load_model(path_of(file))(**given)
    assert_same(np.asarray(made), due[0])
