"""Of the signals of a batch, only what may change what is kept is told to Redis."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from tests.harness.folding import alert, resolved, signal, signals
from tests.harness.values import T0, cluster_version, version

from stormfold.fold.showing import NOTHING_TOLD, Shown, Told, sampled_places, shown
from stormfold.model.arrival import Arrival

ENDED = [replace(signal(n), firing=False) for n in range(3)]


@pytest.mark.parametrize(
    ("arrivals", "has_first", "places"),
    [
        pytest.param([], False, [], id="none"),
        pytest.param(signals(1, 5), False, [0, 1, 2, 3, 4], id="few"),
        pytest.param(signals(1, 9), False, [0, 1, 2, 7, 8], id="the first three and the latest two"),
        pytest.param(signals(1, 9), True, [7, 8], id="the first ones are there"),
        pytest.param([*ENDED, *signals(1, 2), *ENDED], True, [3, 4], id="those that fire"),
        pytest.param(
            [alert("a", 9), *(alert(f"b{n}") for n in range(8)), alert("c", 7), resolved("d", 8), alert("e")],
            True,
            [0, 9],
            id="alerts that began last",
        ),
    ],
)
def test_some_of_a_batch_are_samples(arrivals: list[Arrival], has_first: bool, places: list[int]) -> None:
    assert sampled_places(arrivals, has_first=has_first) == places


SHOWING = version().showing
LABELS = {"alertname": "Down", "cluster": "prod", "pod": "a"}
NOTES = {"summary": "It is down.", "runbook_url": "https://runbooks.example/Down", "api_token": "s3cr3t"}


def shown_of(*arrivals: Arrival, told: Told = NOTHING_TOLD) -> tuple[Told, dict[str, str | int]]:
    """What is told then, and the fields by which it is."""
    now = shown(SHOWING, told, arrivals)
    n, _, _, *args = now.args(arrivals) or [0, 0, ""]
    fields = args[: 2 * int(n)]
    return now.telling, dict(zip(map(str, fields[::2]), fields[1::2], strict=True))


def test_first_samples_are_told_once() -> None:
    assert NOTHING_TOLD.and_then(SHOWING, signals(1, 2)).sampled == 2
    assert Told(sampled=2).and_then(SHOWING, [*ENDED, signal(3), signal(4)]).sampled == 3


def test_what_all_have_in_common_is_told_once_and_when_it_is_less() -> None:
    both = {"started_ms": T0 + 1, "runbook_urls": "https://runbooks.example/Down"}
    common = '{"summary":"It is down.","runbook_url":"https://runbooks.example/Down"}'
    one, fields = shown_of(*(signal(n, labels=LABELS | {"pod": f"{n}"}, annotations=NOTES) for n in (1, 2)))
    assert {name: fields[name] for name in both} == both
    assert orjson.loads(fields["labels"]) == {"alertname": "Down", "cluster": "prod"}
    assert orjson.loads(fields["annotations"]) == orjson.loads(common)
    same, fields = shown_of(signal(3, labels=LABELS, annotations=NOTES), told=one)
    assert (same.labels, fields) == (one.labels, {})
    less, fields = shown_of(signal(4, labels={"cluster": "prod"}, annotations={}), told=same)
    assert fields == {"labels": '{"cluster":"prod"}', "annotations": "{}"}
    assert shown_of(signal(5, labels={"cluster": "test"}), told=less)[1] == {"labels": "{}"}


def test_earlier_begin_and_further_runbooks_are_told() -> None:
    told = Told(3, {}, {}, frozenset(("https://a.example",)), T0)
    further = {"runbook": "https://b.example/\u00e9", "runbook_url": "javascript:alert(1)"}
    _, fields = shown_of(signal(1, started_ms=T0 - 5, annotations=further), told=told)
    assert fields == {"started_ms": T0 - 5, "runbook_urls": "https://b.example/\u00e9"}
    full = Told(3, {}, {}, frozenset(f"https://{n}.example" for n in "abc"), T0)
    assert shown_of(signal(1, annotations=further), told=full)[1] == {}


@pytest.mark.parametrize(("letter", "most"), [("a", 494), ("é", 247), ("🔥", 123)])
def test_runbook_is_told_if_its_url_has_at_most_512_bytes(letter: str, most: int) -> None:
    told = Told(3, {}, {}, frozenset(), T0)
    fits, too_long = (f"https://b.example/{letter * length}" for length in (most, most + 1))
    assert shown_of(signal(1, annotations={"runbook": fits}), told=told)[1]["runbook_urls"] == fits
    assert "runbook_urls" not in shown_of(signal(1, annotations={"runbook": too_long}), told=told)[1]


def test_no_more_is_in_common_than_has_room() -> None:
    many = {f"l{n:02}": "x" for n in range(64)}
    large = {f"l{n:02}": '"' * 200 for n in range(8)} | {"z": "short"}
    few, _ = shown_of(signal(1, labels=many))
    assert few.labels == many
    some, fields = shown_of(signal(1, labels=large))
    assert list(some.labels or {}) == ["l00", "l01", "l02", "z"]
    assert len(str(fields["labels"])) <= 1536


def test_nothing_is_told_where_nothing_is_shown() -> None:
    elsewhere = cluster_version(requestNamespace="platform", causes=[]).showing
    assert Shown().args(signals(1, 9)) == []
    now = shown(elsewhere, NOTHING_TOLD, [signal(1, labels=LABELS, annotations=NOTES)])
    assert now.args(signals(1, 1)) == [1, 0, "", "started_ms", T0 + 1, 0]
