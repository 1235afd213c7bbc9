# SPDX-License-Identifier: MIT
"""Whole models whose class is written once, for torch or for fastlstm.nn (support/nn_models.py),
with drawn weights: a beat tracker, a transcriber of words to sounds, a morphological analyser, a
language identifier, and a small OCR network."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from nn_models import OURS, THEIRS, models  # noqa: E402
from nn_pairs import arrays, check  # noqa: E402

import fastlstm.nn  # noqa: E402


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
