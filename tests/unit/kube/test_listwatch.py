"""What a watch says, read without a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from tests.harness.values import ARRIVAL

from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ApiUnavailableError, GoneError, ThrottledError
from stormfold.kube.listwatch import (
    Changed,
    Deleted,
    ListWatch,
    Reached,
    UnorderedVersionsError,
    version_number,
)
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
def watch() -> ListWatch[Seen]:
    """A watch that never asks anybody."""
    return ListWatch(cast("KubeClient", None), "/signals", kind="Signal", parse=seen)


BODY = {"metadata": {"uid": "u", "resourceVersion": "12"}}


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED"])
def test_object_that_is_there_is_a_change(watch: ListWatch[Seen], kind: str) -> None:
    assert watch._change({"type": kind, "object": BODY}) == Changed(seen(BODY))


def test_object_that_has_gone_is_named(watch: ListWatch[Seen]) -> None:
    assert watch._change({"type": "DELETED", "object": BODY}) == Deleted("u", 12)


def test_bookmark_says_how_far_everything_was_seen(watch: ListWatch[Seen]) -> None:
    body = {"kind": "Signal", "metadata": {"resourceVersion": "99"}}
    assert watch._change({"type": "BOOKMARK", "object": body}) == Reached(99)


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
    watch = ListWatch(
        cast("KubeClient", None), "/pods", kind="Pod", parse=lambda body: bodies.append(body) or seen(body)
    )
    row = {"cells": ["web-0", "worker-1"], "object": BODY}
    first = table(row, columns=("Name", "Node"))
    assert watch._change({"type": "ADDED", "object": first}) == Changed(seen(BODY))
    assert watch._change({"type": "MODIFIED", "object": table(row)}) == Changed(seen(BODY))
    assert bodies == [BODY | {"cells": {"Name": "web-0", "Node": "worker-1"}}] * 2
    assert watch._change({"type": "DELETED", "object": table(row)}) == Deleted("u", 12)
    end = {"cells": ["", "<none>"], "object": {"metadata": {"resourceVersion": "99"}}}
    assert watch._change({"type": "BOOKMARK", "object": table(end)}) == Reached(99)


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
    watch: ListWatch[Seen], event: dict[str, Any], error: type[ApiError]
) -> None:
    with pytest.raises(error):
        watch._change(event)


def test_watch_is_fresh_once_it_was_heard_of(watch: ListWatch[Seen]) -> None:
    watch._hear()
    assert watch.fresh
