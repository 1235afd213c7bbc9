# SPDX-License-Identifier: MIT
"""Classes of whole models written once, for torch or for fastlstm.nn: only what they import
differs. Their structures and names are those of models that people install: a beat tracker, two
transcribers of words to sounds, a morphological analyser, a language identifier, readers of lines
of text, a caller of bases, a writer of text."""

import types

import numpy as np
import torch

import fastlstm.nn

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
        def __init__(self, letters=30, sounds=25, width=16, hidden=24):
            super().__init__()
            self.encoder = Encoder(letters, width, hidden, 2, 0.5)
            self.decoder = Decoder(sounds, width, hidden, 2, 0.5)
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

    class Speller(nn.Module):
        """The same with a GRU, and a cell for the decoder; letters (B, T) to logits (steps, B,
        sounds)."""

        def __init__(self, letters=29, sounds=74, hidden=256, start=2):
            super().__init__()
            self.enc_emb = nn.Embedding(letters, hidden)
            self.enc = nn.GRU(hidden, hidden, batch_first=True)
            self.dec_emb = nn.Embedding(sounds, hidden)
            self.dec = nn.GRUCell(hidden, hidden)
            self.fc = nn.Linear(hidden, sounds)
            self.start = start

        def forward(self, letters, steps=20):
            _, hidden = self.enc(self.enc_emb(letters))
            h, logits = hidden[-1], []
            token = torch.full((letters.size(0),), self.start, dtype=torch.long)
            for _ in range(steps):
                h = self.dec(self.dec_emb(token), h)
                logits.append(self.fc(h))
                token = torch.argmax(logits[-1], dim=-1)
            return torch.stack(logits)

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

    class LineReader(nn.Module):
        """A line of text: seven Conv2ds with pools until one row is left, a recurrence over the
        columns."""

        def __init__(self, classes=66):
            super().__init__()

            def conv(before, after, norm=False):
                parts = [nn.Conv2d(before, after, kernel_size=3, padding=1)]
                return [*parts, *([nn.BatchNorm2d(after)] if norm else []), nn.ReLU(True)]

            self.cnn = nn.Sequential(
                *conv(1, 64), nn.MaxPool2d(2, 2), *conv(64, 128), nn.MaxPool2d(2, 2),
                *conv(128, 256, True), *conv(256, 256), nn.MaxPool2d((2, 2), (2, 1), (0, 1)),
                *conv(256, 512, True), nn.MaxPool2d((2, 2), (2, 1), (0, 1)),
                nn.Conv2d(512, 512, kernel_size=2, padding=0), nn.BatchNorm2d(512), nn.ReLU(True),
            )  # fmt: skip
            self.rnn = nn.LSTM(512, 256, bidirectional=True, batch_first=True)
            self.fc = nn.Linear(256 * 2, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.cnn(x).squeeze(2).permute(0, 2, 1)
            y, _ = self.rnn(x)
            return self.fc(y).permute(1, 0, 2)

    class LongLineReader(nn.Module):
        """A longer line: the mean over the rows that are left, two layers of the recurrence."""

        def __init__(self, classes=984, dropout=0.2):
            super().__init__()

            def conv(before, after, pool=None):
                parts = [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after)]
                parts.append(nn.ReLU(inplace=True))
                return parts + ([nn.MaxPool2d(pool, pool), nn.Dropout2d(dropout)] if pool else [])

            self.cnn = nn.Sequential(
                *conv(1, 64, 2), *conv(64, 128, 2), *conv(128, 256), *conv(256, 256, (2, 1)),
                *conv(256, 512), *conv(512, 512, (2, 1)),
                nn.Conv2d(512, 512, 2), nn.BatchNorm2d(512), nn.ReLU(inplace=True),
            )  # fmt: skip
            self.rnn = nn.LSTM(input_size=512, hidden_size=256, num_layers=2, bidirectional=True,
                               batch_first=False, dropout=dropout)  # fmt: skip
            self.fc = nn.Linear(512, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.cnn(x).mean(dim=2)
            y, _ = self.rnn(x.permute(2, 0, 1))
            return self.fc(y)

    class Consensus(nn.Module):
        """Bases out of the counts of reads."""

        def __init__(self, features=10, classes=5, hidden=128, layers=2):
            super().__init__()
            self.gru = nn.GRU(features, hidden, num_layers=layers, bidirectional=True,
                              batch_first=True)  # fmt: skip
            self.linear = nn.Linear(2 * hidden, classes)
            self.normalise = True

        def forward(self, x):
            x = self.linear(self.gru(x)[0])
            return torch.softmax(x, dim=-1) if self.normalise else x

    class Writer(nn.Module):
        """The next character of a text: two recurrences, and the mean over the characters, weighted
        by attention, of the embedding and of what both give."""

        def __init__(self, characters=465, width=100, hidden=128):
            super().__init__()
            self.embedding = nn.Embedding(characters, width)
            self.rnn_1 = nn.LSTM(width, hidden, batch_first=True)
            self.rnn_2 = nn.LSTM(hidden, hidden, batch_first=True)
            self.attention = nn.Linear(width + 2 * hidden, 1, bias=False)
            self.output = nn.Linear(width + 2 * hidden, characters)

        def forward(self, x):
            x = self.embedding(x)
            y, _ = self.rnn_1(x)
            z, _ = self.rnn_2(y)
            x = torch.cat([x, y, z], dim=-1)
            x = (x * F.softmax(self.attention(x), dim=1)).sum(dim=1)
            return F.softmax(self.output(x), dim=-1)

    classes = (BeatTracker, Transcriber, Speller, Tagger, Identifier, Reader, LineReader,
               LongLineReader, Consensus, Writer)  # fmt: skip
    return {c.__name__: c for c in classes}
