"""ActionHero's default project in Python. Run it with::

    ahtransport serve examples/actionhero.py:server

Then open http://127.0.0.1:8080, or ask for http://127.0.0.1:8080/api/randomNumber.

``add_default_actions`` declares ``randomNumber``, ``sleepTest``, ``cacheTest``, ``status`` and ``createChatRoom`` with
``@server.action``; see src/ahtransport/demo/_project.py for how that looks.
"""

from pathlib import Path

from ahtransport import ActionServer
from ahtransport.demo import add_default_actions, static_directory

PUBLIC = Path(__file__).parent / "public"

server = ActionServer(
    server_name="actionhero-app",
    api_version="0.1.0",
    description="ActionHero's default project",
    # Two directories: this project's own files, and the pages of the demo. (The client that they use would be written
    # to the first one, as in ActionHero; an example leaves no files behind, and serves it from memory.)
    public=[str(PUBLIC), static_directory()],
    client_js_write=False,
    starting_chat_rooms=["defaultRoom", "otherRoom"],
)
add_default_actions(server)

if __name__ == "__main__":
    server.run()
