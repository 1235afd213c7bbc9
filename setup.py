# SPDX-License-Identifier: MIT
"""Builds the extension: one static library per instruction set, each with its own flags.

FASTLSTM_CFLAGS adds compiler and linker flags to everything (the sanitizer builds use it), but for
the kernels, if FASTLSTM_KERNEL_CFLAGS has theirs. No flag ever comes from the host's CPU: which
kernels run is decided at run time (csrc/kernels/dispatch.c). FASTLSTM_KERNELS, names of kernels,
builds these alone: for copies that only tests use, in a tenth of the time (avx2 generic ...).

Where the extension cannot be built, the package is installed without it and runs on Numba or NumPy
(fastlstm/engine). FASTLSTM_REQUIRE_C=1 makes that an error, as releases do; FASTLSTM_PURE=1 does
not try, and wheels are py3-none-any.
"""

import glob
import gzip
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor

from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

PURE = os.environ.get("FASTLSTM_PURE", "") not in ("", "0")
REQUIRE_C = os.environ.get("FASTLSTM_REQUIRE_C", "") not in ("", "0")
if PURE and REQUIRE_C:
    sys.exit("FASTLSTM_PURE and FASTLSTM_REQUIRE_C are both set: with C or without?")

# The platform that is built for, which need not be the one that builds. A Python for macOS that is
# made for both kinds of CPUs builds for this machine's, unless it is told which.
if sysconfig.get_platform().endswith("-universal2"):
    one = sysconfig.get_platform().replace("universal2", platform.machine())
    os.environ.setdefault("_PYTHON_HOST_PLATFORM", one)
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")
PLATFORM = sysconfig.get_platform()
X86 = PLATFORM.endswith(("x86_64", "amd64"))
ARM = PLATFORM.endswith(("aarch64", "arm64"))
LINUX = PLATFORM.startswith("linux")

# On Windows the core is compiled by clang-cl, which has vectors and atomics that Microsoft's
# compiler has not; that one's linker and headers are used.
WINDOWS = PLATFORM.startswith("win")

# name, flags. At -O3 these are a tenth larger and at most 1.5 % faster (16 cases of the benchmark,
# in turns; two noisy ones aside): what matters is unrolled by name. Of CPUs with fused multiply-add
# only some of 2012 to 2014 lack AVX2.
KERNELS = [("generic", ["-O2"])]
if X86:
    KERNELS += [
        ("generic_fma", ["-mfma", "-O2"]),
        ("avx2", ["-mavx2", "-mfma", "-mf16c", "-O2"]),
        (
            "avx512",
            ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma", "-O2"],
        ),
    ]
elif ARM:
    KERNELS += [("neon", [])]

# The kernels of int8 for CPUs that have instructions for products of codes: the name of the set
# with them, the set that has all other kernels, flags added to those of that set. At -O2 batches of
# int8 took 1.6 times as long on AMX, whose gates are in the file of avx512_vnni.
DOT_KERNELS = [
    ("avx2_vnni", "avx2", ["-mavxvnni", "-O3"]),
    ("avx512_vnni", "avx512", ["-mavx512vnni", "-O3"]),
    ("neon_dot", "neon", ["-march=armv8.2-a+dotprod"]),
]


def compiles(text, *flags):
    """Does the C compiler, with its assembler, know what this is?"""
    cc = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "known.c")
        with open(source, "w") as file:
            file.write(text)
        try:
            done = subprocess.run(
                [*cc, *flags, "-c", source, "-o", source + ".o"], capture_output=True
            )
        except OSError:
            return False
    return done.returncode == 0


# zig, which compiles for musl, names CPUs and knows no -march.
if ARM and not PURE and not compiles("int known;", *DOT_KERNELS[-1][2]):
    DOT_KERNELS[-1] = ("neon_dot", "neon", ["-mcpu=generic+dotprod"])

# Kernels whose products are of tiles: the name, the set they share all others with. Linux alone
# gives a process tiles, and assemblers know them since 2020.
TILES = 'void f(void) { __asm__("tdpbf16ps %tmm0, %tmm1, %tmm2"); }'
AMX = X86 and LINUX and not PURE and compiles(TILES)
TILED_KERNELS = [("avx512_amx", "avx512")] if AMX else []

WANTED = os.environ.get("FASTLSTM_KERNELS", "").split() or [name for name, _ in KERNELS]
if unknown := set(WANTED) - {name for name, _ in KERNELS}:
    sys.exit(f"FASTLSTM_KERNELS: no kernels for this machine are called {', '.join(unknown)}")
KERNELS = [kernels for kernels in KERNELS if kernels[0] in WANTED]
KERNELS += [
    (dot, flags + more)
    for name, flags in KERNELS
    for dot, base, more in DOT_KERNELS
    if base == name
]
KERNELS += [
    (tiled, [*flags, "-Os"])  # its loops are assembly
    for name, flags in KERNELS
    for tiled, base in TILED_KERNELS
    if base == name
]

