# SPDX-License-Identifier: MIT
"""Whole models whose class is written once, for torch or for fastlstm.nn: only what it imports
differs. Their structures are those of models that people install: a beat tracker, a transcriber of
words to sounds, a morphological analyser, a language identifier, and a small OCR network."""

import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from nn_pairs import arrays, check  # noqa: E402

import fastlstm.nn  # noqa: E402

THEIRS = types.SimpleNamespace(torch=torch, nn=torch.nn, F=torch.nn.functional)
OURS = types.SimpleNamespace(torch=fastlstm.nn.tensor, nn=fastlstm.nn, F=fastlstm.nn.functional)


def models(names):
    """The classes, over names.torch, names.nn and names.F."""
    torch, nn, F = names.torch, names.nn, names.F

    class BeatTracker(nn.Module):
        def __init__(self, width=272, cells=150, layers=2, device="cpu"):
            super(BeatTracker, self).__init__()  # noqa: UP008 (as such classes are written)
            self.width, self.reduced = width, 150
            self.conv1 = nn.Conv1d(1, 2, 10)
            self.linear0 = nn.Linear(2 * int((width - 9) / 2), self.reduced)
            self.lstm = nn.LSTM(input_size=self.reduced, hidden_size=cells, num_layers=layers,
                                batch_first=True, bidirectional=False)  # fmt: skip
            self.linear = nn.Linear(in_features=cells, out_features=3)
            self.softmax = nn.Softmax(dim=0)
            self.hidden = torch.zeros(layers, 1, cells).to(device)
            self.cell = torch.zeros(layers, 1, cells).to(device)
            self.to(device)

        def forward(self, data):
            x = torch.reshape(data, (-1, self.width))
            x = x.unsqueeze(0).transpose(0, 1)
            x = F.max_pool1d(F.relu(self.conv1(x)), 2)
            x = x.view(-1, self.features(x))
            x = self.linear0(x)
            x = torch.reshape(x, (np.shape(data)[0], np.shape(data)[1], self.reduced))
            x, (self.hidden, self.cell) = self.lstm(x, (self.hidden, self.cell))
            return self.linear(x).transpose(1, 2)

        def features(self, x):
            count = 1
            for size in x.size()[1:]:
                count *= size
            return count

    class Encoder(nn.Module):
        def __init__(self, letters, width, hidden, layers, dropout):
            super().__init__()
            self.embedding = nn.Embedding(letters, width)
            self.rnn = nn.LSTM(width, hidden, layers, dropout=dropout)
            self.dropout = nn.Dropout(dropout)

        def forward(self, source):
            _, (hidden, cell) = self.rnn(self.dropout(self.embedding(source)))
            return hidden, cell

    class Decoder(nn.Module):
        def __init__(self, sounds, width, hidden, layers, dropout):
            super().__init__()
            self.embedding = nn.Embedding(sounds, width)
            self.rnn = nn.LSTM(width, hidden, layers, dropout=dropout)
            self.fc_out = nn.Linear(hidden, sounds)
            self.dropout = nn.Dropout(dropout)

        def forward(self, token, hidden, cell):
            embedded = self.dropout(self.embedding(token.unsqueeze(0)))
            output, (hidden, cell) = self.rnn(embedded, (hidden, cell))
            return self.fc_out(output.squeeze(0)), hidden, cell

    class Transcriber(nn.Module):
        def __init__(self, letters=30, sounds=25):
            super().__init__()
            self.encoder = Encoder(letters, 16, 24, 2, 0.5)
            self.decoder = Decoder(sounds, 16, 24, 2, 0.5)
            self.sounds = sounds

        def forward(self, source, steps=12):
            outputs = torch.zeros(steps, source.shape[1], self.sounds).to("cpu")
            hidden, cell = self.encoder(source)
            token = torch.ones(source.shape[1], dtype=torch.long)
            for t in range(steps):
                output, hidden, cell = self.decoder(token, hidden, cell)
                outputs[t] = output
                token = output.argmax(1)
            return outputs

    class Tagger(nn.Module):
        def __init__(self, letters=40, tags=9, width=64, hidden=128):
            super().__init__()
            self.char_embeddings = nn.Embedding(letters, width)
            self.lstm = nn.LSTM(width, hidden // 2, num_layers=2, bidirectional=True,
                                batch_first=True)  # fmt: skip
            self.hidden2tag = nn.Linear(hidden, tags)

        def forward(self, sentence):
            y, _ = self.lstm(self.char_embeddings(sentence))
            return self.hidden2tag(y)

    class Identifier(nn.Module):
        def __init__(self, letters=60, languages=6, width=32, hidden=40, layers=2):
            super().__init__()
            self.char_embeddings = nn.Embedding(letters, width, padding_idx=0)
            self.lstm = nn.LSTM(width, hidden, num_layers=layers, bidirectional=True,
                                batch_first=True)  # fmt: skip
            self.hidden2lang = nn.Linear(hidden * 2, languages)

        def forward(self, sentences):
            x, _ = self.lstm(self.char_embeddings(sentences))
            return torch.sum(self.hidden2lang(x), dim=1)

        @torch.no_grad()
        def rank(self, letters):
            self.eval()
            sentence = torch.tensor(letters, dtype=torch.long).view(1, len(letters))
            best = F.softmax(self(sentence), dim=-1)
            return [best[0][i].item() for i in range(best.size(1))]

    class Reader(nn.Module):
        """Columns of an image of a line as a sequence, with attention over them."""

        def __init__(self, classes=12):
            super().__init__()
            layers = []
            for before, after, pool in ((1, 8, 2), (8, 16, 2), (16, 24, (2, 1))):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after),
                           nn.ReLU(inplace=True), nn.MaxPool2d(pool)]  # fmt: skip
            self.cnn = nn.Sequential(*layers)
            self.rnn = nn.GRU(24 * 4, 32, bidirectional=True, batch_first=True)
            self.score = nn.Linear(64, 1, bias=False)
            self.norm = nn.LayerNorm(64)
            self.fc = nn.Linear(128, classes)

        def forward(self, image):
            x = self.cnn(image)
            b, c, h, w = x.size()
            x = x.permute(0, 3, 1, 2).contiguous().view(b, w, c * h)
            y, _ = self.rnn(x)
            y = self.norm(y)
            weights = torch.softmax(self.score(torch.tanh(y)).squeeze(-1), dim=1)
            context = torch.bmm(weights.unsqueeze(1), y).expand(-1, w, -1)
            return F.log_softmax(self.fc(torch.cat([y, context], dim=2)), dim=2)

    return {c.__name__: c for c in (BeatTracker, Transcriber, Tagger, Identifier, Reader)}


