# SPDX-License-Identifier: MIT
"""The translator beside copying and beside the nearest neighbour in the training set.

python evaluate.py         # writes results.json, README's tables, looks.png and tests' outputs
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import report, timing  # noqa: E402
from common.beside import progress  # noqa: E402
from common.scores import interval  # noqa: E402

from translation.data import TEST, TRAIN, read_pairs  # noqa: E402
from translation.deploy import BEGIN, END, LANGUAGES, MODEL, OWN, Translator, with_marks  # noqa: E402

DRAWS, TIMED = 500, 60


def nearest(pairs, test):
    """The translation of the training text that shares most stretches of one to four letters with
    each (cosine)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    found = {}
    for language in LANGUAGES:
        known = [p for p in pairs if p.part == TRAIN and p.language == language]
        asked = [n for n, p in enumerate(test) if p.language == language]
        stretches = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
        x = stretches.fit_transform([p.english for p in known])
        alike = (stretches.transform([test[n].english for n in asked]) @ x.T).toarray()
        found |= {n: known[k].translation for n, k in zip(asked, alike.argmax(1), strict=True)}
    return [found[n] for n in range(len(test))]


def chrf(test, answers):
    """{language: chrF with its interval}, over all its sentences together as chrF is defined."""
    from sacrebleu.metrics import CHRF

    metric, found = CHRF(), {}
    statistics = np.array(
        [
            metric._extract_corpus_statistics([answer], [[p.translation]])[0]
            for p, answer in zip(test, answers, strict=True)
        ],
        float,
    )
    languages = np.array([p.language for p in test])
    for group in ("all", *LANGUAGES):
        own = statistics if group == "all" else statistics[languages == group]

        def of(i, own=own):
            return metric._compute_f_score(own[i].sum(0).tolist())

        found[group] = interval(of, len(own), draws=DRAWS)
        chosen = [n for n in range(len(test)) if group in ("all", languages[n])]
        whole = metric.corpus_score(
            [answers[n] for n in chosen], [[test[n].translation for n in chosen]]
        )
        assert abs(whole.score - found[group]["value"]) < 1e-6, (whole.score, found[group])
    return found


def exactly(test, answers):
    """{language: percent that are the translation to the letter}"""
    languages = np.array([p.language for p in test])
    right = np.array([a == p.translation for p, a in zip(test, answers, strict=True)], float)
    found = {}
    for group in ("all", *LANGUAGES):
        own = right if group == "all" else right[languages == group]
        found[group] = interval(lambda i, own=own: 100 * own[i].mean(), len(own))
    return found


def torch_network():
    import torch
    from safetensors.torch import load_file

    from translation.train import Network

    torch.set_num_threads(1)
    weights = load_file(MODEL)
    network = Network(len(weights["embedding.weight"]))
    network.load_state_dict({k: weights[k].float() for k in network.state_dict()})
    return network.eval()


def difference(rows):
    """The largest difference from PyTorch's log probabilities, of (language, ids,
    translation's)."""
    import torch

    from translation.train import batch_of

    network = torch_network()
    found = {}
    for dtype in ("float32", "int8"):
        model, worst = Translator(dtype=dtype), 0.0
        for row in rows:
            source, target, language = batch_of([row])
            before = torch.cat([language[None], target[:-1]])
            with torch.inference_mode():
                exact = network(source, before)[:, 0].log_softmax(-1).numpy()
            logs = given(model, source[:, 0].numpy(), before[:, 0].numpy())
            worst = max(worst, float(np.abs(logs - exact).max()))
        found[f"{dtype}_difference"] = worst
    return found


def given(model, source, before):
    """Log probabilities (T, V) of deploy's network, of the pieces after each of `before`."""
    memory, keys, first = model.read(source)
    h = np.ascontiguousarray(first[None, None], np.float32)
    y, _ = model.decoder(model.embedding[before][:, None], (h, np.zeros_like(h)))
    return model.say(y[:, 0], memory, keys)[0]


