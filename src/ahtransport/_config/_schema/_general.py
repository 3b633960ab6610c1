"""Options of ``[general]``."""

from __future__ import annotations

from dataclasses import dataclass

from ahtransport._config._kinds import Choices, Duration, Flag, Text, Texts, Whole
from ahtransport._config._schema._option import option

__all__ = ["General"]


@dataclass(frozen=True, slots=True, kw_only=True)
class General:
    """What the server is called and how it treats actions."""

    server_name: str = option("ahtransport", Text(), "The server's name, shown in answers and in the welcome message.")
    api_version: str = option("0.1.0", Text(), "The version of your API, shown in answers.")
    id: str = option("", Text(), "The server's id among its siblings. Empty: one is made from the host's name.")
    description: str = option("", Text(), "What the server is for, shown by the status action.")
    welcome_message: str = option(
        "Welcome to the {server_name} api",
        Text(),
        "Said to every client that connects; empty: nothing is said. `{server_name}` stands for the option above.",
    )
    starting_chat_rooms: tuple[str, ...] = option(
        ["defaultRoom", "otherRoom"],
        Texts(what="names of rooms", keys=True),
        "Rooms that exist from the start, members or not. (A table, as in ActionHero, stands for its keys.)",
    )
    simultaneous_actions: int = option(
        5, Whole(minimum=1), "How many actions of one connection may run at once; more are refused."
    )
    action_timeout: float = option(
        0, Duration(zero="none"), "How long an action may run before it is cancelled and answered with an error."
    )
    blocking_warning: float = option(
        100,
        Duration(zero="never"),
        "A warning is logged when a handler keeps everybody waiting for longer than this, because it computes or waits "
        "without trio.",
    )
    log_format: str = option(
        "text",
        Choices(choices=("text", "json")),
        "How `server.run()` and the command line write the log: lines for people, or one JSON object per line. A "
        "program that sets up logging itself is left alone.",
    )
    tune_gc: bool = option(
        True,
        Flag(),
        "Whether Python's garbage collector looks less often while the server runs, so that thousands of connections "
        "make no pauses.",
    )

    io_uring: bool = option(
        True,
        Flag(),
        "Whether what is for many sockets, a broadcast or the answers of one turn, is handed to Linux as a whole "
        "(io_uring, Linux 6.1 or newer, where it is not forbidden) instead of with a system call for each.",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "welcome_message", self.welcome_message.replace("{server_name}", self.server_name))
