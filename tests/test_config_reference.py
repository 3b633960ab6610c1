"""What is generated from the options: the reference, the commented file, TOML values."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ahtransport._config import (
    OPTIONS,
    SECTIONS,
    Config,
    load_config,
    reference_markdown,
    section_markdown,
    template_toml,
    to_toml,
)


def test_every_option_says_what_it_means_in_a_sentence() -> None:
    for option in OPTIONS.values():
        assert option.doc[-1] in ".)", option.key
        assert option.kind.expected.startswith(("a ", "an ", "one of", "true", '"')), option.key
        assert option.kind.name != "value", option.key


def test_the_reference_lists_every_option_under_its_section() -> None:
    listed = []
    section = ""
    for line in reference_markdown().splitlines():
        if heading := re.fullmatch(r"## `\[(.+)\]`", line):
            section = heading[1]
            assert section in SECTIONS
        elif row := re.match(r"\| `(\w+)` \| `(.+?)` \| (.+?) \| ", line):
            key = f"{section}.{row[1]}"
            listed.append(key)
            assert tomllib.loads(f"x = {row[2]}")["x"] == OPTIONS[key].default
            assert len(re.findall(r"(?<!\\)\|", line)) == 5, line
    assert sorted(listed) == sorted(OPTIONS)


def test_the_table_of_one_section_is_part_of_the_reference() -> None:
    table = section_markdown("servers.websocket.client")
    assert table.count("\n| `") == sum(key.startswith("servers.websocket.client.") for key in OPTIONS)
    assert table in reference_markdown()


def test_the_reference_says_bounds_units_and_choices() -> None:
    text = reference_markdown()
    assert "| `port` | `8080` | integer (0 to 65535) |" in text
    assert "| `max_length` | `10485760` | integer (1 or more, bytes) |" in text
    assert '| `overflow` | `"close"` | string ("close" \\| "wait" \\| "drop") |' in text
    assert "| `ping_interval` | `30000` | duration (0 = no heartbeat) |" in text
    assert "| `header_timeout` | `10000` | duration (more than 0) |" in text


def test_the_template_is_the_defaults_with_or_without_its_comments() -> None:
    template = template_toml()
    assert load_config(tomllib.loads(template), environ={}) == Config()
    uncommented = re.sub(r"^# (\w+ = )", r"\1", template, flags=re.MULTILINE)
    tree = tomllib.loads(uncommented)
    assert load_config(tree, environ={}) == Config()
    assert all(load_config(tree, environ={}).origin(key) == "config argument" for key in OPTIONS)


def test_the_template_sets_what_it_is_told() -> None:
    tree = tomllib.loads(template_toml({"servers.web.port": 9000, "general.server_name": 'a "b"'}))
    assert tree["servers"]["web"] == {"port": 9000, "fingerprint": {"settings": {}}}
    assert tree["general"] == {"server_name": 'a "b"'}


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_to_toml_round_trips(value: Any) -> None:
    assert tomllib.loads(f"x = {to_toml(value)}")["x"] == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ([], "[]"),
        (("a", 1), '["a", 1]'),
        ({"reconnect timeout": 5, "max": True}, '{ "reconnect timeout" = 5, max = true }'),
    ],
)
def test_to_toml(value: Any, text: str) -> None:
    assert to_toml(value) == text
