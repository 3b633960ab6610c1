"""Honest clients: ``python -m hostile.flood.honest PORT CLIENTS RATE SECONDS``.

They say "ready" when all are connected, over the three transformers in turn; then each sends so many numbered messages
a second, and at the end it is told, as JSON, how many came back and how late. Nothing but the standard library, so that
what is measured is the server.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

from hostile.wire import PONG, TEXT, frame, upgrade

KINDS = {
    "websockets": ("/primus", b"%s"),
    "engine.io": ("/engine.io/?EIO=4&transport=websocket", b"4%s"),
    "socket.io": ("/socket.io/?EIO=4&transport=websocket", b'42["message",%s]'),
}
_PATIENCE = 10.0  # seconds after the last message within which every answer has to come


class Client:
    """One client."""

    def __init__(self, port: int, kind: str) -> None:
        path, self.form = KINDS[kind]
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.sent: dict[int, float] = {}
        self.count = 0
        self.lost = False
        self.latencies: list[float] = []
        self.sock.sendall(upgrade(target=path))
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self._receive()
        if not self.buffer.startswith(b"HTTP/1.1 101"):
            raise SystemExit(f"an honest client was refused: {bytes(self.buffer)!r}")
        del self.buffer[: self.buffer.index(b"\r\n\r\n") + 4]
        if kind == "socket.io":
            self.sock.sendall(frame(TEXT, b"40"))
            while b"40{" not in self.buffer:
                self.buffer += self._receive()
        self.sock.setblocking(False)

    def _receive(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise SystemExit("an honest client was hung up on")
        return data

    def send(self, now: float) -> None:
        """Send the next message."""
        self.sent[self.count] = now
        try:
            self.sock.send(frame(TEXT, self.form % b'"n:%d;"' % self.count))
        except OSError:
            self.lost = True
        self.count += 1

    def read(self) -> None:
        """Take what has come."""
        try:
            data = self.sock.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.lost = True
            return
        now = time.monotonic()
        self.buffer += data
        while len(self.buffer) >= 2:
            size, start = self.buffer[1], 2
            if size == 126:
                size, start = int.from_bytes(self.buffer[2:4]), 4
            elif size == 127:
                size, start = int.from_bytes(self.buffer[2:10]), 10
            if len(self.buffer) < start + size:
                return
            opcode, payload = self.buffer[0] & 15, bytes(self.buffer[start : start + size])
            del self.buffer[: start + size]
            if opcode == 9:
                self.sock.send(frame(PONG, payload))
            elif payload == b"2":
                self.sock.send(frame(TEXT, b"3"))
            elif b"n:" in payload:
                number = int(payload.partition(b"n:")[2].partition(b";")[0])
                began = self.sent.pop(number, None)
                if began is not None:
                    self.latencies.append(now - began)


def main() -> None:
    """Run as the module says."""
    port, count, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    names = list(KINDS)
    clients = [Client(port, names[number % 3]) for number in range(count)]
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.sock, selectors.EVENT_READ, client)
    print("ready", flush=True)
    began = time.monotonic()
    step = 1 / rate / count
    number, total = 0, int(seconds * rate * count)
    while number < total or (
        any(client.sent and not client.lost for client in clients) and time.monotonic() < began + seconds + _PATIENCE
    ):
        now = time.monotonic()
        while number < total and began + number * step <= now:
            client = clients[number % count]
            if not client.lost:
                client.send(now)
            number += 1
        for key, _ in selector.select(max(0.0, min(step, 0.005)) if number < total else 0.05):
            key.data.read()
            if key.data.lost:
                selector.unregister(key.fileobj)
    latencies = sorted(latency for client in clients for latency in client.latencies)
    sent = sum(client.count for client in clients)
    print(
        json.dumps(
            {
                "sent": sent,
                "lost": sent - len(latencies),
                "dropped": sum(client.lost for client in clients),
                "p50": latencies[len(latencies) // 2] if latencies else None,
                "p99": latencies[len(latencies) * 99 // 100] if latencies else None,
                "max": latencies[-1] if latencies else None,
            }
        )
    )


if __name__ == "__main__":
    main()
