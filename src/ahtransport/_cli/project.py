"""``ahtransport init``: writes a project to start from."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import click

from ahtransport._config import template_toml

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["create_project"]


def create_project(directory: Path) -> list[Path]:
    """Write a project's files and give their paths.

    Raises:
        click.ClickException: one of them is there already (nothing has been written), or it can't be written.
    """
    template = resources.files(__package__) / "template"
    files = {
        directory / "app.py": (template / "app.py.txt").read_text("utf-8"),
        directory / "ahtransport.toml": template_toml({"general.server_name": directory.resolve().name}),
        directory / "public" / "index.html": (template / "index.html").read_text("utf-8"),
    }
    there = [path for path in files if path.exists() or path.is_symlink()]
    if there:
        exist = "exists" if len(there) == 1 else "exist"
        raise click.ClickException(
            f"{', '.join(map(str, there))} {exist} already, so nothing has been written; choose another directory"
        )
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    return list(files)
