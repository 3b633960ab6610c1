"""ActionHero's default project: the actions that it comes with."""

from __future__ import annotations

import random
import socket
import sys
import time
from typing import Annotated, Any

import msgspec
import trio

from ahtransport import ActionError, ActionServer, Param

__all__ = ["MAX_ROOMS", "add_default_actions"]

MAX_ROOMS = 1000
"""How many rooms there may be before ``createChatRoom`` makes no more."""

_EXPIRES = 5000  # ms


def text(value: Any) -> str:
    """Make a string of whatever came, as JavaScript would."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return msgspec.json.encode(value).decode()


def long_enough(value: str) -> bool | str:
    """Ask for 3 letters."""
    return len(value) >= 3 or "inputs should be at least 3 letters long"


Words = Annotated[str, Param(formatter=text, validator=long_enough)]


class Cache:
    """Values that are kept for a while, as ActionHero's cache does it; times in epoch ms."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Any]] = {}

    def save(self, key: str, value: Any, expires: int) -> bool:
        """Keep a value for ``expires`` ms."""
        now = _now()
        self._entries[key] = {
            "key": key,
            "value": value,
            "expireTimestamp": now + expires,
            "createdAt": now,
            "readAt": None,
        }
        return True

    def size(self) -> int:
        """Count what is there."""
        return len(self._entries)

    def load(self, key: str) -> dict[str, Any] | None:
        """Give a value and what is known about it; None when it is not there (any more)."""
        entry = self._entries.get(key)
        if entry is None or entry["expireTimestamp"] <= _now():
            self._entries.pop(key, None)
            return None
        found = dict(entry)
        entry["readAt"] = _now()
        return found

    def destroy(self, key: str) -> bool:
        """Forget a value; False when there was none."""
        return self._entries.pop(key, None) is not None


def _now() -> int:
    return int(time.time() * 1000)


def _memory_megabytes() -> float:
    """How much memory this process takes at most, in MB; 0.0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (1024 * 1024 if sys.platform == "darwin" else 1024), 2)


def add_default_actions(server: ActionServer) -> None:
    """Give a server the actions ``randomNumber``, ``sleepTest``, ``cacheTest``, ``status`` and ``createChatRoom``."""
    cache = Cache()
    started = time.monotonic()

    @server.action(output_example={"randomNumber": 0.123, "stringRandomNumber": "Your random number is 0.123"})
    def randomNumber() -> dict[str, Any]:
        """Generate a random number."""
        number = random.random()
        return {"randomNumber": number, "stringRandomNumber": f"Your random number is {number}"}

    @server.action(
        output_example={
            "sleepStarted": 1420953571322,
            "sleepEnded": 1420953572327,
            "sleepDelta": 1005,
            "sleepDuration": 1000,
        }
    )
    async def sleepTest(
        connection: Any,
        sleepDuration: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1), Param(description="milliseconds")] = 1000,
    ) -> dict[str, Any]:
        """Sleep, then answer."""
        before = _now()
        await trio.sleep(sleepDuration / 1000)
        after = _now()
        return {
            "sleepStarted": before,
            "sleepEnded": after,
            "sleepDelta": after - before,
            "sleepDuration": sleepDuration,
        }

    @server.action(
        output_example={
            "cacheTestResults": {
                "saveResp": True,
                "sizeResp": 1,
                "loadResp": {"key": "cacheTest_key", "value": "value", "createdAt": 1420953269716},
                "deleteResp": True,
            }
        }
    )
    def cacheTest(connection: Any, key: Words, value: Words) -> dict[str, Any]:
        """Store a value, read it back, delete it."""
        name = f"cacheTest_{key}"
        return {
            "cacheTestResults": {
                "saveResp": cache.save(name, value, _EXPIRES),
                "sizeResp": cache.size(),
                "loadResp": cache.load(name),
                "deleteResp": cache.destroy(name),
            }
        }

    @server.action(output_example={"id": "192.168.2.11", "name": "my-api", "version": "0.1.0", "uptime": 10469})
    def status() -> dict[str, Any]:
        """Return some basic information about the server."""
        general = server.config.general
        return {
            "id": general.id or socket.gethostname(),
            "name": general.server_name,
            "description": general.description,
            "version": general.api_version,
            "uptime": int((time.monotonic() - started) * 1000),
            "consumedMemoryMB": _memory_megabytes(),
            "nodeStatus": "Node Healthy",
            "problems": [],
        }

    @server.action(output_example={"name": "tea", "didCreate": True})
    def createChatRoom(connection: Any, name: Annotated[str, Param(formatter=text)]) -> dict[str, Any]:
        """Create a chat room with the given name."""
        if name not in server.rooms and len(server.rooms.list()) >= MAX_ROOMS:
            raise ActionError("there are too many rooms", 429)
        return {"name": name, "didCreate": server.rooms.add(name)}
