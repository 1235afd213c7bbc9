# SPDX-License-Identifier: MIT
"""What the applications and their figures are made of: ranges, intervals, whole models out of
PyTorch, the beam search, pieces of words, voices. Nothing is downloaded, and no network of theirs
is run."""

import importlib
import itertools
import json
import math
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastlstm

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [
    pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are not beside the tests"),
    pytest.mark.once,
]


@pytest.fixture(autouse=True)
def examples_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


def module(name):
    return importlib.import_module(name)


# Anomalies: precision and recall for ranges


def test_ranges_by_hand():
    r = module("anomalies.ranges")
    assert r.spans(np.array([0, 1, 1, 0, 0, 1, 0, 0, 0, 1], bool), 2) == [(1, 6), (9, 10)]
    assert r.covered((10, 20), [(12, 17)]) == 0.5
    assert r.covered((10, 20), [(0, 12), (18, 30)]) == pytest.approx(0.4 / 2)  # in two pieces
    assert r.covered((10, 20), [(0, 10), (20, 30)]) == 0.0  # beside it
    assert r.covered((10, 20), [(10, 15)], r.front) == pytest.approx(40 / 55)
    assert r.covered((10, 20), [(15, 20)], r.front) == pytest.approx(15 / 55)
    assert r.noticed((10, 20), [(12, 17)]) == pytest.approx(0.5 + 0.5 * 0.5)
    assert r.noticed((10, 20), [(12, 17)], alpha=0.0) == pytest.approx(0.5)
    assert r.rates([(10, 20)], [(10, 20)]) == (1.0, 1.0)
    assert r.rates([(10, 20)], [(10, 20), (50, 60)]) == (0.5, 1.0)
    assert r.rates([(10, 20), (50, 60)], [(10, 20)]) == (1.0, 0.5)
    assert r.rates([(10, 20)], []) == (1.0, 0.0)
    assert r.harmonic(0.0, 0.0) == 0.0
    assert r.harmonic(0.5, 1.0) == pytest.approx(2 / 3)


def test_ranges_step_by_step():
    r, rng = module("anomalies.ranges"), np.random.default_rng(4)

    def drawn():
        edges = np.sort(rng.choice(60, 2 * rng.integers(0, 5), replace=False))
        return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]

    for _ in range(200):
        anomalies, alarms = drawn(), drawn()
        weigh, alpha = (r.flat, r.front)[rng.integers(2)], rng.random()
        steps = [set(range(*alarm)) for alarm in alarms]
        every = set().union(*steps)
        found = []
        for a, b in anomalies:
            weights = dict(zip(range(a, b), weigh(b - a), strict=True))
            pieces = sum(bool(own & set(weights)) for own in steps)
            share = sum(w for t, w in weights.items() if t in every) / sum(weights.values())
            found.append(alpha * (pieces > 0) + (1 - alpha) * share / max(1, pieces))
        recall = sum(found) / len(found) if found else 1.0
        assert r.rates(anomalies, alarms, weigh, alpha)[1] == pytest.approx(recall)
        # Precision is recall with the parts exchanged, without a share for being noticed.
        assert r.rates(alarms, anomalies)[0] == pytest.approx(
            r.rates(anomalies, alarms, alpha=0.0)[1]
        )


# Intervals of counts


def test_intervals_of_counts_leave_a_fortieth_on_either_side():
    pytest.importorskip("scipy")
    scores = module("common.scores")

    def at_least(k, n, p):
        return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))

    for k, n in [(8, 9), (0, 5), (5, 5), (1, 3), (40, 100)]:
        found = scores.part_of(k, n)
        assert found["value"] == k and 0 <= found["low"] <= k <= found["high"] <= n
        if k:
            assert at_least(k, n, found["low"] / n) == pytest.approx(0.025)
        if k < n:
            assert 1 - at_least(k + 1, n, found["high"] / n) == pytest.approx(0.025)

    def at_most(k, mean):
        return sum(math.exp(-mean) * mean**i / math.factorial(i) for i in range(k + 1))

    for k in (0, 1, 3, 12):
        found = scores.events(k)
        assert at_most(k, found["high"]) == pytest.approx(0.025)
        assert (
            found["low"] == 0
            if k == 0
            else 1 - at_most(k - 1, found["low"]) == pytest.approx(0.025)
        )


