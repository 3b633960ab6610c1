"""Imports go down the layers only: read from the source, not from what happens to be loaded."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[1] / "src"

# From the bottom up: a module may import its own layer and those beneath it. A package stands for all in it.
LAYERS: list[set[str]] = [
    {"_buckets", "_errors", "_http", "_log", "_logsink", "_payload", "_statistics"},  # values and tools, no more
    {"_barrier", "_blocking", "_collector", "_hangup", "_heartbeat", "_sleep"},  # tools for whoever runs something
    {"abc"},  # the seams
    {
        "_admission",
        "_calls",
        "_config",
        "_pacing",
        "_parsers",
        "_primus",
        "_registry",
        "_rooms",
        "_session",
        "_transforms",
    },
    {"_net", "transports"},
    {"_application", "_broadcast", "_connection", "_half", "_incoming", "_namespaces", "_outgoing", "_shared"},
    {"_web"},
    {"client"},  # what is served to browsers
    {"_limits", "_listening", "_mount"},
    {"_registering"},
    {"_observing"},
    {"_answering"},
    {"_server"},  # level 1
    {"_actions"},  # level 2
    {"", "testing"},  # the doors: "" is ahtransport itself
    {"demo"},  # an application like any other
    {"cli", "_cli", "__main__"},
]

# Socket.IO is a layer on top of Engine.IO, by definition; it goes through that one's door.
BUILT_ON = {("socketio", "ahtransport.transports.engineio")}

# What level 2 may know of level 1: the homes of its public names.
LEVEL_1 = {
    "ahtransport._buckets",
    "ahtransport._config",
    "ahtransport._connection",
    "ahtransport._errors",
    "ahtransport._http",
    "ahtransport._log",
    "ahtransport._parsers",
    "ahtransport._rooms",
    "ahtransport._server",
    "ahtransport._session",
    "ahtransport._web",
    "ahtransport.abc",
}


@dataclass(frozen=True)
class Import:
    module: str
    name: str
    typing_only: bool
    line: int

    def __str__(self) -> str:
        return f"line {self.line}: {self.module}" + (f".{self.name}" if self.name else "")


def module_name(path: Path) -> str:
    parts = list(path.relative_to(SOURCES).with_suffix("").parts)
    if parts[0] == "transports":
        parts.insert(0, "ahtransport")
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


MODULES = {
    module_name(path): path
    for path in sorted([*SOURCES.glob("ahtransport/**/*.py"), *SOURCES.glob("transports/**/*.py")])
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8"), str(path)) for name, path in MODULES.items()}


def is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name | ast.Attribute) and ast.unparse(test).endswith("TYPE_CHECKING")


def imports_in(module: str, tree: ast.Module) -> list[Import]:
    """Give every import statement, those inside functions and under TYPE_CHECKING included."""
    found: list[Import] = []

    def base(node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = module.split(".")
        if MODULES[module].name != "__init__.py":
            package.pop()
        package = package[: len(package) - node.level + 1]
        return ".".join([*package, *([node.module] if node.module else [])])

    def visit(node: ast.AST, typing_only: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, "", typing_only, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = base(node)
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                target, name = (whole, "") if whole in MODULES else (source, alias.name)
                found.append(Import(target, name, typing_only, node.lineno))
        elif isinstance(node, ast.If) and is_type_checking(node.test):
            for statement in node.body:
                visit(statement, True)
            for statement in node.orelse:
                visit(statement, typing_only)
        else:
            for child in ast.iter_child_nodes(node):
                visit(child, typing_only)

    visit(tree, False)
    return found


IMPORTS = {name: imports_in(name, tree) for name, tree in TREES.items()}


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def layer(module: str) -> int | None:
    part = module.removeprefix("ahtransport").lstrip(".").partition(".")[0]
    return next((height for height, parts in enumerate(LAYERS) if part in parts), None)


def offenders(package: str, forbidden: set[str]) -> list[str]:
    """Say which imports in ``package`` reach into one of the forbidden packages."""
    return [
        f"{module}, {found}"
        for module, imports in IMPORTS.items()
        if within(module, package)
        for found in imports
        if any(within(found.module, each) for each in forbidden)
    ]


def importers(library: str) -> list[str]:
    return [name for name, imports in IMPORTS.items() if any(within(found.module, library) for found in imports)]


def test_the_sources_were_found() -> None:
    assert "ahtransport.abc" in MODULES
    assert "ahtransport.transports" in MODULES


def test_every_module_has_its_layer() -> None:
    homeless = [name for name in MODULES if layer(name) is None]
    assert not homeless, f"say in LAYERS where these belong: {homeless}"
    parts = {name.removeprefix("ahtransport").lstrip(".").partition(".")[0] for name in MODULES}
    assert set().union(*LAYERS) <= parts, f"LAYERS speaks of what is not there: {set().union(*LAYERS) - parts}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_the_layers(module: str) -> None:
    height = layer(module)
    assert height is not None
    upwards = []
    for found in IMPORTS[module]:
        target = layer(found.module) if within(found.module, "ahtransport") else None
        if target is not None and target > height and not found.typing_only:
            upwards.append(str(found))
    assert not upwards


def test_no_two_modules_import_each_other() -> None:
    graph = {
        module: {found.module for found in imports if found.module in MODULES and not found.typing_only} - {module}
        for module, imports in IMPORTS.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_transformers_know_the_seams_and_nothing_else() -> None:
    wrong = [
        f"{module}, {found}"
        for module, imports in IMPORTS.items()
        if within(module, "ahtransport.transports")
        for found in imports
        if within(found.module, "ahtransport")
        and found.module != "ahtransport.abc"
        and not within(found.module, "ahtransport.transports")
    ]
    assert not wrong


def test_transformers_do_not_know_each_other() -> None:
    wrong = [
        f"{module}, {found}"
        for module, imports in IMPORTS.items()
        if within(module, "ahtransport.transports")
        for found in imports
        if within(found.module, "ahtransport.transports")
        and found.module.split(".")[2:3] != module.split(".")[2:3]
        and (module.split(".")[2], found.module) not in BUILT_ON
    ]
    assert not wrong


def test_nobody_imports_a_transformer() -> None:
    # They are found by their entry points, ours as everybody's.
    wrong = [
        line
        for line in offenders("ahtransport", {"ahtransport.transports"})
        if not within(line.partition(",")[0], "ahtransport.transports")
    ]
    assert not wrong


def test_the_host_does_not_know_the_core() -> None:
    known = LAYERS[0] | LAYERS[1] | LAYERS[2] | {"_net"}
    core = set().union(*LAYERS) - known - {"", "_config"}
    assert not offenders("ahtransport._net", {f"ahtransport.{part}" for part in core})


def test_only_the_server_chooses_a_host() -> None:
    wrong = [
        module
        for module in importers("ahtransport._net")
        if not any(within(module, one) for one in ("ahtransport._net", "ahtransport._server", "ahtransport.testing"))
    ]
    assert not wrong


def test_level_2_imports_public_names_only() -> None:
    wrong = [
        f"{module}, {found}"
        for module, imports in IMPORTS.items()
        if within(module, "ahtransport._actions")
        for found in imports
        if within(found.module, "ahtransport")
        and not within(found.module, "ahtransport._actions")
        and (not any(within(found.module, home) for home in LEVEL_1) or found.name.startswith("_"))
    ]
    assert not wrong


def test_level_2_touches_no_private_attribute_of_level_1() -> None:
    trees = {name: tree for name, tree in TREES.items() if within(name, "ahtransport._actions")}
    own: set[str] = set()
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own.add(node.target.id)
    wrong = [
        f"{name}, line {node.lineno}: {ast.unparse(node)}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.endswith("__")
        and node.attr not in own
    ]
    assert not wrong


@pytest.mark.parametrize("library", ["wsproto", "httptools", "prometheus_client"])
def test_these_libraries_are_imported_by_exactly_one_file(library: str) -> None:
    assert len(importers(library)) == 1, importers(library)


@pytest.mark.parametrize("library", ["engineio", "socketio"])
def test_these_libraries_are_imported_by_one_file_at_most(library: str) -> None:
    assert len(importers(library)) <= 1, importers(library)


def test_one_file_has_a_thread_of_its_own() -> None:
    assert importers("threading") == ["ahtransport._logsink"]


@pytest.mark.parametrize("library", ["asyncio", "anyio", "concurrent", "h11"])
def test_these_libraries_are_not_imported(library: str) -> None:
    assert not importers(library)


def test_type_checking_blocks_and_relative_imports_are_read() -> None:
    source = "if TYPE_CHECKING:\n    from . import abc\nelse:\n    import b\ndef f():\n    from ..x import y\n"
    found = imports_in("ahtransport.abc", ast.parse(source))
    assert [(each.module, each.name, each.typing_only) for each in found] == [
        ("ahtransport.abc", "", True),
        ("b", "", False),
        ("x", "y", False),
    ]
