# SPDX-License-Identifier: MIT
"""The package in a new environment with no compiler in reach: a script, not a test of pytest.

    python tests/engines/without_compiler.py

A virtual environment on a PATH with nothing else: `pip install` of the source succeeds and says
why there is no extension, FASTLSTM_REQUIRE_C=1 makes it fail, and the demo and tests of the
backends pass on NumPy, then with Numba too. Last, the pure wheel of `python -m build`, installed.
Packages come from the index that pip is configured for.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

SOURCE = Path(__file__).parents[2]
COMPILERS = ("cc", "gcc", "clang", "c++", "g++", "cl", "x86_64-linux-gnu-gcc")
TESTS = (
    "engines/test_backend_variants.py", "api/test_stream.py", "api/test_invalid_calls.py",
    "numbers/test_nan.py", "cli/test_demo.py",
)  # fmt: skip


class Place:
    """A virtual environment in a folder, and a copy of the source beside it."""

    def __init__(self, folder):
        self.folder, self.source = folder, folder / "source"
        left_out = shutil.ignore_patterns(
            ".git", ".venv*", "build", "dist", "*.egg-info", "*.so", "__pycache__"
        )
        shutil.copytree(SOURCE, self.source, ignore=left_out)
        venv.create(folder / "venv", with_pip=True, symlinks=True)
        self.bin = folder / "venv" / "bin"
        drop = ("FASTLSTM_", "CC", "CXX", "PYTHONPATH", "VIRTUAL_ENV", "LD_PRELOAD")
        env = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
        self.env = env | {"PATH": str(self.bin), "OMP_NUM_THREADS": "1"}
        found = [name for name in COMPILERS if shutil.which(name, path=self.env["PATH"])]
        assert not found, f"a compiler on the PATH: {found}"

    def run(self, *command, fails=False, **env):
        """Output of a command of the environment; its end is checked."""
        print("$", *(f"{k}={v}" for k, v in env.items()), *command, flush=True)
        done = subprocess.run(
            [self.bin / command[0], *command[1:]], cwd=self.folder, env=self.env | env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if (done.returncode != 0) != fails:
            sys.exit(f"{done.stdout[-5000:]}\nended with {done.returncode}")
        return done.stdout

    def backend(self):
        """Its name, by the installed package's own account."""
        words = "import fastlstm; print(fastlstm.__file__, fastlstm.config_dict()['backend'])"
        file, name = self.run("python", "-W", "ignore", "-c", words).split()
        assert file.startswith(str(self.folder / "venv")), file
        return name

    def works(self, name):
        assert self.backend() == name
        out = self.run("python", "-W", "ignore", "-m", "fastlstm", "demo")
        print(out[-400:])
        tests = [f"source/tests/{test}" for test in TESTS]
        # the choice is named for the tests' own sake: what falls back warns, as tests must not
        out = self.run(
            "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, FASTLSTM_BACKEND=name
        )
        print(out.splitlines()[-1], flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        out = place.run("python", "-m", "pip", "install", "-v", place.source)
        assert "fastlstm: the C extension could not be built" in out
        print(next(line for line in out.splitlines() if "could not be built" in line))
        out = place.run(
            "python", "-m", "pip", "install", "--force-reinstall", "--no-deps", place.source,
            fails=True, FASTLSTM_REQUIRE_C="1",
        )  # fmt: skip
        assert "No such file or directory: 'gcc'" in out or "compiler" in out, out[-3000:]
        place.run("python", "-m", "pip", "install", "-q", "pytest", "pytest-timeout", "hypothesis")
        shutil.rmtree(place.source / "fastlstm" / "engine")  # nothing runs from there
        place.works("numpy")
        place.run("python", "-m", "pip", "install", "-q", "numba")
        place.works("numba")

    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.run("python", "-m", "pip", "install", "-q", "build")
        place.run("python", "-m", "build", "--wheel", place.source, FASTLSTM_PURE="1")
        (wheel,) = (place.source / "dist").iterdir()
        assert wheel.name.endswith("-py3-none-any.whl"), wheel.name
        place.run("python", "-m", "pip", "install", "-q", wheel)
        assert place.backend() == "numpy"
        place.run("python", "-W", "ignore", "-m", "fastlstm", "demo")
        print(wheel.name, wheel.stat().st_size, "bytes: installed, runs")


if __name__ == "__main__":
    main()
