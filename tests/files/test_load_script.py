# SPDX-License-Identifier: MIT
"""TorchScript archives whose tensors have lost their names, and dynamically quantised models."""

import argparse

import numpy as np
import pytest
import torch
from load_corpus import texts
from load_corpus.build import DATA, Record, dict_of, records, tensor, zip_bytes
from torch import nn
from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic
from work import counted

from fastlstm import LoadError, load, load_all, read_state_dict
from fastlstm.engine.variants import RELU
from fastlstm.files.contents import Contents, Options
from fastlstm.files.pickle_tree import DICT, Node
from fastlstm.files.read import contents, inspect
from fastlstm.files.torch import frozen, packed

pytestmark = [
    pytest.mark.once, pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]  # fmt: skip
KINDS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


class Model(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn
        width = rnn.hidden_size if not getattr(rnn, "proj_size", 0) else rnn.proj_size
        self.fc = nn.Linear(width * (2 if rnn.bidirectional else 1), 2)

    def forward(self, x):
        return self.fc(self.rnn(x)[0])


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0])[0]


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.LSTMCell(3, 4), nn.GRUCell(3, 4)
        self.c = nn.RNNCell(3, 4, bias=False, nonlinearity="relu")

    def forward(self, x):
        return self.a(x)[0] + self.b(x) + self.c(x)


def frozen_file(path, model, how="freeze", example=None):
    model.eval()
    script = torch.jit.script(model) if example is None else torch.jit.trace(model, example)
    script = getattr(torch.jit, how)(script)
    script.save(str(path))
    return path


def y_of(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x))[0].numpy()


@pytest.mark.parametrize("how", ["freeze", "optimize_for_inference"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}, {"bias": False},
     {"proj_size": 2}, {"proj_size": 2, "bias": False, "num_layers": 2}, {"nonlinearity": "relu"}],
    ids=str,
)  # fmt: skip
def test_frozen_modules(tmp_path, rng, how, kind, options):
    if ("proj_size" in options and kind != "LSTM") or ("nonlinearity" in options and kind != "RNN"):
        pytest.skip("torch has no such layer")
    torch.manual_seed(2)
    module = KINDS[kind](3, 5, **options)
    path = frozen_file(tmp_path / "x.pt", Model(module), how)
    ((prefix, layer),) = inspect(path)[2].items()
    assert (
        prefix in ("rnn.", f"{kind.lower()}.") and layer.assumed == ()
    )  # a short list has no name
    made, x = load(path), rng.standard_normal((4, 2, 3)).astype("f4")
    assert made.batch_first == options.get("batch_first", False)
    assert np.abs(made(x)[0] - y_of(module, x)).max() <= 1e-6
    assert all(name.startswith(("constants.", prefix)) for name in read_state_dict(path))


def test_frozen_traces_and_packed_sequences(tmp_path, rng):
    module = nn.GRU(3, 5, 2, batch_first=True)
    x = rng.standard_normal((4, 2, 3)).astype("f4")
    path = frozen_file(tmp_path / "x.pt", Model(module), example=torch.from_numpy(x))
    assert list(inspect(path)[2]) == ["gru."]  # the trace's code does not say the attribute
    assert np.abs(load(path)(x)[0] - y_of(module, x)).max() <= 1e-6
    path = frozen_file(tmp_path / "y.pt", Packed())
    assert inspect(path)[2]["rnn."].assumed == ("batch_first",)
    assert load(path, batch_first=True).batch_first


def test_frozen_cells(tmp_path, rng):
    model = Cells()
    layers = load_all(frozen_file(tmp_path / "x.pt", model))
    assert list(layers) == ["lstm_cell.", "gru_cell.", "rnn_cell."]
    x = rng.standard_normal((1, 2, 3)).astype("f4")
    for layer, cell in zip(layers.values(), (model.a, model.b, model.c), strict=True):
        with torch.no_grad():
            h = cell(torch.from_numpy(x[0]))
        h = h[0] if isinstance(h, tuple) else h
        assert np.abs(layer(x)[0][0] - h.numpy()).max() <= 1e-6


