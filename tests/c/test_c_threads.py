# SPDX-License-Identifier: MIT
"""The worker threads of csrc/base/threads.c, driven by tests/c/threads_driver.c without Python.

Built three ways with the system's compiler: as it is; with whoever goes to sleep made to linger
just before, where a wake-up could be lost; and with ThreadSanitizer, without suppressions.
"""

import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from c_core import CLEAN
from conftest import FULL

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the driver is written for POSIX")

ROOT = pathlib.Path(__file__).parents[2]
CC = shlex.split(os.environ.get("CC", "cc"))
FLAGS = [f"-I{ROOT / 'csrc'}", "-std=c11", "-O2", "-g", "-pthread", "-Wall", "-Wextra", "-Werror"]
BUILDS = {
    "native": [],
    "lingering": ["-Dpthread_cond_wait=late_wait"],
    "tsan": ["-fsanitize=thread"],
}
# ThreadSanitizer declines threads in children unless told otherwise, and waits 1 s at an exit.
TSAN_OPTIONS = "halt_on_error=1:die_after_fork=0:atexit_sleep_ms=50"

CALLS = {"native": 20_000, "lingering": 5_000, "tsan": 3_000}
FORKS = {"native": 50, "lingering": 20, "tsan": 12}
if FULL:
    CALLS = {"native": 1_000_000, "lingering": 100_000, "tsan": 1_000_000}
    FORKS = {"native": 1000, "lingering": 200, "tsan": 200}

TSAN_PROBE = "int main(void) { return 0; }\n"


def compile_c(*arguments):
    return subprocess.run([*CC, *FLAGS, *arguments], capture_output=True, text=True, timeout=300)


def build(folder, name):
    flags, program = BUILDS[name], folder / "threads_driver"
    if name == "tsan":
        probe = folder / "probe.c"
        probe.write_text(TSAN_PROBE)
        if compile_c(*flags, probe, "-o", program).returncode and not os.environ.get("CI"):
            pytest.skip("the C compiler has no ThreadSanitizer")
    sanitize = [f for f in flags if f.startswith("-f")]
    team = folder / "team.o"
    driver = ROOT / "tests/c/threads_driver.c"
    renamed = ["-Dpthread_create=may_create", "-Dpthread_setaffinity_np=set_cpus"]
    for arguments in (
        [*flags, *renamed, "-c", ROOT / "csrc/base/threads.c", "-o", team],
        [*sanitize, team, driver, "-lm", "-o", program],
    ):
        compiled = compile_c(*arguments)
        assert compiled.returncode == 0, compiled.stderr
    return program


@pytest.fixture(scope="module", params=BUILDS)
def drive(request, tmp_path_factory):
    """drive(mode, n): what the driver prints, after checking that it found nothing wrong."""
    program = build(tmp_path_factory.mktemp(request.param), request.param)
    environment = CLEAN | {"TSAN_OPTIONS": TSAN_OPTIONS}

    def run(mode, n):
        n = n[request.param] if isinstance(n, dict) else n
        command = [program, mode, str(n)]
        # Older ThreadSanitizers cannot place their memory among randomised addresses.
        for prefix in ([], ["setarch", platform.machine(), "-R"]):
            done = subprocess.run(
                [*prefix, *command],
                capture_output=True,
                text=True,
                timeout=3600 if FULL else 900,
                env=environment,
            )
            if "unexpected memory mapping" not in done.stderr:
                break
        assert done.returncode == 0, (done.returncode, done.stderr)
        assert done.stderr == ""
        return done.stdout

    run.build = request.param
    return run


def test_the_primitives_of_other_systems_compile():
    """Windows' with a cross compiler, where there is one; macOS' by name, on this system's headers:
    there, a thread names itself with one argument."""
    source = ROOT / "csrc/base/threads.c"
    renamed = "-Dpthread_setname_np(...)=named()"
    done = compile_c("-fsyntax-only", "-U__linux__", "-D_GNU_SOURCE", renamed, source)
    assert done.returncode == 0, done.stderr
    windows = shutil.which("x86_64-w64-mingw32-gcc")
    if not windows:
        pytest.skip("gcc-mingw-w64-x86-64 is not installed; the other half was done")
    for source in sorted((ROOT / "csrc").rglob("*.c")):
        if source.parent.name != "isa":
            command = [windows, *FLAGS, "-fsyntax-only", source]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr


def test_every_part_is_done_once_and_nothing_runs_after_the_return(drive):
    drive("calls", CALLS)


def test_children_make_a_team_of_their_own(drive):
    drive("fork", FORKS)


def test_calls_within_calls(drive):
    drive("nested", 1000 if FULL else 50)


def test_idle_workers_take_no_processor_time(drive):
    """They fall asleep and are not woken; in full, soon: less than 1 ms of 100."""
    out = drive("idle", 20 if FULL else 3)
    assert not FULL or int(out.split()[0]) < 1000


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone moves threads")
def test_a_sleeping_worker_is_woken_on_another_cpu_than_its_caller_s(drive):
    """And may use all CPUs again before it works. The caller is on each of two CPUs in turn."""
    if "Seccomp:\t0" not in Path("/proc/self/status").read_text():
        pytest.skip("where system calls are filtered, threads are left where they are")
    times = int(drive("apart", 20).split()[0])
    assert times >= 20 or len(os.sched_getaffinity(0)) == 1


def test_sleeping_workers_are_taken_back_and_not_waited_for(drive):
    out = drive("back", 1000 if FULL else 100)
    if sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1:
        assert "on one CPU" not in out


def test_workers_take_no_signals_and_round_to_nearest(drive):
    drive("state", 15)


@pytest.mark.skipif(sys.platform != "linux", reason="sizes are read from /proc")
def test_fewer_workers_when_no_more_threads_can_be_made(drive):
    if drive.build == "tsan":
        pytest.skip("ThreadSanitizer needs address space of its own for every thread")
    drive("starved", 100)


def test_callers_go_on_alone_while_no_thread_can_be_made(drive):
    drive("refused", 1000 if FULL else 100)


@pytest.mark.parametrize("how", [0, 1, 2], ids=["working", "spinning", "asleep"])
def test_the_process_ends_while_workers_are(drive, how):
    for _ in range(20 if FULL else 3):
        assert drive("exit", how) == "the end\n"
