"""Running actions: limits, middleware, errors, time-outs; with a connection that is nothing but a type."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Annotated, Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from ahtransport._actions.declare import Actions, declare
from ahtransport._actions.inputs import Param
from ahtransport._actions.runner import ActionCall, Outcome, Runner, Tally, told
from ahtransport._errors import ActionError, ConnectionClosed, Reject, RoomError

INTERNAL = "The server experienced an internal error"


class Bench:
    """A runner with a connection to try it on."""

    def __init__(self, *, limit: int = 5, timeout: float = 0, kind: str = "websocket") -> None:
        self.actions = Actions()
        self.runner = Runner(self.actions, limit=limit, timeout=timeout)
        self.tally = Tally()
        self.connection = SimpleNamespace(type=kind)

    def add(self, function: Any, **options: Any) -> None:
        self.actions.add(declare(function, **options))

    async def run(self, name: str, /, **params: Any) -> Outcome:
        call = self.runner.accept(self.connection, self.tally, {"action": name, **params})
        return call if isinstance(call, Outcome) else await self.runner.run(call, self.tally)


async def test_outputs_may_be_a_mapping_a_struct_a_dataclass_or_nothing() -> None:
    class Struct(msgspec.Struct):
        a: int

    @dataclasses.dataclass
    class Data:
        a: int

    bench = Bench()
    for number, result in enumerate([{"a": 1}, Struct(1), Data(1), None]):
        bench.add(_returning(result), name=str(number))
    outcomes = [await bench.run(str(number)) for number in range(4)]
    assert [one.reply() for one in outcomes] == [{"a": 1}, {"a": 1}, {"a": 1}, {}]
    assert (bench.tally.total, bench.tally.pending) == (4, 0)


def _returning(result: Any) -> Any:
    async def function(connection: object) -> Any:
        return result

    return function


@pytest.mark.parametrize("result", [[1], "text", 5, object()])
async def test_outputs_of_another_kind_are_the_servers_fault(result: object, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.add(_returning(result), name="a")
    outcome = await bench.run("a")
    assert (outcome.reply(), outcome.status) == ({"error": INTERNAL}, 500)
    assert "action a failed" in caplog.text


async def test_an_unknown_action_is_unknown() -> None:
    bench = Bench()
    outcome = await bench.run("nothing")
    assert (outcome.reply(), outcome.status) == ({"error": "unknown action or invalid apiVersion"}, 404)
    assert (bench.tally.total, bench.tally.pending) == (1, 0)


async def test_a_server_that_shuts_down_refuses() -> None:
    bench = Bench()
    bench.add(_returning(None), name="a")
    bench.runner.draining = True
    assert (await bench.run("a")).reply() == {"error": "the server is shutting down"}


async def test_a_type_of_connection_may_be_blocked() -> None:
    bench = Bench(kind="web")
    bench.add(_returning(None), name="a", blocked_connection_types=["web"])
    outcome = await bench.run("a")
    assert (outcome.error, outcome.status) == ("this action does not support the web connection type", 400)


async def test_e6_a_sixth_action_is_refused_and_the_count_recovers(autojump_clock: trio.abc.Clock) -> None:
    async def sleep(connection: object) -> dict[str, bool]:
        await trio.sleep(1)
        return {"slept": True}

    async def fail(connection: object) -> None:
        await trio.sleep(1)
        raise RuntimeError("secret")

    bench = Bench()
    bench.add(sleep)
    bench.add(fail)
    outcomes: list[Outcome] = []

    async def one(name: str) -> None:
        outcomes.append(await bench.run(name))

    async with trio.open_nursery() as nursery:
        for name in ("sleep", "fail", "sleep", "fail", "sleep"):
            nursery.start_soon(one, name)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.tally.pending == 5
        refused = await bench.run("sleep")
        assert (refused.error, refused.status) == ("you have too many pending requests", 429)
        assert bench.tally.pending == 5
    assert sorted(str(outcome.error) for outcome in outcomes) == sorted(["None"] * 3 + [INTERNAL] * 2)
    assert bench.tally.pending == 0

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one, "sleep")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert bench.tally.pending == 0
    assert (await bench.run("sleep")).reply() == {"slept": True}
    assert bench.tally.total == 12


async def test_errors_meant_for_the_client_are_shown_and_no_others(caplog: pytest.LogCaptureFixture) -> None:
    class Teapot(Exception):
        status = 418

    class Odd(Exception):
        status = "here"

    class Low(Exception):
        status = 200

    errors: list[tuple[BaseException, str, int]] = [
        (ActionError("no"), "no", 500),
        (ActionError("no", 409), "no", 409),
        (Teapot("short and stout"), "short and stout", 418),
        (Reject(403, "not you"), "not you", 403),
        (RoomError("room does not exist"), "room does not exist", 400),
        (ExceptionGroup("", [ExceptionGroup("", [ActionError("inside", 400)])]), "inside", 400),
        (ActionError(""), INTERNAL, 500),
        (Odd("x"), INTERNAL, 500),
        (Low("x"), INTERNAL, 500),
        (RuntimeError("password=hunter2"), INTERNAL, 500),
        (ExceptionGroup("", [ActionError("a"), ActionError("b")]), INTERNAL, 500),
        (SystemExit(3), INTERNAL, 500),
        (ConnectionClosed(1006), INTERNAL, 500),
    ]
    bench = Bench()

    def fail(connection: object, number: int) -> None:
        raise errors[number][0]

    bench.add(fail)
    for number, (_, text, status) in enumerate(errors):
        outcome = await bench.run("fail", number=number)
        assert (outcome.error, outcome.status) == (text, status)
        assert outcome.cause is errors[number][0]
    assert caplog.text.count("action fail failed") == 5  # not the one whose client was gone
    assert "hunter2" in caplog.text
    assert bench.tally.pending == 0


def test_a_boolean_is_no_status() -> None:
    class Flag(Exception):
        status = True

    assert told(Flag("x")) is None


async def test_an_action_may_take_its_time_but_not_too_long(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async def sleep(connection: object, seconds: float) -> dict[str, bool]:
        await trio.sleep(seconds)
        return {"slept": True}

    bench = Bench(timeout=2)
    bench.add(sleep)
    bench.add(sleep, name="short", timeout=0.5)
    bench.add(sleep, name="endless", timeout=0)
    assert (await bench.run("sleep", seconds=1)).reply() == {"slept": True}
    outcome = await bench.run("sleep", seconds=3)
    assert (outcome.reply(), outcome.status) == ({"error": "this action took too long"}, 504)
    assert (await bench.run("short", seconds=1)).error == "this action took too long"
    assert (await bench.run("endless", seconds=100)).reply() == {"slept": True}
    assert caplog.text.count("took more than") == 2
    assert bench.tally.pending == 0


async def test_middleware_runs_in_order_of_priority_and_may_change_everything() -> None:
    seen: list[str] = []
    bench = Bench()

    def greet(connection: object, name: str) -> dict[str, str]:
        seen.append("action")
        return {"greeting": f"hello {name}"}

    def first(call: ActionCall) -> dict[str, str]:
        seen.append("first")
        call.params["name"] = call.params["name"].upper()
        return {"by": "first"}

    async def second(call: ActionCall) -> None:
        seen.append("second")

    async def after(call: ActionCall) -> dict[str, int]:
        seen.append("after")
        assert call.inputs == {"name": "ANNA"}
        call.response["greeting"] += "!"
        return {"length": len(call.response["greeting"])}

    bench.add(greet, middleware=["wanted"])
    bench.runner.use("wanted", before=second, priority=200, everywhere=False)
    bench.runner.use("unwanted", before=lambda call: pytest.fail("not asked for"), everywhere=False)
    bench.runner.use("everywhere", before=first, after=after, priority=10)
    assert bench.runner.names == ["everywhere", "unwanted", "wanted"]
    bench.runner.check()
    outcome = await bench.run("greet", name="anna")
    assert outcome.reply() == {"by": "first", "greeting": "hello ANNA!", "length": 11}
    assert seen == ["first", "second", "action", "after"]
    assert bench.runner.remove("everywhere")
    assert not bench.runner.remove("everywhere")
    assert (await bench.run("greet", name="anna")).reply() == {"greeting": "hello anna"}


async def test_e13_middleware_may_refuse_or_answer_itself() -> None:
    bench = Bench()
    ran: list[str] = []

    def act(connection: object) -> None:
        ran.append("act")

    async def guard(call: ActionCall) -> dict[str, bool] | None:
        if call.params.get("key") == "wrong":
            raise ActionError("not allowed", 403)
        if call.params.get("key") == "cached":
            call.process = False
            return {"cached": True}
        return None

    def broken(call: ActionCall) -> None:
        if call.params.get("key") == "broken":
            raise RuntimeError("secret")

    bench.add(act)
    bench.runner.use("guard", before=guard)
    bench.runner.use("broken", after=broken)
    outcomes = [await bench.run("act", key=key) for key in ("wrong", "cached", "broken", "right")]
    assert [one.reply() for one in outcomes] == [{"error": "not allowed"}, {"cached": True}, {"error": INTERNAL}, {}]
    assert [one.status for one in outcomes] == [403, 200, 500, 200]
    assert ran == ["act", "act"]
    assert bench.tally.pending == 0


async def test_middleware_that_does_not_exist_is_noticed() -> None:
    bench = Bench()
    bench.add(_returning(None), name="a", middleware=["nowhere"])
    with pytest.raises(LookupError, match="'nowhere'"):
        bench.runner.check()
    bench.runner.use("nowhere")
    bench.runner.check()
    with pytest.raises(ValueError, match="already"):
        bench.runner.use("nowhere")


def test_only_what_may_wait_needs_a_task() -> None:
    async def validator(value: int) -> bool:
        return True

    bench = Bench()
    bench.add(lambda: None, name="quick")
    bench.add(_returning(None), name="slow")

    def checked(connection: object, n: Annotated[int, Param(validator=validator)] = 1) -> None: ...

    bench.actions.add(declare(checked, frame=sys._getframe()))

    def waits(name: str) -> bool:
        return isinstance(bench.runner.start(bench.connection, Tally(), {"action": name}), ActionCall)

    assert [waits(name) for name in ("quick", "slow", "checked")] == [False, True, True]
    bench.runner.use("everywhere")
    assert waits("quick")


HOSTILE = ["__proto__", "constructor", "__class__", "self", "connection", "__init__", "call", "function", "args"]


@given(
    params=st.dictionaries(
        st.sampled_from([*HOSTILE, "key"]) | st.text(), st.none() | st.integers() | st.text(max_size=5)
    )
)
async def test_e4_names_of_parameters_are_plain_data(params: dict[str, Any]) -> None:
    bench = Bench()
    got: dict[str, Any] = {}

    def act(connection: object, key: Any = "default", self: Any = "default") -> None:
        got.update(connection=connection, key=key, self=self)

    bench.add(act)
    params.pop("action", None)
    params.pop("apiVersion", None)
    call = bench.runner.accept(bench.connection, bench.tally, {**params, "action": "act"})
    assert isinstance(call, ActionCall)
    outcome = await bench.runner.run(call, bench.tally)
    assert outcome.error is None
    assert got == {
        "connection": bench.connection,
        "key": params.get("key", "default"),
        "self": params.get("self", "default"),
    }


class Fickle(Mapping[str, Any]):
    """A mapping that can't be read."""

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError("on purpose")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("on purpose")

    def __len__(self) -> int:
        return 1


