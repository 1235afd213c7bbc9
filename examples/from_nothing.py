# SPDX-License-Identifier: MIT
"""Each example from nothing, timed: a clone of this repository in an empty folder, then

    make .venv/.examples          PyTorch and the others downloaded, the core compiled
    make example NAME=...         data downloaded, training, evaluation, deployment

    python examples/from_nothing.py [--keep FOLDER] NAME...

What was measured goes into times.json beside this file, from which the READMEs have it: seconds of
the wall clock, and the score of that run, whose weights are this machine's. Run it when nothing
else runs. --keep: the clone and its environment stay in FOLDER, and a later run goes on with them;
then the seconds of the environment are those of the run that made it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import report  # noqa: E402

TIMES, ENVIRONMENT = HERE / "times.json", ".venv/.examples"


def seconds(command, folder):
    """How long a command takes; CalledProcessError."""
    start = time.perf_counter()
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run(command, cwd=folder, check=True, env=environment)
    return round(time.perf_counter() - start, 1)


def first_score(results):
    """{"value", "low", "high"} of the network that was trained, in the first column of a README's
    first table."""
    rows = next(iter(results["scores"].values()))["rows"]
    return next(iter(rows[results.get("row_of_run", report.OURS)].values()))


def measured(clone, name, times):
    made = clone / ENVIRONMENT
    if not made.exists():
        times["environment"] = {"seconds": seconds(["make", "-s", ENVIRONMENT], clone)}
    cache = clone / "examples" / ".cache"
    if cache.exists():  # of an example before: this one shall download its own
        cache.rename(clone / "examples" / f".cache-before-{name}")
    taken = seconds(["make", "-s", "example", f"NAME={name}"], clone)
    found = json.loads((clone / "examples" / name / "results.json").read_text())
    times[name] = {
        "seconds": taken, "cpus": len(os.sched_getaffinity(0)), "cpu": report.cpu_name(),
        "date": time.strftime("%Y-%m-%d"), "score": first_score(found),
    }  # fmt: skip
    print(json.dumps({name: times[name]}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="a folder for the clone")
    parser.add_argument("names", nargs="+")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        clone = (args.keep or Path(temporary) / "clone").resolve()
        if not clone.exists():
            subprocess.run(["git", "clone", "-q", HERE.parent, clone], check=True)
        for name in args.names:
            times = json.loads(TIMES.read_text()) if TIMES.exists() else {}
            measured(clone, name, times)
            report.keep(TIMES, times)
            folder = HERE / name
            readme = (folder / "README.md").read_text()
            (folder / "README.md").write_text(report.filled(readme, report.read(folder)))


if __name__ == "__main__":
    main()
