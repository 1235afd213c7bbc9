# SPDX-License-Identifier: MIT
"""float16 weights: the bits of a float32 layer whose matrices were rounded, half the file, nothing
rounded that was not asked for, and refusals in words."""

import copy
import gc
import pickle
import threading

import isas
import numpy as np
import pytest
import safetensors.numpy
import torch
from conftest import BACKEND
from make_keras import FOLDER
from variant_cases import drawn

import fastlstm
from fastlstm import LoadError, load, load_all
from fastlstm.cli import main as cli
from fastlstm.files.read import inspect

LAYERS = {
    "lstm": lambda: fastlstm.LSTM(5, 33),
    "stacked": lambda: fastlstm.LSTM(17, 40, 3, batch_first=True),
    "projected": lambda: fastlstm.LSTM(5, 20, 2, bidirectional=True, proj_size=7),
    "no biases": lambda: fastlstm.LSTM(3, 9, bias=False),
    "gru": lambda: fastlstm.GRU(5, 33, 2, bidirectional=True),
    "gru before": lambda: fastlstm.GRU(5, 33, reset_after=False),
    "rnn": lambda: fastlstm.RNN(5, 33, 2),
    "relu": lambda: fastlstm.RNN(5, 33, nonlinearity="relu", bidirectional=True),
    "one": lambda: fastlstm.GRU(1, 1),
}
ISAS = isas.FLOATS
every = pytest.mark.parametrize("name", LAYERS)


def rounded(layer):
    """A float32 layer like `layer` with its matrices rounded to float16 by NumPy."""
    made = copy.deepcopy(layer)
    made.load_state_dict(
        {
            name: array.astype(np.float16).astype(np.float32) if "weight" in name else array
            for name, array in layer.state_dict().items()
        }
    )
    return made


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def outputs(layer, x, **options):
    y, state = layer(x, **options)
    return [array.tobytes() for array in (y, *parts(state))]