extra = shlex.split(os.environ.get("FASTLSTM_CFLAGS", ""))
kernel_extra = shlex.split(os.environ.get("FASTLSTM_KERNEL_CFLAGS", shlex.join(extra)))
# A fused multiply-add happens where the code names one and nowhere else.
common = ["-std=gnu11", "-O3", "-g0", "-ffp-contract=off", "-fvisibility=hidden"]
common += ["-Wall", "-Wextra"]
# No C++ exception passes through the extension: its tables for unwinding the stack would be 35 kB
# of a wheel. Sanitizers and whoever gives flags of their own keep them.
TABLES = [] if extra or not LINUX else ["-fno-asynchronous-unwind-tables"]
common += TABLES
# Flags that make kernels smaller, 8 kB of a wheel, and no slower (in turns with and without, within
# 2 %). Of AVX-512's that is not clear of the first two. Compilers that do not know all of them get
# none. The core's files at -O2 take the second: 0.9 kB, and training within 2 % (1.01 and 1.00).
SMALLER = [f"-fno-{name}" for name in ("tree-pre", "gcse")]
UNALIGNED = [f"-fno-align-{name}" for name in ("loops", "jumps", "functions", "labels")]
if PURE or WINDOWS or not compiles("int known;", "-Werror", *SMALLER, *UNALIGNED):
    UNALIGNED = []
else:
    KERNELS = [
        (name, flags + UNALIGNED + ([] if "avx512" in name else SMALLER)) for name, flags in KERNELS
    ]
# gcc copies structs by `rep movs` and sets them to zero by `rep stos`, above all at -Os. These take
# dozens of cycles to begin, 2 to 6 % of a step of few units; calls of memcpy and memset do not.
# Only in files that such a step passes: in all of them it would be 1.5 kB of a wheel.
STRINGS = ["-mstringop-strategy=libcall"]
STRINGS = STRINGS if X86 and not PURE and compiles("int known;", "-Werror", *STRINGS) else []
macros = [(f"FL_BUILD_{name.upper()}", "1") for name, _ in KERNELS if name != "generic"]
macros += [] if "generic" in WANTED else [("FL_WITHOUT_GENERIC", "1")]

HEADERS = sorted(glob.glob("csrc/**/*.h", recursive=True))
SOURCES = sorted(glob.glob("csrc/**/*.c", recursive=True))
FOR_ALL = [*HEADERS, "setup.py"]  # what every object file is made anew for: flags are in here

BOUNDARY = "fastlstm/engine/c"  # Cython


def spelled(flags):
    """Flags as the compiler takes them."""
    return [f"/clang:{flag}" for flag in flags] if WINDOWS else flags


def library(name, sources, flags, macros=()):
    return (
        name,
        {
            "sources": sources,
            "cflags": spelled(common + flags),
            "include_dirs": ["csrc"],
            "macros": list(macros),
            "obj_deps": {"": FOR_ALL, **dict.fromkeys(sources, FOR_ALL)},
        },
    )


def kernel_file(name):
    kind = {**{n: "int8" for n, _, _ in DOT_KERNELS}, **{n: "tiled" for n, _ in TILED_KERNELS}}
    return f"csrc/kernels/isa/{kind.get(name, 'kernels')}_{name}.c"


libraries = [
    library(f"fl_{name}", [kernel_file(name)], flags + kernel_extra, macros)
    for name, flags in KERNELS
]
CORE = [name for name in SOURCES if "/isa/" not in name]
# Values are as without these two, which let gcc vectorise loops that choose between floats or take
# square roots: nothing here reads floating-point exceptions or errno.
QUIET = ["-fno-trapping-math", "-fno-math-errno"]
# The operators of whole models are many, and -O3 makes them twice as large as -O2 does. At -O2 gcc
# 12 leaves loops over elements without vector instructions, so the files that have them get -O3.
LOOPS = ["csrc/ops/opcodes.c", "csrc/ops/pool.c", "csrc/ops/sums.c"]
OPS = [name for name in CORE if "/ops/" in name and name.replace(os.sep, "/") not in LOOPS]
# What ONNX Runtime calls checks a node and calls the core: -Os, as the boundary to Python. So do
# files that call kernels and move rows, with few loops of their own.
SMALL = ["csrc/onnxruntime/", "csrc/tape/", "csrc/training/backward.c", "csrc/network/network.c"]
SMALL += ["csrc/network/pack_backward.c"]
SMALL += [f"csrc/forward/{name}.c" for name in (
    "blocks", "encode", "grid", "plan", "record", "row_order",
)]  # fmt: skip
SMALL += ["csrc/kernels/dispatch.c", "csrc/kernels/parallel.c", "csrc/training/gradient_product.c"]
SMALL += [f"csrc/ops/{name}.c" for name in (
    "arena", "conv", "conv_numbers", "conv_transposed", "convolve", "convolve_pack",
    "convolve_windows", "epilogue", "functions", "gather", "linear", "mask", "matmul",
    "numbers", "order", "pad", "program", "recurrent", "reduce", "registry",
    "reshape", "resize", "scatter", "strided", "window",
)]  # fmt: skip
ROWS = [name for name in CORE if name.replace(os.sep, "/").startswith(tuple(SMALL))]
# -O3 makes these larger; -Os would cost a training step 5 %.
AT_O2 = ("/training/", "/network/pack", "/forward/", "/base/")
LESS = [name for name in CORE if any(part in name for part in AT_O2)]
OPS = [name for name in [*OPS, *LESS] if name not in ROWS]
REST = [name for name in CORE if name not in OPS + ROWS]
for name, files, level in [("ops", OPS, "-O2"), ("rows", ROWS, "-Os")]:
    step = [f for f in files if "/forward/" in f.replace(os.sep, "/") and "split_" not in f]
    rest = [file for file in files if file not in step]
    libraries.append(library(f"fl_{name}_step", step, [level, *QUIET, *STRINGS, *extra], macros))
    libraries.append(library(f"fl_{name}", rest, [level, *QUIET, *UNALIGNED, *extra], macros))
