# SPDX-License-Identifier: MIT
"""Exported programs (.pt2) of every layout that torch.export.save has had, and agents of
Stable-Baselines3: through torch and through fastlstm, the same names and bits."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from load_corpus import archives
from load_corpus.build import GOOD, Record, zip_bytes

from fastlstm import LoadError, load, load_all, read_state_dict
from fastlstm.files.read import inspect, sniff

pytestmark = pytest.mark.once


class Net(torch.nn.Module):
    """Recurrent layers, cells, views, a shared tensor, other dtypes, a buffer that is not saved in
    state dicts, and a constant."""

    def __init__(self):
        super().__init__()
        self.rnn = torch.nn.LSTM(3, 4, 2, bidirectional=True)
        self.cell = torch.nn.GRUCell(8, 4)
        self.turned = torch.nn.Parameter(torch.randn(5, 4).t())
        self.tied = self.cell.weight_hh
        whole = torch.randn(6)
        self.register_buffer("first", whole[:2])
        self.register_buffer("last", whole[3:])
        self.register_buffer("coarse", torch.randn(3).to(torch.bfloat16))
        self.register_buffer("steps", torch.arange(4))
        self.register_buffer("switch", torch.tensor(True))
        self.register_buffer("none", torch.empty(0, 3))
        self.register_buffer("apart", torch.randn(2), persistent=False)

    def forward(self, x):
        y = self.cell(self.rnn(x)[0][0]) + self.apart[0] + self.turned[0, 0] + torch.tensor([2.0])
        return y + self.first[0] + self.last[0] + self.coarse[0] + self.steps[0] + self.switch


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(4)
    return Net().eval()


@pytest.fixture(scope="module")
def program(net):
    return torch.export.export(net, (torch.zeros(5, 2, 3),))


def numpy_of(tensor):
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def check(path, net, program, rng):
    kind, arrays, layers = inspect(path)
    assert kind == "torch-export" == sniff(path)
    theirs = dict(program.state_dict) | dict(program.constants)
    assert arrays.keys() == theirs.keys() and "apart" in arrays and "tied" in arrays
    for name, tensor in theirs.items():
        expected = numpy_of(tensor)
        assert (arrays[name].dtype, arrays[name].shape) == (expected.dtype, expected.shape), name
        assert arrays[name].tobytes() == np.ascontiguousarray(expected).tobytes(), name
    assert set(layers) == {"rnn.", "cell."}
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    with torch.no_grad():
        expected = net.rnn(torch.from_numpy(x))[0].numpy()
    assert np.abs(load(path, "rnn")(x)[0] - expected).max() <= 2e-6


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch.export about views
def test_exported_programs(tmp_path, net, program, rng):
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    check(path, net, program, rng)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_exported_programs_in_memory_have_another_root(tmp_path, net, program, rng):
    file = io.BytesIO()
    torch.export.save(program, file)
    (tmp_path / "x").write_bytes(file.getvalue())
    check(tmp_path / "x", net, program, rng)


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.mark.parametrize("end", ["pt", "json"])
def test_exported_programs_of_2_1_to_2_7(tmp_path, net, program, rng, end):
    """A zip archive of zipfile's, as torch/export/__init__.py of those releases writes it."""
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", b"{}")
        archive.writestr(f"serialized_state_dict.{end}", saved(program.state_dict))
        archive.writestr(f"serialized_constants.{end}", saved(program.constants))
        archive.writestr("serialized_example_inputs.pt", b"")
        archive.writestr("version", "8.3")
    check(path, net, program, rng)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", b"{}")
        archive.writestr("serialized_state_dict.pt", saved(net.rnn.state_dict()))
        archive.writestr("serialized_constants.pt", b"")
    assert load(path).num_layers == 2


def test_exported_programs_of_2_8(tmp_path, net, program, rng):
    path = tmp_path / "net.pt2"
    parts = {"archive_format": b"pt2", "byteorder": b"little", "models/model.json": b"{}",
             "data/weights/model.pt": saved(program.state_dict),
             "data/constants/model.pt": saved(program.constants)}  # fmt: skip
    path.write_bytes(zip_bytes([Record(f"net/{name}", data) for name, data in parts.items()]))
    check(path, net, program, rng)


def test_several_models_in_one_archive(tmp_path):
    """Names begin with the model's."""
    more = [Record("a/data/weights/b_weights_config.json", archives.index(w=archives.meta()))]
    (tmp_path / "x").write_bytes(archives.pt2(archives.index(w=archives.meta()), more))
    found = read_state_dict(tmp_path / "x")
    assert list(found) == ["model.w", "b.w"]
    assert found["b.w"].tolist() == [1, 2, 3, 4]


