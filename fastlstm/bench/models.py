# SPDX-License-Identifier: MIT
"""The cases of whole models: a file that the user names, and published models with their targets.

Published files are taken out of packages (fetch.py). Beatnet's is a state dict, whose network is
built here and exported by PyTorch: a convolution over a frame's spectrum, a maximum of two, a
linear layer, an LSTM of two layers, a linear layer (its authors: doi.org/10.5281/zenodo.5624509).
"""

from __future__ import annotations

import warnings

from .fetch import fetch, folder
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
BEATNET = (
    "beatnet", "1.1.3", "BeatNet/models/model_1_weights.pt",
    "619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84",
)  # fmt: skip


def silero(name):
    """() -> path of a file of silero-vad."""
    return lambda: fetch(*SILERO, f"silero_vad/data/{name}", SILERO_FILES[name])


def beatnet():
    """The path of beatnet as an ONNX file with its state as inputs and outputs. ImportError without
    PyTorch and onnx, which export it; FetchError."""
    path = folder() / "beatnet-1.1.3" / "beatnet.onnx"
    weights = fetch(*BEATNET)
    if path.is_file():
        return path
    import onnx  # noqa: F401 - PyTorch's exporter needs it
    import torch
    from torch import nn

    class BeatNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.linear0 = nn.Conv1d(1, 2, 10), nn.Linear(262, 150)
            self.lstm = nn.LSTM(150, 150, 2, batch_first=True)
            self.linear = nn.Linear(150, 3)

        def forward(self, x, h, c):
            rows, steps, size = x.shape
            x = torch.relu(self.conv1(x.reshape(-1, 1, size)))
            x = nn.functional.max_pool1d(x, 2).reshape(rows, steps, 262)
            y, (hn, cn) = self.lstm(self.linear0(x), (h, c))
            return self.linear(y).transpose(1, 2), hn, cn

    model = BeatNet().eval()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    state = torch.zeros(2, 1, 150)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 1, 272), state, state), str(path), dynamo=False,
            input_names=["x", "h", "c"], output_names=["y", "hn", "cn"],
            dynamic_axes={"x": {1: "time"}, "y": {2: "time"}},
        )  # fmt: skip
    return path


def cases_of_file(path, sizes, values, make):
    """[Case] of a file: in one call, and streamed if the model keeps a state. make(name, Whole,
    aims) -> Case."""
    import fastlstm
    from fastlstm import ModelError

    model = fastlstm.load_model(path)
    unknown = {*sizes, *values} - {value.name for value in model.inputs}
    if unknown:
        names = ", ".join(value.name for value in model.inputs)
        raise ValueError(f"there is no input {sorted(unknown)[0]!r}; there are {names}")
    found = [make("whole call", Whole(lambda: path, sizes, values), ())]
    try:
        model.stream(**values)
    except ModelError:
        return found
    return [*found, make("streamed", Whole(lambda: path, sizes, values, streamed=True), ())]


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
    beats = {"x": (1, 1, 272), "h": (2, 1, 150), "c": (2, 1, 150)}
    return [
        make("silero_vad, frames streamed", streamed, over(4)),
        make("silero_vad sequence, 320 frames", sequence, over(2.5)),
        make("silero_vad op15, frames streamed", op15, ()),
        make("silero_vad op18 ifless, frames streamed", ifless, ()),
        make("beatnet, frames streamed", Whole(beatnet, beats, streamed=True), over(2)),
        make("beatnet, 1500 frames", Whole(beatnet, beats | {"x": (1, 1500, 272)}), ()),
    ]
