# SPDX-License-Identifier: MIT
"""`fastlstm score` over a large file, killed at random and resumed, beside a run that nobody kills.

    python tests/score/killed_run.py [--rows 1000000] [--kills 50]

The file is that of benchmarks/score.py: sequences of 10 to 100 steps for an LSTM(16, 64). A run is
killed (SIGKILL) at a random moment, some parts further or while the output is put together, and the
next one resumes it; outputs are made until there were so many kills. Ends with 1 if the bytes of
one differ or something is left beside it. test_score_resumed.py does the same to small files.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
SCRIPT = """
import sys
from fastlstm.score import score
model, source, target = sys.argv[1:]
score(model, [source], target, "x", resume=True, num_threads=1)
"""


def start(folder, target):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, f"{folder}/layer.safetensors", f"{folder}/in.parquet",
         str(target)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def killed(process, parts, total, more, seconds):
    """Kills a run so many seconds after it has written `more` parts, or all; False if it had ended
    by itself."""
    count = lambda: len(list(parts.glob("[0-9]*.parquet")))  # noqa: E731
    enough = min(count() + more, total)
    while process.poll() is None and count() < enough:
        time.sleep(0.01)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    code = process.wait()
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def main(argv=None):
    import score as benchmark

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="for the files, which stay there")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        source, whole = folder / "in.parquet", folder / "want"
        if not source.exists():
            benchmark.write_input(source, args.rows)
            benchmark.fastlstm_layer().save(folder / "layer.safetensors")
        if not whole.exists():
            assert start(folder, whole).wait() == 0
        want, total = digest(whole), pq.ParquetFile(whole).num_row_groups
        print(f"{args.rows:,} rows, {total} parts, {want}", flush=True)
        drawn, kills, outputs, same = random.Random(0), 0, 0, True
        while kills < args.kills:
            target = folder / f"out{outputs}"
            # About as many parts in all as an output has, then on to the end.
            while kills < args.kills and killed(
                start(folder, target), folder / f"{target.name}.parts", total,
                drawn.randrange(2 * max(total // args.kills, 1)), drawn.random(),
            ):  # fmt: skip
                kills += 1
            assert start(folder, target).wait() == 0
            outputs += 1
            left = sorted(path.name for path in folder.glob(f"*{target.name}*"))
            same = same and digest(target) == want and left == [target.name]
            print(f"{kills} kills, {outputs} outputs, the same bytes: {same}", flush=True)
            target.unlink()
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