def test_the_interval_of_shares_is_that_of_counts():
    pytest.importorskip("scipy")
    scores = module("common.scores")
    whole, count = scores.mean_share([1.0, 0.0, 1.0, 1.0]), scores.part_of(3, 4)
    assert all(whole[name] == pytest.approx(count[name] / 4) for name in count)
    some = scores.mean_share([0.5, 0.7, 0.3])
    assert some["value"] == pytest.approx(0.5) and 0 < some["low"] < 0.1 < 0.9 < some["high"] < 1
    assert scores.mean_share([]) == {"value": 1.0, "low": 0.0, "high": 1.0}
    for share in (0.0, 0.4, 1.0):
        one = scores.mean_share([share])
        assert 0 <= one["low"] <= share <= one["high"] <= 1


# READMEs


def test_the_first_sentence_says_who_is_better():
    report = module("common.report")

    def row(value, low, high):
        return {"all": {"value": value, "low": low, "high": high}}

    rows = {
        "this LSTM, float32": row(0.70, 0.68, 0.72), "this LSTM, int8": row(0.1, 0.1, 0.1),
        "counting": row(0.60, 0.55, 0.65), "guessing": row(0.5, 0.4, 0.6), "n": row(0.2, 0.1, 0.3),
        "a lexicon": row(0.69, 0.67, 0.71), "a person": row(0.9, 0.89, 0.91),
    }  # fmt: skip
    part = {"better": "higher", "digits": 2, "rows": rows}
    assert report.verdict("right", part, "all") == (
        "**Right: 0.70, ahead of counting (0.60), guessing (0.50) and n (0.20), level with "
        "a lexicon (0.69), behind a person (0.90).**"
    )
    said = report.verdict("wrong", {**part, "better": "lower"}, "all", " %")
    assert said.startswith("**Wrong: 0.70 %, ahead of a person (0.90), level with")
    with pytest.raises(ValueError, match="no part between"):
        report.between("a page", "<!-- x -->", "")


RESULTS = sorted(EXAMPLES.glob("*/results.json"))
RESULTS = [path for path in RESULTS if (path.parent / "deploy.py").exists()]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_every_score_has_an_interval_and_every_engine_a_time(path):
    results = json.loads(path.read_text())
    for metric, part in results["scores"].items():
        assert {"this LSTM, float32", "this LSTM, int8"} <= set(part["rows"]), metric
        for who, row in part["rows"].items():
            for group, entry in row.items():
                assert entry["low"] <= entry["value"] <= entry["high"], (metric, who, group)
    assert list(results["speed"]["engines"]) == [
        "fastlstm, float32", "fastlstm, int8", "ONNX Runtime", "PyTorch",
    ]  # fmt: skip
    assert {"fastlstm", "numpy", "onnxruntime", "torch"} <= set(results["installed_mb"])
    training = results["training"]
    assert training["loss_difference"] < 1e-4 * abs(training["loss_first"])
    assert training["cpu_seconds"] < 360
    assert json.loads((path.parent / "training.json").read_text()) == training


# Whole models


