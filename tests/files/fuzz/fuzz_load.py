# SPDX-License-Identifier: MIT
"""Fuzzing of the loaders, and of whole models. A finding is an input on which they raise an
exception other than LoadError (running a whole model: or MemoryError), take long, or take much
memory.

    python tests/files/fuzz/fuzz_load.py TARGET [--engine atheris|plain] [--seconds N] [--runs N]
                                   [--corpus FOLDER] [--report FILE] [libFuzzer's flags]

TARGET is one of load_corpus/targets.py, which says what an input is. The two engines begin with the
same inputs and change them by the same functions, which know the format (load_corpus/mutate.py):

    atheris   guided by coverage; needs `pip install atheris`. Inputs that reach new code are added
              to FOLDER.
    plain     two to five times as many inputs a second. Keeps those that are read, or refused for
              a reason not seen before. Begins with the inputs in FOLDER too, if there are any.

A finding ends the run with exit code 1, or libFuzzer's, and the file is written to --findings.
"""

import argparse
import hashlib
import json
import os
import random
import re
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / name) for name in ("files", "models", "support"))]

# Limits, as docs/reliability.md promises: seconds of CPU for 64 KiB of file (atheris' instrumented
# code is about 4 times as slow), and bytes of memory besides 3 for each byte of file.
SECONDS = {"plain": 1.0, "atheris": 4.0}
MEMORY = 64 << 20
MODEL_MEMORY = 160 << 20  # the same of whole models: computed constants, one run, copies
MAX_LENGTH = 1 << 16  # bytes of an input; longer ones take longer and have no other structures
POOL = 4000  # inputs that the plain engine keeps of each sort; beyond, new ones replace old ones
ON_DISK = ("fastlstm", "file", "model")  # targets whose files are mapped, and so must be on disk


class Run:
    """One target's run: counts, and the slowest input that was seen.

    options   of the command line        folder   for the input, if it must be on disk
    data      the file being checked     before   bytes of memory when the run began
    inputs, read     files checked, and those that were not refused
    """

    def __init__(self, options, folder):
        import fastlstm
        from fastlstm.files import read
        from fastlstm.files.source import Source

        self.options, self.source = options, Source
        self.fastlstm, self.inspect = fastlstm, read.inspect
        self.start, self.folder = time.time(), folder
        self.path = str(folder / "input")
        self.inputs = self.read = 0
        self.slowest = 0.0
        self.before = 0
        if options.target not in ON_DISK:
            read.Source = self.open

    def open(self, path):
        """A Source of self.data, for the loaders to open instead of a file on disk: faster."""
        made = self.source(BytesIO(self.data))
        made.name = path
        return made

    def check(self, data):
        """Load the file `data` in each way. Gives the LoadError's text without the path, or "" if
        the file was read. Other exceptions, AssertionError among them, are findings."""
        self.data = data
        if self.options.target in ON_DISK:
            Path(self.path).write_bytes(data)
        start = time.process_time()
        said = self.run_whole() if self.options.target == "model" else self.load(len(data))
        spent = (time.process_time() - start) / max(1, len(data) / 65536)
        self.slowest = max(self.slowest, spent)
        assert spent <= SECONDS[self.options.engine], f"{spent:.2f} s for 64 KiB"
        self.inputs, self.read = self.inputs + 1, self.read + (not said)
        if self.inputs % 1024 == 0:
            self.report()
        return said.removeprefix(self.path)

    def run_whole(self):
        """Run the file as a whole model; the error's text, or ""."""
        from load_corpus import whole

        try:
            whole.use(self.path)
        except (self.fastlstm.LoadError, MemoryError) as error:
            return str(error)
        return ""

    def load(self, size):
        """Load the file, of `size` bytes, in each way; the LoadError's text, or ""."""
        arrays, layers, said, total = {}, {}, "", 0
        try:
            _, arrays, layers = self.inspect(self.path, activation="tanh")
            if layers:
                self.fastlstm.load_all(self.path, activation="tanh")
        except self.fastlstm.LoadError as error:
            said = str(error)
            assert said.startswith(self.path) and said.isprintable(), said
        for layer in layers.values():
            assert str(layer).isprintable()
        for name, array in arrays.items():
            assert isinstance(name, str) and isinstance(array, np.ndarray)
            array.tobytes()  # reads all of its memory, which must be there
            total = max(total, array.nbytes)
        assert total <= 8 * size + (16 << 20), f"an array of {total} bytes"
        return said

    def begin(self):
        """Count the peak of memory from here."""
        clear = Path("/proc/self/clear_refs")
        if clear.exists():
            clear.write_text("5")
        self.before = _status("VmRSS")

    def report(self, finding=""):
        """The state of the run, a dict, which is written to --report as one line of JSON. Too much
        memory is a finding; atheris' own memory would be counted too, so only plain is checked."""
        grown = _status("VmHWM") - self.before
        limit = MODEL_MEMORY if self.options.target == "model" else MEMORY
        if self.options.engine == "plain" and grown > 3 * MAX_LENGTH + limit and not finding:
            finding = f"{grown} bytes of memory"
        found = {
            "target": self.options.target, "engine": self.options.engine, "inputs": self.inputs,
            "read": self.read, "seconds": round(time.time() - self.start),
            "slowest seconds per 64 KiB": round(self.slowest, 4),
            "peak MiB": _status("VmHWM") >> 20, "grown by MiB": grown >> 20, "finding": finding,
        }  # fmt: skip
        if self.options.report:
            self.options.report.write_text(json.dumps(found) + "\n")
        return found

    def finding(self, error):
        """Write the file that raised `error` to --findings, and report it."""
        name = f"{self.options.target}-{hashlib.sha256(self.data).hexdigest()[:12]}"
        self.options.findings.mkdir(parents=True, exist_ok=True)
        (self.options.findings / name).write_bytes(self.data)
        print(json.dumps(self.report(f"{name}: {type(error).__name__}: {error}")), flush=True)


