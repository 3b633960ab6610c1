"""A parser of one's own: here comma-separated values instead of JSON.

A parser is any object with ``encode`` and ``decode``. Text goes out as text messages, bytes as binary ones.
"""

import csv
import io

from ahtransport import Connection, Server


class CSVParser:
    """A message is one row: a list of strings."""

    def encode(self, value: object) -> str:
        if isinstance(value, str):
            return value  # Primus' own messages, such as its heartbeats
        if not isinstance(value, list):
            raise TypeError(f"a row is a list, not {type(value).__name__}")
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow(value)
        return row.getvalue()

    def decode(self, data: str | bytes) -> object:
        text = data.decode() if isinstance(data, bytes) else data
        if text.startswith("primus::"):
            return text
        return next(csv.reader([text], strict=True), [])


async def reverse(connection: Connection) -> None:
    async for row in connection:
        await connection.send(row[::-1])


server = Server(reverse, parser=CSVParser, port=8080)

if __name__ == "__main__":
    server.run()
