# SPDX-License-Identifier: MIT
"""The digit recogniser beside pocketsphinx and dynamic time warping, on people it has never heard.

python evaluate.py         # writes results.json, README's tables, the pictures, digits.wav, tests'
                           # outputs
"""

import sys
import wave
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import pictures, report, timing  # noqa: E402
from common.scores import interval  # noqa: E402

from fastlstm.demo.voice import DETECTOR, fetch  # noqa: E402
from speech import adapt  # noqa: E402
from speech.baseline import Warper, templates_of  # noqa: E402
from speech.data import allison, cepstra_of, people, synthesised, tidigits, trimmed  # noqa: E402
from speech.deploy import (  # noqa: E402
    BANDS,
    BLANK,
    CEPSTRA,
    COSINES,
    HOP,
    MODEL,
    PAIR,
    RATE,
    RECORDING,
    WORDS,
    Listener,
    Recogniser,
    VoiceGate,
    log_mel,
    pairs_of,
    read_wave,
    stretched,
)
from speech.train import SEED, Network, Normalizer, deployed, distance  # noqa: E402
from speech.voices import Speaker  # noqa: E402

SPOKEN = "seven two five oh, nine three"  # what digits.wav says, by a voice not trained on


def recording():
    """digits.wav: 16 bits, 8 kHz."""
    voice = f"en-us+{people()[1][0]}"
    samples = Speaker().say(SPOKEN, voice, rate=150)
    samples = np.concatenate([np.zeros(RATE // 5), samples, np.zeros(RATE // 5)])
    samples = samples + np.random.default_rng(SEED).normal(0, 30, len(samples))
    with wave.open(str(RECORDING), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.clip(samples, -32768, 32767).astype("<i2").tobytes())


def warper(validation):
    """Dynamic time warping with Allison's words; what a word costs is chosen on synthesised
    voices."""
    words = {w: log_mel(trimmed(x)) @ COSINES for w, x in allison().items()}
    quiet = np.min([w[:, 0].min() for w in words.values()])
    silence = np.mean([w[w[:, 0].argmin()] for w in words.values()], axis=0)
    silence[0] = quiet
    templates = templates_of(words, silence)
    penalties = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0)
    wrong = []
    for penalty in penalties:
        recogniser = Warper(templates, penalty)
        wrong.append(
            sum(
                distance([WORDS[k] for k in said.words], recogniser.recognise(cepstra_of(said.mel)))
                for said in validation
            )
        )
    return Warper(templates, penalties[int(np.argmin(wrong))])


def error_rates(utterances, answers):
    """{speaker: interval of wrong words per word, in percent}; draws whole utterances."""
    wrong = np.array(
        [distance(said, a) for (_, said, *_), a in zip(utterances, answers, strict=True)], float
    )
    counts = np.array([len(said) for _, said, *_ in utterances], float)
    speakers, found = np.array([s for s, *_ in utterances]), {}
    names = list(dict.fromkeys(speakers.tolist()))
    for group in ("both", *names) if len(names) > 1 else names:
        own = np.flatnonzero((speakers == group) | (group == "both"))

        def rate(i, own=own):
            return 100 * wrong[own[i]].sum() / counts[own[i]].sum()

        found[group] = interval(rate, len(own))
    return found


def stretch(cepstra, factor):
    return stretched(cepstra @ COSINES.T, factor) @ COSINES


def doubt(scores):
    """How unsure the network is: the mean over the steps of -log of the best class's odds."""
    scores = scores.astype(np.float64)
    return np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1)).mean()


def surest_stretch(utterances, speaker):
    """The factor at which the network is surest of a speaker's utterances; what was said is not
    looked at."""
    model, own = Recogniser(), [c for name, _, c, _ in utterances if name == speaker]
    lengths = [len(c) for c in own]
    factors = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1)
    doubts = [
        np.average([doubt(model.scores(stretch(c, factor))) for c in own], weights=lengths)
        for factor in factors
    ]
    return factors[int(np.argmin(doubts))]


def torch_network():
    """(train.py's Network with the committed weights, mean and scale of the training set)"""
    import torch
    from common.export import weights_of

    torch.set_num_threads(1)
    weights, network = weights_of(MODEL), Network()
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    return network.eval(), weights["centre"].numpy(), weights["scale"].numpy()


