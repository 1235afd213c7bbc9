# SPDX-License-Identifier: MIT
"""# A container of under 100 MB

What a deployment needs is Python, NumPy, fastlstm and a file of weights. This program puts these
into a folder that is a whole root file system, with no shell and no package manager in it, says how
large it is, and, as root, runs a stream inside it.

```sh
python docs/tutorials/container.py           # into a temporary folder
```

With Docker or Podman the folder becomes an image, by `Containerfile` beside this program:

```dockerfile
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev binutils
COPY . /fastlstm
RUN pip install --no-cache-dir /fastlstm && python /fastlstm/docs/tutorials/container.py /image

FROM scratch
COPY --from=build /image /
USER 1000
ENV PYTHONPATH=/python/packages PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/python/bin/python3", "/app/stream.py"]
```

The project's tests run this program, and compare the text above with the file, but build no image.
It is built in a checkout of fastlstm: `docker build -f docs/tutorials/Containerfile -t stream .`,
and then `docker run -i --network none --read-only stream` reads frames and answers.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np

import fastlstm

image = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# %% ## Python, NumPy and fastlstm
#
# They are copied from the Python that runs this program, without what a deployment does not use:
# tests, the graphical toolkit, installers, type stubs, headers. fastlstm's benchmark goes too.

UNUSED = (
    "__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3",
    "pydoc_data", "site-packages", "dist-packages", "config-*", "_test*", "_tkinter*", "_xxtest*",
    "*.pyi", "*.h", "*.a", "f2py", "_pyinstaller", "bench", "*.pyx", "*.pxd", "*.pxi",
)  # fmt: skip


def copied(folder: Path, to: Path) -> None:
    shutil.copytree(
        folder, to, ignore=shutil.ignore_patterns(*UNUSED), symlinks=True, dirs_exist_ok=True
    )


version = f"python3.{sys.version_info.minor}"
library = image / "python" / "lib" / version
copied(Path(sysconfig.get_path("stdlib")), library)
copied(Path(sysconfig.get_config_var("DESTSHARED")), library / "lib-dynload")
(image / "python" / "bin").mkdir()
program = image / "python" / "bin" / "python3"
shutil.copy(Path(sys.executable).resolve(), program)

packages = image / "python" / "packages"
for package in (np, fastlstm):
    folder = Path(str(package.__file__)).parent
    copied(folder, packages / folder.name)
bundled = Path(np.__file__).parents[1] / "numpy.libs"  # what NumPy's wheel brings along
if bundled.exists():
    copied(bundled, packages / "numpy.libs")

# %% ## The C library
#
# `ldd` names the shared libraries that Python and its extensions are linked with. They keep their
# paths. What is there for debuggers alone is stripped off, if `strip` is here; NumPy's wheel has
# none of it.

needed: set[str] = set()
for each in (program, *image.rglob("*.so")):
    said = subprocess.run(["ldd", each], capture_output=True, text=True).stdout
    needed |= set(re.findall(r"(/\S+) \(0x", said))
for path in sorted(needed):
    target = image / path.lstrip("/")
    if not path.startswith(str(image)) and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
if shutil.which("strip"):
    for each in (program, *image.rglob("*.so*")):
        if packages not in each.parents and not each.is_symlink():
            each.chmod(0o755)
            subprocess.run(["strip", "--strip-unneeded", each], check=True)

# %% ## The service
#
# It reads a frame from each line of its input and answers with a line. The state is the stream's.

SERVICE = """
import sys

import numpy as np

import fastlstm

stream = fastlstm.load("/app/model.safetensors").stream()
for line in sys.stdin:
    y = stream.step(np.array(line.split(), np.float32)[None])
    print(y[0].tobytes().hex(), flush=True)
"""
app = image / "app"
app.mkdir()
(app / "stream.py").write_text(SERVICE)
lstm = fastlstm.LSTM(40, 64, num_layers=2)  # yours: fastlstm.load(...)
lstm.save(app / "model.safetensors")

# %% ## How large, and does it run?


def megabytes(folder: Path) -> float:
    files = (f for f in folder.rglob("*") if f.is_file() and not f.is_symlink())
    return sum(f.stat().st_size for f in files) / 1e6


parts = {"Python": library, "NumPy": packages / "numpy", "fastlstm": packages / "fastlstm"}
sizes = [f"{name} {megabytes(folder):.0f}" for name, folder in parts.items()]
print(f"{megabytes(image):.0f} MB in all; {', '.join(sizes)}")
assert megabytes(image) < 100

if os.geteuid() == 0:
    frames = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    lines = "".join(" ".join(map(str, frame)) + "\n" for frame in frames)
    done = subprocess.run(
        ["chroot", image, "/python/bin/python3", "/app/stream.py"],
        input=lines,
        capture_output=True,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": "/python/packages",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    answers = [np.frombuffer(bytes.fromhex(line), np.float32) for line in done.stdout.split()]
    y, _ = lstm(frames[:, None])
    assert np.allclose(answers, y[:, 0], atol=2e-6)  # the same bits, on the C core
    print(f"{len(answers)} frames answered inside it, as outside")
else:
    print("to run it, be root, or let docker run it")

# %% With CPython 3.11 and NumPy 2.4 it was 88 MB in all. The largest part, 28 MB, is the linear
# algebra in NumPy's wheel, which fastlstm does not use and NumPy does not start without.
