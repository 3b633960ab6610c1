"""How many instructions of the process a message takes, kernel not included: ``python benchmarks/instructions.py``.

Counted by valgrind's cachegrind, which needs no counters of the processor (virtual machines seldom have them) and gives
the same figure on a busy machine. A child process sends messages over a socket, one at a time or eight; what a run with
more of them takes in addition is what they cost.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FEW, MORE = 2000, 10_000

SERVER = """
import os, socket, sys, trio
from ahtransport import Server
from ahtransport.testing import frame_bytes

count, flight = int(sys.argv[1]), int(sys.argv[2])
server = Server(config={}, port=0, transformer="websockets")
server.on_message(lambda connection, message: connection.send_nowait(message))
KEY = b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\\r\\n\\r\\n"
UPGRADE = b"GET /primus HTTP/1.1\\r\\nHost: h\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n" + KEY

def client(port):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(UPGRADE)
    got = b""
    while b"\\r\\n\\r\\n" not in got:
        got += sock.recv(4096)
    text = b'"' + b"x" * 30 + b'"'
    frames, length = frame_bytes(1, text) * flight, (len(text) + 2) * flight
    for _ in range(count // flight):
        sock.sendall(frames)
        left = length
        while left:
            left -= len(sock.recv(left))
    os._exit(0)

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        if os.fork() == 0:
            client(server.port)
        server.on_close(lambda *_: server.shutdown())

trio.run(main)
os._exit(0)
"""


def counted(count: int, flight: int) -> int:
    """Give the instructions that the server's process takes for so many messages, its start and end included."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.%p"
        subprocess.run(
            ["valgrind", "-q", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out}", sys.executable,
             "-c", SERVER, str(count), str(flight)],
            check=True,
        )  # fmt: skip
        # The child's count is in a file of its own; it has the smaller one, since it has a part of the work alone.
        found = [re.search(r"^summary:\s*(\d+)", file.read_text(), re.MULTILINE) for file in Path(folder).iterdir()]
        return max(int(match[1]) for match in found if match)


def main() -> None:
    """Print the figures."""
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is needed: apt-get install valgrind")
    for flight in (1, 8):
        print(f"ws-echo-{flight}: counting, which takes a few minutes", file=sys.stderr, flush=True)
        each = (counted(MORE, flight) - counted(FEW, flight)) / (MORE - FEW)
        print(f"ws-echo-{flight}: {each:,.0f} instructions for a message, Python {sys.version.split()[0]}", flush=True)


if __name__ == "__main__":
    main()
