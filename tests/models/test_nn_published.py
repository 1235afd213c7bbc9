# SPDX-License-Identifier: MIT
"""Published state dicts in classes that import fastlstm.nn in the place of torch.nn, on what such
models are given: beats, words, sentences, drawn lines of text, counts of reads. The reference is
the same class in torch, on weights that torch read itself."""

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import FULL
from nn_models import OURS, THEIRS, models
from nn_pairs import TOLERANCE, arrays, check
from published import CONSENSUS, path_of

import fastlstm
import fastlstm.nn
from fastlstm.bench import networks
from fastlstm.engine import NAME

F = np.float32
large = pytest.mark.skipif(not FULL, reason="downloads 16 to 35 MB; with FASTLSTM_FULL=1")


def pair(kind, file, *args, prefix=""):
    """(torch's model, ours, what torch read) of the class `kind` with a file's weights, whose names
    begin with `prefix`."""
    theirs, mine = (models(names)[kind](*args).eval() for names in (THEIRS, OURS))
    read = torch.load(path_of(file), map_location="cpu")
    theirs.load_state_dict(read["model_state_dict"] if prefix else read)
    weights = fastlstm.read_state_dict(path_of(file))
    weights = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    found = mine.load_state_dict(weights)
    assert found.missing_keys == [] and found.unexpected_keys == []
    return theirs, mine, read


def compare(theirs, mine, x, dtype=None):
    """Our outputs of the array x, after a comparison with those of torch in `dtype`."""
    with torch.inference_mode():
        due = arrays(theirs.to(dtype)(torch.from_numpy(x).to(dtype)).to(torch.float32))
    made = np.asarray(mine(x))
    print(f"error {np.abs(made - due).max() / np.abs(due).max():.1e} of the scale")
    check(made, due)
    return made


def beats(frames=100, rate=22050, hop=441):
    """(1, frames, 272): logarithmic energies of 136 bands of drum beats, two a second, and how much
    each grew since the frame before."""
    rng = np.random.default_rng(3)
    t = np.arange(frames * hop + 1411) / rate
    since = t % 0.5
    sound = np.exp(-30 * since) * np.sin(2 * np.pi * 90 * since)
    sound += 0.3 * np.exp(-60 * since) * rng.standard_normal(len(t))
    cut = np.stack([sound[i * hop : i * hop + 1411] for i in range(frames)])
    power = np.abs(np.fft.rfft(cut * np.hanning(1411))) ** 2
    edges = np.geomspace(2, 700, 137).astype(int)
    bands = np.add.reduceat(power, edges[:-1], axis=1)
    bands = np.log10(1 + bands)
    grown = np.maximum(np.diff(bands, axis=0, prepend=bands[:1]), 0)
    return np.concatenate([bands, grown], axis=1)[None].astype(F)


def test_beatnet():
    """At once, and frame by frame, as it is used: the same bits in the C core."""
    theirs, mine, _ = pair("BeatTracker", "model_1_weights.pt")
    x = beats()
    due = compare(theirs, mine, x)
    _, stream, _ = pair("BeatTracker", "model_1_weights.pt")
    made = np.concatenate([stream(x[:, t : t + 1]) for t in range(x.shape[1])], axis=2)
    assert np.array_equal(made, due) or NAME != "c"
    check(made, due)
    best = np.exp(due[0]) / np.exp(due[0]).sum(0)
    assert best[:2].max() > 0.3  # it hears beats


UZBEK = " '()+-.3:AEFGLOQSTU`abcdefghijklmnopqrstuvxyz{}"  # from the index 2


@pytest.mark.parametrize("word", ["kitoblarimizdan", "bolalar", "o'qituvchi", "a"])
def test_uzmorph(word):
    theirs, mine, _ = pair("Tagger", "morph_bilstm.pth", 49, 746)
    letters = [UZBEK.index(c) + 2 for c in word]
    compare(theirs, mine, np.array([letters]))
    compare(theirs, mine, np.array([letters + [0] * (30 - len(word))]))  # as the package pads


