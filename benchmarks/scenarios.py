"""What is measured, against whom, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

OURS, TASK, FLOOR = "ahtransport", "ahtransport-task", "floor"
NUMBER = "#" * 10
"""Where the generator puts a message's number."""
TICKING = 3.5
"""Seconds that a ticker of 100 Hz is watched in a round: of three, that makes more than a thousand ticks."""

_ECHO, _FAN = f'"{"x" * 20}{NUMBER}"', f'"B{"x" * 19}{NUMBER}"'  # 32 bytes of JSON
_SIO_ECHO, _SIO_FAN = f'42["message","{"x" * 15}{NUMBER}"]', f'42["message","B{"x" * 14}{NUMBER}"]'
_ACTION = '{"event":"action","params":{"action":"randomNumber"},"messageId":' + NUMBER + "}"

TRANSFORMERS = {"ws": "websockets", "eio": "engine.io", "sio": "socket.io"}
FAMILIES = {"ws": "WebSockets", "eio": "Engine.IO", "sio": "Socket.IO"}
#: How to reach the message layer of each family over a WebSocket.
_REACH = {
    "ws": ["--path", "/primus"],
    "eio": ["--path", "/primus/?EIO=4&transport=websocket", "--ready", "0{"],
    "sio": ["--path", "/socket.io/?EIO=4&transport=websocket", "--hello", "40", "--ready", "40{"],
}
_SAY = {
    "ws": (_ECHO, _FAN),
    "eio": ("4" + _ECHO, "4" + _FAN),
    "sio": (_SIO_ECHO, _SIO_FAN),
}
#: What is measured beside ours when no servers are asked for.
_RIVALS = {"ws": ["primus", "ws", FLOOR], "eio": ["primus"], "sio": ["socket.io", "python-socketio"]}
#: The families of scenarios that each server can take part in.
SPEAKS = {
    OURS: ("ws", "eio", "sio"),
    TASK: ("ws", "eio", "sio"),
    "primus": ("ws", "eio"),
    "ws": ("ws",),
    "websockets": ("ws",),
    FLOOR: ("ws", "eio", "sio"),
    "socket.io": ("sio",),
    "python-socketio": ("sio",),
    "actionhero": ("ws",),
}