def _status(key):
    """VmRSS or VmHWM of this process, in bytes; 0 where the system has no such file."""
    path = Path("/proc/self/status")
    return 1024 * int(re.search(rf"{key}:\s+(\d+)", path.read_text())[1]) if path.exists() else 0


def plain(run, target, options):
    """The engine without coverage. Half of the inputs are changed from files that were read."""
    rng, pool, sound, reasons = random.Random(options.seed), list(target.seeds()), [], set()
    if options.corpus and options.corpus.is_dir():
        pool += [path.read_bytes() for path in sorted(options.corpus.iterdir())]
    waiting, end = pool[::-1], time.time() + (options.seconds or 1e9)
    run.begin()
    while run.inputs != options.runs:
        if run.inputs % 256 == 0 and time.time() > end:
            break
        if waiting:
            data = waiting.pop()
        else:
            data = rng.choice(sound if sound and rng.random() < 0.5 else pool)
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                data = target.change(data, rng)[:MAX_LENGTH]
        try:
            said = run.check(target.build(data))
        except BaseException as error:
            run.finding(error)
            raise
        reason = re.sub(r"[0-9]+|'[^']*'|\"[^\"]*\"", "", said)
        if reason not in reasons or (not said and rng.random() < 0.02):
            reasons.add(reason)
            keep = pool if said else sound
            if len(keep) < POOL:
                keep.append(data)
            else:
                keep[rng.randrange(POOL)] = data
    found = run.report()
    print(json.dumps(found))
    return 1 if found["finding"] else 0


def guided(run, target, options, flags):
    """The engine guided by coverage: libFuzzer, through atheris. flags: libFuzzer's."""
    import atheris

    corpus = options.corpus or run.folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def one(data):
        try:
            run.check(target.build(data))
        except BaseException as error:
            run.finding(error)
            raise

    def change(data, limit, seed):
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return atheris.Mutate(data, len(data))
        return target.change(data, rng)[:limit]

    options.findings.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={options.seconds}", f"-runs={options.runs}"]
    limits += [f"-max_len={MAX_LENGTH}", f"-artifact_prefix={options.findings}/"]
    run.begin()
    atheris.Setup([sys.argv[0], *limits, *flags, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target")
    parser.add_argument("--engine", choices=SECONDS, default="atheris")
    parser.add_argument("--seconds", type=int, default=60, help="0: no end")
    parser.add_argument("--runs", type=int, default=-1, help="-1: no end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    options, flags = parser.parse_known_args()
    if options.engine == "atheris":
        import atheris

        instrumented = ["fastlstm.files", "fastlstm.layers.build", "fastlstm.models"]
        with atheris.instrument_imports(include=instrumented):
            import fastlstm.layers.load
            import fastlstm.models.keras
            import fastlstm.models.load  # noqa: F401
    from load_corpus.targets import TARGETS

    if options.target not in TARGETS:
        parser.error(f"a target is one of {', '.join(TARGETS)}")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        run, target = Run(options, Path(folder)), TARGETS[options.target]
        if options.engine == "plain":
            return plain(run, target, options)
        return guided(run, target, options, flags)


if __name__ == "__main__":
    sys.exit(main())
