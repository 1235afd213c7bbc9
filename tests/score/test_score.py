# SPDX-License-Identifier: MIT
"""`fastlstm score`: the bits of a loop over the rows, in order, whatever the file and the batches;
killed at any point and resumed, the same bytes."""

import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import FULL
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlstm
from fastlstm.cli.main import main
from fastlstm.score import parts, score
from fastlstm.score.columns import column, sequences
from fastlstm.score.scorer import Scorer

pytestmark = [pytest.mark.once]
F32 = np.float32


@pytest.fixture
def layer(tmp_path):
    lstm = fastlstm.LSTM(3, 4, num_threads=1)
    lstm.save(tmp_path / "layer.safetensors")
    return tmp_path / "layer.safetensors", lstm


def drawn(n, size, rng, longest=30):
    """n arrays (T, size) of lengths 0 to longest - 1."""
    return [rng.standard_normal((int(t), size)).astype(F32) for t in rng.integers(0, longest, n)]


def lists(rows, step=None):
    return pa.array([None if r is None else r.tolist() for r in rows],
                    pa.list_(step or pa.list_(pa.float32())))  # fmt: skip


def alone(lstm, row):
    """The final h of the last layer, computed by itself."""
    if not len(row):
        return np.zeros(lstm.output_size, F32)
    return lstm(row[:, None], return_sequences=False)[0][0]


def bits(rows):
    return [None if row is None else np.asarray(row, F32).tobytes() for row in rows]


def run(*args, code=0):
    assert main(["score", *map(str, args)]) == code


# ---- columns


@given(
    st.lists(st.none() | st.integers(0, 5), max_size=12), st.integers(1, 4),
    st.sampled_from(["list", "fixed", "large"]), st.integers(0, 3), st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=60)
def test_columns_become_arrays(lengths, size, kind, front, back):
    """Of nulls, empty sequences, three kinds of lists, and slices of longer arrays."""
    rng = np.random.default_rng(7)
    rows = [None if t is None else rng.standard_normal((t, size)).astype(F32) for t in lengths]
    step = pa.list_(pa.float32(), size) if kind == "fixed" else pa.list_(pa.float32())
    outer = pa.large_list(step) if kind == "large" else pa.list_(step)
    more = [np.ones((2, size))]
    array = pa.array([None if r is None else r.tolist() for r in more * front + rows + more * back],
                     outer)  # fmt: skip
    array = array.slice(front, len(rows))
    for given_as in (array, pa.chunked_array([array])):
        found = sequences(given_as, "x")
        assert found.valid.tolist() == [row is not None for row in rows]
        for i, row in enumerate(rows):
            if row is not None and len(row):
                np.testing.assert_array_equal(found.row(i), row)
            else:
                assert len(found.row(i)) == 0


def test_fixed_tensors_and_rows_of_numbers(rng):
    x = rng.standard_normal((5, 4, 3)).astype(F32)
    array = pa.FixedShapeTensorArray.from_numpy_ndarray(x)
    found = sequences(pa.chunked_array([array.slice(1, 3)]), "x")
    assert [found.row(i).tobytes() for i in range(3)] == [a.tobytes() for a in x[1:4]]
    storage = pa.array([None, [1.0, 2.0, 3.0, 4.0], None], pa.list_(pa.float32(), 4))
    tensors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [2, 2]), storage)
    for array, row in ((storage, [1, 2, 3, 4]), (tensors, [[1, 2], [3, 4]])):
        for found in (sequences(array, "x"), sequences(array.slice(1, 1), "x")):
            at = len(found) // 2
            assert found.valid.tolist() == [i == at for i in range(len(found))]
            assert found.row(at).tolist() == row
    found = sequences(pa.array([[1, 2], [], [3]], pa.list_(pa.int16())), "x")
    assert [found.row(i).tolist() for i in range(3)] == [[1, 2], [], [3]]


@given(st.lists(st.none() | st.integers(0, 4), max_size=8), st.integers(1, 3))
@settings(max_examples=40)
def test_arrays_become_columns(lengths, size):
    rng = np.random.default_rng(3)
    step = pa.list_(pa.float32(), size)
    rows = [None if t is None else rng.standard_normal((t, size)).astype(F32) for t in lengths]
    for kind in (pa.list_(step), pa.list_(pa.list_(pa.float32()))):
        made = column(rows, kind)
        assert made.type == kind
        assert bits(made.to_pylist()) == bits([None if r is None else r.tolist() for r in rows])
    last = [None if row is None else np.arange(size, dtype=F32) for row in rows]
    assert bits(column(last, step).to_pylist()) == bits(last)
    one = [None if row is None else F32(3) for row in rows]
    assert column(one, pa.float32()).to_pylist() == one


