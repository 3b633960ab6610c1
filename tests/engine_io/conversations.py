"""Conversations of several steps, for npm engine.io and for ours: sessions that live, close and move."""

from __future__ import annotations

import trio

from engine_io.cases import MAX_LENGTH, SEPARATOR, Case
from engine_io.talk import POLLING, Talk

CONVERSATIONS: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Enter a conversation under its name."""
    CONVERSATIONS[function.__name__.replace("_", " ")] = function
    return function


@case
async def chunked_bodies(talk: Talk) -> None:
    for body in (
        "4\r\n4hel\r\n2\r\nlo\r\n0\r\n\r\n",
        f"{MAX_LENGTH + 1:x}\r\n" + "6" * (MAX_LENGTH + 1) + "\r\n0\r\n\r\n",
    ):
        session = await talk.open()
        stream = await talk.start("POST", session, body, ("Transfer-Encoding: chunked",), length=0)
        await talk.wait("chunked", stream)
        await talk.check(session)


@case
async def a_poll_waits(talk: Talk) -> None:
    session = await talk.open()
    poll = await talk.held_poll(session)
    await talk.post(session, "4hello")
    await talk.wait("the poll", poll)


@case
async def many_messages(talk: Talk) -> None:
    session = await talk.open()
    await talk.post(session, "4say 100")
    await talk.poll(session)
    await talk.post(session, SEPARATOR.join(f"4{number}" for number in range(100)))
    await talk.poll(session)


@case
async def goodbye_while_a_poll_waits(talk: Talk) -> None:
    session = await talk.open()
    poll = await talk.held_poll(session)
    await talk.post(session, "1")
    await talk.wait("the poll", poll)
    await talk.poll(session)


@case
async def a_bad_packet_while_a_poll_waits(talk: Talk) -> None:
    session = await talk.open()
    poll = await talk.held_poll(session)
    await talk.read(await talk.start("POST", session, "9"))
    await talk.wait("the poll", poll)
    await talk.poll(session)


@case
async def two_polls(talk: Talk) -> None:
    session = await talk.open()
    poll = await talk.held_poll(session)
    await talk.poll(session)
    await talk.wait("the first", poll)
    await talk.poll(session)


@case
async def two_posts(talk: Talk) -> None:
    session = await talk.open()
    stalled = await talk.start("POST", session, "4he", length=6)
    await trio.sleep(0.05)
    await talk.post(session, "4hello")
    await talk.poll(session)
    await stalled.aclose()


@case
async def two_posts_the_first_goes_on(talk: Talk) -> None:
    session = await talk.open()
    stalled = await talk.start("POST", session, "4he", length=6)
    await trio.sleep(0.05)
    await talk.post(session, "4hello")
    try:
        await stalled.send_all(b"llo")
        await talk.wait("the first", stalled)
    except trio.BrokenResourceError:
        talk.notes.append("the first: cut")


@case
async def two_posts_while_a_poll_waits(talk: Talk) -> None:
    session = await talk.open()
    poll = await talk.held_poll(session)
    stalled = await talk.start("POST", session, "4he", length=6)
    await trio.sleep(0.05)
    await talk.post(session, "4hello")
    await talk.wait("the poll", poll)
    await stalled.aclose()


@case
async def a_poll_that_is_hung_up(talk: Talk) -> None:
    session = await talk.open()
    poll = await talk.held_poll(session)
    await poll.aclose()
    await trio.sleep(0.05)
    await talk.check(session)


@case
async def a_post_that_is_hung_up(talk: Talk) -> None:
    session = await talk.open()
    stalled = await talk.start("POST", session, "4he", length=6)
    await trio.sleep(0.05)
    await stalled.aclose()
    await trio.sleep(0.05)
    await talk.check(session)


# -- the server says goodbye


@case
async def the_server_closes_while_a_poll_waits(talk: Talk) -> None:
    session = await talk.open()
    poll = await talk.held_poll(session)
    await talk.read(await talk.start("POST", session, "4close"))
    await talk.wait("the poll", poll)
    await talk.poll(session)


@case
async def the_server_closes_before_a_poll(talk: Talk) -> None:
    session = await talk.open()
    await talk.post(session, "4close")
    await talk.post(session, "4ignored")
    await talk.poll(session)
    await talk.poll(session)


@case
async def the_server_closes_behind_messages(talk: Talk) -> None:
    session = await talk.open()
    await talk.post(session, "4one" + SEPARATOR + "4close" + SEPARATOR + "4two")
    await talk.poll(session)
    await talk.poll(session)


@case
async def the_server_closes_a_websocket(talk: Talk) -> None:
    socket = await talk.direct()
    await talk.exchange(socket, "4one", "4close")


# -- packets by WebSocket


@case
async def messages_by_websocket(talk: Talk) -> None:
    socket = await talk.direct()
    await talk.exchange(socket, "4hello", b"\0\1\2", b"1", b"", "bAAEC", "4\u20ac", "4")


@case
async def too_long_a_message(talk: Talk) -> None:
    socket = await talk.direct()
    await talk.exchange(socket, "4" + "x" * (MAX_LENGTH - 1))
    await talk.exchange(socket, "4" + "x" * MAX_LENGTH)


@case
async def polling_on_a_websocket(talk: Talk) -> None:
    socket = await talk.direct()
    session = f"{POLLING}&sid={talk._sids[-1]}"
    await talk.poll(session)
    await talk.post(session, "4hello")
    await talk.exchange(socket, "4check")


# -- upgrades


@case
async def upgrade(talk: Talk) -> None:
    session = await talk.open()
    await talk.post(session, "4waits")
    socket = await talk.probe(session)
    await talk.poll(session)
    await talk.poll(session)
    await talk.post(session, "4between")
    await socket.send("5")
    await talk.hear(socket)
    await talk.exchange(socket, "4check")
    await talk.poll(session)
    await talk.post(session, "4hello")
    await talk.exchange(socket, "4check")


@case
async def upgrade_while_a_poll_waits(talk: Talk) -> None:
    session = await talk.open()
    poll = await talk.held_poll(session)
    socket = await talk.probe(session)
    await talk.wait("the poll", poll)
    await socket.send("5")
    await talk.exchange(socket, "4check")


@case
async def upgrade_in_spite_of_a_poll(talk: Talk) -> None:
    session = await talk.open()
    socket = await talk.probe(session)
    await talk.poll(session)
    poll = await talk.start("GET", session)
    await trio.sleep(0.02)
    await socket.send("5")
    await talk.exchange(socket, "4check")
    await talk.wait("the poll", poll)


@case
async def binary_across_an_upgrade(talk: Talk) -> None:
    session = await talk.open()
    await talk.post(session, "bAAEC")
    socket = await talk.probe(session)
    await socket.send("5")
    await talk.hear(socket)


def wrong_probes(name: str, *messages: str | bytes) -> None:
    """Enter a case of wrong probes, and whether the session goes on."""

    async def run(talk: Talk) -> None:
        for message in messages:
            session = await talk.open()
            socket = await talk.websocket(session.replace("polling", "websocket"))
            assert socket is not None
            await talk.exchange(socket, message)
            await talk.check(session)

    CONVERSATIONS[name] = run


wrong_probes("wrong probes", "2", "2prob", "3probe", "4hello", "1", "6", "x", b"2probe")


@case
async def upgrade_without_a_probe(talk: Talk) -> None:
    session = await talk.open()
    socket = await talk.websocket(session.replace("polling", "websocket"))
    assert socket is not None
    await talk.exchange(socket, "5", "4check")


@case
async def wrong_packets_after_the_probe(talk: Talk) -> None:
    for message in ("4hello", "1", "x", b"5"):
        session = await talk.open()
        socket = await talk.probe(session)
        await talk.exchange(socket, message)
        await talk.check(session)


@case
async def two_probes(talk: Talk) -> None:
    session = await talk.open()
    socket = await talk.probe(session)
    await talk.exchange(socket, "2probe")
    await socket.send("5")
    await talk.exchange(socket, "4check")


@case
async def two_upgrades(talk: Talk) -> None:
    session = await talk.open()
    first = await talk.probe(session)
    second = await talk.websocket(session.replace("polling", "websocket"))
    assert second is not None
    await talk.hear(second)
    await first.send("5")
    await talk.exchange(first, "4check")
    third = await talk.websocket(session.replace("polling", "websocket"))
    assert third is not None
    await talk.hear(third)
    await talk.exchange(first, "4check")


@case
async def an_upgrade_that_stalls(talk: Talk) -> None:
    session = await talk.open()
    socket = await talk.websocket(session.replace("polling", "websocket"))
    assert socket is not None
    await talk.hear(socket)
    await talk.check(session)
    asked = await talk.probe(session)
    await talk.hear(asked)
    await talk.check(session)


@case
async def a_probe_that_is_cut(talk: Talk) -> None:
    session = await talk.open()
    socket = await talk.probe(session)
    await socket.abort()
    await trio.sleep(0.05)
    again = await talk.probe(session)
    await talk.poll(session)
    await again.send("5")
    await talk.exchange(again, "4check")


@case
async def the_server_closes_while_upgrading(talk: Talk) -> None:
    session = await talk.open()
    socket = await talk.probe(session)
    await talk.poll(session)
    await talk.post(session, "4one" + SEPARATOR + "4close")
    await socket.send("5")
    await talk.hear(socket, 2)


@case
async def the_client_leaves_while_upgrading(talk: Talk) -> None:
    session = await talk.open()
    socket = await talk.probe(session)
    await talk.post(session, "1")
    await talk.hear(socket)
