# SPDX-License-Identifier: MIT
"""The sentence rater beside the lexicon, a bag of words and a single person, on the test sentences.

python evaluate.py         # writes results.json, README's tables, the pictures, tests' outputs
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import pictures, report, timing  # noqa: E402
from common.scores import correlation, interval  # noqa: E402

from sentiment.data import GROUPS, TEST, TRAIN, one_rater, read_lexicon, read_sentences  # noqa: E402
from sentiment.deploy import MODEL, OWN, WORDS, Sentiment, Vocabulary, tokens  # noqa: E402

TIMED = 200  # test sentences, one by one
PLEASED = 0.5  # a rating above it is positive, below its negative negative


def by_group(sentences, rated, statistic):
    """{group: interval} and of all together."""
    truth = np.array([s.rating for s in sentences])
    groups = np.array([s.group for s in sentences])
    found = {}
    for group in ("all", *GROUPS):
        a, b = ((v if group == "all" else v[groups == group]) for v in (np.asarray(rated), truth))
        found[group] = interval(lambda i, a=a, b=b: statistic(a[i], b[i]), len(a))
    return found


def right_sign(rated, truth):
    """Of the sentences that people found positive or negative, in percent: those of that sign."""
    clear = np.abs(truth) > PLEASED
    return 100 * float(np.mean((rated[clear] > 0) == (truth[clear] > 0)))


def baselines(sentences, test):
    """{name: ratings of the test sentences} that need no network."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    lexicon = SentimentIntensityAnalyzer()
    train = [s for s in sentences if s.part == TRAIN]
    words = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, sublinear_tf=True, tokenizer=tokens, token_pattern=None
    )
    x = words.fit_transform([s.text for s in train])
    y = np.array([s.rating for s in train])
    compound = [lexicon.polarity_scores(s.text)["compound"] for s in test]
    bag = Ridge(alpha=1.0).fit(x, y).predict(words.transform([s.text for s in test]))
    return {
        "the lexicon (VADER)": np.array(compound),
        "bag of words": bag,
        "bag of words + the lexicon": with_lexicon(words, train, test, lexicon),
    }


def with_lexicon(words, train, test, lexicon):
    """The bag of words with one more feature: VADER's score of the whole sentence."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.linear_model import Ridge

    def features(sentences):
        texts = [s.text for s in sentences]
        scores = [[lexicon.polarity_scores(text)["compound"]] for text in texts]
        return hstack([words.transform(texts), csr_matrix(scores)]).tocsr()

    ridge = Ridge(alpha=1.0).fit(features(train), [s.rating for s in train])
    return ridge.predict(features(test))


def torch_rater():
    """train.Rater with the weights of the file."""
    import torch
    from common.export import weights_of

    from sentiment.train import Network, Rater

    torch.set_num_threads(1)
    found = weights_of(MODEL)
    rater = Rater(Network(len(found["network.embedding.weight"]) - 1))
    rater.load_state_dict({name: found[name] for name in rater.state_dict()})
    return rater.eval()


def speed(test, models):
    """Microseconds for one sentence at a time, tokens included for all."""
    import torch
    from common.peers import session

    from sentiment.train import deployed

    rater, texts = torch_rater(), [s.text for s in test[:TIMED]]
    onnx = session(*deployed(rater))

    def arrays(text):
        return models["float32"].arrays(tokens(text))

    @torch.inference_mode()
    def by_torch():
        return [rater(*map(torch.from_numpy, arrays(text))).item() for text in texts]

    def by_onnx():
        names = ["ids", "features"]
        return [onnx.run(None, dict(zip(names, arrays(text), strict=True)))[0][0] for text in texts]

    def by(model):
        return lambda: [model.rate([text])[0] for text in texts]

    np.testing.assert_allclose(by_torch(), by_onnx(), atol=1e-4)
    engines = {f"fastlstm, {name}": by(model) for name, model in models.items()}
    engines |= {"ONNX Runtime": by_onnx, "PyTorch": by_torch}
    engines = {name: timing.passes(run, len(texts)) for name, run in engines.items()}
    return {"what": "a sentence", "engines": timing.microseconds(engines)}


def by_torch(texts):
    """The ratings as PyTorch computes the network that was trained, all lengths side by side."""
    from types import SimpleNamespace

    from sentiment.train import Batches

    sentences = [SimpleNamespace(text=text, rating=0.0) for text in texts]
    data = Batches(sentences, Vocabulary.read())
    return data.rated(torch_rater().network, np.arange(len(texts)))


def difference(texts, models):
    """The largest differences from PyTorch's outputs over the sentences."""
    exact = by_torch(texts)
    return {
        f"{name}_difference": float(np.abs(model.rate(texts) - exact).max())
        for name, model in models.items()
    }


