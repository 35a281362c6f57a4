"""What a watch says, read without a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.values import ARRIVAL

from stormfold.kube.changes import Changed, Deleted, Reached, Reader, UnorderedVersionsError, version_number
from stormfold.kube.errors import ApiError, ApiUnavailableError, GoneError, ThrottledError
from stormfold.sources.signals.parser import Seen


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("1", 1), ("4711", 4711), ("18446744073709551615", 2**64 - 1)]
)
def test_resource_version_is_a_number(text: str, number: int) -> None:
    assert version_number(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.0", " 1", "0x1f", "a", "²", "١", None, 7])
def test_other_resource_versions_are_refused(text: object) -> None:
    with pytest.raises(UnorderedVersionsError, match="needs decimal integers"):
        version_number(text)


def seen(body: dict[str, Any]) -> Seen:
    ref = replace(ARRIVAL.ref, uid=body["metadata"]["uid"], resource_version=12)
    return Seen(ref, 0, edited=False, marked=False, outcome=ARRIVAL)


@pytest.fixture
def reader() -> Reader[Seen]:
    """Of Signals."""
    return Reader("/signals", seen)


BODY = {"metadata": {"uid": "u", "resourceVersion": "12"}}


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED"])
def test_object_that_is_there_is_a_change(reader: Reader[Seen], kind: str) -> None:
    assert reader.change({"type": kind, "object": BODY}) == Changed(seen(BODY))


def test_object_that_has_gone_is_named(reader: Reader[Seen]) -> None:
    assert reader.change({"type": "DELETED", "object": BODY}) == Deleted("u", 12)


def test_bookmark_says_how_far_everything_was_seen(reader: Reader[Seen]) -> None:
    body = {"kind": "Signal", "metadata": {"resourceVersion": "99"}}
    assert reader.change({"type": "BOOKMARK", "object": body}) == Reached(99)


def table(*rows: dict[str, Any], columns: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the API server says of objects as a Table; the columns in a list or the first event of a watch
    only."""
    return {
        "kind": "Table",
        "metadata": {"resourceVersion": "12"},
        "columnDefinitions": [{"name": name} for name in columns] or None,
        "rows": list(rows),
    }


def test_row_of_a_table_is_an_object_with_cells() -> None:
    bodies: list[dict[str, Any]] = []
    reader = Reader("/pods", lambda body: bodies.append(body) or seen(body))
    row = {"cells": ["web-0", "worker-1"], "object": BODY}
    first = table(row, columns=("Name", "Node"))
    assert reader.change({"type": "ADDED", "object": first}) == Changed(seen(BODY))
    assert reader.change({"type": "MODIFIED", "object": table(row)}) == Changed(seen(BODY))
    assert bodies == [BODY | {"cells": {"Name": "web-0", "Node": "worker-1"}}] * 2
    assert reader.change({"type": "DELETED", "object": table(row)}) == Deleted("u", 12)
    end = {"cells": ["", "<none>"], "object": {"metadata": {"resourceVersion": "99"}}}
    assert reader.change({"type": "BOOKMARK", "object": table(end)}) == Reached(99)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}, GoneError),
        ({"type": "ERROR", "object": {"kind": "Status", "code": 429}}, ThrottledError),
        ({"type": "ERROR", "object": {"kind": "Status", "code": 500}}, ApiUnavailableError),
        ({"type": "ERROR", "object": {}}, ApiUnavailableError),
        ({"type": "ERROR"}, ApiUnavailableError),
        ({"type": "RENAMED", "object": BODY}, ApiUnavailableError),
        ({}, ApiUnavailableError),
    ],
)
def test_event_that_is_no_change_is_an_error(
    reader: Reader[Seen], event: dict[str, Any], error: type[ApiError]
) -> None:
    with pytest.raises(error):
        reader.change(event)
