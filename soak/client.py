"""One raw client: it connects, talks in numbered messages, checks what comes, and leaves in one way or another."""

from __future__ import annotations

import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from soak.accounts import Numbers, body_down, body_up
from soak.carriers import Carrier, Plain
from soak.engineio import EngineIO
from soak.languages import Heard, Language, Primus, SocketIO
from soak.people import Channel, Crowd, Kind
from soak.wire import Closed, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Client"]

ROOMS: Final = 50
_HELD_UP: Final = 15.0  # seconds after the machine had no time in which timeouts are its doing
_PATIENCE: Final = 30.0  # seconds for an answer
_SILENCE: Final = 75.0  # seconds after which a client that says nothing must have been ended: 25 + 2 * 20, and some


class Client:
    """A client of one kind; ``run`` is its whole life, ``leave`` ends it."""

    def __init__(self, crowd: Crowd, kind: Kind, number: int) -> None:
        self.crowd = crowd
        self.kind = kind
        self.number = number
        self.key = f"raw-{number}"
        namespaces = ["/", "/soak"] if kind.transformer == "socket.io" and number % 3 == 0 else ["/"]
        self.channels = {namespace: Channel(self.key, namespace) for namespace in namespaces}
        self.root = self.channels["/"]
        self.language: Language = SocketIO() if kind.transformer == "socket.io" else Primus()
        self.carrier: Carrier
        self.settled = trio.Event()
        self.over = trio.Event()
        self.ending = ""  # how it wants to leave, or is to be sent away
        self.expected = False  # whether it is to be closed by the server
        self.slow_until = 0.0  # before that, what it takes long for is its own doing
        self._scope = trio.CancelScope()
        self._answered = trio.Event()
        self._messages = 0
        self._asked: dict[Any, Callable[[dict[str, Any]], bool]] = {}
        self._room = f"room-{number % ROOMS}"
        self._says = self._speaks = 0
        self._heard: dict[str, int] = {}  # what was said last, by speaker

    # -- life

    async def run(self) -> None:
        """Live."""
        end = "refused"
        try:
            async with trio.open_nursery() as nursery:
                with self._scope:
                    self._make(nursery)
                    with trio.fail_after(_PATIENCE):
                        await self.carrier.open()
                    end = "cut"
                    nursery.start_soon(self._live)
                    await self.carrier.run(self._take)
                nursery.cancel_scope.cancel()
        except* (Closed, Refused, trio.TooSlowError) as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            balanced = all(channel.balance is not None for channel in self.channels.values())
            if self.ending == "clean" and balanced and isinstance(error, Closed) and error.code in (1000, 1005):
                end = "clean"
            elif self.expected:
                end = "too slow"
            elif (
                self.ending not in ("reset", "silent")
                and self.crowd.latencies.held_up_at + _HELD_UP > trio.current_time()
            ):
                # Who does not get to answer for seconds is sent away, and has to be: the machine had no time for us.
                end = "held up"
            elif self.ending not in ("reset", "silent"):
                state = f"{end}, {'settled, ' if self.settled.is_set() else ''}{self.ending or 'staying'}"
                self.crowd.trouble("broken", f"{self.key} {self.kind}, {state}: {error!r} at {trio.current_time():.3f}")
        except* AssertionError as group:
            self.crowd.trouble("wrong", f"{self.key} {self.kind}: {group.exceptions}")
        finally:
            self.over.set()
            self.carrier.close()
            self.crowd.counts[f"left {self.ending or end}"] += 1
            if end == "cut" and self.ending in ("reset", "silent"):
                end = self.ending
            for channel in self.channels.values():
                if channel.opened.is_set():
                    self.crowd.report({"end": channel.record(end)})

    def _make(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        headers = f"Cookie: sessionID=browser-{self.number % 500}\r\n"
        path = "/socket.io/" if self.kind.transformer == "socket.io" else "/primus/"
        primus = "&_primuscb=1" if self.kind.transformer == "engine.io" and self.number % 2 else ""
        target = f"{path}?key={self.key}{primus}"
        if self.kind.transformer == "websockets":
            self.carrier = Plain(self.crowd.port, target, headers)
        else:
            polling = self.kind.transport != "websocket"
            options: dict[str, Any] = {"polling": polling, "nursery": nursery, "counts": self.crowd.counts}
            self.carrier = EngineIO(self.crowd.port, target, headers, **options)

    async def _live(self) -> None:
        language = self.language
        if isinstance(language, SocketIO):
            for channel in self.channels.values():
                await self.carrier.write(*language.enter(channel.namespace))
        else:
            self.root.opened.set()
        with trio.fail_after(_PATIENCE):
            for channel in self.channels.values():
                await channel.opened.wait()
        await self._ask(lambda answer: answer.get("status") == "OK", event="roomAdd", room=self._room)
        await self._call(self.root, "where", [], self._joined)
        if self.kind.transport == "upgrade":
            await self._move()
        self.settled.set()
        while True:
            await trio.sleep(random.expovariate(1 / self.crowd.pause))
            await self.speak()

    async def _move(self) -> None:
        """Upgrade while messages go both ways."""
        carrier = self.carrier
        assert isinstance(carrier, EngineIO)
        length = random.choice((0.0, 0.001, 0.005, 0.03))
        for channel in self.channels.values():
            await self.carrier.write(*self.language.event(channel.namespace, "fire", [15, 0.002 + length / 2]))
        over = trio.Event()

        async def fire() -> None:
            for _ in range(12):
                await self.up(random.choice(list(self.channels.values())), random.random() < 0.3)
                await trio.sleep(random.random() * length)
            over.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fire)
            await trio.sleep(random.random() * length)
            with trio.fail_after(_PATIENCE):
                await carrier.move(lambda: random.random() * length if random.random() < 0.7 else 0.0)
            await over.wait()
        self.crowd.counts["upgrades"] += 1

    async def leave(self, how: str) -> None:
        """End: "clean", "reset" or "silent"; returns when it is done (a silent one after more than a minute)."""
        if not self.settled.is_set() or self.ending:
            return
        if how == "reset":
            self.ending = how
            self.carrier.reset()
            self._scope.cancel()
        elif how == "silent":
            self.ending = how
            self.carrier.deafen(1e9)
            await trio.sleep(_SILENCE)
            if not await self.carrier.abandoned():
                self.crowd.trouble("not ended", f"{self.key} {self.kind} has been silent for {_SILENCE} s")
            self._scope.cancel()
        else:
            await self._leave()

    async def _leave(self) -> None:
        self.ending = "clean"
        try:
            with trio.move_on_after(_PATIENCE) as patience:
                for channel in self.channels.values():
                    await self._call(channel, "bye", [], partial(self._balanced, channel))
                while self._waits():
                    self._answered = trio.Event()
                    await self._answered.wait()
            if patience.cancelled_caught:
                asked = [*self._asked, *(list(one.pending) for one in self.channels.values())]
                self.crowd.trouble("lost", f"{self.key} {self.kind}: no answer to {asked}")
            await self.carrier.leave()
        except Closed:
            return  # who reads has noticed
        with trio.move_on_after(_PATIENCE):
            await self.over.wait()
            return
        self.crowd.trouble("not ended", f"{self.key} {self.kind} said goodbye, and nothing came of it")
        self._scope.cancel()

    def _waits(self) -> bool:
        """Tell whether an answer is still to come."""
        return bool(self._asked) or any(one.pending or one.balance is None for one in self.channels.values())

    # -- talking

    async def speak(self) -> None:
        """Say something."""
        if self.ending or self.expected:
            return
        dice = random.random()
        if dice < 0.15:
            text = f"{self.key} asks {dice}"
            await self._ask(
                lambda answer: answer.get("text") == text, event="action", params={"action": "echo", "text": text}
            )
        elif dice < 0.17:
            await self._ask(lambda answer: answer.get("visits", 0) > 0, event="action", params={"action": "visit"})
        elif dice < 0.20 and self.number % 50 == 0:
            self._says += 1
            words = f"{self.key} {self._says}"
            await self._ask(lambda answer: answer.get("status") == "OK", event="say", room=self._room, message=words)
        else:
            await self.up(random.choice(list(self.channels.values())), dice < 0.4)

    async def up(self, channel: Channel, answered: bool) -> None:
        """Send a numbered message."""
        if self.ending or self.expected:
            return
        channel.sent += 1
        number = channel.sent
        text = body_up(channel.key, number)
        body: Any = text.encode() if self.kind.transformer == "socket.io" and number % 4 == 0 else text
        args = [number, trio.current_time(), body]
        self.crowd.counts["said"] += 1
        if answered:
            await self._call(channel, "up", args, lambda answer: bool(answer == number))
        else:
            await self.carrier.write(*self.language.event(channel.namespace, "up", args))

    async def _call(self, channel: Channel, event: str, args: list[Any], check: Callable[[Any], bool]) -> None:
        channel.calls += 1
        channel.pending[channel.calls] = check
        await self.carrier.write(*self.language.event(channel.namespace, event, args, channel.calls))

    async def _ask(self, check: Callable[[dict[str, Any]], bool], **request: Any) -> None:
        self._messages += 1
        self._asked[self._messages] = check
        await self.carrier.write(*self.language.message({**request, "messageId": self._messages}))

    async def request(self, event: str, *args: Any) -> None:
        """Have the server do something that is not answered."""
        await self.carrier.write(*self.language.event("/", event, list(args)))

    # -- listening

    def _take(self, data: str | bytes) -> None:
        heard = self.language.hear(data)
        if heard is None:
            return
        channel = self.channels[heard.namespace]
        self._hear(channel, heard)
        if self.ending:
            self._answered.set()

    def _hear(self, channel: Channel, heard: Heard) -> None:
        match heard:
            case Heard("event", _, "down", [number, at, body]):
                channel.came.take(number)
                if at is not None and trio.current_time() > self.slow_until:
                    self.crowd.latencies.note(trio.current_time() - at, trio.current_time())
                self._check_down(channel, number, body)
            case Heard("event", _, "news", [room, number, _]):
                self._room_heard(room, number)
            case Heard("event", _, "question", [number]):
                assert heard.number is not None
                self._soon(*self.language.answer(heard.namespace, heard.number, [number * 2]))
            case Heard("ack"):
                check = channel.pending.pop(heard.number or 0, None)
                if check is None:
                    channel.came.doubled += 1
                elif not check(heard.args[0] if heard.args else None):
                    channel.wrong += 1
            case Heard("message", _, _, [message]):
                self._message(message)
            case Heard("open"):
                channel.opened.set()
            case Heard("control", _, text) if text.startswith("primus::ping::"):
                self._soon(*self.language.message(text.replace("ping", "pong")))
            case Heard("control"):
                pass  # it is told to stay away
            case _:
                raise AssertionError(f"unexpected: {heard}")

    def _soon(self, *messages: str | bytes) -> None:
        async def write() -> None:
            with suppress(Closed):  # who reads will notice
                await self.carrier.write(*messages)

        self._nursery.start_soon(write)

    def _check_down(self, channel: Channel, number: int, body: str | bytes) -> None:
        if isinstance(body, bytes):
            fits = body[:1] == b"\x00" and body[1:].decode().startswith(f"{channel.key} → ")
        else:
            start = body_down(channel.key, number, 1)[:-1]
            fits = body.startswith(start) and not body[len(start) :].strip("y")
        if not fits:
            channel.wrong += 1
            self.crowd.trouble("wrong", f"{channel.key}: {number} is {body[:200]!r}")

    def _message(self, message: Any) -> None:
        match message:
            case {"context": "response", "messageId": number}:
                check = self._asked.pop(number, None)
                if check is None:
                    self.root.came.doubled += 1
                elif not check(message):
                    self.root.wrong += 1
                    self.crowd.trouble("wrong", f"{self.key}: an answer: {message}")
                else:
                    self.crowd.counts["answers"] += 1
            case {"context": "user", "from": "0", "room": room, "message": text}:
                self._room_heard(room, int(text.removeprefix("number ")))
            case {"context": "user", "message": text}:
                speaker, _, number = text.rpartition(" ")
                if self._heard.setdefault(speaker, int(number) - 1) != int(number) - 1:
                    self.root.wrong += 1
                    self.crowd.trouble("reordered", f"{self.key} heard {text} after {self._heard[speaker]}")
                self._heard[speaker] = int(number)
                self.crowd.counts["heard in rooms"] += 1
            case {"context": "api", "welcome": _}:
                self._speaks += 1
                if self._speaks > 1:
                    self.root.came.doubled += 1
            case {"room": room, "number": number, "text": _}:
                self._room_heard(room, number)
            case _:
                raise AssertionError(f"unexpected: {message}")

    def _room_heard(self, room: str, number: int) -> None:
        if room not in self.root.rooms:
            self.root.rooms[room] = Numbers(number - 1)
        self.root.rooms[room].take(number)
        self.crowd.counts["heard in rooms"] += 1

    def _joined(self, answer: dict[str, int]) -> bool:
        """Take note where the rooms stand."""
        for room, number in answer.items():
            if self.root.rooms.setdefault(room, Numbers(number)).last != number:
                return False
        return self._room in answer

    def _balanced(self, channel: Channel, answer: dict[str, Any]) -> bool:
        channel.balance = answer
        for room, numbers in channel.rooms.items():
            if not numbers.sound or answer["rooms"].get(room) != numbers.last:
                self.crowd.trouble("lost", f"{self.key} in {room}: {numbers.last}, {numbers.lost} lost, {answer}")
                return False
        return bool(answer["received"] == channel.sent and answer["sent"] == channel.came.last)
