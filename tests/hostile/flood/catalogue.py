"""Every flood, at any scale: 1 is what the acceptance items ask for, the tests take a fraction."""

from __future__ import annotations

from functools import partial
from math import inf

from hostile.flood import attacks
from hostile.flood.harness import Flood
from hostile.wire import TEXT, frame

_SLOW = frame(TEXT, b'{"type":0,"data":["slow"]}')


def floods(scale: float) -> dict[str, Flood]:
    """Give the floods by name.

    Args:
        scale: of the number of attackers; below 1 the server's patience is shortened, too.
    """

    fast = attacks.repeating(frame(TEXT, b"1") * 1000, 1)

    def many(count: int) -> int:
        return max(1, int(count * scale))

    short = {} if scale >= 1 else {"header_timeout": 1000, "body_timeout": 500, "timeout": 1500, "close_timeout": 500}
    pause = 5.0 if scale >= 1 else 0.3
    heartbeat = {} if scale >= 1 else {"transport": {"engine.io": {"ping_interval": 500, "ping_timeout": 500}}}
    flood = partial(Flood, options=short)
    return {
        "none": Flood("none", "no flood at all, for comparison", attacks.nothing),
        "F1": flood("F1", f"{many(2000)} heads that come byte by byte", attacks.slowloris(many(2000), pause)),
        "F2": flood(
            "F2",
            f"{many(500)} bodies that come slowly or stop, {many(500)} frames that stop",
            attacks.slow_bodies(many(500)),
        ),
        "F3": flood(
            "F3",
            f"{many(200)} MiB for a client that does not read",
            attacks.drowning(many(200), 2 * pause),
            memory=4 if scale >= 1 else 8,
            codes=(1013,),
        ),
        "F4": flood(
            "F4",
            f"a room of {2 * many(500)}, of which half does not read, and 32 KiB for it every second",
            attacks.slow_room(many(500), many(500)),
            memory=512,
        ),
        "F5 connecting": flood(
            "F5", f"{many(3000)} connections a second, closed at once", attacks.connecting(many(3000))
        ),
        "F5 idle": flood(
            "F5",
            f"{many(10_000)} sockets on which nothing comes, 1,500 allowed",
            attacks.idle(many(10_000)),
            options={**short, "max_sockets": 1500 if scale >= 1 else 200},
        ),
        "F7": flood(
            "F7", "messages as fast as they go from one client", attacks.repeating(frame(TEXT, b"1") * 1000, 1)
        ),
        "F7 limited": flood(
            "F7",
            "the same, with 100 allowed a second",
            fast,
            options={**short, "message_rate": 100, "rate_patience": int(200 * pause)},
            codes=(1008,),
        ),
        "F7 slow": flood("F7", "20,000 events that each wait for a moment", attacks.once(_SLOW * 20_000)),
        "F8 fragments": flood(
            "F8",
            f"{many(50)} clients with B8 and B9: a fragment too many",
            attacks.repeating(attacks.fragments(), many(50)),
            codes=(1008,),
        ),
        "F8 pings": flood(
            "F8", f"{many(50)} clients with B13: pings", attacks.repeating(attacks.pings(), many(50)), codes=(1008,)
        ),
        "F8 bombs": flood(
            "F8",
            f"{many(50)} clients with B11: messages that inflate to 256 MiB",
            attacks.repeating(attacks.bomb(), many(50), "Sec-WebSocket-Extensions: permessage-deflate"),
            options={**short, "compression": True},
            codes=(1009,),
        ),
        "F9": flood(
            "F9", f"{many(2000)} heads of 16 KiB, held or made an upgrade", attacks.headers_held(many(2000)), memory=64
        ),
        "F10": flood(
            "F10",
            f"{many(5000)} connections in 128 rooms each; all leave, join again, and hang up at once",
            attacks.rooms(many(5000), 128),
            memory=260,  # 400 bytes for each of 640,000 memberships, and the connections
            stall=0.1,
            back=2.0 if scale >= 1 else inf,
            p99=2.0,  # 640,000 joins at one moment take more than a second of the processor, whose turn ever it is
        ),
        "F13": flood(
            "F13",
            f"{many(2000)} sessions that are never polled",
            attacks.polling(many(2000)),
            options={**short, **heartbeat},
            memory=40,  # 20 KiB each
        ),
    }
