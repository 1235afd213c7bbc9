# SPDX-License-Identifier: MIT
"""Pythons that no package here has, 3.14 without a GIL and 3.14 on musl, as far as a wheel's build
asks: headers and settings, made of those of Debian's Python of that version. A build for another C
library or without a GIL has the same headers; pyconfig.h and a few names differ. There is nothing
to run, so such wheels are built, looked at and not tried."""

import shutil
from pathlib import Path

import debian
from interpreter import TRIPLETS, Python


def python(folder, machine, libc, version):
    """What a build for that version (3.14, 3.14t), C library and kind of CPU needs."""
    folder = Path(folder).resolve()
    number, triplet = version.rstrip("t"), TRIPLETS[machine, libc]
    glibc = TRIPLETS[machine, "manylinux"]
    model = debian.python(folder, machine, number)
    made = folder / f"derived{version}-{libc}-{machine}"
    shutil.rmtree(made, ignore_errors=True)
    headers, above = model.include
    shutil.copytree(headers, made)
    text = (above / glibc / headers.name / "pyconfig.h").read_text()
    settings = model.settings.read_text().replace(glibc, triplet)
    if version.endswith("t"):
        undefined, defined = "/* #undef Py_GIL_DISABLED */", "#define Py_GIL_DISABLED 1"
        if undefined not in text:
            raise SystemExit(f"{headers}: pyconfig.h does not say whether there is a GIL")
        text = text.replace(undefined, defined)
        name = f"cpython-{number.replace('.', '')}"
        settings = settings.replace(f"{name}-", f"{name}t-")
        settings += "\nbuild_time_vars |= {'Py_GIL_DISABLED': 1, 'ABIFLAGS': 't'}\n"
    (made / "pyconfig.h").write_text(text)
    (made / "settings.py").write_text(settings)
    return Python(made / "settings.py", [made], None)