def by_torch(cepstra):
    """Scores (T // 2, 12) of a whole recording as PyTorch computes them."""
    import torch

    network, *normal = torch_network()
    step = Normalizer(*normal).step
    rows = np.array([step(row) for row in cepstra], np.float32)
    x = torch.from_numpy(pairs_of(rows).reshape(-1, 1, PAIR * CEPSTRA))
    with torch.inference_mode():
        return network(x)[:, 0].numpy()


def difference(utterances):
    found = {}
    exact = [by_torch(cepstra) for _, _, cepstra, _ in utterances]
    for dtype in ("float32", "int8"):
        model = Recogniser(dtype=dtype)
        found[f"{dtype}_difference"] = max(
            float(np.abs(model.scores(c) - e).max())
            for (_, _, c, _), e in zip(utterances, exact, strict=True)
        )
    return found


def delays():
    """Seconds from the end of a word, at which it is said to be one: of Allison's words in new
    orders, where all is recognised."""
    rng, model, found = np.random.default_rng(1), Recogniser(), []
    words = {w: trimmed(x) for w, x in allison().items()}
    for _ in range(40):
        chosen = [WORDS[k] for k in rng.integers(0, len(WORDS), 4)]
        parts, ends, at = [np.zeros(RATE // 3)], [], RATE // 3
        for word in chosen:
            parts.append(np.append(words[word], np.zeros(RATE // 6)))
            ends.append(at + len(words[word]))
            at += len(parts[-1])
        listener, heard = Listener(model), []
        samples = np.concatenate([*parts, np.zeros(RATE // 2)])
        for start in range(0, len(samples), HOP):
            heard += [(w, start + HOP) for w in listener.hear(samples[start : start + HOP])]
        if [w for w, _ in heard] == chosen:
            found += [(t - end) / RATE for (_, t), end in zip(heard, ends, strict=True)]
    return np.array(found)


def after(seconds):
    return f"{1e3 * abs(seconds):.0f} ms {'after' if seconds > 0 else 'before'} its end"


def gate_note():
    """What the voice detector in front is good for: words heard in a minute of noise."""
    path = fetch(*DETECTOR)
    rng = np.random.default_rng(5)
    noise = np.concatenate(
        [rng.normal(0, level, 10 * RATE) for level in (3, 30, 100, 300, 1000, 3000)]
    )
    for at in range(RATE, len(noise), 2 * RATE):  # a knock every two seconds
        noise[at : at + 200] += 8000 * np.hanning(200) * np.sin(np.arange(200) * 0.8)
    counts = []
    for gate in (None, VoiceGate(path)):
        listener, words = Listener(Recogniser()), 0
        for at in range(0, len(noise), HOP):
            heard = noise[at : at + HOP]
            words += len(listener.hear(gate.pass_on(heard) if gate else heard))
        counts.append(words)
    return (
        f"In a minute of hiss of six strengths with a knock every two seconds, the recogniser "
        f"hears {counts[0]} words where there are none; with silero's voice detector in front "
        f"(`--voice`), {counts[1]}."
    )


def speed(cepstra):
    """Microseconds of the model for a step of 20 ms."""
    import torch
    from common.peers import session

    x = np.tile(pairs_of(cepstra), (3, 1, 1, 1))[:400]
    parts = deployed(*torch_network())
    step, arguments, inputs, *_ = parts
    zeros = [torch.zeros_like(part[..., :1, :]) for part in arguments[1:]]
    onnx = session(*parts)

    @torch.inference_mode()
    def torch_run():
        state = zeros
        for pair in torch.from_numpy(x):
            _, *state = step(pair, *state)

    def onnx_run():
        state = [part.numpy() for part in zeros]
        for pair in x:
            _, *state = onnx.run(None, dict(zip(inputs, (pair, *state), strict=True)))

    def fast(dtype):
        recogniser = Recogniser(dtype=dtype)

        def run():
            stream = recogniser.stream()
            for pair in x:
                stream.step(pair)

        return run

    engines = {
        "fastlstm, float32": fast("float32"), "fastlstm, int8": fast("int8"),
        "ONNX Runtime": onnx_run, "PyTorch": torch_run,
    }  # fmt: skip
    engines = {name: timing.passes(run, len(x)) for name, run in engines.items()}
    return {"what": "20 ms of sound, the model alone", "engines": timing.microseconds(engines)}


def draw(plt, colours):
    """digits.wav's mel bands and the odds of each word over time, for common.pictures."""
    samples = np.append(read_wave(RECORDING), np.zeros(RATE // 4))
    mel, model = log_mel(samples), Recogniser()
    scores = model.scores(mel @ COSINES)
    odds = np.exp(scores - scores.max(1, keepdims=True))
    odds /= odds.sum(1, keepdims=True)
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(8, 3.6), layout="constrained", sharex=True, height_ratios=[1, 1]
    )
    seconds = len(mel) * HOP / RATE
    top.imshow(mel.T, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, BANDS))
    top.set(yticks=[0, BANDS], yticklabels=["0", "4 kHz"], ylabel="mel bands")
    at = (np.arange(len(odds)) + 1) * 2 * HOP / RATE
    for k in range(BLANK):
        if odds[:, k].max() > 0.3:
            bottom.plot(at, odds[:, k], lw=1.4)
            bottom.annotate(WORDS[k], (at[odds[:, k].argmax()], 1.05), ha="center")
    bottom.set(ylim=(0, 1.3), yticks=[0, 1], xlabel="seconds", ylabel="odds of a word")
    return figure


def main():
    recording()
    utterances = tidigits()
    rng = np.random.default_rng(SEED + 1)
    validation = synthesised(40, people()[1], rng)
    voices = [
        ("synthesised, unheard", [WORDS[k] for k in said.words], cepstra_of(said.mel))
        for said in synthesised(100, people()[1], rng)
    ]
    recognisers = {
        f"this LSTM, {dtype}": Recogniser(dtype=dtype).words for dtype in ("float32", "int8")
    }
    recognisers["dynamic time warping"] = warper(validation).recognise
    rates = {
        who: error_rates(utterances, [f(c) for _, _, c, _ in utterances])
        | error_rates(voices, [f(c) for *_, c in voices])
        for who, f in recognisers.items()
    }
    adapt.main()
    taught = {
        speaker: Recogniser(adapt.path_of(other)).words
        for speaker, other in (("man", "woman"), ("woman", "man"))
    }
    surest = {speaker: surest_stretch(utterances, speaker) for speaker in taught}
    model = Recogniser()
    rates["this LSTM, each speaker's bands stretched"] = error_rates(
        utterances,
        [model.words(stretch(cepstra, surest[speaker])) for speaker, _, cepstra, _ in utterances],
    )
    rates["this LSTM, taught the other's utterances"] = error_rates(
        utterances, [taught[speaker](c) for speaker, _, c, _ in utterances]
    )
    rates["pocketsphinx, trained on TIDIGITS"] = error_rates(
        utterances, [s for *_, s in utterances]
    )
    lateness = delays()
    table = {"better": "lower", "digits": 1, "rows": rates}
    results = {
        "verdict": report.verdict("wrong words of people never heard", table, "both", " %"),
        "scores": {"wrong words, %": table},
        "stretches": surest,
        "utterances": len(utterances),
        "words": sum(len(said) for _, said, *_ in utterances),
        "training": report.read(HERE, "training.json"),
        "deployed": {"file_kb": MODEL.stat().st_size / 1e3, **difference(utterances)},
        "speed": speed(utterances[0][2]),
        "installed_mb": timing.installed("fastlstm", "numpy", "onnxruntime", "torch"),
        "latency": {"median_ms": 1e3 * float(np.median(lateness)),
                    "worst_tenth_ms": 1e3 * float(np.percentile(lateness, 90)),
                    "words": len(lateness)},
        "notes": [
            f"**Latency**: a word is reported {after(np.median(lateness))} in the median, "
            f"{after(np.percentile(lateness, 90))} in the slowest tenth ({len(lateness)} words of "
            "the recorded voice).",
            gate_note(),
        ],
        "made_with": report.made_with("torch", "onnxruntime", "espeakng-loader"),
    }  # fmt: skip
    samples = np.append(read_wave(RECORDING), np.zeros(RATE // 2))
    cepstra = log_mel(samples) @ COSINES
    outputs = {"words": Recogniser().words(cepstra), "scores": by_torch(cepstra).round(6).tolist()}
    print(SPOKEN, "->", outputs["words"])
    report.keep(HERE / "outputs.json", outputs)
    pictures.save(HERE / "heard", draw)
    report.write(HERE, results)
    print("\n".join(report.lines(results)))


if __name__ == "__main__":
    main()
