"""Building the generated client in tests, and running what comes out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ahtransport import Server

if TYPE_CHECKING:
    from pathlib import Path

    from ahtransport.client import ClientFiles

NODE = shutil.which("node")


def needs_node(test: Any) -> Any:
    """Mark a test that runs Node.js itself; no npm packages."""
    skip = pytest.mark.skipif(
        NODE is None and os.environ.get("AHTRANSPORT_NODE") != "1", reason="Node.js is not installed"
    )
    return pytest.mark.node(skip(test))


TRANSFORMERS = ["websockets", "engine.io", "socket.io"]


def build(**options: Any) -> ClientFiles:
    return Server(config={}, **options).client_files()


def text(files: ClientFiles, extension: str = ".js") -> str:
    return files.files[files.name + extension].decode()


def config_of(script: str) -> Any:
    """Read the configuration block as JavaScript would."""
    line = next(line for line in script.splitlines() if line.startswith("const CONFIG = "))
    quoted = line.removeprefix("const CONFIG = JSON.parse('").removesuffix("');")
    # In a JavaScript string literal that has no others, these two escapes are those of JSON.
    return json.loads(
        json.loads('"' + quoted.replace("\\'", "'").replace('"', '\\"').replace('\\\\"', '\\\\\\"') + '"')
    )


def node(script: str, given: Any = None, *, module: Path | None = None) -> Any:
    """Run JavaScript in Node.js; gives what it prints, read as JSON."""
    assert NODE is not None
    command = [NODE, "-e", script] if module is None else [NODE, str(module)]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


READ = "const given = JSON.parse(require('fs').readFileSync(0, 'utf8')), vm = require('vm');"
#: Runs each text as a page would, with a global that an injected script would set.
RUN = f"""{READ}
const results = given.map((text) => {{
  const page = {{ console, setTimeout, clearTimeout, URL, TextEncoder, TextDecoder, URLSearchParams }};
  page.self = page; page.pwned = 0;
  const context = vm.createContext(page);
  vm.runInContext(text, context);
  const expression = /const CONFIG\\s*=\\s*(JSON\\.parse\\('(?:[^'\\\\]|\\\\.)*'\\));/.exec(text)[1];
  return {{
    pwned: page.pwned, polluted: vm.runInContext('Object.keys(Object.prototype)', context),
    globals: Object.keys(page), config: vm.runInContext(expression, context),
    plugins: Object.keys(page.Primus.prototype.ark),
  }};
}});
console.log(JSON.stringify(results));
"""
