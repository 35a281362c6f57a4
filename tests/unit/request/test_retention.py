"""Which closed requests are deleted, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from tests.harness.eventually import eventually
from tests.harness.metrics import sample
from tests.harness.request_bodies import POLICY, STORM, body, request
from tests.harness.values import T0

from stormfold.api.duration import parse_duration
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.stormpolicy import REOPEN_AFTER_MOST
from stormfold.app import end_all
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ApiUnavailableError, NotFoundError, RefusedError
from stormfold.request import retention
from stormfold.request.reading import Request
from stormfold.request.retention import ALERTS_MS, Closed, ClosedRequests, RequestRetention, Why, due

HOUR = 3_600_000
RETENTION_MS = 168 * HOUR
OLD = Closed("a", 1, "shop", "storm-a-1", "uid-a-1", 10, T0, T0 + RETENTION_MS, 100, False)


def closed(group: str, epoch: int, *, at_ms: int = T0, namespace: str = "shop") -> Closed:
    name = f"{group}-{epoch}"
    return replace(
        OLD,
        group_hash=group,
        epoch=epoch,
        name=f"storm-{name}",
        uid=f"uid-{name}",
        namespace=namespace,
        closed_ms=at_ms,
        expires_ms=at_ms + RETENTION_MS,
    )


def names(
    requests: Sequence[Closed],
    *,
    now_ms: int = T0 + HOUR,
    per_namespace: int = 1000,
    durable: int = 100,
    followed: Collection[str] = (),
) -> list[tuple[str, Why]]:
    """What is deleted; `followed` are those behind which their group has a later request."""
    found = due(
        requests,
        per_namespace=per_namespace,
        now_ms=now_ms,
        durable=durable,
        is_last=lambda request: request.name not in followed,
    )
    return [(request.name, why) for request, why in found]


@pytest.mark.parametrize(
    ("now_ms", "found"),
    [
        pytest.param(T0 + RETENTION_MS - 1, [], id="just before its time is over"),
        pytest.param(T0 + RETENTION_MS, [("storm-a-1", Why.EXPIRED)], id="when its time is over"),
    ],
)
def test_request_is_deleted_when_its_time_is_over(now_ms: int, found: list[tuple[str, Why]]) -> None:
    assert names([OLD], now_ms=now_ms) == found


def test_namespace_keeps_so_many_and_the_oldest_go_first() -> None:
    requests = [closed(group, 1, at_ms=T0 + minute) for minute, group in enumerate("cab")]
    requests.append(closed("d", 1, namespace="ops"))
    assert names(requests, per_namespace=2) == [("storm-c-1", Why.TOO_MANY)]


def test_epochs_of_a_group_go_in_their_order() -> None:
    later, earlier = closed("a", 2, at_ms=T0), closed("a", 1, at_ms=T0 + 1)
    assert names([later, earlier], per_namespace=1) == [("storm-a-1", Why.TOO_MANY)]
    in_order = [closed("a", epoch, at_ms=T0 + epoch) for epoch in (1, 2, 3, 4)]
    assert names([*in_order, closed("b", 1, at_ms=T0 + 9)], per_namespace=2) == [
        (f"storm-a-{epoch}", Why.TOO_MANY) for epoch in (1, 2, 3)
    ]


@pytest.mark.parametrize("per_namespace", [1000, 0], ids=["its time is over", "too many"])
@pytest.mark.parametrize(
    ("request_", "durable", "now_ms", "goes"),
    [
        pytest.param(OLD, 99, T0 + RETENTION_MS, False, id="the checkpoint is below its Signals"),
        pytest.param(OLD, 100, T0 + RETENTION_MS, True, id="the checkpoint has reached its Signals"),
        pytest.param(
            replace(OLD, alerts_fire=True, expires_ms=T0 + HOUR),
            100,
            T0 + ALERTS_MS - 1,
            False,
            id="its alerts may be repeated",
        ),
        pytest.param(
            replace(OLD, alerts_fire=True, expires_ms=T0 + HOUR),
            100,
            T0 + ALERTS_MS,
            True,
            id="its alerts have been repeated",
        ),
    ],
)
def test_request_stays_while_it_is_needed(
    request_: Closed, durable: int, now_ms: int, goes: bool, per_namespace: int
) -> None:
    assert bool(names([request_], now_ms=now_ms, durable=durable, per_namespace=per_namespace)) is goes


def test_only_the_last_request_of_a_group_is_kept_for_its_alerts() -> None:
    """Under a short maxDuration, a group that fires for ever makes one request after the other."""
    over = [
        replace(closed("a", epoch, at_ms=T0 + epoch), alerts_fire=True, expires_ms=T0 + HOUR)
        for epoch in (1, 2, 3)
    ]
    gone = [("storm-a-1", Why.EXPIRED), ("storm-a-2", Why.EXPIRED)]
    assert names(over, now_ms=T0 + 2 * HOUR, followed=("storm-a-1", "storm-a-2")) == gone
    too_many = [(name, Why.TOO_MANY) for name, _ in gone]
    assert names(over, now_ms=T0 + 9, per_namespace=0, followed=("storm-a-1", "storm-a-2")) == too_many


def test_request_whose_group_may_still_open_again_is_kept() -> None:
    longest = parse_duration(REOPEN_AFTER_MOST)
    assert longest < ALERTS_MS
    waits = replace(OLD, alerts_fire=True, expires_ms=T0 + HOUR)
    assert names([waits], now_ms=T0 + longest) == []


def test_closed_request_is_read() -> None:
    at = T0 + 11_000
    assert Closed.of(request(STORM, RequestPhase.CLOSED)) == Closed(
        group_hash=STORM.group_hash,
        epoch=STORM.epoch,
        namespace="shop",
        name=f"storm-{STORM.group_hash}-{STORM.epoch}",
        uid="request-1",
        resource_version=10,
        closed_ms=at,
        expires_ms=at + RETENTION_MS,
        through=STORM.through,
        alerts_fire=STORM.firing_alerts > 0,
        policy=POLICY.id.name,
    )


def test_book_has_what_is_closed_and_there() -> None:
    book = ClosedRequests()
    book.note(request())
    assert (list(book), sample("stormfold_requests_closed")) == ([], 0)
    book.note(request(STORM, RequestPhase.CLOSED, version=11))
    book.note(request(STORM, RequestPhase.CLOSED, version=12))
    assert ([one.resource_version for one in book], sample("stormfold_requests_closed")) == ([12], 1)
    book.forget("request-1")
    assert (list(book), sample("stormfold_requests_closed")) == ([], 0)


def test_request_that_waits_for_its_finalizers_takes_no_turn_from_others() -> None:
    book = ClosedRequests()
    seen = body(STORM, RequestPhase.CLOSED)
    book.note(Request.read(seen))
    seen["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "11"}
    book.note(Request.read(seen))
    assert list(book) == []


@dataclass
class Book:
    """The closed requests that a test puts there."""

    there: list[Closed] = field(default_factory=list)

    def __iter__(self) -> Iterator[Closed]:
        return iter(self.there)

    def forget(self, uid: str) -> None:
        self.there = [one for one in self.there if one.uid != uid]


@dataclass
class Server:
    """Deletes, or refuses."""

    answers: list[ApiError] = field(default_factory=list)
    deleted: list[tuple[str, str, int]] = field(default_factory=list)
    leads: bool = True

    async def delete(self, path: str, *, uid: str, resource_version: int) -> None:
        self.deleted.append((path.rpartition("/")[2], uid, resource_version))
        if self.answers:
            raise self.answers.pop()

    def fenced(self) -> int | None:
        return 100 if self.leads else None

    def over(self, group_hash: str) -> Request | None:
        """What is deleted here is needed by none of its alerts."""
        return None


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([], id="it is deleted"),
        pytest.param([NotFoundError("deleting", 404, "NotFound", "gone")], id="it had gone"),
    ],
)
async def test_leader_deletes_exactly_what_it_has_seen(
    answers: list[ApiError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_SECONDS", 0.01)
    book, server = ClosedRequests(), Server(list(answers))
    seen = body(STORM, RequestPhase.CLOSED)
    seen["status"]["continuation"].pop("countedSignals", None)
    book.note(Request.read(seen))
    parts = RequestRetention(cast("KubeClient", server), book, server, server, per_namespace=1)
    running = asyncio.create_task(parts.run())
    # Closed in January 2026: its time is over.
    await eventually(lambda: list(book), lambda kept: not kept)
    await end_all([running])
    assert server.deleted == [(f"storm-{STORM.group_hash}-{STORM.epoch}", "request-1", 10)]


async def test_who_does_not_lead_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "LOOK_SECONDS", 0)
    book, server = ClosedRequests(), Server(leads=False)
    book.note(request(STORM, RequestPhase.CLOSED))
    retaining = RequestRetention(cast("KubeClient", server), book, server, server, per_namespace=1)
    running = asyncio.create_task(retaining.run())
    for _ in range(30):
        await asyncio.sleep(0)
    await end_all([running])
    assert (len(list(book)), server.deleted) == (1, [])


REFUSED = RefusedError("deleting", 403, "Forbidden", "kept for the auditors")
AWAY = ApiUnavailableError("deleting", 503, "", "away")


@pytest.mark.parametrize(
    ("answer", "tried"),
    [
        pytest.param(REFUSED, ["storm-a-1", "storm-c-1", "storm-b-1", "storm-d-1"], id="one is refused"),
        pytest.param(AWAY, ["storm-a-1", "storm-a-1", "storm-b-1", "storm-c-1"], id="no answer"),
    ],
)
async def test_refusal_of_one_deletion_holds_up_no_other(
    answer: ApiError, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of its namespace comes with the next look, and that one after ten minutes."""
    monkeypatch.setattr(retention, "LOOK_SECONDS", 0.01)
    book, server = Book(), Server([answer])
    for at, (group, namespace) in enumerate((("a", "shop"), ("b", "shop"), ("c", "infra"), ("d", "shop"))):
        book.there.append(closed(group, 1, at_ms=T0 + at, namespace=namespace))
    parts = RequestRetention(
        cast("KubeClient", server), cast("ClosedRequests", book), server, server, per_namespace=1
    )
    running = asyncio.create_task(parts.run())
    await eventually(lambda: [name for name, _, _ in server.deleted], lambda seen: len(seen) >= 4)
    await end_all([running])
    assert [name for name, _, _ in server.deleted][:4] == tried
