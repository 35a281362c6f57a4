"""Durations as text and as milliseconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from stormfold.api.duration import MAX_MS, Duration, format_duration, parse_duration

FIELD = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        pytest.param("0s", 0, id="nothing"),
        pytest.param("250ms", 250, id="milliseconds are no minutes"),
        pytest.param("1m", 60_000, id="one part"),
        pytest.param("1h30m10s5ms", 5_410_005, id="four parts"),
        pytest.param("5s1h", 3_605_000, id="smaller unit first"),
        pytest.param("1s1s", 2_000, id="a unit twice"),
        pytest.param("99999h", 359_996_400_000, id="five digits"),
    ],
)
def test_text_of_the_form_is_a_duration(text: str, ms: int) -> None:
    assert parse_duration(text) == ms
    assert FIELD.validate_python(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "1", "s", "-1s", "+1s", "1.5s", "1d", "1M", "100000s", "1h1h1h1h1h", "1s ", " 1s", "1s\n", "١s"],
)
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
    with pytest.raises(ValidationError):
        FIELD.validate_python(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (60_000, "1m"),
        (90_000, "1m30s"),
        (3_600_000, "1h"),
        (MAX_MS, "99999h59m59s999ms"),
    ],
)
def test_the_largest_unit_is_written_first(ms: int, text: str) -> None:
    assert format_duration(ms) == text


@pytest.mark.parametrize("ms", [-1, MAX_MS + 1])
def test_what_has_no_text_is_refused(ms: int) -> None:
    with pytest.raises(ValueError, match="cannot be written as a duration"):
        format_duration(ms)


@given(st.integers(0, MAX_MS))
def test_text_gives_back_the_milliseconds(ms: int) -> None:
    text = format_duration(ms)
    assert parse_duration(text) == ms
    assert FIELD.validate_python(text) == text


@given(st.from_regex(r"([0-9]{1,5}(h|m|s|ms)){1,4}", fullmatch=True).filter(str.isascii))
def test_models_and_parser_take_the_same_text(text: str) -> None:
    assert FIELD.validate_python(text) == text
    if parse_duration(text) <= MAX_MS:
        assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)
