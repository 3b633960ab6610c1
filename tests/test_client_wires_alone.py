"""The wires of the generated client and its MessagePack alone: no server, and the test holds the clock."""

import datetime
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clients.harness import node_marks, run_node
from clients.wires import write_wires

pytestmark = node_marks


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wires and the parser."""
    return write_wires(tmp_path_factory.mktemp("wires"))


async def test_alone(sources: Path) -> None:
    """With a clock, WebSockets and a network that the tests hold."""
    records = await run_node("generated_wires_units.cjs", str(sources))
    assert len(records) >= 45
    assert all(set(record) == {"passed"} for record in records)


def some_value(chance: random.Random, depth: int = 0) -> Any:
    """A value that MessagePack can carry, and JavaScript too."""
    kind = chance.randrange(8 if depth > 3 else 11)
    match kind:
        case 0:
            return chance.choice([None, True, False])
        case 1 | 2:
            return chance.choice([-1, 1]) * (1 << chance.randrange(63)) + chance.randrange(-1, 2)
        case 3:
            return chance.choice([0.5, -1.25, 1e300, 5e-324, float("inf"), chance.random()])
        case 4 | 5:
            return "".join(chance.choice(["a", "é", "\u2028", "\U0001f9a9", "\0"]) for _ in range(chance.randrange(70)))
        case 6:
            return chance.randbytes(chance.choice([0, 1, 40, 255, 256, 300]))
        case 7:
            return chance.choice([(1 << 64) - 1, -(1 << 63), (1 << 53) - 1, 1 << 53])
        case 8 | 9:
            return [some_value(chance, depth + 1) for _ in range(chance.randrange(20))]
        case _:
            return {f"{chance.randrange(999)}é": some_value(chance, depth + 1) for _ in range(chance.randrange(20))}


async def test_messagepack_as_msgspec_has_it(sources: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    values = [some_value(chance) for _ in range(400)]
    values += [["x" * 65536], list(range(65536)), {str(number): number for number in range(65536)}, bytes(65536)]
    path = tmp_path / "values"
    path.write_text("\n".join(msgspec.msgpack.encode(value).hex() for value in values))
    records = await run_node("generated_msgpack.cjs", str(sources), str(path))
    assert [msgspec.msgpack.decode(bytes.fromhex(record["again"])) for record in records] == values


async def test_times_that_msgspec_wrote(sources: Path, tmp_path: Path) -> None:
    """They become dates, which go back as JSON has them: our server takes no extension types."""
    first = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    spans = [{"seconds": 1}, {"milliseconds": 1500}, {"days": 99999, "milliseconds": 1}, {"days": -1}, {"days": 300000}]
    times = [first + datetime.timedelta(**span) for span in spans]
    path = tmp_path / "values"
    path.write_text("\n".join(msgspec.msgpack.encode(time).hex() for time in times))
    records = await run_node("generated_msgpack.cjs", str(sources), str(path))
    texts = [msgspec.msgpack.decode(bytes.fromhex(record["again"])) for record in records]
    assert [datetime.datetime.fromisoformat(text) for text in texts] == times