def test_what_is_run_at_once_fails_as_what_is_run_in_a_task_does(caplog: pytest.LogCaptureFixture) -> None:
    def group() -> None:
        raise BaseExceptionGroup("of a nursery", [SystemExit(1), ValueError("and more")])

    def interrupted() -> None:
        raise BaseExceptionGroup("of a nursery", [KeyboardInterrupt(), ValueError("and more")])

    bench = Bench()
    bench.add(lambda: Fickle(), name="unreadable")
    bench.add(lambda: None, name="guarded", middleware=["gone"])
    bench.add(group)
    bench.add(interrupted)
    for name in ("unreadable", "guarded", "group"):
        outcome = bench.runner.start(bench.connection, bench.tally, {"action": name})
        assert isinstance(outcome, Outcome)
        assert (outcome.reply(), bench.tally.pending) == ({"error": INTERNAL}, 0), name
    assert bench.runner.failed == 3
    with pytest.raises(BaseExceptionGroup):
        bench.runner.start(bench.connection, bench.tally, {"action": "interrupted"})


async def test_a_group_with_a_system_exit_in_it_does_not_end_the_server() -> None:
    async def group() -> None:
        raise BaseExceptionGroup("of a nursery", [SystemExit(1), ValueError("and more")])

    bench = Bench()
    bench.add(group)
    assert (await bench.run("group")).reply() == {"error": INTERNAL}
