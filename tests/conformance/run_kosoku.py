"""Run kosoku's cases against a server, print a table as JSON: ``python run_kosoku.py URL [--only GLOB …] [--but …]``.

A program of its own: kosoku needs asyncio, and its threads may still run when Python ends, which then fails with
SIGABRT, so this ends without waiting for them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys

from kosoku import FailureError, run_fuzzingclient


async def main() -> None:
    """Print ``[case, behaviour, behaviour of the closing handshake, why]`` for each case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--but", nargs="*")
    options = parser.parse_args()
    try:
        results = await run_fuzzingclient(options.url, options.only, options.but, concurrency=4)
    except FailureError as error:
        results = error.results
    table = [
        (case.case_id, case.behavior.value, case.behavior_close.value, f"{case.result} {case.result_close}")
        for case in results
    ]
    json.dump(table, sys.stdout)


asyncio.run(main())
sys.stdout.flush()
os._exit(0)