def test_a_frozen_module_without_layers_says_so(tmp_path):
    path = frozen_file(tmp_path / "x.pt", nn.Sequential(nn.Linear(3, 4)))
    with pytest.raises(LoadError, match="the module is frozen: its tensors have no names any more"):
        load(path)


ARRAYS = {
    0: np.ones((16, 3), "f4"),
    1: np.ones((16, 4), "f4"),
    2: np.ones(16, "f4"),
    3: np.ones(16, "f4"),
}
LIST = "w = [CONSTANTS.c0, CONSTANTS.c1, CONSTANTS.c2, CONSTANTS.c3]\n"


LSTM_OF_TWO = "torch.lstm(x, [h], w, False, 1, 0., False, False, True)"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (LIST + "torch.lstm(x, [h, c], w, True, 1, 0., False, False, True)", 1),
        (LIST + "torch.lstm(x, [h, c], w, True, 1, 0., False, False)", 0),
        (LIST + "torch.lstm(x, [h, c], w, True, 1, 0., False, False, maybe)", 0),
        (LIST + "torch.lstm(x, [h, c], w, True, n, 0., False, False, True)", 0),
        (LIST + "torch.lstm(x, [h, c], w, True, 2, 0., False, False, True)", 0),
        (LIST + "torch.lstm(x, [h, c], w, False, 1, 0., False, False, True)", 0),
        (LIST + "torch.lstm(x, [h, c], w, True, 1, 0., False, True, True)", 0),
        (LIST + "torch.gru(x, h, w, True, 1, 0., False, False, True)", 0),
        (LIST + "torch.lstm(x, [h, c], v, True, 1, 0., False, False, True)", 0),
        (LIST + "torch.lstm(x, [h, c], w, True, 1, 0., False, False, True, 3)", 0),
        ("w = [CONSTANTS.c0, CONSTANTS.c9]\n" + LSTM_OF_TWO, 0),
        ("w = [CONSTANTS.c0, x]\n" + LSTM_OF_TWO, 0), ("w = []\n" + LSTM_OF_TWO, 0),
        ("w = [CONSTANTS.c0, CONSTANTS.c1]\n" + LSTM_OF_TWO, 1),
        ("w = [CONSTANTS.c2, CONSTANTS.c3]\n" + LSTM_OF_TWO.replace("lstm", "rnn_tanh"), 0),
        (LIST + "torch.lstm(x, [h, c], w, True, 1, 0., False, False, True)\n" * 3, 1),
        (f"torch.lstm_cell(x, [h, c], {LIST[5:-2]})\n" * 2, 1),
        ("torch.lstm_cell(x)", 0), ("torch.lstm(", 0), ("torch.lstm()", 0),
    ],
)  # fmt: skip
def test_code_that_is_understood_or_not(code, found):
    assert len(frozen.layers(code, ARRAYS)) == found


def test_code_is_searched_in_linear_time():
    for text in (
        "torch.lstm(" * 90_000,
        "a = [" * 200_000,
        "w = [" + "x, " * 300_000,
        "x" * 1_000_000,
    ):
        assert frozen.layers(text, ARRAYS) == []


class Asked(dict):
    """Whose items are got by calls, which are counted."""

    def __getitem__(self, key):
        return super().__getitem__(key)


@pytest.mark.parametrize("count", [1000, frozen._MAX_WEIGHTS + 1])
def test_a_list_that_many_calls_name_is_looked_at_once(count):
    code = f"w = [{', '.join(['CONSTANTS.c0'] * count)}]\n" + f"{LSTM_OF_TWO}\n" * 500
    found, calls = counted(lambda: frozen.layers(code, Asked(ARRAYS)))
    assert found == [] and calls < 100_000


def _script(code, data=b"}"):
    constants = b"\x80\2(" + tensor() + b"t."
    made = [r for r in records(b"c__torch__.m\nNet\n)\x81" + data + b"b") if "data/0" not in r.name]

    return zip_bytes([*made, Record("a/code/m.py", code), Record("a/constants.pkl", constants),
                      Record("a/constants/0", DATA)])  # fmt: skip