libraries.append(library("fl_core", REST, QUIET + extra, macros))

extension = Extension(
    "fastlstm.engine.c._core",
    [f"{BOUNDARY}/_core.pyx"],
    include_dirs=["csrc"],
    # the libraries' sources too: a change in one must link the extension anew
    depends=FOR_ALL
    + SOURCES
    + [f"{BOUNDARY}/{n}" for n in sorted(os.listdir(BOUNDARY)) if n.endswith((".pxd", ".pxi"))],
    # Names given here and to setup() are linked and built first; the core refers to the kernels.
    libraries=["fl_rows_step", "fl_ops_step", "fl_rows", "fl_ops", "fl_core"]
    + [f"fl_{name}" for name, _ in KERNELS]
    + ([] if WINDOWS else ["m"]),
    # -Os: the boundary checks arguments and calls C; it is a third smaller than with -O2.
    extra_compile_args=spelled(["-Os", "-g0", "-fvisibility=hidden", *TABLES, *STRINGS, *extra]),
    # -s leaves out the names of static functions, 18 kB of a wheel; sanitizers show them.
    extra_link_args=["-pthread", "-Wl,-z,noexecstack", *(extra or ["-Wl,-s"])] if LINUX else extra,
)


def by_clang(compiler):
    """On Windows the compiler of setuptools, made to call clang-cl."""
    if WINDOWS:
        compiler.initialize()
        compiler.cc = shutil.which("clang-cl")
        if not compiler.cc:
            raise RuntimeError("clang-cl, LLVM's compiler for Windows, is not in PATH")


class Libraries(build_clib):
    """Compiles as many libraries at a time as there are CPUs: one by one they take a minute."""

    def build_libraries(self, libraries):
        by_clang(self.compiler)
        # Archives are added to: the object of a source that is no longer here, or is in another
        # library now, would stay in an earlier build's, and be linked.
        for name, _ in libraries:
            archive = os.path.join(self.build_clib, self.compiler.library_filename(name))
            if os.path.exists(archive):
                os.remove(archive)
        alone = super().build_libraries
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda one: alone([one]), libraries))  # raises what one of them raised


class Extensions(build_ext):
    """`setup.py build_ext` alone makes the kernels too, or it would link old ones, or none."""

    def run(self):
        self.run_command("build_clib")
        if not getattr(self.distribution, "without_c", False):
            super().run()

    def build_extensions(self):
        by_clang(self.compiler)
        super().build_extensions()


def optional(command):
    """The command, but a failure is a message, and the extension is left out."""

    class Optional(command):
        def run(self):
            if getattr(self.distribution, "without_c", False):
                return
            try:
                super().run()
            except Exception as e:  # no compiler, no headers, no linker: a class for each
                if REQUIRE_C:
                    raise
                self.distribution.without_c = True
                line = "*" * 78
                print(
                    f"{line}\nfastlstm: the C extension could not be built: {e}\n"
                    "The package is installed without it and runs on Numba, if that is there, or on"
                    "\nNumPy: the same results, slower. fastlstm.show_config() tells which. "
                    f"Details: docs/backends.md\n{line}",
                    file=sys.stderr,
                )

    return Optional


class Sdist(sdist):
    """The same files give the same bytes: no owner, no date but SOURCE_DATE_EPOCH, names in order.
    (Wheels: setuptools does so itself.)"""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, **_):
        date = int(os.environ.get("SOURCE_DATE_EPOCH", 315532800))  # 1980, where zip's dates start
        name = f"{base_name}.tar.gz"

        def plain(member):
            mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member.replace(
                uid=0, gid=0, uname="", gname="", mtime=date, mode=mode, deep=False
            )

        with (
            open(name, "wb") as file,
            gzip.GzipFile("", "wb", mtime=date, fileobj=file) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            tar.add(base_dir, filter=plain)  # in order of names
        return name


if PURE:
    setup(cmdclass={"sdist": Sdist})
else:
    from Cython.Build import cythonize

    setup(
        libraries=libraries,
        ext_modules=cythonize([extension], build_dir="build"),
        cmdclass={
            "build_clib": optional(Libraries),
            "build_ext": optional(Extensions),
            "sdist": Sdist,
        },
    )