def test_big_endian_programs(tmp_path):
    (tmp_path / "x").write_bytes(archives.pt2(archives.index(w=archives.meta()), order=b"big"))
    expected = np.frombuffer(archives.DATA, ">f4")
    assert np.array_equal(read_state_dict(tmp_path / "x")["w"], expected)


def test_tensors_that_are_left_out(tmp_path):
    """Pickled ones, float8, other layouts, expanded ones: a layer that needs one says so, others
    load."""
    shapes = {
        "weight_ih_l0": (1, 1),
        "weight_hh_l0": (1, 1),
        "bias_ih_l0": (1,),
        "bias_hh_l0": (1,),
    }
    sound = {n: archives.meta(sizes=s, strides=(1,) * len(s)) for n, s in shapes.items()}
    path = tmp_path / "x"
    for wrong, says in ((archives.meta(pickled=True), "pickled"),
                        (archives.meta(sizes=(1 << 40,), strides=(0,)), "more elements"),
                        (archives.meta(dtype=29), "dtype 29"),
                        (archives.meta(layout=1), "layout 1")):  # fmt: skip
        tensors = {f"a.{n}": m for n, m in sound.items()} | {f"b.{n}": m for n, m in sound.items()}
        tensors |= {"b.weight_hh_l0": wrong, "other": wrong, "b.scale": wrong}
        path.write_bytes(archives.pt2(archives.index(**tensors)))
        with pytest.warns(UserWarning, match=f"weight_hh_l0 is a .*{says}.*, which is not read"):
            assert list(load_all(path)) == ["a."]
        with pytest.raises(LoadError, match=f"weight_hh_l0 is a .*{says}.*, which is not read"):
            load(path, "b")
        assert "other" not in read_state_dict(path)
        path.write_bytes(archives.pt2(archives.index(other=wrong)))
        with pytest.raises(LoadError, match=f"1 more are not read, such as 'other', a .*{says}"):
            load(path)


# ---- Stable-Baselines3


def agent(path, net, **options):
    """What BaseAlgorithm.save writes: a zip of zipfile's."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("data", json.dumps({"gamma": 0.99}))
        archive.writestr("policy.optimizer.pth", saved({"state": {}, "param_groups": []}))
        archive.writestr("policy.pth", saved(net.state_dict()))
        archive.writestr("pytorch_variables.pth", saved(None))
        archive.writestr("_stable_baselines3_version", "2.3.2")
        archive.writestr("system_info.txt", "- Python: 3.11")
    return path


class Policy(torch.nn.Module):
    """The recurrent part of RecurrentPPO's policy, by its names."""

    def __init__(self):
        super().__init__()
        self.lstm_actor = torch.nn.LSTM(8, 16)
        self.lstm_critic = torch.nn.LSTM(8, 16)
        self.action_net = torch.nn.Linear(16, 2)


@pytest.mark.parametrize("options", [{}, {"compression": zipfile.ZIP_DEFLATED}], ids=str)
def test_agents(tmp_path, rng, options):
    policy = Policy()
    path = agent(tmp_path / "ppo.zip", policy, **options)
    assert sniff(path) == "stable-baselines3"
    found = read_state_dict(path)
    assert list(found) == list(policy.state_dict())
    for name, tensor in policy.state_dict().items():
        assert np.array_equal(found[name], tensor.numpy()), name
    assert list(load_all(path)) == ["lstm_actor.", "lstm_critic."]
    x = rng.standard_normal((5, 2, 8)).astype(np.float32)
    with torch.no_grad():
        expected = policy.lstm_actor(torch.from_numpy(x))[0].numpy()
    assert np.abs(load(path, "lstm_actor")(x)[0] - expected).max() <= 2e-6


def test_agents_packed_again(tmp_path):
    """In a folder, deflated as hard as can be (which Info-ZIP marks), or with an old checkpoint."""
    path = tmp_path / "x.zip"
    for data in (archives.agent(GOOD, folder="ppo/"), archives.deflated(GOOD, flags=0x0002)):
        path.write_bytes(data)
        assert read_state_dict(path)["w"].tolist() == [1, 2, 3, 4]
    file = io.BytesIO()
    torch.save(torch.nn.LSTM(2, 3).state_dict(), file, _use_new_zipfile_serialization=False)
    path.write_bytes(archives.agent(file.getvalue()))
    assert load(path).hidden_size == 3


def test_errors_name_the_record_inside(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(archives.agent(GOOD[:-1]))
    with pytest.raises(LoadError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: record 'policy.pth': zip end record: ")