def test_a_network_is_kept_whole(tmp_path):
    """Exported with any number of steps, in float16 without a change, and read back as it was."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    arrays = pytest.importorskip("safetensors.numpy")
    export = module("common.export")

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.lstm = torch.nn.Embedding(50, 8), torch.nn.LSTM(8, 16)
            self.head = torch.nn.Linear(16, 8)

        def forward(self, ids):
            return self.head(self.lstm(self.table(ids))[0]) @ self.table.weight.T

    torch.manual_seed(0)
    tagger, path = Tagger().eval(), tmp_path / "tagger.safetensors"
    free = {"ids": {0: "steps", 1: "rows"}, "other": {0: "rows"}}
    parts = (torch.zeros(3, 2, dtype=torch.int64),), ["ids"], ["y"], free
    with pytest.raises(ValueError, match=r"table.weight is no float16"):
        export.save(path, tagger, *parts)
    export.round_weights(tagger)
    export.save(path, tagger, *parts)
    weights = export.weights_of(path)
    assert all(torch.equal(weights[name], w) for name, w in tagger.state_dict().items())
    halves = [a.size for a in arrays.load_file(path).values() if a.dtype == np.float16]
    assert sum(halves) == sum(w.numel() for w in tagger.parameters() if w.ndim > 1)
    ids = torch.randint(50, (7, 5))
    with torch.inference_mode():
        expected = tagger(ids).numpy()
    model = fastlstm.load_model(path, dtype="float32")
    np.testing.assert_allclose(model(ids.numpy()), expected, rtol=0, atol=1e-6)


def test_the_model_of_text_is_the_demo_s_network():
    pytest.importorskip("torch")
    deploy, demo = module("text.deploy"), Path(fastlstm.__file__).parent / "demo/data/austen.pt"
    kept = module("common.export").weights_of(deploy.MODEL)
    found = fastlstm.read_state_dict(demo)
    weights = {name.removeprefix("model."): array for name, array in found.items()}
    assert "".join(map(chr, weights.pop("vocab"))) == deploy.LETTERS
    for name, array in weights.items():
        np.testing.assert_array_equal(kept[name].numpy(), array.astype(np.float32), name)


# Translation


class Table:
    """A decoder whose state is the pieces so far, and whose odds are drawn once for each state."""

    def __init__(self, pieces, seed):
        self.rng, self.pieces, self.odds = np.random.default_rng(seed), pieces, {}

    def logs(self, before):
        if before not in self.odds:
            self.odds[before] = np.log(self.rng.dirichlet(np.ones(self.pieces)))
        return self.odds[before]


def of_table(table):
    """deploy.Translator with the table in place of its models: its state is a number in base 10, a
    digit for each piece so far."""
    deploy = module("translation.deploy")

    class Model(deploy.Translator):
        def __init__(self):
            self.pieces = deploy.Pieces("ab", [])

        def encoder(self, ids):
            return None, None, np.zeros((1, 1, 1))

        def decoder(self, before, h, c, memory, keys):
            begun = ~np.isin(before, list(deploy.BEGIN.values()))
            number = c * 10 + (before * begun)[..., None]
            logs = np.full((1, before.shape[1], 8), -np.inf)
            for row, digits in enumerate(number[0, :, 0]):
                logs[0, row, [deploy.END, 6, 7]] = table.logs(str(int(digits)) if digits else "")
            return logs, np.zeros((1, before.shape[1], 1)), h, number

    return Model()


@pytest.mark.parametrize("length", [0.0, 0.8, 2.0])
def test_the_beam_search_finds_the_best_for_its_exponent(length):
    """A beam as wide as everything against all texts of up to five pieces."""
    end, chosen = 1, []
    for seed in range(20):
        table, scored = Table(3, seed), {}
        for n in range(5):
            for pieces in itertools.product((6, 7), repeat=n):
                total, before = 0.0, ""
                for piece in (*pieces, end):
                    total += table.logs(before)[{end: 0, 6: 1, 7: 2}[piece]]
                    before += str(piece)
                scored[*pieces, end] = total / (n + 1) ** length
        model = of_table(table)
        _, pieces, _ = model.translate("", "de", beam=40, longest=5, length=length)
        assert tuple(pieces) == max(scored, key=scored.get)
        chosen.append(len(pieces))
    # The exponent does what deploy.py says of it.
    assert np.mean(chosen) < 2 if length == 0.0 else np.mean(chosen) > {0.8: 1.5, 2.0: 3.5}[length]


def test_the_exponent_of_the_translator_is_about_the_best():
    deploy = module("translation.deploy")
    lengths = json.loads((EXAMPLES / "translation" / "results.json").read_text())["lengths"]
    assert len(lengths) >= 3
    assert lengths[str(deploy.LENGTH)] > max(lengths.values()) - 0.3


# Speech


def test_voices_are_compared(tmp_path):
    loader = pytest.importorskip("espeakng_loader")
    voices = module("speech.voices")
    library, data = Path(loader.get_library_path()), Path(loader.get_data_path())
    voices.check(library, data)
    (tmp_path / "en_dict").write_bytes((data / "en_dict").read_bytes())
    with pytest.raises(voices.DataError, match="have the SHA-256"):
        voices.check(library, tmp_path)
    if (platform.system(), platform.machine()) in voices.LIBRARIES:
        with pytest.raises(voices.DataError, match="has the SHA-256"):
            voices.check(data / "en_dict", data)


def test_the_same_calls_give_the_same_voices():
    pytest.importorskip("espeakng_loader")
    script = (
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "import hashlib; from speech.voices import Speaker\n"
        "speaker, total = Speaker(), hashlib.sha256()\n"
        "for seed, voice in enumerate(['sandro', 'f2', 'Alicia', 'victor'], int(sys.argv[1])):\n"
        "    total.update(speaker.say('four two', f'en-us+{voice}', seed=seed).tobytes())\n"
        "print(total.hexdigest())"
    )

    def sounds(seed):
        done = subprocess.run(
            [sys.executable, "-c", script, str(seed)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert sounds(1) == sounds(1) != sounds(9)
