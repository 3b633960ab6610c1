"""The generated browser client: Primus, the client sides of the transformers and ActionheroWebsocketClient in one file.

It is put together from the JavaScript files in ``js`` and those of the transformers, and one block of options.
"""

from __future__ import annotations

from ahtransport.client._browser import BrowserClient
from ahtransport.client._files import ClientFiles
from ahtransport.client._options import Wire

__all__ = ["BrowserClient", "ClientFiles", "Wire"]
