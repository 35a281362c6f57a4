"""What arrivals show people is harmless, bounded and no secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormfold.model.evidence import (
    KEPT_CHARACTERS,
    MAX_TEXT,
    SHOWN_NAME_BYTES,
    cut,
    harmless,
    is_secret,
    kept,
    short_name,
    was_cut,
    web_address,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Pod shop/web-0 is 5 > 3 and 3 < 5.", "Pod shop/web-0 is 5 > 3 and 3 < 5.", id="plain"),
        pytest.param("größer 5 °C, 日本語 🔥", "größer 5 °C, 日本語 🔥", id="letters of all scripts"),
        pytest.param("one\r\n two\tthree\u2028four", "one two three four", id="line breaks"),
        pytest.param("\x1b[31mred\x1b[0m \x1b]0;title\x07end \x1bc", "red end", id="escapes of a terminal"),
        pytest.param("a\x00b\x07c\x9bd", "abcd", id="control characters"),
        pytest.param("user\u202etxt.exe\u2066 x\u200f", "usertxt.exe x", id="marks that turn the direction"),
        pytest.param("a\u200bb\ufeffc\u00a0d", "abc d", id="characters without a width"),
        pytest.param("<script>alert(1)</script>", "‹script>alert(1)‹/script>", id="HTML"),
        pytest.param("<!-- x --> <?php <no value>", "‹!-- x --> ‹?php ‹no value>", id="other tags"),
        pytest.param("[x](javascript:alert(1))", "[x](javascript :alert(1))", id="javascript"),
        pytest.param("VBScript\u200b:x JAVA\x00script :x", "VBScript :x JAVAscript :x", id="hidden scripts"),
        pytest.param("description: it broke", "description: it broke", id="a word that ends differently"),
        pytest.param("a\ud800b", "ab", id="half a character"),
        pytest.param(
            "to postgres://app:hunter2@db:5432/shop, amqp://x@mq",
            "to postgres://db:5432/shop, amqp://mq",
            id="a user of an address",
        ),
        pytest.param("https://a/@b c@d.example", "https://a/@b c@d.example", id="at signs elsewhere"),
    ],
)
def test_text_is_made_harmless(text: str, expected: str) -> None:
    assert harmless(text) == expected


@given(st.text())
def test_harmless_text_is_one_printable_line_and_stays_as_it_is(text: str) -> None:
    once = harmless(text)
    assert once.isprintable()
    assert harmless(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("https://runbooks.example/a?b=c#d", "https://runbooks.example/a?b=c#d", id="https"),
        pytest.param(" http://prometheus:9090/graph ", "http://prometheus:9090/graph", id="http"),
        pytest.param("HTTPS://Example.org", "HTTPS://Example.org", id="capitals"),
        pytest.param("https://example.org/@team", "https://example.org/@team", id="an at sign in the path"),
        *(
            pytest.param(text, "", id=text)
            for text in (
                "",
                "runbook",
                "javascript:alert(1)",
                "data:text/html,x",
                "ftp://example.org",
                "https://",
                "https://user:password@example.org/",
                "https://token@example.org/",
                "https://example.org/a b",
                'https://example.org/"onclick=',
                "https://example.org/<b>",
                "https://example.org\\@evil.example",
                "https://example.org/\u202egpj",
                "x https://example.org",
            )
        ),
    ],
)
def test_url_is_one_that_people_may_follow(text: str, expected: str) -> None:
    assert web_address(text) == expected


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "api_token",
        "TOKEN",
        "db-password",
        "passwd",
        "clientSecret",
        "api_key",
        "keyfile",
        "credentials",
    ],
)
def test_name_of_a_secret(name: str) -> None:
    assert is_secret(name)


def test_annotations_are_kept_but_for_secrets() -> None:
    sent = {"summary": "It is down.", "api_token": "s3cr3t", "runbook_url": "https://runbooks.example/"}
    assert kept(sent) == {"summary": "It is down.", "runbook_url": "https://runbooks.example/"}


def test_of_too_many_annotations_the_usual_ones_are_kept() -> None:
    sent = {f"a{number:03}": "x" * 300 for number in range(100)} | {"summary": "It is down.", "key": "s3cr3t"}
    some = kept(sent)
    assert list(some) == ["summary", *(f"a{number:03}" for number in range(13))]
    assert sum(map(len, some)) + sum(map(len, some.values())) <= KEPT_CHARACTERS


def test_of_a_long_annotation_it_shows_that_there_was_more() -> None:
    some = kept({"description": "x" * 1_000_000, "n" * 129: "left out"})
    assert {name: len(text) for name, text in some.items()} == {"description": MAX_TEXT + 1}
    assert cut(some["description"], MAX_TEXT) == "x" * (MAX_TEXT - 1) + "…"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("a" * 63, "a" * 63, id="63 bytes"),
        pytest.param("a" * 64, "a" * 44 + "…6c0d1add0fa4b6e4", id="64 bytes"),
        pytest.param("é" * 31, "é" * 31, id="62 bytes in 31 characters"),
        pytest.param("é" * 32, "é" * 22 + "…d5d73291fd475cc8", id="64 bytes in 32 characters"),
        pytest.param("a" + "🔥" * 16, "a" + "🔥" * 10 + "…1bb4e8791f44d4db", id="no half of a character"),
    ],
)
def test_name_among_many_has_at_most_63_bytes(name: str, shown: str) -> None:
    assert short_name(name) == shown


@given(st.text())
def test_name_among_many_is_cut_by_bytes_and_stays_as_it_is(name: str) -> None:
    once = short_name(name)
    assert 0 < len(once.encode()) <= SHOWN_NAME_BYTES
    assert short_name(once) == once
    assert was_cut(once) or once == (harmless(name) or "?")