@dataclass(frozen=True)
class Scenario:
    """One kind of load.

    ``kind`` is ``load``, ``idle``, ``accept``, ``scale``, ``p99`` or ``ticker``. ``variants`` are connections: ours is
    measured with each number of them, the floor with the first and the last. ``app`` is what app.py is to be; None:
    whatever the contestant says.
    """

    name: str
    arguments: list[str]
    rivals: list[str] = field(default_factory=list)
    generator: str = "wsload"
    kind: str = "load"
    conns: int = 50
    task: bool = False
    app: str | None = None
    variants: tuple[int, ...] = ()
    older: bool = True  # whether it is shown for the other Python versions, too
    seconds: float = 0.0  # for which each server is measured in a round at least

    @property
    def family(self) -> str:
        """``ws``, ``eio`` or ``sio``."""
        return self.name.partition("-")[0]

    @property
    def sliced(self) -> bool:
        """Whether all servers take turns, a slice of the time each; else one is measured after the other."""
        return self.kind in ("load", "scale")

    def generator_arguments(self, conns: int) -> list[str]:
        """Give the arguments for this number of connections."""
        first = ["--first", str(conns // 11)] if self.kind == "idle" else []
        return [*self.arguments, "--conns", str(conns), *first]


def _scenarios() -> list[Scenario]:
    table = []
    for family, reach in _REACH.items():
        echo, fan = _SAY[family]
        rivals = _RIVALS[family]
        limited = rivals if FLOOR in rivals else [*rivals, FLOOR]  # by what no server gets around: the system calls
        for name, conns, window in (("echo-1", 50, 1), ("echo-8", 50, 8), ("echo-1000", 1000, 1)):
            load = [*reach, "--msg", echo, "--mode", "echo", "--window", str(window)]
            table.append(Scenario(f"{family}-{name}", load, limited, conns=conns, task=True))
        load = [*reach, "--msg", fan, "--mode", "fanout"]
        table.append(Scenario(f"{family}-fanout", load, limited, conns=1000, task=True))
        if family != "ws":
            path = reach[1].partition("?")[0]
            poll = ["--path", path, "--msg", echo, *(["--hello", "40"] if family == "sio" else [])]
            table.append(Scenario(f"{family}-poll", poll, rivals, generator="polload"))
        else:
            contains = ['"messageId":' + NUMBER, '"randomNumber":', '"context":"response"']
            ask = [*reach, "--ready", "{", "--msg", _ACTION, "--mode", "echo", "--window", "1"]
            ask += [word for text in contains for word in ("--contains", text)]
            table.append(Scenario("ws-action", ask, ["actionhero"], app="action"))
            table.append(Scenario("ws-accept", [*reach, "--mode", "accept"], ["primus"], kind="accept", conns=15000))
        idle = ["primus"] if family != "sio" else ["socket.io"]
        table.append(Scenario(f"{family}-idle", [*reach, "--mode", "idle"], idle, kind="idle", conns=5500))
    reach = [*_REACH["ws"], "--msg", _ECHO]
    spread, steady = ["--mode", "spread", "--window", "50"], ["--mode", "rate", "--rate", "2000"]
    numbers = (50, 1000, 5000, 15000)
    ticker = partial(Scenario, kind="ticker", app="ticker", seconds=TICKING)
    table += [
        Scenario("ws-scale", reach + spread, [FLOOR], kind="scale", variants=numbers, older=False),
        Scenario("ws-p99", reach + steady, kind="p99", conns=10000),
        ticker("ws-ticker", [*reach, "--mode", "echo", "--window", "8"]),
        ticker("ws-ticker-fanout", [*_REACH["ws"], "--msg", _FAN, "--mode", "fanout"], conns=1000),
    ]
    return table


SCENARIOS = {scenario.name: scenario for scenario in _scenarios()}


@dataclass(frozen=True)
class Target:
    """Something to be reached.

    With ``peer``: the server's figure divided by the peer's is at least ``bound``. Without: ``figure`` is at most
    ``bound``; for ``spread`` that is the dearest message of all variants by the cheapest, and ``p99_ms`` may be three
    times the median on top.
    """

    scenario: str
    bound: float
    peer: str = ""
    server: str = OURS
    figure: str = "per_cpu_s"
    aim: float | None = None

    def __str__(self) -> str:
        if self.peer:
            return f"≥ {self.bound:g}" + (f", aim {self.aim:g}" if self.aim else "")
        unit = {"kb_per_conn": " KB", "spread": "", "p99_ms": " ms", "late_p99_ms": " ms"}[self.figure]
        return ("≤ 3 x p50 + " if self.figure == "p99_ms" else "≤ ") + f"{self.bound:g}{unit}"


TARGETS = [
    Target("ws-echo-1", 1.0, "primus", aim=1.2),
    Target("ws-echo-1", 0.7, "primus", TASK),
    Target("ws-echo-8", 2.0, "primus"),
    Target("ws-echo-8", 1.0, "primus", TASK),
    Target("ws-echo-1000", 1.5, "primus"),
    Target("ws-echo-1000", 1.0, "primus", TASK),
    Target("ws-fanout", 2.3, "primus"),
    Target("ws-fanout", 1.3, "ws"),
    Target("ws-action", 2.0, "actionhero"),
    Target("ws-accept", 1.0, "primus"),
    Target("ws-idle", 3.0, figure="kb_per_conn"),
    Target("ws-scale", 1.5, figure="spread"),
    Target("ws-p99", 10.0, figure="p99_ms"),
    Target("ws-ticker", 10.0, figure="late_p99_ms"),
    Target("eio-echo-1", 1.1, "primus"),
    Target("eio-echo-8", 1.8, "primus"),
    Target("eio-fanout", 2.5, "primus"),
    Target("eio-poll", 1.0, "primus"),
    Target("sio-echo-1", 1.0, "socket.io"),
    Target("sio-echo-8", 1.5, "socket.io"),
    Target("sio-fanout", 1.5, "socket.io"),
    Target("sio-echo-1", 6.0, "python-socketio"),
    Target("sio-echo-8", 12.0, "python-socketio"),
    Target("sio-fanout", 10.0, "python-socketio"),
    Target("sio-poll", 1.0, "socket.io"),
    Target("sio-idle", 5.0, figure="kb_per_conn"),
]