def pair(name, *args):
    torch.manual_seed(1)
    theirs, mine = (models(names)[name](*args).eval() for names in (THEIRS, OURS))
    assert repr(mine) == repr(theirs)
    mine.load_state_dict(theirs.state_dict())
    return theirs, mine


def test_beat_tracker_frame_by_frame_and_at_once(rng):
    theirs, mine = pair("BeatTracker")
    x = rng.normal(0, 1, (1, 25, 272)).astype(np.float32)
    with torch.inference_mode():
        due = arrays(theirs(torch.from_numpy(x)))
    frames = [mine(x[:, t : t + 1]) for t in range(25)]
    assert all(type(y) is np.ndarray for y in frames)
    check(np.concatenate(frames, 2), due)
    again = models(OURS)["BeatTracker"]()
    again.load_state_dict(mine.state_dict())
    y = again(fastlstm.nn.tensor.from_numpy(x))
    check(arrays(y), due)
    final = again.softmax(y[0]).cpu().detach().numpy()
    check(final, torch.softmax(torch.from_numpy(due[0].copy()), 0).numpy())


@pytest.mark.needs("c")
def test_a_streams_bits_are_the_whole_calls(rng):
    _, mine = pair("BeatTracker", 80, 24, 1)
    again = models(OURS)["BeatTracker"](80, 24, 1)
    again.load_state_dict(mine.state_dict())
    x = rng.normal(0, 1, (1, 25, 80)).astype(np.float32)
    whole = mine(x)
    for t in range(25):
        assert np.array_equal(again(x[:, t : t + 1]), whole[..., t : t + 1])


def test_transcriber(rng):
    theirs, mine = pair("Transcriber")
    source = rng.integers(0, 30, (9, 2))
    with torch.inference_mode():
        check(mine(source), arrays(theirs(torch.from_numpy(source))))


@pytest.mark.parametrize("name, letters", [("Tagger", 40), ("Identifier", 60)])
def test_sentences(name, letters, rng):
    theirs, mine = pair(name)
    for shape in ((1, 7), (1, 80), (3, 12)):
        sentence = rng.integers(0, letters, shape)
        with torch.inference_mode():
            check(mine(sentence), arrays(theirs(torch.from_numpy(sentence))))
    if name == "Identifier":
        assert mine.rank([3, 1, 4, 1, 5]) == pytest.approx(theirs.rank([3, 1, 4, 1, 5]), abs=1e-5)


def test_reader(rng):
    theirs, mine = pair("Reader")
    for shape in ((1, 1, 32, 64), (2, 1, 32, 40)):
        image = rng.normal(0, 1, shape).astype(np.float32)
        with torch.inference_mode():
            check(mine(image), arrays(theirs(torch.from_numpy(image))))


def test_weights_of_a_file(rng, tmp_path):
    """torch.save, then fastlstm's reader, which executes nothing."""
    theirs, mine = pair("Tagger")
    torch.save(theirs.state_dict(), tmp_path / "tagger.pt")
    other = models(OURS)["Tagger"]()
    other.load_state_dict(fastlstm.nn.tensor.load(str(tmp_path / "tagger.pt"), map_location="cpu"))
    sentence = rng.integers(0, 40, (2, 9))
    assert np.array_equal(other(sentence), mine(sentence))
