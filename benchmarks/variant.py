"""app.py with one number of the reactor changed: ``python variant.py PORT NAME=VALUE [inline|task] [TRANSFORMER]``.

To find out what a number is worth::

    python benchmarks/run.py ws-echo-1 --servers ahtransport --also 'recv-4k=python variant.py {port} CHUNK=4096'

``CHUNK``: bytes that one ``recv`` takes. ``_BATCH``: sockets that one question to epoll gives. ``_SLICE``: seconds
after which other tasks have their turn. ``tune_gc=0``: with Python's own thresholds of the garbage collector.
``io_uring=0``: a broadcast with a system call for each recipient.
"""

from __future__ import annotations

import sys

import app

from ahtransport._net import reactor


def main(port: str, change: str, handler: str = "inline", transformer: str = "websockets") -> None:
    """Serve until a signal ends it."""
    name, value = change.split("=")
    options = {}
    if name in ("tune_gc", "io_uring"):
        options[name] = bool((float if "." in value else int)(value))
    elif hasattr(reactor, name):
        setattr(reactor, name, (float if "." in value else int)(value))
    else:
        raise SystemExit(f"the reactor has no {name}")
    app.make(handler, config={}, port=int(port), transformer=transformer, **options).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
