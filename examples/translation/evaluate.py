# SPDX-License-Identifier: MIT
"""The translator beside copying and beside the nearest neighbour in the training set.

python evaluate.py         # writes results.json, README's tables, the pictures, tests' outputs
"""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import pictures, report, timing  # noqa: E402
from common.beside import progress  # noqa: E402
from common.scores import interval  # noqa: E402

from translation.data import TEST, TRAIN, VALIDATION, read_pairs  # noqa: E402
from translation.deploy import (  # noqa: E402
    BEGIN,
    DECODER,
    ENCODER,
    END,
    LANGUAGES,
    LENGTH,
    OWN,
    PIECES,
    Pieces,
    Translator,
    with_marks,
)

DRAWS, TIMED = 500, 60
PROCESSES, SHARE = 2, 50  # texts that a process translates before it gets others
OURS, FILES = report.OURS, (ENCODER, DECODER, PIECES)


class Nearest(NamedTuple):
    translation: str
    alike: float  # cosine of the two English texts, 0 to 1


def nearest(pairs, asked):
    """For each the translation of the training text that shares most stretches of one to four
    letters with it."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    found = {}
    for language in LANGUAGES:
        known = [p for p in pairs if p.part == TRAIN and p.language == language]
        own = [n for n, p in enumerate(asked) if p.language == language]
        stretches = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
        x = stretches.fit_transform([p.english for p in known])
        alike = (stretches.transform([asked[n].english for n in own]) @ x.T).toarray()
        best = zip(alike.argmax(1), alike.max(1), strict=True)
        found |= {n: Nearest(known[k].translation, a) for n, (k, a) in zip(own, best, strict=True)}
    return [found[n] for n in range(len(asked))]


def either(near, ours, least):
    """As a translator's memory does: the nearest where it is alike enough, or else ours."""
    return [n.translation if n.alike >= least else o for n, o in zip(near, ours, strict=True)]


def statistics_of(asked, answers):
    """What chrF adds up over sentences, a row each, and the metric."""
    from sacrebleu.metrics import CHRF

    metric = CHRF()
    rows = [
        metric._extract_corpus_statistics([answer], [[p.translation]])[0]
        for p, answer in zip(asked, answers, strict=True)
    ]
    return np.array(rows, float), metric


def chrf_of(asked, answers):
    """chrF over all sentences together, as it is defined."""
    from sacrebleu.metrics import CHRF

    return CHRF().corpus_score(answers, [[p.translation for p in asked]]).score


def groups_of(asked):
    """{column: indices}: all, each language, and Asterisk's spoken prompts."""
    found = {"all": range(len(asked))}
    for language in LANGUAGES:
        found[language] = [n for n, p in enumerate(asked) if p.language == language]
    found["spoken (fr, es)"] = [n for n, p in enumerate(asked) if p.spoken]
    return {name: np.array(chosen) for name, chosen in found.items()}


def chrf(asked, answers):
    """{column: chrF with its interval}"""
    (rows, metric), found = statistics_of(asked, answers), {}
    for group, chosen in groups_of(asked).items():
        own = rows[chosen]

        def of(i, own=own):
            return metric._compute_f_score(own[i].sum(0).tolist())

        found[group] = interval(of, len(own), draws=DRAWS)
        whole = chrf_of([asked[n] for n in chosen], [answers[n] for n in chosen])
        assert abs(whole - found[group]["value"]) < 1e-6, (whole, found[group])
    return found


def exactly(asked, answers):
    """{column: percent that are the translation to the letter}"""
    right = np.array([a == p.translation for p, a in zip(asked, answers, strict=True)], float)
    return {
        group: interval(lambda i, own=right[chosen]: 100 * own[i].mean(), len(chosen))
        for group, chosen in groups_of(asked).items()
    }


translator = lru_cache(Translator)  # a process reads each model once


def some_translated(dtype, texts, options):
    model = translator(dtype=dtype)
    return [model.translate(text, to, **options)[0] for text, to in texts]


def workers():
    """A pool of processes, which are begun anew rather than forked, with one thread each."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # read when they begin
    return ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"))


def translated(pool, dtype, asked, **options):
    """Each text is translated alone: answers are the same for any number of processes."""
    texts = [(p.english, p.language) for p in asked]
    shares = [texts[at : at + SHARE] for at in range(0, len(texts), SHARE)]
    jobs = [pool.submit(some_translated, dtype, share, options) for share in shares]
    return [answer for job in progress(jobs, dtype) for answer in job.result()]


def chosen_on(pairs, asked, pool):
    """What is chosen on validation texts: ({length exponent: chrF}, {least likeness: chrF})."""
    exponents = (0.0, 0.4, 0.8, 1.2)
    lengths = {n: translated(pool, "float32", asked, length=n) for n in exponents}
    near = nearest(pairs, asked)
    least = {n: either(near, lengths[LENGTH], n) for n in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)}
    return [{n: chrf_of(asked, a) for n, a in found.items()} for found in (lengths, least)]


def torch_network():
    import torch
    from common.export import weights_of

    from translation.train import Network

    torch.set_num_threads(1)
    weights, network = weights_of(ENCODER, DECODER), Network(len(Pieces.read().pieces))
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
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
    """Log probabilities (T, V) of deploy's models, of the pieces after each of `before`."""
    memory, keys, h = model.encoder(source)
    return model.decoder(before[:, None], h, np.zeros_like(h), memory, keys)[0][:, 0]