SENTENCES = {
    "es": "El perro duerme tranquilamente al lado de la chimenea.",
    "de": "Die Katze sitzt auf dem Dach und schaut in den Garten.",
    "fr": "Je ne sais pas encore si nous viendrons demain.",
    "en": "The weather has been unusually warm for the time of year.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_language_identifier(language):
    sizes = 682, 20, 150, 150
    theirs, mine, read = pair(
        "Identifier", "LID_mixed_model.pkl", *sizes, prefix="model_state_dict."
    )
    known = read["char_to_idx"]
    letters = [known.get(c, len(known)) for c in SENTENCES[language]]
    scores = compare(theirs, mine, np.array([letters]))
    assert int(scores.argmax()) == read["lang_to_idx"][language]
    assert mine.rank(letters) == pytest.approx(theirs.rank(letters), abs=1e-5)


LETTERS = "ءآئابتثجحخدذرزسشصضطظعغفقلمنهوُِپچژکگی"  # from the index 3
SOUNDS = "bdefhijklmnopqstuvxzæɒɡɾʃʒʔʰː"  # noqa: RUF001
START, END = 1, 2
SPOKEN = {"سلام": "sælɒːm", "کتاب": "kʰætʰɒːb", "دانشگاه": "dɒːnʃɡɒːh"}  # noqa: RUF001


@pytest.mark.parametrize("word", SPOKEN)
def test_g2p_fa(word):
    """A word becomes sounds, one token at a time; and a step of the decoder alone."""
    theirs, mine, _ = pair("Transcriber", "weights", 41, 33, 40, 256)
    letters = [START, *(LETTERS.index(c) + 3 for c in word), END]
    source = np.array(letters + [0] * (30 - len(letters)))[:, None]
    made = compare(theirs, mine, source)
    tokens = made[:, 0].argmax(1)
    assert "".join(SOUNDS[i - 3] for i in tokens[: list(tokens).index(END)]) == SPOKEN[word]
    token = np.array([START])
    with torch.inference_mode():
        state = theirs.encoder(torch.from_numpy(source))
        due = arrays(theirs.decoder(torch.from_numpy(token), *state))
    check(mine.decoder(token, *arrays(state)), due)


WORDS = {"phonetics": "F AH0 N EH1 T IH0 K S", "recurrent": "R IH0 K ER1 AH0 N T"}

G2P_EN = {  # names in its .npz, after "enc_", "dec_" and "fc_"
    "emb": "_emb.weight", "w_ih": ".weight_ih", "w_hh": ".weight_hh", "b_ih": ".bias_ih",
    "b_hh": ".bias_hh", "w": ".weight", "b": ".bias",
}  # fmt: skip


@pytest.mark.parametrize("word", [*WORDS, "antidisestablishmentarianism"])
def test_g2p_en(word):
    """An .npz of another author's names; its letters and sounds are in files/test_load_g2p.py."""
    theirs, mine = (models(names)["Speller"]().eval() for names in (THEIRS, OURS))
    weights = {}
    for name, array in np.load(path_of("checkpoint20.npz")).items():
        part, _, end = name.partition("_")
        level = "_l0" if part == "enc" and end != "emb" else ""
        weights[part + G2P_EN[end] + level] = array
    mine.load_state_dict(weights)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    letters = np.array([[*(ord(c) - 94 for c in word), 2]])
    made = compare(theirs, mine, letters)
    if word in WORDS:
        tokens = list(made[:, 0].argmax(1))
        assert tokens.index(3) == len(WORDS[word].split())


FONT = {  # five columns of seven dots each; the highest bit is the highest row
    "h": (127, 8, 8, 8, 7), "e": (28, 42, 42, 42, 24), "l": (0, 65, 127, 1, 0),
    "o": (28, 34, 34, 34, 28), "2": (33, 67, 69, 73, 49), "0": (62, 69, 73, 81, 62),
    "6": (30, 41, 73, 73, 6), " ": (0, 0, 0, 0, 0),
}  # fmt: skip


def line(text, height, width):
    """(1, 1, height, width): dark letters on white paper, from -1 to 1, with soft edges."""
    columns = [c for letter in text for c in (*FONT[letter], 0)]
    dots = np.array([[c >> (6 - row) & 1 for c in columns] for row in range(7)])
    dots = np.pad(dots, ((2, 2), (3, 3)))
    rows = (np.arange(height) * dots.shape[0] / height).astype(int)
    page = dots[rows][:, (np.arange(width) * dots.shape[1] / width).astype(int)].astype(F)
    page[1:-1, 1:-1] = (page[:-2, 1:-1] + page[2:, 1:-1] + page[1:-1, :-2] + page[1:-1, 2:]) / 4
    return np.ascontiguousarray(1 - 2 * page)[None, None]


CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.- "  # from 1; 0: none


def said(tokens, characters):
    """Repeated tokens once, without those that stand for nothing."""
    kept = [t for i, t in enumerate(tokens) if t and (i == 0 or t != tokens[i - 1])]
    return "".join(characters[t - 1] for t in kept)


@large
@pytest.mark.parametrize("text", ["hello", "hole"])
def test_nano_ocr(text):
    theirs, mine, _ = pair("LineReader", "nano_ocr_ftr.pth")
    made = compare(theirs, mine, line(text, 32, 128))
    assert said(made[:, 0].argmax(1), CHARACTERS) == text


@large
@pytest.mark.parametrize("text", ["2026 hello", "60 02 60 02"])
def test_khmer_ocr(text):
    theirs, mine, _ = pair("LongLineReader", "model.pth", prefix="model_state_dict.")
    compare(theirs, mine, line(text, 48, 512))


@large
@pytest.mark.parametrize("name", CONSENSUS)
def test_medaka(name, rng):
    """Shares of bases at each place of a pile of 30 reads, on both strands; against float64. The
    weights magnify rounding: over four draws sup_v5.2.0 is up to 9.3e-6 from it, torch 6.5e-6."""
    hidden = 256 if name.startswith("hac_v6") else 128
    theirs, mine, _ = pair("Consensus", f"{name}.pt", 10, 5, hidden)
    truth = rng.integers(0, 4, (3, 400))
    counts = np.eye(10)[truth] * 14 + np.eye(10)[truth + 5] * 13 + rng.poisson(0.3, (3, 400, 10))
    compare(theirs, mine, (counts / counts.sum(-1, keepdims=True)).astype(F), torch.float64)


# name: (class, its sizes, file, prefix)
EXPORTS = {
    "uzmorph": ("Tagger", (49, 746), "morph_bilstm.pth", ""),
    "languages": ("Identifier", (682, 20, 150, 150), "LID_mixed_model.pkl", "model_state_dict."),
    "nano_ocr": ("LineReader", (), "nano_ocr_ftr.pth", ""),
    "khmer_ocr": ("LongLineReader", (), "model.pth", "model_state_dict."),
}
INPUTS = {
    "uzmorph": np.array([[UZBEK.index(c) + 2 for c in "kitoblarimizdan"]]),
    "languages": np.array([[ord(c) - 30 for c in SENTENCES["es"]]]),
    "nano_ocr": line("hello", 32, 128),
    "khmer_ocr": line("2026 hello", 48, 512),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=large) if n.endswith("ocr") else n for n in EXPORTS]
)
def test_exported_files(name):
    """The ONNX file that the benchmark exports gives torch's and ONNX Runtime's numbers."""
    kind, sizes, file, prefix = EXPORTS[name]
    theirs, _, _ = pair(kind, file, *sizes, prefix=prefix)
    path, x = getattr(networks, name)(), INPUTS[name]
    made = fastlstm.load_model(path)(x)
    with torch.inference_mode():
        check(made, arrays(theirs(torch.from_numpy(x))))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    check(made, onnxruntime.InferenceSession(str(path), options).run(None, {"x": x})[0])


def test_exported_decoder():
    """A step of g2p-fa's decoder, from the state that its encoder leaves."""
    theirs, _, _ = pair("Transcriber", "weights", 41, 33, 40, 256)
    source = torch.tensor([START, *(LETTERS.index(c) + 3 for c in "سلام"), END])[:, None]
    with torch.inference_mode():
        state = theirs.encoder(source)
        due = arrays(theirs.decoder(torch.tensor([START]), *state))
    made = fastlstm.load_model(networks.phonemes())(np.array([START]), *arrays(state))
    check(tuple(made), due)
    assert TOLERANCE == 1e-5