def test_columns_that_are_no_sequences():
    for array, error, says in [
        (pa.array([1.0]), TypeError, "lists of numbers are due"),
        (pa.array(["a"]), TypeError, "string; lists"),
        (pa.array([["a"]]), TypeError, "string is no number"),
        (pa.array([[1.0, None]]), ValueError, "nulls inside"),
        (pa.array([[[1.0, 2.0], [3.0]]]), ValueError, "steps have 1 to 2 numbers"),
        (pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 3, 3)).transpose(0, 2, 1)),
         ValueError, "axes are permuted"),
    ]:  # fmt: skip
        with pytest.raises(error, match=f"column 'x'.*{says}"):
            sequences(array, "x")


# ---- outputs


def test_final_states_have_the_bits_of_a_loop(layer, tmp_path, rng):
    path, lstm = layer
    rows = drawn(200, 3, rng)
    rows[3] = rows[77] = None
    table = pa.table({"x": lists(rows), "id": pa.array(range(200))})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=33)
    run(path, tmp_path / "in.parquet", tmp_path / "out.parquet", "--column", "x", "--keep", "id",
        "--batch-steps", "100")  # fmt: skip
    made = pq.read_table(tmp_path / "out.parquet")
    assert made.column_names == ["id", "y"] and made["id"].to_pylist() == list(range(200))
    want = [None if row is None else alone(lstm, row) for row in rows]
    assert bits(made["y"].to_pylist()) == bits(want)
    assert not (tmp_path / "out.parquet.parts").exists()


def test_every_step_and_several_files_and_folders(layer, tmp_path, rng):
    path, lstm = layer
    (tmp_path / "b").mkdir()
    (tmp_path / "b/deep").mkdir()
    everything = []
    sizes = {"z.parquet": 5, "b/1.parquet": 0, "b/2.parquet": 7, "b/deep/1.parquet": 3}
    for name, n in sizes.items():
        rows = drawn(n, 3, rng)
        everything += rows
        pq.write_table(pa.table({"x": lists(rows)}), tmp_path / name)
    run(path, tmp_path / "z.parquet", tmp_path / "b", tmp_path / "out.parquet", "--column", "x",
        "--every-step", "--output-column", "h")  # fmt: skip
    made = pq.read_table(tmp_path / "out.parquet")["h"]
    want = [lstm(row[:, None])[0][:, 0] if len(row) else [] for row in everything]
    assert bits(made.to_pylist()) == bits(want)


def test_whole_models_take_rows_of_one_length_at_a_time(small, tmp_path, rng):
    path = small("wide")[0]
    model = fastlstm.load_model(path)
    size = model.inputs[0].shape[2]
    rows = [rng.standard_normal((int(t), size)).astype(F32) for t in rng.integers(1, 5, 30)]
    rows[4] = None
    scorer = Scorer(path, "x", "p", batch_steps=9)
    table = scorer(pa.table({"x": lists(rows)}))
    assert table.column_names == ["p"] and scorer.rows.axis == 1  # the file has time first
    for row, found in zip(rows, table[0].to_pylist(), strict=True):
        want = None if row is None else model(row[:, None])
        axis = scorer.rows.axes[0]
        assert bits([found]) == bits([None if row is None else want.take(0, axis)])


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_the_bits_do_not_depend_on_batches(steps, group, seed):
    """Nor on how the input is cut into row groups."""
    rng = np.random.default_rng(seed)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        fastlstm.LSTM(2, 3).save(f"{folder}/m")
        pq.write_table(
            pa.table({"x": lists(drawn(40, 2, rng))}), f"{folder}/a", row_group_size=group
        )
        score(f"{folder}/m", [f"{folder}/a"], f"{folder}/1", "x", batch_steps=steps)
        score(f"{folder}/m", [f"{folder}/a"], f"{folder}/2", "x", batch_steps=1 << 20)
        assert pq.read_table(f"{folder}/1") == pq.read_table(f"{folder}/2")


def test_short_sequences_are_not_padded_to_a_long_one_without_bound(layer):
    """One of 8,000 steps before 8,000 of one step: by real steps alone they would be one batch."""
    rows = [np.zeros((t, 3), F32) for t in [8000] + [1] * 8000]
    scorer = Scorer(layer[0], "x")
    given = sequences(lists(rows, pa.list_(pa.float32(), 3)), "x")
    batches = list(scorer._batches(given))
    assert sorted(np.concatenate(batches)) == list(range(len(rows)))
    assert max(given.lengths[each].max() * len(each) for each in batches) <= 4 * (1 << 14)


