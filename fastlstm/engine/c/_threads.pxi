# SPDX-License-Identifier: MIT
# Part of _core.pyx: signals during a call, and how many threads a call may use.

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil

cdef extern from "base/threads.h" nogil:
    size_t fl_team_size()

# Python delivers signals to its main thread only, so only calls made there need to ask. A child
# forked from another thread makes that thread its main one.
cdef unsigned long main_thread = threading.main_thread().ident


def _after_fork():
    global main_thread
    main_thread = PyThread_get_thread_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

# The default number of threads, with the two names that the extension exports: for threadpoolctl
# (threadpool.py) and anyone else who finds libraries by their symbols.
cdef extern from *:
    """
    #include <stdatomic.h>
    #if defined(_WIN32)
    #define FL_EXPORT __declspec(dllexport)
    #else
    #define FL_EXPORT __attribute__((visibility("default")))
    #endif
    static atomic_int fl_default_threads = 1;

    FL_EXPORT int fastlstm_get_num_threads(void);
    FL_EXPORT int fastlstm_get_num_threads(void)
    {
        return atomic_load_explicit(&fl_default_threads, memory_order_relaxed);
    }

    /* n in 1 .. 1024; anything else changes nothing. */
    FL_EXPORT void fastlstm_set_num_threads(int n);
    FL_EXPORT void fastlstm_set_num_threads(int n)
    {
        if (n >= 1 && n <= 1024)
            atomic_store_explicit(&fl_default_threads, n, memory_order_relaxed);
    }
    """
    int fastlstm_get_num_threads() noexcept nogil
    void fastlstm_set_num_threads(int n) noexcept nogil


def default_threads():
    """What calls that say 0 threads may use."""
    return fastlstm_get_num_threads()


def set_default_threads(int n):
    fastlstm_set_num_threads(n)


def team_size():
    """Worker threads alive."""
    return fl_team_size()


cdef struct Poll:
    double asked  # when signals were last looked at; 0: not in this call
    PyObject *error  # the exception that a handler raised, owned; or NULL


cdef int ask_signals(Poll *poll) noexcept with gil:
    try:
        PyErr_CheckSignals()
    except BaseException as e:
        Py_INCREF(e)
        poll.error = <PyObject *>e
        return 1
    return 0


cdef int on_poll(void *arg) noexcept nogil:
    cdef Poll *poll = <Poll *>arg
    cdef double now = fl_clock()
    if poll.asked == 0:
        poll.asked = now
    if now - poll.asked < 0.02:
        return 0
    poll.asked = now
    return ask_signals(poll)
