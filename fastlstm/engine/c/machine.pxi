# SPDX-License-Identifier: MIT
# A part of _core.pyx: instruction sets, the compiler, threads.


def isas():
    """[(name, built, runnable here)] of every instruction set the core knows, best first."""
    cdef int i
    return [
        (fl_isa_name(i).decode(), bool(fl_isa_built(i)), bool(fl_isa_runnable(i)))
        for i in range(fl_isa_count())
    ]


def compiler():
    """Name and version of the compiler that made this extension, a str."""
    return FL_COMPILER.decode()


cdef const fl_kernels *kernels_of(str isa) except NULL:
    """The kernels of an instruction set; None: of the best that runs here."""
    cdef int i
    for i in range(fl_isa_count()):
        if fl_isa_runnable(i) and (isa is None or fl_isa_name(i).decode() == isa):
            return fl_isa_kernels(i)
    raise ValueError(f"instruction set {isa!r} does not run here")


def default_threads():
    """How many threads may work on a call that says 0 threads."""
    return fastlstm_get_num_threads()


def set_default_threads(int n):
    """n in 1 .. 1024; anything else changes nothing."""
    fastlstm_set_num_threads(n)


def worker_count():
    """How many worker threads of the core's are alive."""
    return fl_team_size()


def fail_allocations(long after):
    """For tests: let `after` allocations of the C core succeed, fail the rest; -1 ends it."""
    fl_alloc_fail_after(after)


def _set_main_thread():
    global fl_main_thread
    fl_main_thread = PyThread_get_thread_ident()


fl_main_thread = threading.main_thread().ident
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_set_main_thread)


cdef void fill_caller(fl_caller *caller, Poll *poll, size_t threads) noexcept:
    """Fills in `caller` for a call from this thread; threads 0: default_threads()."""
    caller.threads = threads or <size_t>fastlstm_get_num_threads()
    caller.poll = watch(poll)
    caller.poll_arg = poll
