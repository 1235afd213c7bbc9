# SPDX-License-Identifier: MIT
"""ONNX files of published packages: read, run and compared with ONNX Runtime on the same inputs."""

import numpy as np
import onnxruntime
import pytest
from published import path_of
from runners import RUNNERS

pytestmark = pytest.mark.once
F = np.float32
VAD = {"input": (1, 576), "state": (2, 1, 128)}
MOS = {"input": (1, 3, 24, 160)}

# {file: {input: shape, or an array}}
FILES = {
    "silero_vad.onnx": VAD | {"sr": np.array(16000)},
    "silero_vad.onnx at 8 kHz": VAD | {"input": (1, 288), "sr": np.array(8000)},
    "silero_vad.onnx, three rows": {"input": (3, 576), "state": (2, 3, 128), "sr": np.array(16000)},
    "silero_vad_16k_op15.onnx": VAD | {"sr": np.array(16000)},
    "silero_vad_16k_sequence.onnx": {"input": (7, 576), "h": (1, 1, 128), "c": (1, 1, 128)},
    "silero_vad_half.onnx": VAD,
    "silero_vad_op18_ifless.onnx": VAD | {"sr": np.array(16000)},
    "silero_vad_openvino_16k.onnx": VAD,
    "enc.onnx": {"feat_erb": (1, 1, 20, 32), "feat_spec": (1, 2, 20, 96)},
    "erb_dec.onnx": {
        "emb": (1, 20, 512), "e3": (1, 64, 20, 8), "e2": (1, 64, 20, 8), "e1": (1, 64, 20, 16),
        "e0": (1, 64, 20, 32),
    },
    "df_dec.onnx": {"emb": (1, 20, 512), "c0": (1, 64, 20, 96)},
    "dksplit-int8.onnx": {"chars": np.arange(24).reshape(1, 24) % 27 + 1},
    "Run_1663829550_Stage_0.onnx": MOS | {"h0": (4, 1, 64)},
    "Run_1663915512_Stage_0.onnx": MOS | {"h0": (4, 1, 64)},
    "Run_1668423760_Stage_0.onnx": MOS | {"h0": (4, 1, 96)},
    "bak_ovr.onnx": {"input_1": (1, 901, 161)},
    "model_v8.onnx": {"input_1": (1, 900, 120)},
    "sig.onnx": {"input_1": (1, 901, 161)},
    "sig_bak_ovr.onnx": {"input_1": (1, 144160)},
    "plcmos_v2.onnx": {"degraded_audio": (1, 1, 40, 257), "rater_embed": (1, 64)},
}  # fmt: skip
# Where ONNX Runtime quantises as the model runs, a rounding the other way moves the output by a
# step of 1/255 of its range; and its sums of uint8 by int8 saturate on CPUs without VNNI.
COARSE = {"dksplit-int8.onnx": 0.02}
PROBABILITIES = {"output", "speech_probs"}  # silero's outputs, whose scale is 1


def drawn(name, rng):
    """The path of one of FILES, and its inputs, drawn where only their shapes are given."""
    inputs = {
        n: s if isinstance(s, np.ndarray) else (0.1 * rng.standard_normal(s)).astype(F)
        for n, s in FILES[name].items()
    }
    return str(path_of(name.split(".onnx")[0] + ".onnx")), inputs


@pytest.mark.parametrize("how", RUNNERS)
@pytest.mark.parametrize("name", FILES)
def test_published_files(name, how, rng):
    path, inputs = drawn(name, rng)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    expected = session.run(None, inputs)
    run, given = RUNNERS[how](path), [inputs[i.name] for i in session.get_inputs()]
    found = run(given)
    names = [value.name for value in session.get_outputs()]
    for output, y, due in zip(names, found, expected, strict=True):
        assert (y.dtype, y.shape) == (due.dtype, due.shape)
        scale = 1 if output in PROBABILITIES else np.abs(due).max()
        assert np.abs(y - due).max() <= COARSE.get(name, 1e-5) * scale
