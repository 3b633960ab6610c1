"""The wires of the generated client and its MessagePack, for scripts that drive them by themselves."""

from pathlib import Path

from ahtransport.transports.socketio import SocketIOTransformer

from ahtransport.client._sources import source


def write_wires(folder: Path) -> Path:
    """Write them as the generated client has them, each in a block of its own; give the file's path."""
    modules = (source("msgpack.js"), *SocketIOTransformer.client_modules().values())
    path = folder / "wires.js"
    path.write_text("'use strict';\n" + "".join(f"{{\n{text}\n}}\n" for text in modules), encoding="utf-8")
    return path