def draw(model):
    """What each word of some sentences does to the rating, for common.pictures."""
    limit = 1.5  # a change of the rating that has the full colour

    def boxes(plt, axis, sentence):
        found, shares = model.shares(sentence)
        at = 0.0
        for token, share in zip(found, shares, strict=True):
            colour = plt.get_cmap("PiYG")(0.5 + 0.5 * float(np.clip(share / limit, -1, 1)))
            bright = np.dot(colour[:3], (0.3, 0.59, 0.11)) > 0.5
            width = 0.9 * len(token) + 1.1
            axis.add_patch(plt.Rectangle((at, 0), width - 0.25, 1, color=colour, lw=0))
            axis.text(
                at + width / 2 - 0.12, 0.45, token, ha="center", va="center", fontsize=9,
                color="black" if bright else "white",
            )  # fmt: skip
            at += width
        rating = model.rate([sentence])[0]
        axis.text(-1, 0.45, f"{rating:+.2f}", ha="right", va="center", weight="bold")
        axis.set(xlim=(-6, 66), ylim=(0, 1))
        axis.axis("off")

    def drawn(plt, colours):
        figure, axes = plt.subplots(len(OWN), 1, figsize=(8, 0.62 * len(OWN)), layout="constrained")
        for axis, sentence in zip(axes, OWN, strict=True):
            boxes(plt, axis, sentence)
        scale = plt.cm.ScalarMappable(plt.Normalize(-limit, limit), "PiYG")
        bar = figure.colorbar(scale, ax=axes, fraction=0.03, pad=0.01, ticks=[-1.5, 0, 1.5])
        bar.set_label("what a word does to the rating", fontsize=9)
        return figure

    return drawn


def main():
    sentences = read_sentences()
    test = [s for s in sentences if s.part == TEST]
    texts = [s.text for s in test]
    models = {name: Sentiment(dtype=name) for name in ("float32", "int8")}
    rated = {f"this LSTM, {name}": model.rate(texts) for name, model in models.items()}
    rated |= baselines(sentences, test)
    one, others = one_rater(test)
    correlations = {who: by_group(test, values, correlation) for who, values in rated.items()}
    rest = [s._replace(rating=r) for s, r in zip(test, others, strict=True)]
    correlations["a single person"] = by_group(rest, one, correlation)
    signs = {who: by_group(test, values, right_sign) for who, values in rated.items()}
    table = {"better": "higher", "digits": 2, "rows": correlations}
    results = {
        "verdict": report.verdict("correlation with people's mean rating", table, "all"),
        "scores": {
            "correlation with people's mean rating": table,
            "right sign, %, where that mean is beyond +-0.5": {
                "better": "higher", "digits": 0, "rows": signs,
            },
        },
        "sentences": {"test": len(test), "train": sum(s.part == TRAIN for s in sentences),
                      "lexicon": len(read_lexicon())},
        "training": report.read(HERE, "training.json"),
        "deployed": {"files": 2, "file_kb": sum(p.stat().st_size for p in (MODEL, WORDS)) / 1e3,
                     **difference(texts, models)},
        "speed": speed(test, models),
        "installed_mb": timing.installed("fastlstm", "numpy", "onnxruntime", "torch"),
        "made_with": report.made_with("torch", "onnxruntime", "scikit-learn", "vaderSentiment"),
    }  # fmt: skip
    # What tests compare with, and need no PyTorch for that.
    own = {"sentences": OWN, "ratings": by_torch(OWN).tolist()}
    report.keep(HERE / "outputs.json", own)
    pictures.save(HERE / "words", draw(models["float32"]))
    report.write(HERE, results)
    print("\n".join(report.lines(results)))


if __name__ == "__main__":
    main()
