# SPDX-License-Identifier: MIT
"""How many threads a call may use that does not say it itself: one number for the process, behind
two functions that the extension's library exports, for threadpoolctl (threadpool.py) and anyone
else who finds libraries by their symbols.
"""

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