def speed(test):
    """Microseconds for a translation with a beam of 4: the same search around every engine."""
    import torch
    from common.peers import session

    from translation.train import FREE, deployed

    texts, parts = test[:TIMED], deployed(torch_network()).values()

    def with_engine(encoder, decoder):
        model = Translator()
        model.encoder, model.decoder = encoder, decoder
        return model

    def by_torch(module, *_):
        def call(*arrays):
            with torch.inference_mode():
                found = module(*map(torch.from_numpy, arrays))
            return [part.numpy() for part in found]

        return call

    def by_onnx(module, arguments, inputs, outputs):
        onnx = session(module, arguments, inputs, outputs, FREE)
        return lambda *arrays: onnx.run(None, dict(zip(inputs, arrays, strict=True)))

    models = {
        "fastlstm, float32": Translator(),
        "fastlstm, int8": Translator(dtype="int8"),
        "ONNX Runtime": with_engine(*(by_onnx(*part) for part in parts)),
        "PyTorch": with_engine(*(by_torch(*part) for part in parts)),
    }

    def run(model):
        return lambda: [model.translate(p.english, p.language)[0] for p in texts]

    same = {name: run(model)() for name, model in models.items() if "int8" not in name}
    assert same["PyTorch"] == same["fastlstm, float32"] == same["ONNX Runtime"]
    engines = {name: timing.passes(run(model), len(texts)) for name, model in models.items()}
    return {
        "what": "a translation, beam of 4; the search is NumPy's in all",
        "engines": timing.microseconds(engines, rounds=5),
    }


def draw(model):
    """Where the decoder looked for each piece, for common.pictures."""
    text = OWN[4]

    def name(k):
        return {END: "end"}.get(k, model.pieces.pieces[k].replace("\u2581", "_") or "to")

    def drawn(plt, colours):
        figure, axes = plt.subplots(1, 3, figsize=(9.5, 4.2), layout="constrained")
        for axis, language in zip(axes, LANGUAGES, strict=True):
            translation, pieces, looks = model.translate(text, language)
            source = model.ids(with_marks(text)[0], language)
            axis.imshow(looks, cmap=colours.map(), vmin=0, vmax=1, aspect="auto")
            axis.set_xticks(range(len(source)), [name(k) for k in source], rotation=90, fontsize=8)
            axis.set_yticks(range(len(pieces)), [name(k) for k in pieces], fontsize=8)
            axis.set_title(translation, fontsize=9)
            axis.set_xlabel("pieces that were read", fontsize=9)
        axes[0].set_ylabel("pieces that were written", fontsize=9)
        return figure

    return drawn


def own_outputs(model):
    """What PyTorch says of the pieces of our own texts' translations, for the tests."""
    import torch

    network, scores, translations = torch_network(), [], []
    for text in OWN[:4]:
        for to in LANGUAGES:
            translation, pieces, _ = model.translate(text, to)
            translations.append([text, to, translation])
            source = torch.from_numpy(model.ids(text, to))[:, None]
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
    own, validation = Translator(), [p for p in pairs if p.part == VALIDATION]
    with workers() as pool:
        lengths, likeness = chosen_on(pairs, validation, pool)
        answers = {f"this LSTM, {d}": translated(pool, d, test) for d in ("float32", "int8")}
    near, least = nearest(pairs, test), max(likeness, key=likeness.get)
    answers["nearest neighbour"] = [n.translation for n in near]
    answers["copying"] = [p.english for p in test]
    answers[f"this LSTM, or the nearest if {least} alike"] = either(near, answers[OURS], least)
    tables = {
        "chrF, 0 to 100": (1, {who: chrf(test, found) for who, found in answers.items()}),
        "the same to the letter, %": (
            0, {who: exactly(test, found) for who, found in answers.items()}),
    }  # fmt: skip
    tables = {
        name: {"better": "higher", "digits": digits, "rows": rows}
        for name, (digits, rows) in tables.items()
    }
    training = report.read(HERE, "training.json")
    said = ", ".join(f"{value:.1f} at {n}" for n, value in lengths.items())
    results = {
        "verdict": report.verdict("translations' chrF (0 to 100)", tables["chrF, 0 to 100"], "all"),
        "scores": tables,
        "pairs": {"test": len(test), "train": sum(p.part == TRAIN for p in pairs)},
        "lengths": {str(n): value for n, value in lengths.items()},
        "training": training,
        "deployed": {
            "file_kb": sum(path.stat().st_size for path in FILES) / 1e3,
            "files": len(FILES),
            **difference(encoded(test, own.pieces)[:200]),
        },
        "speed": speed(test),
        "installed_mb": timing.installed("fastlstm", "numpy", "onnxruntime", "torch"),
        "notes": [
            f"**Beam search** divides log odds by the number of pieces to the power of {LENGTH}. "
            f"chrF on the validation texts by that power: {said}.",
            f"The model learned from {training['pairs']:,} translations, "
            f"{training['spoken']:,} of them spoken prompts.",
        ],
        "made_with": report.made_with("torch", "onnxruntime", "sacrebleu", "scikit-learn"),
    }
    report.keep(HERE / "outputs.json", own_outputs(own))
    pictures.save(HERE / "looks", draw(own))
    report.write(HERE, results)
    print("\n".join(report.lines(results)))
    for n in range(0, len(test), len(test) // 20):
        print(f"{test[n].english!r} -> {answers[OURS][n]!r} ({test[n].translation!r})")


if __name__ == "__main__":
    main()
