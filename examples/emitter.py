"""Named events with acknowledgements, in the wire format of the npm plug-in primus-emitter.

In Node: ``primus.send("add", 2, 3, (sum) => ...)`` and ``primus.on("ask", (question, answer) => answer("yes"))``.
"""

from ahtransport import Connection, Server

server = Server(port=8080)


@server.on("add")
def add(connection: Connection, *numbers: float) -> float:
    return sum(numbers)  # what is returned is the acknowledgement, where the client wants one


@server.on("survey")
async def survey(connection: Connection, question: str) -> None:
    answer = await connection.call("ask", question, timeout=5)  # seconds
    connection.emit("result", {"question": question, "answer": answer})


if __name__ == "__main__":
    server.run()
