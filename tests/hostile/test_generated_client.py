"""Options get into the generated client as data, whatever is in them (ACCEPTANCE G13)."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ahtransport import Server
from ahtransport.client._sources import literal, to_json
from generated import RUN, needs_node, node, text

NASTY = st.sampled_from(
    [
        "'); pwned = 1; ('",
        '"); pwned = 1; ("',
        "`${pwned = 1}`",
        "${pwned = 1}",
        "</script><script>pwned = 1</script>",
        "<!--<script>",
        "]]>",
        "\u2028pwned = 1//",
        "\u2029pwned = 1//",
        "\npwned = 1//",
        "\r\n",
        "\\",
        "\\'",
        "\\u0027",
        "\\\\'); pwned = 1 //",
        "$&",
        "$'",
        "$`",
        "%%DEFAULTS%%",
        "%s",
        "*/ pwned = 1 /*",
        "// pwned",
        "__proto__",
        "constructor",
        "\ud800",
        "\x00",
        "\x7f",
        "\ufeff",
        "/*! */",
    ]
)
TEXTS = st.lists(NASTY | st.text(max_size=5), max_size=4).map("".join)
VALUES = st.recursive(
    TEXTS | st.booleans() | st.none() | st.integers(-(2**53), 2**53),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OPTIONS = st.fixed_dictionaries(
    {
        "api": TEXTS,
        "path": TEXTS.map(lambda value: "/p" + "".join(c for c in value if not c.isspace() and c not in "?#")),
        "name": TEXTS.map(lambda value: "".join(c for c in value if c not in "/\\\x00")),
        "url": st.sampled_from(["https://$&.example", "https://${pwned=1}", "http://%%DEFAULTS%%`", "https://a*)"]),
        "plugin": TEXTS,
        "transport": st.dictionaries(TEXTS, VALUES, max_size=3),
        "cookie": st.sampled_from(["$&", "`", "'", "%%DEFAULTS%%", "__proto__"]),
    }
)


@needs_node
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OPTIONS, min_size=1, max_size=8))
def test_g13_options_are_data_whatever_is_in_them(several: list[dict[str, Any]]) -> None:
    scripts, wanted = [], []
    for options in several:
        server = Server(
            config={},
            pathname=options["path"],
            client_js_name=options["name"],
            client_url=options["url"],
            client={
                "api_path": options["api"],
                "transport": options["transport"],
                "cookie_key": options["cookie"],
            },
        )
        server.plugin(options["plugin"], {"client": "function () {}"})
        files = server.client_files()
        for script in (text(files), text(files, ".min.js"), files.primus.decode()):
            assert "</script" not in script.lower()
            assert "<!--" not in script
            assert script.isascii() or not any(separator in script for separator in "\u2028\u2029")
            scripts.append(script)
            wanted.append(options)
    for found, options in zip(node(RUN, scripts), wanted, strict=True):
        assert found["pwned"] == 0
        assert found["polluted"] == []
        assert found["plugins"] == [options["plugin"]]
        config = found["config"]
        assert config["apiPath"] == options["api"]
        assert config["url"] == options["url"]
        assert config["cookieKey"] == options["cookie"]
        [server_config] = config["servers"]
        assert server_config["pathname"] == options["path"].rstrip("/")
        assert server_config["options"] == options["transport"]


@given(VALUES)
def test_g13_a_literal_says_what_went_in(value: Any) -> None:
    encoded = to_json(value)
    assert encoded.isascii()
    assert json.loads(encoded) == value
    written = literal(encoded)
    assert written.isascii()
    assert not any(char in written for char in "\n\r<>&\x00")
