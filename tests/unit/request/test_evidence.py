"""What a request shows of its signals: what it has shown, and what came since."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.harness.values import T0

from stormfold.model.evidence import Evidence, NameCount
from stormfold.request import evidence
from stormfold.request.evidence import names_of, taken_out


def changes(new: Evidence, names: dict[str, NameCount], *, held: bytes | None, **how: int) -> dict[str, Any]:
    """What is written over that."""
    before = None if held is None else orjson.loads(held)
    return evidence.changes(evidence.joined(new, names, held=before, **how), before)


def sample(number: int) -> dict[str, int]:
    return {"number": number}


def new(sampled: int, *numbers: int) -> Evidence:
    """What Redis has after so many samples."""
    return Evidence(sampled, {number: orjson.dumps(sample(number)).decode() for number in numbers})


@pytest.mark.parametrize(
    ("held", "sampled", "came", "expected"),
    [
        pytest.param([], 0, new(1, 1), [1], id="the first"),
        pytest.param([], 0, new(9, 1, 2, 3, 8, 9), [1, 2, 3, 8, 9], id="the first three and the latest two"),
        pytest.param([1, 2], 2, new(4, 3, 4), [1, 2, 3, 4], id="one of each"),
        pytest.param([1, 2, 3, 8, 9], 9, new(10, 10), [1, 2, 3, 9, 10], id="one more"),
        pytest.param([1, 2, 3, 8, 9], 9, new(12, 11, 12), [1, 2, 3, 11, 12], id="several more"),
        pytest.param([1, 2, 3, 4], 4, new(6, 1, 2, 3, 5, 6), [1, 2, 3, 5, 6], id="what it holds, and more"),
    ],
)
def test_samples_that_came_are_put_behind_those_that_are_held(
    held: list[int], sampled: int, came: Evidence, expected: list[int]
) -> None:
    shown = orjson.dumps({"samples": [sample(number) for number in held]})
    assert changes(came, {}, held=shown, sampled=sampled, shown=5) == {
        "samples": [sample(n) for n in expected]
    }


@pytest.mark.parametrize("came", [new(9), new(9, 1, 2, 3, 8, 9), new(0)], ids=["nothing", "the same", "none"])
def test_nothing_is_written_that_is_held(came: Evidence) -> None:
    held = orjson.dumps({"samples": [sample(number) for number in (1, 2, 3, 8, 9)]})
    assert changes(came, {}, held=held, sampled=9, shown=5) == {}


@pytest.mark.parametrize(
    ("shown", "expected"), [(0, []), (1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 3, 9])]
)
def test_no_more_samples_are_shown_than_the_policy_wants(shown: int, expected: list[int]) -> None:
    first = changes(new(9, 1, 2, 3, 8, 9), {}, held=b"{}", sampled=0, shown=shown)
    assert first == ({"samples": [sample(number) for number in expected]} if expected else {})
    later = changes(new(11, 10, 11), {}, held=orjson.dumps(first), sampled=9, shown=shown)
    assert later == ({"samples": [sample(number) for number in [*expected[:3], 11]]} if shown > 3 else {})


def test_what_is_shown_is_taken_out_of_a_status() -> None:
    status: dict[str, Any] = {"phase": "Open", "samples": [sample(1)], "signalNames": []}
    assert taken_out(status) == b'{"signalNames":[],"samples":[{"number":1}]}'
    assert status == {"phase": "Open"}


NAMES = {f"Alert{number:02}": NameCount(40 - number, others=number // 10) for number in range(20)}
SHOWN = [{"name": f"Alert{number:02}", "signals": 40 - number} for number in range(10)]


def test_ten_most_frequent_names_are_shown() -> None:
    written = changes(new(0), NAMES, held=b"{}", sampled=0, shown=5)
    assert written == {"signalNames": SHOWN}
    assert changes(new(0), NAMES, held=orjson.dumps(written), sampled=0, shown=5) == {}


def test_count_that_may_be_higher_says_so() -> None:
    written = changes(new(0), {"A": NameCount(5, others=2)}, held=b"{}", sampled=0, shown=5)
    assert written == {"signalNames": [{"name": "A", "signals": 5, "approximate": True}]}


@pytest.mark.parametrize(
    ("shown", "total", "expected"),
    [
        pytest.param(SHOWN[:2], 79, ({"Alert00": (40, 0), "Alert01": (39, 0)}, 0), id="all"),
        pytest.param(SHOWN[:1], 50, ({"Alert00": (40, 0)}, 10), id="there were others"),
        pytest.param(
            [{"name": "A", "signals": 3, "approximate": True}],
            3,
            ({"A": (3, 1)}, 0),
            id="an estimate stays one",
        ),
        pytest.param(
            [{"name": "A", "signals": 2**53 - 1}, {"name": "B", "signals": 7}],
            9,
            ({"A": (9, 0), "B": (0, 0)}, 0),
            id="no more than the total, whatever somebody wrote",
        ),
        pytest.param([], 9, ({}, 9), id="nothing is shown"),
    ],
)
def test_names_are_counted_on_from_what_the_request_shows(
    shown: list[dict[str, Any]], total: int, expected: tuple[dict[str, tuple[int, int]], int]
) -> None:
    assert names_of(orjson.dumps({"signalNames": shown}), total) == expected


def held(**fields: Any) -> bytes:
    """What a request shows."""
    return orjson.dumps(fields)


@pytest.mark.parametrize(
    ("before", "came", "expected"),
    [
        pytest.param(None, {"a": "1", "b": "2"}, {"a": "1", "b": "2"}, id="the first"),
        pytest.param(
            {"a": "1", "b": "2"}, {"a": "1"}, {"a": "1", "b": None}, id="less: a merge patch takes away"
        ),
        pytest.param({"a": "1"}, {"a": "2"}, {"a": None}, id="nothing any more"),
        pytest.param({"a": "1"}, {"a": "1", "b": "2"}, None, id="what another replica knew no better"),
        pytest.param({}, {"a": "1"}, None, id="what is not in common with what came before"),
        pytest.param({"a": "1"}, None, None, id="nothing came"),
    ],
)
def test_what_is_common_only_becomes_less(
    before: dict[str, str] | None, came: dict[str, str] | None, expected: dict[str, str | None] | None
) -> None:
    shown = None if before is None else held(commonLabels=before, commonAnnotations=before)
    written = changes(Evidence(labels=came, annotations=came), {}, held=shown, sampled=0, shown=5)
    assert written == ({} if expected is None else {"commonLabels": expected, "commonAnnotations": expected})


def test_of_too_much_in_common_the_short_texts_are_shown() -> None:
    many = {f"l{number:02}": "x" for number in range(33)}
    long = {"description": "d" * 700, "runbook_url": "https://runbooks.example/", "summary": "down"}
    first = changes(Evidence(labels=many, annotations=long), {}, held=None, sampled=0, shown=5)
    assert list(first["commonLabels"]) == [f"l{number:02}" for number in range(32)]
    assert list(first["commonAnnotations"]) == ["runbook_url", "summary"]


@pytest.mark.parametrize(
    ("before", "came", "expected"),
    [
        (None, 1_767_225_600_999, "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:01Z", 1_767_225_600_000, "2026-01-01T00:00:00Z"),
        ("2025-12-31T23:59:59Z", 1_767_225_600_000, None),
        ("2025-12-31T23:59:59Z", None, None),
    ],
)
def test_storm_began_with_the_earliest_of_its_signals(
    before: str | None, came: int | None, expected: str | None
) -> None:
    shown = held(startedAt=before) if before else None
    written = changes(Evidence(started_ms=came), {}, held=shown, sampled=0, shown=5)
    assert written == ({"startedAt": expected} if expected else {})


def test_storm_did_not_begin_after_its_first_signal_came() -> None:
    """A sender whose clock is ahead."""
    ahead = Evidence(started_ms=T0 + 86_400_000)
    written = changes(ahead, {}, held=None, sampled=0, shown=5, first_ms=T0 + 999)
    assert written == {"startedAt": "2026-01-01T00:00:00Z"}


def test_first_three_runbooks_are_shown() -> None:
    came = Evidence(runbook_urls=("b", "a", "c", "d"))
    written = changes(came, {}, held=held(runbookURLs=["a"]), sampled=0, shown=5)
    assert written == {"runbookURLs": ["a", "b", "c"]}
    assert changes(came, {}, held=orjson.dumps(written), sampled=0, shown=5) == {}
