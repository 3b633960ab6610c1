"""What all tests share: which transformers they run on, and a place of their own."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from ahtransport import Server
from ahtransport._log import LogFilter
from ahtransport._registry import installed_transformers
from ahtransport.client import _browser
from ahtransport.testing import VARIANTS, Variant

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# Before anybody imports it: its assertions are to show what they compared.
pytest.register_assert_rewrite("ahtransport.testing._contract")

# How long an example takes says how busy the machine is, and nothing else.
settings.register_profile("ahtransport", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ahtransport")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--transformer",
        action="append",
        choices=[found.name for found in installed_transformers()],
        help="run the tests that depend on a transformer on this one only; may be given several times",
    )
    parser.addoption(
        "--dependent",
        action="store_true",
        help="leave out the tests that depend on no transformer, which say the same on each",
    )
    parser.addoption(
        "--driver",
        choices=["reactor", "task"],
        default="reactor",
        help="what serves plain sockets; streams in memory always have tasks of their own",
    )


def is_chosen(config: pytest.Config, variant: Variant) -> bool:
    """Tell whether the tests of this variant run."""
    chosen = config.getoption("--transformer")
    return not chosen or variant.transformer_name in chosen


def pytest_configure(config: pytest.Config) -> None:
    """Have every server of this process driven as asked."""
    Server._driver = config.getoption("--driver")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give tests that ask for ``variant`` each of them."""
    if "variant" in metafunc.fixturenames:
        chosen = [variant for variant in VARIANTS.values() if is_chosen(metafunc.config, variant)]
        metafunc.parametrize("variant", chosen, ids=[variant.name for variant in chosen])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the contract of transformers that were not chosen, what is marked as theirs, and what else is asked."""
    chosen = config.getoption("--transformer")
    dependent = config.getoption("--dependent")
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        variant = getattr(getattr(item, "cls", None), "variant", None)
        runs = not isinstance(variant, Variant) or is_chosen(config, variant)
        marker = item.get_closest_marker("transformer")
        if chosen and marker:
            runs = runs and marker.args[0] in chosen
        if dependent and not (marker or isinstance(variant, Variant) or "variant" in getattr(item, "fixturenames", ())):
            runs = False
        (kept if runs else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads a configuration that happens to lie about, or leaves one."""
    for name in [name for name in os.environ if name.startswith("AHTRANSPORT__")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _log_of_its_own() -> None:
    """What earlier tests logged in this second does not count against the limit of this one's records."""
    for one in logging.getLogger("ahtransport").filters:
        if isinstance(one, LogFilter):
            one._counts.clear()
            one._suppressed.clear()


@pytest.fixture(autouse=True, scope="session")
def _patient_start() -> None:
    """Have servers wait for the disk, however slow it is: tests look at what is there once one has started."""
    setattr(_browser, "PATIENCE", 60.0)  # noqa: B010 -- a constant, to everybody else


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let lone surrogates, which some tests log, through to the process that collects the reports: it reads UTF-8."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
