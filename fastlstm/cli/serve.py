# SPDX-License-Identifier: MIT
"""`fastlstm serve`: the arguments; fastlstm/serve does the rest."""

import functools
import os

from .inspect_model import numbers

HELP = "serve a model's streams over WebSockets, with a page for the microphone"
MISSING = "fastlstm serve needs Starlette, uvicorn and others: pip install 'fastlstm[serve]'"


def add_arguments(parser):
    parser.add_argument("file", help="a whole model, or a layer in any format that fastlstm reads")
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine alone")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one (default: 8000)")
    parser.add_argument("--token", default=os.environ.get("FASTLSTM_TOKEN"),
                        help="clients must give it: Authorization: Bearer TOKEN (default: "
                        "$FASTLSTM_TOKEN, which ps does not show)")  # fmt: skip
    parser.add_argument("--tls-certificate", metavar="CERT.pem")
    parser.add_argument("--tls-key", metavar="KEY.pem")
    model = parser.add_argument_group("frames")
    model.add_argument("--frame", type=int, metavar="N", help="samples of a frame, if it is free")
    model.add_argument("--context", type=int, default=0, metavar="N",
                       help="begin each frame with the last N samples before it")  # fmt: skip
    model.add_argument("--value", action="append", default=[], metavar="NAME=16000",
                       help="an input of the model that is this number")  # fmt: skip
    model.add_argument("--sample-rate", type=int, default=16000, help="of the page's microphone")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--streams", type=int, default=1000,
                        help="at a time, of each worker (default: 1000)")  # fmt: skip
    limits.add_argument("--rate", type=float, default=1000, help="frames a second of a stream")
    limits.add_argument("--idle", type=float, default=60, help="seconds without a frame")
    limits.add_argument("--patience", type=float, default=10, help="seconds to read an answer")
    parser.add_argument("--max-delay", type=float, default=1.0, metavar="MS",
                        help="milliseconds that a frame waits for others (default: 1)")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, metavar="N",
                        help="processes that share the port, each with a loop and a pool of its "
                        "own (Linux; default: 1)")  # fmt: skip
    parser.add_argument("--num-threads", type=int, help="of the model, in each worker")


def run(args):
    try:
        from ..serve import workers
        from ..serve.run import serve, serve_workers
        from ..serve.served import Served
    except ModuleNotFoundError as error:
        raise ValueError(f"{MISSING} ({error})") from None
    if (args.tls_certificate is None) != (args.tls_key is None):
        raise ValueError("--tls-certificate and --tls-key: both, or none")
    for name in ("rate", "idle", "patience", "sample_rate"):
        if not getattr(args, name) > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be more than 0")
    if args.context < 0 or (args.frame is not None and args.frame < 1):
        raise ValueError("--frame must be at least 1, --context at least 0")
    workers.check(args.workers)
    make = functools.partial(
        Served, args.file, args.streams, frame=args.frame, context=args.context,
        constants=numbers(args.value, "--value"), num_threads=args.num_threads,
    )  # fmt: skip
    options = {
        "host": args.host, "port": args.port, "token": args.token or None, "rate": args.rate,
        "certificate": args.tls_certificate, "key": args.tls_key, "idle": args.idle,
        "patience": args.patience, "sample_rate": args.sample_rate,
        "max_delay": args.max_delay / 1000,
        "started": lambda url: print(f"serving {args.file} on {url}", flush=True),
    }  # fmt: skip
    served = make()  # also where workers follow, so that what is wrong is said once, and first
    if args.workers == 1:
        serve(served, **options)
        return 0
    served.pool.shutdown()
    return serve_workers(args.workers, make, **options)
