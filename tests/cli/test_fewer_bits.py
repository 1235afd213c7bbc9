# SPDX-License-Identifier: MIT
"""--dtype: of whole models in `run`, `inspect`, `convert --whole` and `bench --model`, and of
layers in `run`."""

import json
import os

import numpy as np
import pytest
from small_models import drawn

import fastlstm
from fastlstm.bench import cases
from fastlstm.cli.main import main


@pytest.fixture
def files(small, tmp_path, rng):
    """(the path of a model, of an input, a folder)"""
    (x,) = drawn("wide", 8, 3, rng)
    np.save(tmp_path / "x.npy", x)
    return small("wide")[0], str(tmp_path / "x.npy"), tmp_path


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_run_and_convert_whole_models(files, capsys, dtype):
    """A converted file has the bits of the model that was asked for, in fewer bytes."""
    path, x, folder = files
    due = fastlstm.load_model(path, dtype=dtype)(np.load(x))
    y = str(folder / "y.npy")
    assert main(["run", path, "--input", x, "--output", y, "--dtype", dtype]) == 0
    assert np.array_equal(np.load(y), due)
    made = str(folder / "model")
    convert = ["convert", path, made, "--whole", "--dtype", dtype]
    assert main([*convert, "--dry-run"]) == 0 and not os.path.exists(made)
    assert main(convert) == 0
    assert f"wrote {made}: Model(" in capsys.readouterr().out
    assert os.path.getsize(made) < 0.65 * os.path.getsize(path)
    assert main(convert) == 1 and "there already" in capsys.readouterr().err
    assert main(["run", made, "--input", x, "--output", y, "--force"]) == 0
    assert np.array_equal(np.load(y), due)
    assert main([*convert, "--force", "--prefix", "lstm"]) == 1
    assert "a whole model has none" in capsys.readouterr().err


def test_run_a_layer(files):
    path, _, folder = files
    fastlstm.load(path).save(folder / "layer")
    path = str(folder / "layer")
    x = np.random.default_rng(1).standard_normal((4, 2, 96)).astype(np.float32)
    np.save(folder / "h.npy", x)
    y = str(folder / "y.npy")
    options = ["--dtype", "int8"]
    layer = fastlstm.load(path, dtype="int8")
    assert main(["run", path, "--input", str(folder / "h.npy"), "--output", y, *options]) == 0
    assert np.array_equal(np.load(y), layer(x)[0])


def test_inspect(files, capsys):
    path, _, _ = files
    for dtype in ("int8", "bfloat16"):
        assert main(["inspect", path, "--json", "--dtype", dtype]) == 0
        found = json.loads(capsys.readouterr().out)["model"]["plan"]["precision"]
        assert found == {"Linear": {dtype: 2}, "Recurrent": {dtype: 1}}


@pytest.mark.once
def test_bench(files):
    """The cases say which dtype fastlstm's weights have; what differs is looked at by its scale."""
    from fastlstm.bench import whole

    path, _, _ = files
    (case,) = cases.of_file(path, {"x": (5, 1, 40)}, {}, "bfloat16")
    ours = whole.Ours(path, case.whole, 1)
    assert ours.dtype == "bfloat16" == case.whole.dtype
    (plain,) = cases.of_file(path, {"x": (5, 1, 40)}, {})
    exact = whole.Ours(path, plain.whole, 1)
    assert exact.dtype == "float32"
    ours.once(), exact.once()
    off = whole._differs(ours, exact)
    assert 1e-5 < off < whole.OF_CODES
    notes = []
    whole._compare([], notes, "bfloat16")
    assert "weights are bfloat16: outputs may differ by 0.05 of the largest" in notes
