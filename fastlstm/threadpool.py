# SPDX-License-Identifier: MIT
"""fastlstm under threadpoolctl. Importing this module, before or after threadpoolctl, is all:

    import fastlstm.threadpool, threadpoolctl

    with threadpoolctl.threadpool_limits(1):                # every library's threads, ours too
        ...
    with threadpoolctl.threadpool_limits({"fastlstm": 1}):  # ours alone
        ...
    threadpoolctl.threadpool_info()                         # lists us: version, threads, workers

A limit is `fastlstm.set_num_threads` by another name: it is for the whole process, concerns calls
that start later, and leaves alone the layers and calls that have a `num_threads` of their own. A
`ThreadpoolController` made before this import does not know us.

Without the C core there are no threads of ours and nothing is listed: NumPy's BLAS, which
threadpoolctl knows by itself, has the only ones.
"""

import fastlstm

from .engine import NAME, backend

try:
    import threadpoolctl
except ImportError:
    raise ImportError(
        "fastlstm.threadpool needs threadpoolctl: pip install 'fastlstm[threadpoolctl]'"
    ) from None


class Controller(threadpoolctl.LibController):
    """What threadpoolctl asks of a library: it finds ours by its file's name and two symbols."""

    user_api = internal_api = "fastlstm"
    filename_prefixes = ("_core.",)
    check_symbols = ("fastlstm_get_num_threads", "fastlstm_set_num_threads")

    def get_num_threads(self) -> int:
        return int(self.dynlib.fastlstm_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        self.dynlib.fastlstm_set_num_threads(num_threads)

    def get_version(self) -> str:
        return fastlstm.__version__

    def set_additional_attributes(self) -> None:
        self.workers = backend.worker_count()


if NAME == "c":
    threadpoolctl.register(Controller)