def speed(test):
    """Microseconds for a translation with a beam of 4: the same search around every engine."""
    import torch
    from common.peers import session
    from torch import nn

    network, texts = torch_network(), test[:TIMED]
    hidden = network.decoder.hidden_size

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = network.encoder

        def forward(self, x):
            y, (h, c) = self.lstm(x)
            return y, h, c

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = network.decoder

        def forward(self, x, h, c):
            y, (h, c) = self.lstm(x, (h, c))
            return y, h, c

    width = network.embedding.embedding_dim
    reader, step = Reader().eval(), Step().eval()
    free = {"x": {0: "steps"}}
    read_onnx = session(reader, (torch.zeros(5, 1, width),), ["x"], ["y", "h", "c"], free)
    rows = {name: {1: "rows"} for name in ("x", "h", "c")}
    state = torch.zeros(1, 2, hidden)
    step_onnx = session(
        step, (torch.zeros(1, 2, width), state, state), ["x", "h", "c"], ["y", "h1", "c1"], rows
    )

    def with_layers(encoder, decoder):
        model = Translator()
        model.encoder, model.decoder = encoder, decoder
        return model

    def torch_call(module):
        def call(x, state=()):
            with torch.inference_mode():
                arrays = [torch.from_numpy(np.ascontiguousarray(a)) for a in (x, *state)]
                y, h, c = module(*arrays)
            return y.numpy(), (h.numpy(), c.numpy())

        return call

    def onnx_call(run):
        def call(x, state=()):
            y, h, c = run.run(None, dict(zip("xhc", (x, *state))))
            return y, (h, c)

        return call

    models = {
        "fastlstm, float32": Translator(),
        "fastlstm, int8": Translator(dtype="int8"),
        "ONNX Runtime": with_layers(onnx_call(read_onnx), onnx_call(step_onnx)),
        "PyTorch": with_layers(torch_call(reader), torch_call(step)),
    }

    def run(model):
        return lambda: [model.translate(p.english, p.language)[0] for p in texts]

    same = {name: run(model)() for name, model in models.items() if "int8" not in name}
    assert same["PyTorch"] == same["fastlstm, float32"] == same["ONNX Runtime"]
    engines = {name: timing.passes(run(model), len(texts)) for name, model in models.items()}
    return {
        "what": "a translation, beam of 4; embedding, attention and search are NumPy's in all",
        "engines": timing.microseconds(engines, rounds=5),
    }


def picture(model, path):
    """Where the decoder looked for each piece."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
    for axis, language in zip(axes, LANGUAGES, strict=True):
        text = OWN[4]
        translation, pieces, looks = model.translate(text, language)
        source = [BEGIN[language], *model.pieces.encode(with_marks(text)[0]), END]

        def name(k):
            return {END: "end"}.get(k, model.pieces.pieces[k].replace("\u2581", "_") or "to")

        axis.imshow(looks, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(source)), [name(k) for k in source], rotation=90, fontsize=7)
        axis.set_yticks(range(len(pieces)), [name(k) for k in pieces], fontsize=7)
        axis.set_title(translation, fontsize=8)
    figure.savefig(path, dpi=100)


def own_outputs(model):
    """What PyTorch says of the pieces of our own texts' translations, for the tests."""
    import torch

    network, scores, translations = torch_network(), [], []
    for text in OWN[:4]:
        for to in LANGUAGES:
            translation, pieces, _ = model.translate(text, to)
            translations.append([text, to, translation])
            source = torch.tensor([BEGIN[to], *model.pieces.encode(text), END])[:, None]
            before = torch.tensor([BEGIN[to], *pieces[:-1]])[:, None]
            with torch.inference_mode():
                best = network(source, before)[:, 0].log_softmax(-1).max(-1).values
            row = {"text": text, "to": to, "before": pieces[:-1], "best": best.tolist()}
            scores.append(row)
    return {"scores": scores, "translations": translations}


def main():
    from translation.data import encoded

    pairs = read_pairs()
    test = [p for p in pairs if p.part == TEST]
    answers, models = {}, {}
    for dtype in ("float32", "int8"):
        models[dtype] = model = Translator(dtype=dtype)
        answers[f"this LSTM, {dtype}"] = [
            model.translate(p.english, p.language)[0] for p in progress(test, dtype)
        ]
    answers["nearest neighbour"] = nearest(pairs, test)
    answers["copying"] = [p.english for p in test]
    rows = [(p.language, *ids) for p, ids in zip(test, encoded(test, model.pieces), strict=True)]
    results = {
        "scores": {
            "chrF, 0 to 100": {
                "better": "higher", "digits": 1,
                "rows": {who: chrf(test, found) for who, found in answers.items()},
            },
            "the same to the letter, %": {
                "better": "higher", "digits": 0,
                "rows": {who: exactly(test, found) for who, found in answers.items()},
            },
        },
        "pairs": {"test": len(test), "train": sum(p.part == TRAIN for p in pairs)},
        "training": report.read(HERE, "training.json"),
        "deployed": {"file_kb": MODEL.stat().st_size / 1e3, **difference(rows[:200])},
        "speed": speed(test),
        "installed_mb": timing.installed("fastlstm", "numpy", "onnxruntime", "torch"),
        "made_with": report.made_with("torch", "onnxruntime", "sacrebleu", "scikit-learn"),
    }  # fmt: skip
    report.keep(HERE / "outputs.json", own_outputs(models["float32"]))
    picture(models["float32"], HERE / "looks.png")
    report.write(HERE, results)
    print("\n".join(report.lines(results)))
    for n in range(0, len(test), len(test) // 20):
        print(
            f"{test[n].english!r} -> {answers['this LSTM, float32'][n]!r} ({test[n].translation!r})"
        )


if __name__ == "__main__":
    main()
