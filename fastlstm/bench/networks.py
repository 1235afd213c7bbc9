# SPDX-License-Identifier: MIT
"""Networks whose packages publish weights without a graph: built by PyTorch, exported as ONNX.

Each is the structure that its package describes, around the weights out of the package (fetch.py).
Two, which come in other formats, have the sizes of the published network and drawn weights. The
ONNX file is kept beside the weights, or in the folder `drawn`.
"""

from __future__ import annotations

import os
import warnings

from .fetch import fetch, folder

BEATNET = (
    "beatnet", "1.1.3", "BeatNet/models/model_1_weights.pt",
    "619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84",
)  # fmt: skip
UZMORPH = (
    "uzmorph-nn", "0.1.0", "uzmorph_nn/data/morph_bilstm.pth",
    "1262676915c0a36b91a1430092447a8744962c996a91d93405538e77bad26a07",
)  # fmt: skip
LANGUAGES = (
    "LanguageIdentifier", "1.1.1", "LanguageIdentifier/LID_mixed_model.pkl",
    "8b1cfdcb7fa6cd0d04d3c4be0aa9af65166c771cd8521083fe2c27ce2ef68d0d",
)  # fmt: skip
PHONEMES = (
    "g2p-fa", "1.1.0", "g2p_fa/data/weights",
    "c83ac4d3d403a3f628cb16688fd1a39c0cd0ab55ced48e33a035ccf0901fdcb8",
)  # fmt: skip
NANO_OCR = (
    "nano-ocr", "0.1.0", "nano_ocr/model/nano_ocr_ftr.pth",
    "2d105c6901b4afe816fe8f85aa32ef85a6336f2e4d96c04692bb08b7de9758ba",
)  # fmt: skip
KHMER_OCR = (
    "khmer-ocr-ocm", "0.1.0", "khmer_ocr_ocm/assets/model.pth",
    "6e5a2d6adfb4f23b53aa2e6cb1eab9b1c81726e00f920ef0c9965771d7b024ca",
)  # fmt: skip


def exported(name, build, weights=None, prefix=""):
    """() -> the path of the ONNX file of `build(torch)`, which gives (module, arguments, names of
    inputs, of outputs, {name: {axis: free size}}); the tensors of `weights`, of names that begin
    with `prefix`, are loaded into the module. ImportError without PyTorch and onnx; FetchError."""

    def path():
        home = folder() / "-".join(weights[:2]) if weights else folder() / "drawn"
        target = home / f"{name}.onnx"
        if target.is_file():
            return target
        found = fetch(*weights) if weights else None
        import onnx  # noqa: F401 - PyTorch's exporter needs it
        import torch

        import fastlstm

        torch.manual_seed(5)
        module, arguments, inputs, outputs, free = build(torch)
        module.eval()
        if found:
            tensors = fastlstm.read_state_dict(found).items()
            own = {k.removeprefix(prefix): v for k, v in tensors if k.startswith(prefix)}
            module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in own.items()})
        home.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}.part")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, arguments, str(part), dynamo=False, input_names=inputs,
                output_names=outputs, dynamic_axes=free,
            )  # fmt: skip
        os.replace(part, target)
        return target

    return path


def _beatnet(torch):
    """A convolution over a frame's spectrum, a maximum of two, a linear layer, an LSTM of two
    layers, a linear layer (its authors: doi.org/10.5281/zenodo.5624509)."""
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

    state = torch.zeros(2, 1, 150)
    arguments = torch.zeros(1, 1, 272), state, state
    free = {"x": {1: "time"}, "y": {2: "time"}}
    return BeatNet(), arguments, ["x", "h", "c"], ["y", "hn", "cn"], free


def _letters(count, width, hidden, classes, head, summed):
    """build(torch): an Embedding of letters, an LSTM of two layers and directions, a Linear, and
    the sum over the letters."""

    def build(torch):
        from torch import nn

        class Letters(nn.Module):
            def __init__(self):
                super().__init__()
                self.char_embeddings = nn.Embedding(count, width)
                self.lstm = nn.LSTM(width, hidden, 2, bidirectional=True, batch_first=True)
                self.add_module(head, nn.Linear(2 * hidden, classes))

            def forward(self, x):
                y = getattr(self, head)(self.lstm(self.char_embeddings(x))[0])
                return y.sum(1) if summed else y

        free = {"x": {1: "letters"}} | ({} if summed else {"y": {1: "letters"}})
        return Letters(), (torch.zeros(1, 9, dtype=torch.long),), ["x"], ["y"], free

    return build