def test_code_that_is_no_text_or_very_long(tmp_path):
    for code in (b"\xff\xfe torch.lstm(x)", b"#" * (9 << 20)):
        path = tmp_path / "x.pt"
        path.write_bytes(_script(code))
        assert list(read_state_dict(path)) == ["constants.0"]


def test_a_scripted_rnn_says_its_nonlinearity(tmp_path):
    for nonlinearity in ("tanh", "relu"):
        torch.jit.script(Model(nn.RNN(3, 4, nonlinearity=nonlinearity)).eval()).save(
            str(tmp_path / "x.pt")
        )
        assert inspect(tmp_path / "x.pt")[2]["rnn."].assumed == ("batch_first",)
        assert load(tmp_path / "x.pt").nonlinearity == nonlinearity


class Sliced(list):
    """A list that counts how often some of it is taken."""

    times = 0

    def __getitem__(self, key):
        self.times += 1
        return super().__getitem__(key)


@pytest.mark.parametrize(("rows", "due"), [(2, 2), (8, 0)])  # of an RNN and an LSTM
def test_a_module_is_gone_through_once_for_all_its_layers(rows, due):
    """And only where what is asked for is not known: an LSTM has no nonlinearity."""
    items, arrays = Sliced([None, None] * 100), {}
    for n in range(20):
        items += [f"r{n}", Node(DICT, ["nonlinearity", "relu", "nonlinearity", "tanh"])]
        arrays |= {f"r{n}.weight_{part}_l0": np.ones((rows, 2), "f4") for part in ("ih", "hh")}
    found = packed.with_layers(Contents(arrays, {}), Node(DICT, items), Options())
    assert len(found.layers) == 20 and items.times == due
    for layer in found.layers.values():
        assert layer.activations == (((RELU,),) if due else ())


# ---- quantised

DTYPES = {"int8": torch.qint8, "float16": torch.float16}


def dequantised(rnn):
    """{name: array} of a quantised layer's weights as torch's own packed parameters give them."""
    found = {}
    ends = ("", "_reverse") if rnn.bidirectional else ("",)
    names = [f"_l{number}{end}" for number in range(rnn.num_layers) for end in ends]
    for end, cell in zip(names, rnn._all_weight_values, strict=True):
        (_, _, _, _, packed), _ = cell.param.__getstate__()
        for part, each in zip(("ih", "hh"), packed, strict=True):
            weight, bias = each.__getstate__()[0]
            weight = weight.dequantize() if weight.is_quantized else weight
            found[f"weight_{part}{end}"], found[f"bias_{part}{end}"] = (
                weight.numpy(),
                bias.detach().numpy(),
            )
    return found


def quantised(module, dtype, kind=None):
    both = nn.ModuleDict({"rnn": module, "fc": nn.Linear(3, 4)})
    return quantize_dynamic(both, kind or {type(module), nn.Linear}, dtype=DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 3}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}],
    ids=str,
)
def test_quantised_state_dicts(tmp_path, rng, kind, dtype, options):
    torch.manual_seed(4)
    model = quantised(kind(3, 5, **options), dtype)
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "x.pt")
    ((prefix, layer),) = inspect(tmp_path / "x.pt")[2].items()
    assert (prefix, layer.assumed) == ("state_dict.rnn.", ("batch_first",))
    made, due = load(tmp_path / "x.pt", "rnn", dtype="float32"), dequantised(model["rnn"])
    assert made.state_dict().keys() == due.keys()
    for name, array in made.state_dict().items():
        assert np.array_equal(array, due[name]), name
    x = rng.standard_normal((4, 2, 3)).astype("f4")
    plain = kind(3, 5, **options)
    plain.load_state_dict({name: torch.from_numpy(array) for name, array in due.items()})
    assert np.abs(made(x)[0] - y_of(plain, x)).max() <= 1e-6
    # torch rounds the layer's inputs and states to 8 bits too
    rounding = 0.05 if dtype == "int8" else 2e-3
    assert np.abs(made(x)[0] - y_of(model["rnn"], x)).max() <= rounding


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantised_scripts(tmp_path, rng, dtype):
    """Which say what state dicts do not."""
    model = Model(nn.LSTM(5, 5, 1, bidirectional=True, batch_first=True))
    model.rnn = quantised(model.rnn, dtype)["rnn"]
    torch.jit.script(model).save(str(tmp_path / "x.pt"))
    made = load(tmp_path / "x.pt", dtype="float32")
    assert made.bidirectional and made.batch_first
    assert inspect(tmp_path / "x.pt")[2]["rnn."].assumed == ()
    due = dequantised(model.rnn)
    assert all(np.array_equal(array, due[name]) for name, array in made.state_dict().items())


