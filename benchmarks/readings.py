"""What a server has used: CPU time and memory, of its process and all that it started. Needs Linux (/proc)."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def tree(pid: int) -> list[int]:
    """Give a process and all that it started."""
    pids = [pid]
    for each in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process and its children have used, all threads, user and kernel."""
    total = 0.0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            total += time.clock_gettime((~each << 3) | 2)  # the clock that clock_getcpuclockid(3) gives
    return total


def resident_kb(pid: int) -> int:
    """Give the resident memory of a process and its children."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    total += int(line.split()[1])
    return total


def quiet_kb(pid: int, shortest: float) -> int:
    """Give the resident memory once it has not changed for a while: after what a garbage collector does when idle."""
    best, since, begun = resident_kb(pid), time.monotonic(), time.monotonic()
    while time.monotonic() - since < shortest and time.monotonic() - begun < 6 * shortest:
        time.sleep(0.1)
        if (size := resident_kb(pid)) != best:
            best, since = size, time.monotonic()
    return best
