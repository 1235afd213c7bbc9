# SPDX-License-Identifier: MIT
"""The same bits by Dask and by Ray, also when a worker dies."""

import os
import signal

import numpy as np
import pyarrow as pa
import pytest
from conftest import FULL
from test_score import bits, drawn, lists

import fastlstm
from fastlstm.score.scorer import Scorer

pd = pytest.importorskip("pandas")  # Dask brings it

pytestmark = [pytest.mark.once, pytest.mark.skipif(not FULL, reason="clusters, in full alone")]


@pytest.fixture
def rows_and_want(tmp_path, rng):
    """(path of a layer, 400 sequences, the bits of each row's output alone)"""
    lstm = fastlstm.LSTM(3, 4, num_threads=1)
    path = tmp_path / "layer.safetensors"
    lstm.save(path)
    rows = drawn(400, 3, rng)
    zero = np.zeros(4, np.float32)
    want = [lstm(r[:, None], return_sequences=False)[0][0] if len(r) else zero for r in rows]
    return path, rows, bits(want)


def test_dask(rows_and_want):
    dd = pytest.importorskip("dask.dataframe")
    import fastlstm.dask

    path, rows, want = rows_and_want
    frame = pd.DataFrame({"x": [r.tolist() for r in rows], "id": range(400)})
    # Objects: Dask would make strings of them otherwise.
    import dask

    with dask.config.set({"dataframe.convert-string": False}):
        parts = dd.from_pandas(frame, npartitions=5)
        made = parts.map_partitions(
            fastlstm.dask.score, str(path), column="x", keep=["id"], meta={"id": "i8", "y": object}
        ).compute(scheduler="threads")
    assert made["id"].tolist() == list(range(400)) and made.index.tolist() == list(range(400))
    assert bits(made["y"]) == want
    empty = fastlstm.dask.score(frame[:0], str(path))
    assert list(empty.columns) == ["y"] and len(empty) == 0


def test_dask_with_a_worker_killed_in_the_middle(rows_and_want, tmp_path):
    """Two processes of a LocalCluster, of which one is killed in its first partition."""
    distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed")
    dd = pytest.importorskip("dask.dataframe")
    import dask

    import fastlstm.dask

    path, rows, want = rows_and_want
    mark = tmp_path / "killed"

    def dies(frame, path, mark):
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))  # one worker alone makes it
        except FileExistsError:
            return fastlstm.dask.score(frame, path, column="x", keep=["id"])
        os.kill(os.getpid(), signal.SIGKILL)

    frame = pd.DataFrame({"x": [r.tolist() for r in rows], "id": range(400)})
    options = {
        "dataframe.convert-string": False, "distributed.scheduler.allowed-failures": 10,
        "temporary-directory": str(tmp_path), "distributed.admin.system-monitor.log-length": 10,
    }  # fmt: skip
    with (
        dask.config.set(options),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        before = set(client.scheduler_info()["workers"])
        parts = dd.from_pandas(frame, npartitions=8)
        meta = {"id": "i8", "y": object}
        made = parts.map_partitions(dies, str(path), str(mark), meta=meta).compute()
        assert mark.exists() and len(before) == 2
    assert made["id"].tolist() == list(range(400)) and made.index.tolist() == list(range(400))
    assert bits(made["y"]) == want


def test_ray_with_a_worker_killed_in_the_middle(rows_and_want, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")

    import fastlstm.ray

    path, rows, want = rows_and_want
    root = os.path.dirname(os.path.dirname(fastlstm.__file__))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False,
             runtime_env={"env_vars": {"PYTHONPATH": root}})  # fmt: skip
    try:
        ray.data.DataContext.get_current().execution_options.preserve_order = True
        table = pa.table({"x": lists(rows), "id": pa.array(range(400))})
        dataset = ray.data.from_arrow([table.slice(50 * i, 50) for i in range(8)])
        mark = tmp_path / "killed"

        class Dies(Scorer):
            """A worker that is killed at its second batch, once for all workers."""

            batches = 0

            def __call__(self, given):
                self.batches += 1
                if self.batches == 2 and not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__call__(given)

        plain = fastlstm.ray.score(dataset, str(path), keep=["id"], workers=2, batch_size=25)
        made = pa.concat_tables(ray.get(plain.to_arrow_refs()))
        assert made["id"].to_pylist() == list(range(400))
        assert bits(made["y"].to_pylist()) == want and not mark.exists()
        monkeypatch.setattr(fastlstm.ray, "scorer_class", lambda: Dies)
        killed = fastlstm.ray.score(dataset, str(path), keep=["id"], workers=2, batch_size=25)
        made = pa.concat_tables(ray.get(killed.to_arrow_refs()))
        assert mark.exists(), "no worker was killed"
        assert made["id"].to_pylist() == list(range(400))
        assert bits(made["y"].to_pylist()) == want
    finally:
        ray.shutdown()
