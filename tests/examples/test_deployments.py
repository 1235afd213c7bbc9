# SPDX-License-Identifier: MIT
"""Every example's committed model runs without PyTorch and computes what PyTorch computed; every
README says what its results.json says. Nothing is downloaded."""

import contextlib
import importlib
import json
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import fastlstm

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/results.json") if
               (path.parent / "deploy.py").exists())  # fmt: skip
SMALL = 2_000_000  # bytes of an example's models

pytestmark = pytest.mark.skipif(
    not EXAMPLES.exists(), reason="the examples are not beside the tests"
)


@pytest.fixture(autouse=True)
def examples_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


def deploy(name):
    return importlib.import_module(f"{name}.deploy")


def outputs(name):
    return json.loads((EXAMPLES / name / "outputs.json").read_text())


def difference(name, dtype):
    """How far the README says that outputs are from PyTorch's, doubled, since CPUs differ."""
    results = json.loads((EXAMPLES / name / "results.json").read_text())
    return 2 * results["deployed"][f"{dtype}_difference"] + 1e-6


def close(name, dtype, found, expected):
    __tracebackhide__ = True
    np.testing.assert_allclose(found, expected, rtol=0, atol=difference(name, dtype))


# What each deployment computes


def test_the_examples_are_found():
    assert NAMES == ["anomalies", "sentiment", "speech", "stocks", "text", "translation"]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_sentences_are_rated_as_pytorch_does(dtype):
    module, expected = deploy("sentiment"), outputs("sentiment")
    model = module.Sentiment(dtype=dtype)
    close("sentiment", dtype, model.rate(expected["sentences"]), expected["ratings"])
    alone = [model.rate([sentence])[0] for sentence in expected["sentences"]]
    np.testing.assert_allclose(alone, model.rate(expected["sentences"]), atol=2e-6)
    assert model.rate(["A wonderful, moving film."])[0] > 1
    assert model.rate(["A dreadful, tedious mess."])[0] < -1
    assert np.isfinite(model.rate(["", "\u00e9\u4e2d", "a" * 5000])).all()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_days_are_forecast_as_pytorch_does(dtype):
    module, expected = deploy("stocks"), outputs("stocks")
    days, truth = module.simulated()
    model = module.Forecaster(dtype=dtype)
    means, volatilities = model.forecast(module.series(days))
    close("stocks", dtype, means[-20:], expected["means"])
    close("stocks", dtype, volatilities[-20:], expected["volatilities"])
    stepped = [model.step(*day) for day in days]
    assert stepped[0] is None
    np.testing.assert_allclose(np.array(stepped[1:]), np.stack([means, volatilities], 1), rtol=1e-6)
    assert np.corrcoef(np.log(volatilities[:-1]), np.log(truth[2:]))[0, 1] > 0.8
    with pytest.raises(ValueError, match="no day has low 2"):
        model.step(1.0, 2.0, 1.5)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_steps_are_scored_as_pytorch_does(dtype):
    module, expected = deploy("anomalies"), outputs("anomalies")
    values = module.pulse(600, 3, [(400, 20, "reversed")])
    detector = module.Detector("pulse", dtype=dtype)
    scores = detector.scores(values)
    stepped = [detector.step(value) for value in values]
    np.testing.assert_allclose(stepped, scores, rtol=1e-4, atol=1e-6)
    rtol = {"float32": 1e-4, "int8": 0.3}[dtype]
    np.testing.assert_allclose(scores, expected["scores"], rtol, atol=1e-5)
    over = np.flatnonzero(scores > 1)
    assert 400 <= over.min() <= over.max() < 520
    before = detector.step(1.0)
    with pytest.raises(ValueError, match="must be finite, got nan"):
        detector.step(float("nan"))
    assert np.isfinite(detector.step(1.0)) and np.isfinite(before)
    with pytest.raises(ValueError, match="no model 'heart'"):
        module.Detector("heart")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_digits_are_heard_as_pytorch_does(dtype):
    module, expected = deploy("speech"), outputs("speech")
    samples = np.append(module.read_wave(module.RECORDING), np.zeros(module.RATE // 2))
    model = module.Recogniser(dtype=dtype)
    listener, words = module.Listener(model), []
    for at in range(0, len(samples), 137):
        words += listener.hear(samples[at : at + 137])
    assert words == expected["words"]
    whole = model.scores(module.log_mel(samples) @ module.COSINES)
    np.testing.assert_allclose(listener.scores, whole, atol=1e-4)
    close("speech", dtype, whole, expected["scores"])


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_texts_are_translated_as_pytorch_does(dtype):
    module, expected = deploy("translation"), outputs("translation")
    model = module.Translator(dtype=dtype)
    for row in expected["scores"]:
        memory, keys, h = model.encoder(model.ids(row["text"], row["to"]))
        before = np.array([module.BEGIN[row["to"]], *row["before"]])[:, None]
        logs, *_ = model.decoder(before, h, np.zeros_like(h), memory, keys)
        close("translation", dtype, logs[:, 0].max(1), row["best"])
    if dtype == "float32":
        for text, to, translation in expected["translations"]:
            assert model.translate(text, to)[0] == translation
    translation, pieces, looks = model.translate("Delete %(name)s", "de")
    assert "%(name)s" in translation
    assert looks.shape[0] == len(pieces)
    np.testing.assert_allclose(looks.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_text_is_continued_as_pytorch_does(dtype):
    module, expected = deploy("text"), outputs("text")
    model = module.Writer(dtype=dtype)
    close("text", dtype, model.scores(expected["text"])[-1], expected["scores"])
    text = "My dear" + "".join(model.continued("My dear", 60, 0.0))
    likeliest = model.scores(text).argmax(1)  # of all letters at once
    assert text[7:] == "".join(module.LETTERS[k] for k in likeliest[6:-1])
    drawn = ["".join(model.continued("My dear", 1, 0.7, seed)) for seed in range(2000)]
    odds = np.exp(model.scores("My dear")[-1].astype(np.float64) / 0.7)
    counts = np.array([drawn.count(letter) for letter in module.LETTERS])
    # Half the sum of the differences is some 0.01 where odds are as they should be.
    assert np.abs(counts / 2000 - odds / odds.sum()).sum() / 2 < 0.04


# The programs, as a user runs them


@pytest.mark.parametrize("name", NAMES)
def test_a_deployment_imports_numpy_and_fastlstm_alone(name):
    script = (
        "import sys, runpy; before = set(sys.modules)\n"
        f"sys.path.insert(0, {str(EXAMPLES)!r}); sys.argv = ['deploy.py']\n"
        f"runpy.run_path({str(EXAMPLES / name / 'deploy.py')!r}, run_name='__main__')\n"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}), file=sys.stderr)"
    )
    root = str(Path(fastlstm.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={"PYTHONPATH": root, "PATH": "", "PYTHONUTF8": "1"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = set(re.findall(r"'(\w+)'", done.stderr.splitlines()[-1]))
    # numba stands in for the C core where there is none
    others = imported - set(sys.stdlib_module_names) - {"numpy", "fastlstm", "numba", "llvmlite"}
    assert {name for name in others if not name.startswith(("_", "cython"))} == set()
    assert len(done.stdout.splitlines()) >= 3


# READMEs and files


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_says_what_the_results_say(name):
    from common import report

    text = (EXAMPLES / name / "README.md").read_text()
    results = report.read(EXAMPLES / name)
    assert report.filled(text, results) == text
    assert results["verdict"] in "\n".join(text.splitlines()[:5])
    one = next(iter(next(iter(results["scores"].values()))["rows"].values()))
    next(iter(one.values()))["value"] += 123.0
    assert report.filled(text, results) != text


def test_the_readme_of_stocks_says_first_whether_the_random_walk_is_beaten():
    results = json.loads((EXAMPLES / "stocks" / "results.json").read_text())
    ratio = results["scores"]["next day's return: squared error over the random walk's"]
    ours = ratio["rows"]["this LSTM, float32"]["2004 to 2018"]
    first = (EXAMPLES / "stocks" / "README.md").read_text().splitlines()[1]
    assert results["beats_the_random_walk"] == (ours["high"] < 1)
    assert ("does not beat the random walk" in first) == (ours["high"] >= 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_small_and_a_picture_is_there(name):
    folder = EXAMPLES / name
    assert sum(model.stat().st_size for model in folder.rglob("*.safetensors")) < SMALL
    text = (folder / "README.md").read_text()
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"', text)
    assert [picture.rpartition("-")[2] for picture in pictures] == ["dark.png", "light.png"]
    for picture in pictures:
        assert (folder / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# What the examples share


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    from common.scores import interval

    rng, held = np.random.default_rng(1), 0
    for _ in range(100):
        x = rng.normal(3, 2, 60)
        found = interval(lambda i, x=x: x[i].mean(), 60, draws=200)
        assert found["low"] <= found["value"] <= found["high"]
        held += found["low"] < 3 < found["high"]
    assert 85 <= held <= 100
    walk = np.cumsum(rng.normal(0, 1, 500))
    narrow, wide = (interval(lambda i: walk[i].mean(), 500, block, 200) for block in (1, 50))
    assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])


def test_files_of_packages_are_compared(tmp_path, monkeypatch):
    import hashlib
    import zipfile

    from common import data

    monkeypatch.setattr(data, "CACHE", tmp_path)
    with zipfile.ZipFile(tmp_path / "thing-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("thing/a.txt", "one")
        archive.writestr("thing/b.txt", "two")
    wheel, digest = data.Wheel("thing", "1.0"), hashlib.sha256(b"one").hexdigest()
    assert data.read(wheel, "thing/a.txt", digest) == b"one"
    with pytest.raises(data.DataError, match="has the SHA-256"):
        data.read(wheel, "thing/b.txt", digest)
    with pytest.raises(data.DataError, match=r"has no file thing/c\.txt"):
        data.read(wheel, "thing/c.txt", digest)
    files = data.archive(wheel)
    assert data.read_many(wheel, lambda name: True, data.digest(files)) == files
    with pytest.raises(data.DataError, match="1 files"):
        data.read_many(wheel, lambda name: name.endswith("a.txt"), data.digest(files))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("anomalies", "", "no values"),
        ("anomalies", "value\n1\nnan\n", "line 3: no finite number in 'nan'"),
        ("anomalies", "1\n2,x\n", "line 2: no finite number in '2,x'"),
        ("stocks", "High,Low\n2,1\n", "columns High, Low and Close are due"),
        ("stocks", "High,Low,Close\n2,1,1\n", "three days or more"),
        ("stocks", "High,Low,Close\n2,1,1\n2,,1\n2,1,1\n", "a price is no number"),
        ("stocks", "High,Low,Close\n2,1,1\n2,3,1\n2,1,1\n", "no day has low 3.0"),
        ("speech", "no sound", "RIFF"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_words(name, content, said, tmp_path):
    file = tmp_path / "given"
    with pytest.raises(SystemExit, match=r"given: .*No such file"):
        deploy(name).main([str(file)])
    file.write_text(content)
    with pytest.raises(SystemExit, match=re.escape(said)):
        deploy(name).main([str(file)])


def test_a_wav_file_of_another_kind_is_refused(tmp_path):
    module = deploy("speech")
    with contextlib.closing(wave.open(str(tmp_path / "x.wav"), "wb")) as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(b"\0" * 400)
    with pytest.raises(SystemExit, match="2 channels"):
        module.read_wave(tmp_path / "x.wav")
    with contextlib.closing(wave.open(str(tmp_path / "none.wav"), "wb")) as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
    with pytest.raises(SystemExit, match="no samples"):
        module.read_wave(tmp_path / "none.wav")