def same_weights(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    assert all(array.dtype == np.float32 for array in ours.values())
    return all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


# ---- the bits


@every
def test_the_bits_are_those_of_rounded_weights(rng, name):
    layer = LAYERS[name]()
    half, want = layer.quantize("float16"), rounded(layer)
    assert (half.dtype, layer.dtype, want.dtype) == ("float16", "float32", "float32")
    assert type(half) is type(layer) and same_weights(half, want)
    for steps, batch in ((1, 1), (9, 1), (1, 6), (12, 7), (3, 70)):
        shape = (batch, steps) if layer.batch_first else (steps, batch)
        x = rng.standard_normal((*shape, layer.input_size)).astype(np.float32)
        assert outputs(half, x) == outputs(want, x)
        lengths = rng.integers(0, steps + 1, batch)
        for options in ({"lengths": lengths}, {"return_sequences": False}, {"num_threads": 2}):
            assert outputs(half, x, **options) == outputs(want, x, **options), options
    assert outputs(layer, x) != outputs(want, x), "the rounding is not seen"


@pytest.mark.parametrize("isa", ISAS)
@every
def test_on_every_instruction_set(rng, isa, name):
    layer = LAYERS[name]()
    layer = type(layer).from_state_dict(layer.state_dict(), isa=isa)
    x = rng.standard_normal((7, 5, layer.input_size)).astype(np.float32)
    half = layer.quantize("float16")
    assert half.isa == isa and outputs(half, x) == outputs(rounded(layer), x)


def test_every_variant(rng):
    """Drawn layers: activations, clip, coupled gates, peepholes, a reverse direction alone."""
    seen = set()
    for seed in range(60):
        case = drawn(seed)
        layer = case.layer()
        half, want = layer.quantize("float16"), rounded(layer)
        options = {"state": case.given(), "lengths": case.lengths}
        assert outputs(half, case.x, **options) == outputs(want, case.x, **options), (seed, layer)
        seen |= {(case.kind, name) for name, value in case.options.items() if value}
    assert {("LSTM", "peepholes"), ("LSTM", "input_forget"), ("GRU", "clip")} <= seen
    assert {("RNN", "reverse"), ("GRU", "activations")} <= seen


def test_the_same_bits_from_any_kind_of_weights():
    """Ties, subnormals of float16, infinities, zeros of both signs."""
    values = np.array(
        [0, -0.0, 1, 1 + 2**-11, 1 + 3 * 2**-11, 2**-14, 2**-24, 2**-25, 3 * 2**-26, -(2**-15) / 3,
         65504, 65519.99, -65504, 1e-30, 2**-149, np.inf], np.float32,
    )  # fmt: skip
    layer = fastlstm.RNN(len(values), 1, nonlinearity="relu")
    weights = layer.state_dict() | {"weight_ih_l0": values[None]}
    layer.load_state_dict(weights)
    half = layer.quantize("float16")
    with np.errstate(over="ignore"):
        want = values.astype(np.float16).astype(np.float32)
    assert half.state_dict()["weight_ih_l0"].tobytes() == want.tobytes()
    for n in range(len(values) - 1):
        for sign in (1, -1):
            x = np.zeros((1, 1, len(values) - 1), np.float32)
            x[0, 0, n] = sign
            one = fastlstm.RNN(len(values) - 1, 1, nonlinearity="relu", bias=False)
            one.load_state_dict({"weight_ih_l0": values[None, :-1], "weight_hh_l0": [[0.5]]})
            assert outputs(one.quantize("float16"), x) == outputs(rounded(one), x), values[n]


@pytest.mark.parametrize("name", ["lstm", "stacked", "gru", "gru before", "rnn"])
def test_streams(rng, name):
    layer = LAYERS[name]()
    if layer.bidirectional:
        layer = fastlstm.GRU(5, 33, 2)
    half, want = layer.quantize("float16"), rounded(layer)
    a, b = half.stream(3), want.stream(3)
    for _ in range(5):
        step = rng.standard_normal((3, layer.input_size)).astype(np.float32)
        assert a.step(step).tobytes() == b.step(step).tobytes()
    x = rng.standard_normal((3, 3, layer.input_size)).astype(np.float32)
    assert a(x).tobytes() == b(x).tobytes()
    assert [p.tobytes() for p in parts(a.state)] == [p.tobytes() for p in parts(b.state)]


@pytest.mark.parametrize(
    "make", [fastlstm.LSTMCell, fastlstm.GRUCell, fastlstm.RNNCell], ids=lambda m: m.__name__
)
def test_cells(rng, make):
    cell = make(5, 12)
    half, want = cell.quantize("float16"), copy.deepcopy(cell)
    want.load_state_dict(half.state_dict())
    assert (half.dtype, cell.dtype) == ("float16", "float32") and "dtype='float16'" in repr(half)
    x = rng.standard_normal((4, 5)).astype(np.float32)
    for one, other in zip(parts(half(x)), parts(want(x)), strict=True):
        assert one.tobytes() == other.tobytes()
    again = pickle.loads(pickle.dumps(half))
    assert parts(again(x))[0].tobytes() == parts(half(x))[0].tobytes()
    with pytest.raises(TypeError, match="float32 cell"):
        half.load_state_dict(want.state_dict())


def test_threads_at_once(rng):
    half = fastlstm.LSTM(20, 60, 2).quantize("float16")
    x = rng.standard_normal((30, 8, 20)).astype(np.float32)
    want, wrong, done = outputs(half, x), [], []

    def call():
        for _ in range(10):
            if outputs(half, x) != want:
                wrong.append(1)
            done.append(1)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(done) == 40


@pytest.mark.skipif(BACKEND != "c", reason="the others keep float32 matrices")
def test_half_the_memory():
    layer = fastlstm.LSTM(256, 256, 2)
    half = layer.quantize("float16")
    assert half.packed.net.nbytes < 0.52 * layer.packed.net.nbytes
    sizes = [sum(a.nbytes for a in each.packed.arrays.values()) for each in (half, layer)]
    assert sizes[0] < 0.51 * sizes[1]


# ---- what the layer is


@every
def test_a_new_layer_otherwise_the_same(rng, name):
    layer = LAYERS[name]()
    layer.num_threads, before = 3, {k: v.tobytes() for k, v in layer.state_dict().items()}
    layer.initial_state = layer.state_from_parts([np.full(s, 0.5) for s in layer.state_shapes(1)])
    half = layer.quantize("float16")
    assert {k: v.tobytes() for k, v in layer.state_dict().items()} == before
    assert repr(half) == repr(layer).replace(", isa=", ", dtype='float16', isa=")
    assert half.num_threads == 3
    x = rng.standard_normal((4, 2, layer.input_size)).astype(np.float32)
    assert outputs(half, x) == outputs(rounded(layer), x)
    for other in (copy.copy(half), copy.deepcopy(half), pickle.loads(pickle.dumps(half))):
        assert repr(other) == repr(half) and outputs(other, x) == outputs(half, x)
    back = half.quantize("float32")
    assert back.dtype == "float32" and repr(back) == repr(layer)
    assert same_weights(back, half) and outputs(back, x) == outputs(half, x)
    y, _, tape = back.forward_train(x)
    assert back.backward(tape, y).params.keys() == back.state_dict().keys()
    assert half.quantize("float16") is not half and layer.quantize("float32") is not layer
    assert outputs(half.quantize("float16"), x) == outputs(half, x)
    with pytest.raises(AttributeError):
        half.dtype = "float32"


def test_the_layer_it_came_from_may_change(rng):
    layer = fastlstm.LSTM(3, 4)
    half, x = layer.quantize("float16"), rng.standard_normal((4, 2, 3)).astype(np.float32)
    want = outputs(half, x)
    layer.load_state_dict({name: 2 * array for name, array in layer.state_dict().items()})
    layer.initial_state = np.ones((1, 1, 4)), np.ones((1, 1, 4))
    state = half.state_dict()
    for array in state.values():
        array[...] = 9
    del layer, state
    gc.collect()
    assert outputs(half, x) == want and half.initial_state is None


def test_verify(rng):
    layer = fastlstm.GRU(4, 6)
    half, x = layer.quantize("float16"), rng.standard_normal((4, 2, 4)).astype(np.float32)
    assert half.verify(x, half(x)[0], tolerance=0)
    mixed = copy.deepcopy(layer)
    w = {k: np.concatenate([v[6:12], v[:6], v[12:]]) for k, v in layer.state_dict().items()}
    mixed.load_state_dict(w)
    assert "order z, r, n" in mixed.quantize("float16").verify(x, half(x)[0]).explanation


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_verify_knows_how_far_fewer_bits_are(rng, dtype):
    """A difference that they alone make is no mistake in weights; a larger one is looked for."""
    layer, x = fastlstm.LSTM(4, 6), rng.standard_normal((4, 2, 4)).astype(np.float32)
    found = layer.quantize(dtype).verify(x, layer(x)[0])
    assert not found and 0 < found.max_error < 0.03
    assert f"weights are {dtype}, whose outputs are often that far" in found.explanation
    assert layer.quantize(dtype).verify(x, layer(x)[0], tolerance=0.03)
    other = layer.quantize(dtype).verify(x, layer(x)[0] + 1)
    assert "known mistakes would explain" in other.explanation


def test_training_and_new_weights_are_refused():
    layer = fastlstm.LSTM(3, 4)
    x = np.zeros((2, 1, 3), np.float32)
    y, _, tape = layer.forward_train(x)
    half = layer.quantize("float16")
    for call in (
        lambda: half.forward_train(x), lambda: half.forward_train(x, checkpoint=True),
        lambda: half.backward(tape, y), lambda: half.load_state_dict(layer.state_dict()),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"float16.*inference.*(quantize\('float32'\)|float32)"):
            call()


@pytest.mark.parametrize("dtype", [np.float16, np.dtype("float16"), 16, None, b"float16"])
def test_a_dtype_of_the_wrong_type(tmp_path, dtype):
    layer = fastlstm.RNN(2, 3)
    layer.save(tmp_path / "x")
    with pytest.raises(TypeError, match="dtype must be a str"):
        layer.quantize(dtype)
    for call in (load, load_all) if dtype is not None else ():
        with pytest.raises(TypeError, match="dtype must be a str"):
            call(tmp_path / "x", dtype=dtype)


@pytest.mark.parametrize("dtype", ["int4", "half", "Float16", ""])
def test_an_unknown_dtype(tmp_path, dtype):
    layer = fastlstm.RNN(2, 3)
    layer.save(tmp_path / "x")
    for call in (layer.quantize, lambda d: load(tmp_path / "x", dtype=d),
                 lambda d: load_all(tmp_path / "x", dtype=d)):  # fmt: skip
        with pytest.raises(ValueError, match="float32, float16") as caught:
            call(dtype)
        assert repr(dtype) in str(caught.value)


@pytest.mark.parametrize("name", ["weight_ih_l1", "weight_hh_l0_reverse", "weight_hr_l0"])
@pytest.mark.parametrize("value", [65520.0, -7e4, 3e38])
def test_a_weight_beyond_float16(tmp_path, name, value):
    layer = fastlstm.LSTM(3, 6, 2, bidirectional=True, proj_size=2)
    weights = layer.state_dict()
    weights[name][1, 1] = value
    layer.load_state_dict(weights)
    layer.save(tmp_path / "x")
    with pytest.raises(ValueError, match=f"^{name} holds .*65504"):
        layer.quantize("float16")
    for call in (load, load_all):
        with pytest.raises(LoadError, match=f"{name} holds"):
            call(tmp_path / "x", dtype="float16")
    weights[name][1, 1] = np.sign(value) * np.inf  # which float16 has
    weights["bias_ih_l0"][:] = 1e30  # biases stay float32
    layer.load_state_dict(weights)
    assert np.isinf(layer.quantize("float16").state_dict()[name][1, 1])


# ---- files


@every
def test_a_file_of_half_the_size_comes_back(tmp_path, rng, name):
    layer = LAYERS[name]()
    half, path = layer.quantize("float16"), tmp_path / "half"
    half.save(path)
    again = load(path)
    assert again.dtype == "float16" and repr(again) == repr(half) and same_weights(again, half)
    x = rng.standard_normal((5, 3, layer.input_size)).astype(np.float32)
    assert outputs(again, x) == outputs(half, x)
    for name, array in safetensors.numpy.load_file(path).items():  # another library's reader
        assert array.dtype == (np.float16 if "weight" in name else np.float32)
        assert np.array_equal(array.astype(np.float32), half.state_dict()[name])
    wide = load(path, dtype="float32")
    assert wide.dtype == "float32" and same_weights(wide, half)
    wide.forward_train(x)
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    (description,) = inspect(path)[2].values()
    assert description.dtype == "float16" and "dtype='float16'" in str(description)


def test_the_file_is_half_and_mapped(tmp_path):
    layer, path = fastlstm.LSTM(256, 300, bidirectional=True), tmp_path / "half"
    layer.save(tmp_path / "full")
    layer.quantize("float16").save(path)
    assert path.stat().st_size < 0.51 * (tmp_path / "full").stat().st_size
    arrays = load(path).packed.arrays
    assert all(array.flags.aligned and not array.flags.writeable for array in arrays.values())
    assert arrays["weight_hh_l0"].dtype == np.float16 and arrays["bias_ih_l0"].dtype == np.float32
    full = load(tmp_path / "full", dtype="float16")
    assert full.dtype == "float16" and same_weights(full, load(path))


def test_variants_with_all_that_they_have(tmp_path, rng):
    """Peepholes, odd sizes (unaligned arrays if they were not put in order), an initial state."""
    layer = fastlstm.LSTM(3, 5, 1, peepholes=True, clip=2.0, input_forget=True)
    layer.initial_state = tuple(rng.standard_normal((2, 1, 1, 5)))
    half = layer.quantize("float16")
    half.save(tmp_path / "x")
    again = load(tmp_path / "x")
    x = rng.standard_normal((6, 2, 3)).astype(np.float32)
    assert outputs(again, x) == outputs(half, x) == outputs(rounded(layer), x)
    assert all(a.flags.aligned for a in again.packed.arrays.values())
    assert not any(a.flags.writeable for a in again.packed.arrays.values())


def test_other_formats(tmp_path, rng):
    module = torch.nn.LSTM(5, 8, 2)
    torch.save({f"enc.{k}": v for k, v in module.state_dict().items()}, tmp_path / "m.pt")
    x = rng.standard_normal((4, 2, 5)).astype(np.float32)
    for path in (tmp_path / "m.pt", FOLDER / "lstm.keras.keras"):
        plain, half = load(path), load(path, dtype="float16")
        assert (plain.dtype, half.dtype) == ("float32", "float16")
        given = x[..., : plain.input_size]
        assert outputs(half, given) == outputs(rounded(plain), given)
        (every_layer,) = load_all(path, dtype="float16").values()
        assert outputs(every_layer, given) == outputs(half, given)


def test_nothing_is_lowered_unasked(tmp_path):
    """A model of halves in a file of torch's loads as float32, as ever."""
    module = torch.nn.GRU(5, 8).half()
    torch.save(module.state_dict(), tmp_path / "half.pt")
    safetensors.numpy.save_file(
        {k: v.numpy() for k, v in module.state_dict().items()}, tmp_path / "half.safetensors"
    )
    for name in ("half.pt", "half.safetensors"):
        assert load(tmp_path / name).dtype == "float32"
        assert load(tmp_path / name, dtype="float16").dtype == "float16"
    assert fastlstm.GRU.from_state_dict(
        {k: v.numpy() for k, v in module.state_dict().items()}
    ).dtype == "float32"  # fmt: skip
    assert fastlstm.LSTM(3, 4).dtype == fastlstm.LSTMCell(3, 4).dtype == "float32"
    assert "dtype" not in repr(fastlstm.LSTM(3, 4))


def test_a_file_without_a_dtype_is_float32(tmp_path):
    """Those of releases that had float32 alone: `save` writes the same bytes as they did."""
    layer = fastlstm.GRU(3, 4, 2)
    layer.save(tmp_path / "x")
    assert b"dtype\\" not in (tmp_path / "x").read_bytes()
    assert load(tmp_path / "x").dtype == "float32"
    assert set(safetensors.numpy.load_file(tmp_path / "x")) == set(layer.state_dict())


def test_convert(tmp_path, capsys, rng):
    torch.manual_seed(3)
    modules = {"a.": torch.nn.LSTM(3, 4, 2), "b.": torch.nn.GRU(3, 5, bidirectional=True)}
    state = {p + n: v for p, m in modules.items() for n, v in m.state_dict().items()}
    torch.save(state, tmp_path / "m.pt")
    run = lambda *arguments: cli.main([str(each) for each in arguments])  # noqa: E731
    assert run("convert", tmp_path / "m.pt", tmp_path / "half", "--dtype", "float16") == 0
    assert "LSTM(3, 4, num_layers=2, dtype='float16')" in capsys.readouterr().out
    for prefix, layer in load_all(tmp_path / "half").items():
        assert layer.dtype == "float16"
        assert same_weights(layer, rounded(load(tmp_path / "m.pt", prefix)))
    assert run("inspect", tmp_path / "half") == 0
    text = capsys.readouterr().out
    assert "dtype='float16'" in text and "float16 (16, 3)" in text and "float32 (16,)" in text
    assert run("convert", tmp_path / "half", tmp_path / "same") == 0  # stays what it is
    assert (tmp_path / "same").read_bytes() == (tmp_path / "half").read_bytes()
    assert run("convert", tmp_path / "half", tmp_path / "wide", "--dtype", "float32") == 0
    wide = load_all(tmp_path / "wide")["b."]
    assert wide.dtype == "float32" and same_weights(wide, load_all(tmp_path / "half")["b."])
    state["b.weight_hh_l0"][3, 3] = 1e6
    torch.save(state, tmp_path / "m.pt")
    capsys.readouterr()
    assert run("convert", tmp_path / "m.pt", tmp_path / "big", "--dtype", "float16") == 1
    assert "weight_hh_l0 holds 1e+06" in capsys.readouterr().err
    assert not (tmp_path / "big").exists()
    with pytest.raises(SystemExit):
        run("convert", tmp_path / "m.pt", tmp_path / "big", "--dtype", "int4")