def own_codes(rnn):
    """{name: (integers, scales of each row)} of an int8 layer's matrices, as torch has them."""
    found = {}
    ends = ("", "_reverse") if rnn.bidirectional else ("",)
    names = [f"_l{number}{end}" for number in range(rnn.num_layers) for end in ends]
    for end, cell in zip(names, rnn._all_weight_values, strict=True):
        (_, _, _, _, packed), _ = cell.param.__getstate__()
        for part, each in zip(("ih", "hh"), packed, strict=True):
            weight, _ = each.__getstate__()[0]
            rows = weight.qscheme() == torch.per_channel_affine
            scales = weight.q_per_channel_scales() if rows else torch.tensor(weight.q_scale())
            scales = scales.numpy().astype("f4")
            found[f"weight_{part}{end}"] = (
                weight.int_repr().numpy(),
                np.broadcast_to(scales, len(weight)),
            )
    return found


@pytest.mark.parametrize("each_row", [False, True])
@pytest.mark.parametrize("script", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_quantised_layers_run_with_their_own_codes(tmp_path, rng, kind, script, each_row):
    """But for rows with a -128, which the engine has no code for. Their outputs are nearer to those
    of the numbers that the codes stand for than torch's."""
    torch.manual_seed(4)
    module = kind(16, 24, num_layers=2, bidirectional=True)
    spec = {kind: per_channel_dynamic_qconfig} if each_row else None
    model = Model(quantised(module, "int8", spec)["rnn"])
    if script:
        torch.jit.script(model).save(str(tmp_path / "x.pt"))
    else:
        torch.save(model.state_dict(), tmp_path / "x.pt")
    made, exact = load(tmp_path / "x.pt"), load(tmp_path / "x.pt", dtype="float32")
    assert (made.dtype, exact.dtype) == ("int8", "float32")
    assert inspect(tmp_path / "x.pt")[2]["rnn."].dtype == "int8"
    edges = 0
    for name, (integers, scales) in own_codes(model.rnn).items():
        found, edge = made.packed.arrays[name], (integers == -128).any(1)
        assert np.array_equal(found.codes[~edge], integers[~edge]), name
        assert np.array_equal(found.scales[~edge], scales[~edge]), name
        off = abs(found.astype("f4") - integers * scales[:, None])
        assert (off <= 1.001 * scales[:, None]).all() and (off[~edge] <= 1e-7).all()
        assert (np.sqrt((off**2).sum(1)) <= 0.3 * scales * np.sqrt(integers.shape[1]) + 1e-7).all()
        edges += edge.sum()
    assert edges  # there are such rows
    x = rng.standard_normal((9, 4, 16)).astype("f4")
    due = exact(x)[0]
    ours, theirs = (np.sqrt(np.mean((y - due) ** 2)) for y in (made(x)[0], y_of(model.rnn, x)))
    assert 0 < ours <= theirs
    made.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.dtype == "int8" and np.array_equal(again(x)[0], made(x)[0])
    assert load(tmp_path / "x.pt", dtype="int8").dtype == "int8"
    assert np.array_equal(load(tmp_path / "x.pt", dtype="int8")(x)[0], made(x)[0])
    assert load(tmp_path / "x.pt", dtype="float16").dtype == "float16"


def test_two_tracks_that_may_be_layers_or_directions(tmp_path):
    for options in ({"num_layers": 2}, {"bidirectional": True}):
        torch.save(quantised(nn.LSTM(5, 5, **options), "int8").state_dict(), tmp_path / "x.pt")
        with pytest.raises(
            LoadError, match="does not say whether they are two layers or two direc"
        ):
            load(tmp_path / "x.pt")


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantised_cells_and_bare_layers(tmp_path, dtype):
    cells = nn.ModuleDict({"a": nn.LSTMCell(3, 4), "b": nn.GRUCell(3, 4), "c": nn.RNNCell(3, 4)})
    weights = {n: c.weight_hh.detach().numpy() for n, c in cells.items()}
    kinds = {nn.LSTMCell, nn.GRUCell, nn.RNNCell}
    model = quantize_dynamic(cells, kinds, dtype=DTYPES[dtype])
    torch.save(model.state_dict(), tmp_path / "x.pt")
    layers = load_all(tmp_path / "x.pt", dtype="float32")
    assert [(p, e.kind) for p, e in layers.items()] == [
        ("a.", "LSTM"),
        ("b.", "GRU"),
        ("c.", "RNN"),
    ]
    for prefix, layer in layers.items():
        made = layer.state_dict()["weight_hh_l0"]
        assert np.abs(made - weights[prefix[0]]).max() <= 0.005
    torch.save(quantised(nn.LSTM(3, 4), dtype)["rnn"].state_dict(), tmp_path / "y.pt")
    assert list(load_all(tmp_path / "y.pt")) == [""]


def test_scales_of_each_row(tmp_path):
    spec = {nn.LSTM: per_channel_dynamic_qconfig}
    model = quantised(nn.LSTM(3, 5), "int8", spec)
    torch.save(model.state_dict(), tmp_path / "x.pt")
    made = load(tmp_path / "x.pt", dtype="float32").state_dict()
    due = dequantised(model["rnn"])
    assert all(np.array_equal(array, due[name]) for name, array in made.items())


def test_plain_layers_beside_quantised_ones(tmp_path):
    model = nn.ModuleDict({"q": quantised(nn.LSTM(3, 4), "int8"), "plain": nn.GRU(3, 4)})
    torch.save(model.state_dict(), tmp_path / "x.pt")
    assert [(p, layer.kind) for p, layer in load_all(tmp_path / "x.pt").items()] == [
        ("plain.", "GRU"), ("q.rnn.", "LSTM"),
    ]  # fmt: skip
    found = read_state_dict(tmp_path / "x.pt")
    linear = found["q.fc._packed_params._packed_params.0"]
    assert linear.dtype == np.float32 and linear.shape == (4, 3)
    assert np.array_equal(linear, model["q"]["fc"].weight().dequantize().numpy())


def test_very_large_quantised_weights(tmp_path):
    """As float32 they take four times the file, and are read; not again and again."""
    path, count = tmp_path / "x.pt", 16 << 20
    made = texts.scripted(texts.quantised(size=(4, count // 4), count=count))
    for body in (dict_of(w=made), dict_of(v=made, w=made)):
        path.write_bytes(zip_bytes(records(body, {"q": b"\1" * count})))
        if body == dict_of(w=made):
            (array,) = read_state_dict(path).values()
            assert array.nbytes == 4 * count and (array[:, ::1024] == 1).all()
        else:
            with pytest.raises(LoadError, match="their weights need far more memory than the file"):
                read_state_dict(path)


def test_quantised_layers_beside_objects(tmp_path):
    """Objects of other classes are inert here too, and tensors that are not read are listed."""
    model = quantised(nn.LSTM(3, 4), "int8")
    beside = {"hyper_parameters": argparse.Namespace(a=1), "version": torch.__version__,
              "sparse": torch.ones(2, 2).to_sparse()}  # fmt: skip
    path = tmp_path / "x.pt"
    torch.save({"state_dict": model.state_dict(), **beside}, path)
    format_name, found = contents(path)
    assert format_name == "torch" and list(found.unread) == ["sparse"]
    assert set(found.opaque) >= {"hyper_parameters", "version"}
    torch.save(model.state_dict(), tmp_path / "alone.pt")
    alone = load(tmp_path / "alone.pt").state_dict()
    assert all(np.array_equal(alone[n], a) for n, a in load(path).state_dict().items())
