"""Answers of the API server are read however deep somebody has nested an object."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormfold.kube.answers import DEEPEST, read_json, shallow

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def nested(levels: int, inner: Any = 1) -> Any:
    for _ in range(levels):
        inner = {"f:a": inner}
    return inner


def text(levels: int) -> bytes:
    """An object that is nested so deep, written without a reader that would have to read it."""
    return b'{"f:a":' * levels + b"1" + b"}" * levels


@given(JSON_VALUES)
def test_what_is_not_deep_is_read_as_it_is(value: Any) -> None:
    data = orjson.dumps(value)
    assert shallow(data) == data
    assert read_json(data) == value


@pytest.mark.parametrize("levels", [1025, 9_999])
def test_what_lies_deeper_is_null_and_all_beside_it_is_read(levels: int) -> None:
    data = b'{"items":[{"name":"first","deep":%b,"after":[]},{"name":"second"}]}' % text(levels)
    assert read_json(data) == {
        "items": [
            {"name": "first", "deep": nested(DEEPEST - 3, None), "after": []},
            {"name": "second"},
        ]
    }


def test_pythons_own_reader_can_read_what_was_made_shallow() -> None:
    assert json.loads(shallow(text(960))) == nested(DEEPEST, None)


def test_brackets_and_quotes_in_a_text_are_no_levels() -> None:
    data = b'{"a":"%b","b":%b}' % (rb"[{\"\\" * 50, text(2000))
    assert read_json(data) == {"a": '[{"\\' * 50, "b": nested(DEEPEST - 1, None)}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 5000, b'{"a":' * 5000, b'"' * 5001, b"]" * 5000, b'{"a":"\\', text(2000)[:-1]]
)
def test_what_is_no_json_stays_none(data: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read_json(data)
