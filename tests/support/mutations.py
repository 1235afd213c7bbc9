# SPDX-License-Identifier: MIT
"""Breaks the code on purpose, in a copy, and sees that the test which holds the promise fails.

python tests/support/mutations.py [NUMBER ...]    all of them take some minutes

The table that it prints is the one in docs/reliability.md. It exits with 1 if a test passed on
broken code, or if what is to be broken is no longer there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "fastlstm/"

# (what is broken, in words, the file, what stands there, what is put there, the test)
MUTATIONS = [
    ("lengths above T are let through", "engine/arguments.py",
     "int(array.min()) >= 0 and int(array.max()) <= steps", "int(array.min()) >= 0",
     "api/test_argument_checks.py::test_wrong"),
    ("lengths are not copied", "engine/arguments.py",
     "    array = np.array(array)\n", "",
     "api/test_argument_checks.py::test_states_and_lengths"),
    ("an `out` that overlaps an input is taken", "engine/arguments.py",
     "np.may_share_memory(out, array)", "False",
     "api/test_argument_checks.py::test_wrong"),
    ("a check has a branch that no test takes", "engine/arguments.py",
     "    if value is None:\n        return int(", "    if value == 77:\n        return 0\n"
     "    if value is None:\n        return int(",
     "api/test_argument_checks.py::test_every_branch_is_taken"),
    ("a tape of another layer is used", "training/forward_backward.py",
     "if tape._packed is not packed:", "if tape._packed.net.cell != packed.net.cell:",
     "training/test_checkpoint.py::test_tapes_of_others_are_refused"),
    ("a stream's failed call leaves a changed state", "layers/stream.py",
     '        layer = self._layer\n        x = arguments.real("input", x)',
     '        layer = self._layer\n        self.reset()\n        x = arguments.real("input", x)',
     "api/test_stream.py::test_a_failed_call_leaves_the_state"),
    ("any global of a pickle is allowed", "files/inert_pickle.py",
     "if full not in self.allowed:", "if False:",
     "files/test_load_hostile.py::test_refused_for_its_reason"),
    ("a record's CRC is not looked at", "files/stored_zip.py",
     "!= entry.crc", "is None",
     "files/test_load_hostile.py::test_refused_for_its_reason"),
    ("steps keep a hundred bytes each", "layers/stream.py",
     "        y = self._state.advance(x, out, True, self._threads)\n        if y is not None:",
     "        y = self._state.advance(x, out, True, self._threads)\n"
     "        self.__dict__.setdefault('kept', []).append(bytes(67))\n        if y is not None:",
     "threads/test_soak.py::test_many_calls_leave_memory_and_threads_as_they_were"),
    ("importing brings in another module", "errors.py",
     "\n\nclass LoadError", "\nimport zipfile\n\n\nclass LoadError",
     "packaging/test_package.py::test_import_brings_in_numpy_and_nothing_else"),
    ("a default in the stubs is another than the code's", "__init__.pyi",
     "batch_size: int = 1) -> Stream", "batch_size: int = 2) -> Stream",
     "api/test_typing.py::test_the_stubs_say_what_the_code_does"),
    ("source distributions have the files' dates", "../setup.py",
     "mtime=date, mode=mode", "mode=mode",
     "packaging/test_wheel.py::test_two_source_distributions_have_the_same_bytes"),
    ("a flag comes from the building machine", "../setup.py",
     '"-O3", "-g0"', '"-O3", "-march=native", "-g0"',
     "packaging/test_wheel.py::test_no_flag_comes_from_the_machine_that_builds"),
]  # fmt: skip


def tried(file, old, new, test):
    """The test's exit code on code broken so: 1 is a test that failed; None: nothing to break."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "fastlstm-broken")
        kept = shutil.ignore_patterns(".git", ".venv*", ".hypothesis", "dist", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=kept)
        target = copy / PACKAGE / file
        text = target.read_text()
        if text.count(old) < 1:
            return None
        target.write_text(text.replace(old, new))
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{test}"],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy)},
            capture_output=True,
        ).returncode


def main(numbers):
    bad = 0
    print("| broken | test that failed |\n|---|---|")
    for n, (what, *how) in enumerate(MUTATIONS, 1):
        if numbers and n not in numbers:
            continue
        code = tried(*how)
        said = {1: "", None: " **nothing there to break**"}.get(code, f" **did not fail: {code}**")
        bad += code != 1
        print(f"| {what} | `tests/{how[-1]}` |{said}", flush=True)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main([int(n) for n in sys.argv[1:]]))