def test_parts_are_cut_by_what_is_in_memory(layer, tmp_path, monkeypatch):
    """Numbers that repeat are next to nothing in the file; kept columns count too."""
    monkeypatch.setattr(parts, "PART", 1 << 14)
    x = lists([np.ones((100, 3), F32)] * 200)  # 240 kB
    pq.write_table(pa.table({"x": x, "k": x, "xs": x}), tmp_path / "in.parquet")
    with pq.ParquetFile(tmp_path / "in.parquet") as file:
        assert file.metadata.row_group(0).total_byte_size < 60_000
        assert [rows for _, rows, _ in parts._parts(file, ["x"])] == [13]
        assert [rows for _, rows, _ in parts._parts(file, ["x", "k"])] == [6]


@given(st.lists(st.integers(0, 7), max_size=9), st.integers(1, 6))
def test_record_batches_are_cut_anew(sizes, size):
    numbers = iter(range(100))
    batches = [
        pa.RecordBatch.from_pydict({"x": pa.array([next(numbers) for _ in range(n)], pa.int64())})
        for n in sizes
    ]
    made = [table["x"].to_pylist() for table in parts._exactly(batches, size)]
    assert [n for each in made for n in each] == list(range(sum(sizes)))
    assert all(len(each) == size for each in made[:-1]) and all(made)


# ---- refusals


def test_wrong_calls(layer, tmp_path, capsys, rng):
    path, _ = layer
    pq.write_table(pa.table({"x": lists(drawn(4, 3, rng)), "w": lists(drawn(4, 2, rng, 9))}),
                   tmp_path / "in.parquet")  # fmt: skip
    (tmp_path / "no.parquet").write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    given, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    for arguments, says in [
        ([path, given, out, "--column", "q"], "there is no column 'q'; there are x, w"),
        ([path, given, out, "--column", "x", "--keep", "q"], "no column 'q'"),
        ([path, given, out, "--column", "x", "--keep", "y"], "'y' is kept and is an output"),
        ([path, given, out, "--column", "w"], "the layer takes (3,) numbers"),
        ([path, given, given, "--column", "x"], "is an input"),
        ([path, tmp_path / "no.parquet", out, "--column", "x"], "no Parquet file"),
        ([path, tmp_path / "gone.parquet", out, "--column", "x"], "no such file"),
        ([path, tmp_path / "empty", out, "--column", "x"], "no .parquet file in this folder"),
        ([path, given, out, "--column", "x", "--value", "sr=3"], "is a layer"),
        ([path, given, out, "--column", "x", "--batch-steps", 0], "batch_steps must be"),
    ]:
        run(*arguments, code=1)
        assert says in capsys.readouterr().err
        assert not out.exists()
        parts_folder = tmp_path / "out.parquet.parts"
        if parts_folder.exists():  # a row that does not fit is found while the run is on
            run(path, given, out, "--column", "x", "--resume", code=1)
            assert "another model" in capsys.readouterr().err
            shutil.rmtree(parts_folder)
    run(path, given, out, "--column", "x")
    run(path, given, out, "--column", "x", code=1)
    assert "--force replaces it" in capsys.readouterr().err
    before = out.read_bytes()
    run(path, given, out, "--column", "x", "--resume")  # done already, by the same run
    run(path, given, out, "--column", "x", "--resume", "--every-step", code=1)
    run(path, given, out, "--column", "x", "--force")
    assert out.read_bytes() == before


def test_without_pyarrow_it_says_what_to_install(layer, capsys, monkeypatch):
    """And modules can be imported."""
    for name in [name for name in sys.modules if name.startswith("fastlstm.score.")]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(fastlstm.score, name.rpartition(".")[2])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    run(layer[0], "a", "b", "--column", "x", code=1)
    assert "pip install 'fastlstm[score]'" in capsys.readouterr().err
    script = (
        "import sys; [sys.modules.update({n: None}) for n in"
        " ('pyarrow', 'ray', 'dask', 'pandas', 'starlette', 'uvicorn', 'prometheus_client')]\n"
        "import fastlstm.ray, fastlstm.dask, fastlstm.score, fastlstm.serve, fastlstm.cli.main"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# ---- memory


@pytest.mark.skipif(not FULL or sys.platform != "linux", reason="in full; reads /proc")
def test_memory_does_not_grow_with_the_file(layer, tmp_path, rng):
    """Four times the rows, in one row group each, take hardly more memory."""
    peaks = []
    for n in (2_000, 8_000):
        rows = pa.array([[[0.5] * 3] * 100] * n, pa.list_(pa.list_(pa.float32(), 3)))
        name = tmp_path / f"{n}.parquet"
        pq.write_table(pa.table({"x": rows}), name)  # a few bytes for all numbers
        script = (
            "import sys; from fastlstm.score import parts, score; parts.PART = 1 << 18\n"
            f"score({str(layer[0])!r}, [{str(name)!r}], {str(tmp_path / f'out{n}')!r}, 'x',"
            " every_step=True)\n"
            "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 16_000, peaks  # kB; the larger file's column is 9.6 MB
