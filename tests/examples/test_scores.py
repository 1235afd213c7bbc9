# SPDX-License-Identifier: MIT
"""The scores of the examples' results.json come out again of the data: in full alone, since it
downloads."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import FULL

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [
    pytest.mark.skipif(not FULL, reason="downloads data: FASTLSTM_FULL=1"),
    pytest.mark.once,
]


@pytest.fixture(autouse=True)
def examples_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


def scores(name, metric):
    results = json.loads((EXAMPLES / name / "results.json").read_text())
    return results["scores"][metric]["rows"]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_sentences(dtype):
    data, deploy = (importlib.import_module(f"sentiment.{m}") for m in ("data", "deploy"))
    test = [s for s in data.read_sentences() if s.part == data.TEST]
    rated = deploy.Sentiment(dtype=dtype).rate([s.text for s in test])
    r = np.corrcoef(rated, [s.rating for s in test])[0, 1]
    rows = scores("sentiment", "correlation with people's mean rating")
    assert abs(r - rows[f"this LSTM, {dtype}"]["all"]["value"]) < 1e-3


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_days(dtype):
    data, deploy = (importlib.import_module(f"stocks.{m}") for m in ("data", "deploy"))
    market, errors, losses = data.Market(), [], []
    for year in range(data.FIRST, data.LAST + 1):
        days = market.year <= year
        means, volatilities = deploy.Forecaster(year, dtype).forecast(market.x[days])
        own = market.year[days] == year
        y, mean, variance = market.y[days][own], means[own], volatilities[own] ** 2
        errors += list(zip((y - mean) ** 2, y**2, strict=True))
        losses += list(np.log(variance) + y**2 / variance)
    ours, walk = np.array(errors).mean(0)
    rows = scores("stocks", "next day's return: squared error over the random walk's")
    assert abs(ours / walk - rows[f"this LSTM, {dtype}"]["2004 to 2018"]["value"]) < 1e-5
    rows = scores("stocks", "next day's variance: QLIKE, log v + r^2/v")
    assert abs(np.mean(losses) - rows[f"this LSTM, {dtype}"]["2004 to 2018"]["value"]) < 1e-4


def test_anomalies():
    data, deploy = (importlib.import_module(f"anomalies.{m}") for m in ("data", "deploy"))
    rows = scores("anomalies", "labelled anomalies")["this LSTM, float32"]
    for name, series in data.read_all().items():
        over = deploy.Detector(name).scores(series.test) > 1
        found = sum(over[a : b + series.period].any() for a, b in series.anomalies)
        of = len(series.anomalies)
        assert found == rows[f"{name}: found, of {of}"]["value"], name


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_text(dtype):
    pytest.importorskip("torch")
    train, deploy = (importlib.import_module(f"text.{m}") for m in ("train", "deploy"))
    held = train.charlm().split_novels(train.novels())[1].numpy()
    said = deploy.Writer(dtype=dtype).stream().step(held[:-1, None])[:, 0].astype(np.float64)
    odds = np.exp(said - said.max(1, keepdims=True))
    bits = -np.log2(odds[np.arange(len(odds)), held[1:]] / odds.sum(1)).mean()
    rows = scores("text", "bits a letter")
    assert abs(bits - rows[f"this LSTM, {dtype}"]["held out"]["value"]) < 1e-3


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_digits(dtype):
    pytest.importorskip("espeakng_loader")
    data, deploy = (importlib.import_module(f"speech.{m}") for m in ("data", "deploy"))
    train = importlib.import_module("speech.train")
    model, wrong, count = deploy.Recogniser(dtype=dtype), 0, 0
    for _, said, cepstra, _ in data.tidigits():
        wrong, count = wrong + train.distance(said, model.words(cepstra)), count + len(said)
    rows = scores("speech", "wrong words, %")
    assert abs(100 * wrong / count - rows[f"this LSTM, {dtype}"]["both"]["value"]) <= 1.0


def test_translations():
    metrics = pytest.importorskip("sacrebleu.metrics")
    pytest.importorskip("polib")
    data, deploy = (importlib.import_module(f"translation.{m}") for m in ("data", "deploy"))
    test = [p for p in data.read_pairs() if p.part == data.TEST and p.language == "de"]
    model = deploy.Translator()
    answers = [model.translate(p.english, "de")[0] for p in test]
    found = metrics.CHRF().corpus_score(answers, [[p.translation for p in test]]).score
    rows = scores("translation", "chrF, 0 to 100")
    assert abs(found - rows["this LSTM, float32"]["de"]["value"]) < 0.3
    spoken = [p for p in data.read_pairs() if p.part == data.TEST and p.spoken]
    answers = [model.translate(p.english, p.language)[0] for p in spoken]
    found = metrics.CHRF().corpus_score(answers, [[p.translation for p in spoken]]).score
    assert abs(found - rows["this LSTM, float32"]["spoken (fr, es)"]["value"]) < 0.3
