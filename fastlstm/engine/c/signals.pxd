# SPDX-License-Identifier: MIT
"""How a call into C is interrupted: by Ctrl-C, or by any signal whose Python handler raises.

C calls the poll about every millisecond of work; at most every 20 ms it takes the GIL and lets
Python run its handlers. What one of them raises ends the call and is raised once C has returned:

    cdef Poll poll
    call.poll, call.poll_arg = watch(&poll), &poll
    with nogil: status = fl_forward(net, &call)
    if status == FL_INTERRUPTED: raise_of(&poll)

Python delivers signals to its main thread alone, so calls from other threads have no poll.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject

from .csrc cimport fl_clock, fl_poll

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil

cdef extern from *:
    """
    /* set by _core.pyx, and again in a child process, where the thread that forked is the main one */
    static unsigned long fl_main_thread;
    """
    unsigned long fl_main_thread


cdef struct Poll:
    double asked  # seconds of fl_clock() when signals were last looked at; 0: not in this call
    PyObject *error  # the exception that a handler raised, owned; or NULL


cdef inline int run_handlers(Poll *poll) noexcept with gil:
    try:
        PyErr_CheckSignals()
    except BaseException as e:
        Py_INCREF(e)
        poll.error = <PyObject *>e
        return 1
    return 0


cdef inline int on_poll(void *arg) noexcept nogil:
    """Nonzero ends the call in C."""
    cdef Poll *poll = <Poll *>arg
    cdef double now = fl_clock()
    if poll.asked == 0:
        poll.asked = now
    if now - poll.asked < 0.02:
        return 0
    poll.asked = now
    return run_handlers(poll)


cdef inline fl_poll watch(Poll *poll) noexcept:
    """Starts `poll`; the function for C to call with it, NULL on a thread that gets no signals."""
    poll.asked = 0
    poll.error = NULL
    if PyThread_get_thread_ident() == fl_main_thread:
        return on_poll
    return NULL


cdef inline int raise_of(Poll *poll) except -1:
    """Raises what a handler has raised during the call."""
    cdef object error = <object>poll.error
    Py_DECREF(error)
    raise error
