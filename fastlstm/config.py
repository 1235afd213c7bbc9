# SPDX-License-Identifier: MIT
"""What is built, what runs here, and what was chosen; the environment variables, read once."""

import operator
import os
import platform
import sys
import sysconfig

import numpy

from .engine import NAME, REASON
from .engine import backend as _backend

__version__ = "0.1.0"
MOST_THREADS = 1024  # that a call may use

_ISAS = {name: (built, runnable) for name, built, runnable in _backend.isas()}


def runnable_isas():
    """Names of the instruction sets this build holds and this CPU runs, best first."""
    return [name for name, (_, runnable) in _ISAS.items() if runnable]


def check_isa(isa):
    """`isa` if it runs here; a ValueError that says why not otherwise."""
    if isa is None:
        return DEFAULT_ISA
    if not isinstance(isa, str):
        raise TypeError(f"isa must be a str or None, got {type(isa).__name__}")
    good = ", ".join(runnable_isas())
    if isa not in _ISAS and NAME != "c":
        raise ValueError(f"isa {isa!r} is not one of the {NAME} backend's; it has: {good}")
    if isa not in _ISAS:
        raise ValueError(f"isa {isa!r} is not known; this machine can run: {good}")
    built, runnable = _ISAS[isa]
    if not built:
        raise ValueError(f"isa {isa!r} is not built into this package; it can run: {good}")
    if not runnable:
        raise ValueError(f"isa {isa!r} is built, but this CPU lacks it; it can run: {good}")
    return isa


def check_num_threads(n):
    """`n` as an int of at least 1, or None."""
    if n is None:
        return None
    if isinstance(n, bool):
        raise TypeError("num_threads must be an int or None, got bool")
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"num_threads must be an int or None, got {type(n).__name__}") from None
    if not 1 <= n <= MOST_THREADS:
        raise ValueError(f"num_threads must be in 1..{MOST_THREADS}, got {n}")
    return n


def _from_environment(name, check, convert=str):
    text = os.environ.get(name, "")
    if not text:
        return None
    try:
        return check(convert(text))
    except (ValueError, TypeError) as e:
        raise ImportError(f"{name}={text}: {e}") from None


DEFAULT_ISA = runnable_isas()[0]
DEFAULT_ISA = _from_environment("FASTLSTM_ISA", check_isa) or DEFAULT_ISA


CHECK_FROZEN = os.environ.get("FASTLSTM_CHECK_FROZEN", "") not in ("", "0")  # torch/modules.py


def usable_cpus():
    """CPUs this process may use: its affinity, and on Linux its control group's quota."""
    try:
        n = len(os.sched_getaffinity(0))
    except AttributeError:
        n = os.cpu_count() or 1
    for quota, period in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            with open(quota) as file:
                words = file.read().split()
            if period:
                with open(period) as file:
                    words += file.read().split()
            if int(words[0]) > 0:
                n = min(n, max(1, -(-int(words[0]) // int(words[1]))))
        except (OSError, ValueError, IndexError, ZeroDivisionError):
            pass
    return n


def get_num_threads():
    """The threads a call may use that says nothing else: `set_num_threads`, else the environment's
    FASTLSTM_NUM_THREADS, else the CPUs this process may use. Small work takes one in any case."""
    return _backend.default_threads()


def set_num_threads(n):
    """Set what `get_num_threads` gives, for calls that start later; None: as if never set."""
    _backend.set_default_threads(check_num_threads(n) or _start_threads)


_start_threads = _from_environment("FASTLSTM_NUM_THREADS", check_num_threads, int)
_start_threads = _start_threads or min(usable_cpus(), MOST_THREADS)
set_num_threads(None)


def warmup():
    """Compile, or load from disk, all that calls and training need: seconds, once in a process, on
    the numba backend; nothing to do on the others. Without it, making a layer prepares its calls
    and the first forward_train its training."""
    getattr(_backend, "warmup", lambda: None)()


def config_dict():
    """What `show_config` prints, as a dict of plain values."""

    def state(built, runnable):
        return "runs" if runnable else "built, this CPU lacks it" if built else "not built"

    return {
        "fastlstm": __version__,
        "backend": NAME,
        "backend_from": REASON,
        "isa": DEFAULT_ISA,
        "isa_from": "FASTLSTM_ISA" if os.environ.get("FASTLSTM_ISA") else "the best that runs",
        "isas": {name: state(*flags) for name, flags in _ISAS.items()},
        "threads": get_num_threads(),
        "compiler": _backend.compiler(),
        "python": platform.python_version()
        + (" free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""),
        "numpy": numpy.__version__,
        "platform": f"{sys.platform} {platform.machine()}",
    }


def show_config():
    """Print version, backend, instruction sets (built, runnable, chosen), threads and compiler."""
    c = config_dict()
    sets = "\n".join(f"    {name:<12} {text}" for name, text in c["isas"].items())
    print(
        f"fastlstm {c['fastlstm']}\n"
        f"backend   {c['backend']} ({c['backend_from']})\n"
        f"isa       {c['isa']} ({c['isa_from']})\n{sets}\n"
        f"threads   {c['threads']}\n"
        f"compiler  {c['compiler']}\n"
        f"python    {c['python']}, numpy {c['numpy']}, {c['platform']}"
    )