def _decoder(torch):
    """One step of a decoder of phonemes: Embedding, an LSTM of two layers, Linear."""
    from torch import nn

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn = nn.Embedding(33, 40), nn.LSTM(40, 256, 2)
            self.fc_out = nn.Linear(256, 33)

        def forward(self, x, h, c):
            y, (hn, cn) = self.rnn(self.embedding(x).unsqueeze(0), (h, c))
            return self.fc_out(y.squeeze(0)), hn, cn

    state = torch.zeros(2, 1, 256)
    arguments = torch.zeros(1, dtype=torch.long), state, state
    return Decoder(), arguments, ["x", "h", "c"], ["y", "hn", "cn"], {}


def _vocalise(torch):
    """A stack as Keras users write it for letters: Embedding, three LSTMs of two directions, a
    dense layer and softmax, of the sizes of shakkala's."""
    from torch import nn

    class Vocalise(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lstms = nn.Embedding(149, 288), nn.ModuleList()
            for before, size in ((288, 288), (576, 144), (288, 96)):
                self.lstms.append(nn.LSTM(before, size, bidirectional=True, batch_first=True))
            self.dense = nn.Linear(192, 28)

        def forward(self, x):
            x = self.embedding(x)
            for lstm in self.lstms:
                x, _ = lstm(x)
            return torch.softmax(self.dense(x), -1)

    return Vocalise(), (torch.zeros(1, 315, dtype=torch.long),), ["x"], ["y"], {}


def _consensus(torch):
    """Bases out of the counts of reads: a GRU of two layers and directions, Linear, softmax, of
    the sizes of medaka's."""
    from torch import nn

    class Consensus(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(10, 128, 2, bidirectional=True, batch_first=True)
            self.linear = nn.Linear(256, 5)

        def forward(self, x):
            return torch.softmax(self.linear(self.gru(x)[0]), -1)

    return Consensus(), (torch.zeros(20, 1000, 10),), ["x"], ["y"], {}


def _conv(nn, before, after, norm=True, size=3):
    """[modules]: a Conv2d, padded where it is of three by three; a BatchNorm2d; ReLU."""
    parts = [nn.Conv2d(before, after, size, padding=1 if size == 3 else 0)]
    return [*parts, *([nn.BatchNorm2d(after)] if norm else []), nn.ReLU()]


def _nano_ocr(torch):
    """A line of text: seven Conv2ds with pools until one row is left, an LSTM of two directions
    over the columns, Linear."""
    from torch import nn

    def conv(*sizes, **more):
        return _conv(nn, *sizes, **more)

    tall = nn.MaxPool2d(2, (2, 1), (0, 1))

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn = nn.Sequential(
                *conv(1, 64, False), nn.MaxPool2d(2), *conv(64, 128, False), nn.MaxPool2d(2),
                *conv(128, 256), *conv(256, 256, False), tall, *conv(256, 512), tall,
                *conv(512, 512, size=2),
            )  # fmt: skip
            self.rnn = nn.LSTM(512, 256, bidirectional=True, batch_first=True)
            self.fc = nn.Linear(512, 66)

        def forward(self, x):
            return self.fc(self.rnn(self.cnn(x).squeeze(2).permute(0, 2, 1))[0]).permute(1, 0, 2)

    return Reader(), (torch.zeros(1, 1, 32, 128),), ["x"], ["y"], {}


def _khmer_ocr(torch):
    """A longer line: seven Conv2ds, the mean over the rows that are left, an LSTM of two layers and
    directions, Linear."""
    from torch import nn

    def conv(before, after, pool=None, size=3):
        parts = _conv(nn, before, after, size=size)
        return parts + ([nn.MaxPool2d(pool, pool), nn.Dropout2d(0.2)] if pool else [])

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn = nn.Sequential(
                *conv(1, 64, 2), *conv(64, 128, 2), *conv(128, 256), *conv(256, 256, (2, 1)),
                *conv(256, 512), *conv(512, 512, (2, 1)), *conv(512, 512, size=2),
            )  # fmt: skip
            self.rnn = nn.LSTM(512, 256, 2, bidirectional=True)
            self.fc = nn.Linear(512, 984)

        def forward(self, x):
            return self.fc(self.rnn(self.cnn(x).mean(2).permute(2, 0, 1))[0])

    return Reader(), (torch.zeros(1, 1, 48, 512),), ["x"], ["y"], {}


beatnet = exported("beatnet", _beatnet, BEATNET)
uzmorph = exported("uzmorph", _letters(49, 64, 64, 746, "hidden2tag", False), UZMORPH)
languages = exported(
    "languages", _letters(682, 150, 150, 20, "hidden2lang", True), LANGUAGES, "model_state_dict."
)
phonemes = exported("decoder", _decoder, PHONEMES, "decoder.")
vocalise = exported("vocalise", _vocalise)
consensus = exported("consensus", _consensus)
nano_ocr = exported("nano_ocr", _nano_ocr, NANO_OCR)
khmer_ocr = exported("khmer_ocr", _khmer_ocr, KHMER_OCR, "model_state_dict.")
