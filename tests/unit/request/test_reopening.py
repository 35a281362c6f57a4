"""When a group whose request is closed opens its next one by itself, and under which policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.harness.request_bodies import GROUP_HASH, OPENING, POLICY, STORM, body, request
from tests.harness.values import T0, cluster_version

from stormfold.api.reason import Reason
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.fold.arguments import Fold, Reopening
from stormfold.fold.errors import StoreUnavailableError
from stormfold.fold.replies import Folded, FoldWord
from stormfold.fold.store import StormStore
from stormfold.model.group import PolicyId
from stormfold.model.opening import Opening
from stormfold.model.storm import Snapshot, TrackedAlert
from stormfold.policy.version import PolicyVersion
from stormfold.request import reopening
from stormfold.request.reading import Request
from stormfold.request.remediation import Phases
from stormfold.request.reopening import TRY_AGAIN_MS, Reopener, reopening_of, reopens_ms
from stormfold.request.seeding import seed_of

FIRES = replace(
    STORM, firing_alerts=2, alerts=3, tracked_alerts=(TrackedAlert("abcdefgh", T0 // 1000, firing=True),)
)
CLOSED_MS = T0 + 11_000
"""When the requests of `request_bodies` are closed."""
FINISHED, EXPIRED = RequestReason.REMEDIATION_FINISHED, RequestReason.MAX_DURATION_REACHED
MINUTE = 60_000
PHASES = Phases.of(["Succeeded", "Failed", "Skipped", "Cancelled"], ["InProgress"])


def closed(
    reason: Reason = FINISHED, remediation: str | None = "Failed", storm: Snapshot = FIRES, **changes: Any
) -> Request:
    """A closed request, in which alerts fire."""
    return request(storm, RequestPhase.CLOSED, closed_for=reason, remediation=remediation, **changes)


@pytest.mark.parametrize(
    ("over", "after"),
    [
        pytest.param(closed(remediation="Succeeded"), 5 * MINUTE, id="Succeeded"),
        pytest.param(closed(remediation="completed"), 5 * MINUTE, id="Completed, in any case"),
        pytest.param(closed(), 10 * MINUTE, id="Failed"),
        pytest.param(closed(remediation="TimedOut"), 10 * MINUTE, id="TimedOut"),
        pytest.param(closed(remediation="Aborted"), 10 * MINUTE, id="Aborted"),
        pytest.param(closed(remediation="GaveUp"), 10 * MINUTE, id="a phase of one's own"),
        pytest.param(closed(EXPIRED, None), 0, id="maxDuration"),
        pytest.param(closed(EXPIRED, "InProgress"), 0, id="maxDuration while somebody works on it"),
        pytest.param(closed(remediation="Skipped"), None, id="Skipped"),
        pytest.param(closed(remediation="CANCELLED"), None, id="Cancelled, in any case"),
        pytest.param(closed(EXPIRED, "Skipped"), None, id="Skipped after maxDuration"),
        pytest.param(closed(RequestReason.CLOSED_BY_ANNOTATION, None), None, id="the annotation"),
        pytest.param(closed(RequestReason.QUIET_FOR_CLOSE_AFTER, None), None, id="quiet"),
        pytest.param(closed(RequestReason.NEWER_EPOCH_OPENED, None), None, id="a newer epoch"),
        pytest.param(closed(storm=replace(FIRES, firing_alerts=0)), None, id="no alert fires"),
        pytest.param(request(FIRES, RequestPhase.SETTLED), None, id="it is open"),
        pytest.param(request(FIRES, None), None, id="it says nothing yet"),
    ],
)
def test_end_says_when_the_group_opens_again(over: Request, after: int | None) -> None:
    assert reopens_ms(over, PHASES) == (None if after is None else CLOSED_MS + after)


def test_skipped_about_an_older_revision_holds_nothing() -> None:
    grown = body(replace(FIRES, revision=2), RequestPhase.CLOSED, closed_for=EXPIRED, remediation="Skipped")
    grown["status"]["remediation"]["observedRevision"] = 1
    assert reopens_ms(Request.read(grown), PHASES) == CLOSED_MS
    grown["status"]["remediation"]["observedRevision"] = 2
    assert reopens_ms(Request.read(grown), PHASES) is None


def test_skipped_holds_nothing_where_it_is_no_terminal_phase() -> None:
    over = closed(EXPIRED, "Skipped")
    assert reopens_ms(over, Phases.of(["Done"], [])) == CLOSED_MS


def test_annotation_on_a_closed_request_holds_the_group() -> None:
    annotated = body(FIRES, RequestPhase.CLOSED, closed_for=EXPIRED)
    assert reopens_ms(Request.read(annotated), PHASES) == CLOSED_MS
    annotated["metadata"]["annotations"] = {"stormfold.dev/close": "true"}
    assert reopens_ms(Request.read(annotated), PHASES) is None


def test_policy_of_the_closed_request_says_how_long_and_whether() -> None:
    own = body(FIRES, RequestPhase.CLOSED, closed_for=FINISHED, remediation="Failed")
    own["spec"]["policy"]["reopenAfter"] = {"succeeded": "1s", "failed": "2s"}
    assert reopens_ms(Request.read(own), PHASES) == CLOSED_MS + 2000
    own["status"]["remediation"]["phase"] = "Succeeded"
    assert reopens_ms(Request.read(own), PHASES) == CLOSED_MS + 1000
    own["spec"]["policy"]["closeOn"] = "Quiet"
    assert reopens_ms(Request.read(own), PHASES) is None


def test_next_storm_opens_under_the_policy_of_then_with_what_the_closed_request_says() -> None:
    now = cluster_version(groupBy=["name", "namespace", "labels.rack"], generation=7, closeAfter="20m")
    over = closed()
    fold = reopening_of(over, now)
    assert fold == Fold(
        GROUP_HASH,
        now.terms,
        replace(OPENING, policy_generation=7, policy_spec=now.spec_json, policy_uid=now.uid).encoded(),
        (),
        seed=seed_of(over),
        reopening=Reopening(epoch=2, severity=3),
    )
    assert Opening.decoded(fold.opening).group.group_hash == GROUP_HASH


def test_request_goes_where_the_policy_of_then_says() -> None:
    keys = list(POLICY.spec.group_by)
    fold = reopening_of(closed(), cluster_version(groupBy=keys, requestNamespace="ops"))
    assert fold
    assert Opening.decoded(fold.opening).group.request_namespace == "ops"


def test_request_goes_where_its_signals_are_if_the_policy_of_then_names_no_namespace() -> None:
    over = closed()
    metadata = over.resource.metadata.model_copy(update={"namespace": "ops"})
    elsewhere = replace(over, resource=over.resource.model_copy(update={"metadata": metadata}))
    fold = reopening_of(elsewhere, cluster_version(groupBy=list(POLICY.spec.group_by)))
    assert fold
    assert Opening.decoded(fold.opening).group.request_namespace == "shop"


def test_policy_that_groups_by_other_keys_opens_nothing() -> None:
    assert reopening_of(closed(), cluster_version(groupBy=["name", "namespace"])) is None


# --- who does it


class World:
    """A store, an index, policies and deadlines that say what a test wants; nothing is due by itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = T0
        self.last: dict[str, Request] = {}
        self.version: PolicyVersion | None = POLICY
        self.folds: list[str] = []
        self.expected: list[int] = []
        self.answers = True
        self.answer = Folded(FoldWord.COUNTED, 3, 1, True, T0 + 1, 0, "incarnation", [1])
        monkeypatch.setattr(reopening, "now_ms", lambda: self.now)
        self.reopener = Reopener(cast("StormStore", self), self, self, phases=PHASES, deadlines=self)

    async def fold(self, number: int, folds: Sequence[Fold], *, now_ms: int) -> list[Folded]:
        self.folds += [fold.group_hash for fold in folds]
        if not self.answers:
            raise StoreUnavailableError("no answer")
        return [self.answer]

    def over(self, group_hash: str) -> Request | None:
        return self.last.get(group_hash)

    def in_force(self, policy: PolicyId) -> PolicyVersion | None:
        return self.version

    def expect(self, number: int, due_ms: int) -> None:
        self.expected.append(due_ms)

    def see(self, over: Request | None) -> None:
        self.last = {GROUP_HASH: over} if over else {}
        self.reopener.observed(over or request())

    async def look(self, now_ms: int) -> int:
        """How often it tries at that time."""
        self.now, before = now_ms, len(self.folds)
        await self.reopener.look()
        return len(self.folds) - before


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


DUE = CLOSED_MS + 10 * MINUTE


async def test_group_is_tried_when_it_is_due_and_until_its_next_request_is_seen(world: World) -> None:
    world.see(closed())
    assert [await world.look(at) for at in (DUE - 1, DUE, DUE + 1, DUE + TRY_AGAIN_MS)] == [0, 1, 0, 1]
    assert world.expected == [T0 + 1, T0 + 1]
    world.see(None)
    assert await world.look(DUE + 9 * TRY_AGAIN_MS) == 0


async def test_later_word_of_the_consumer_holds_it_and_another_one_lets_it_go(world: World) -> None:
    world.see(closed())
    world.see(closed(remediation="Skipped", version=11))
    assert await world.look(DUE) == 0
    world.see(closed(remediation="Succeeded", version=12))
    assert [await world.look(at) for at in (DUE - 5 * MINUTE - 1, DUE - 5 * MINUTE)] == [0, 1]


async def test_request_that_is_deleted_opens_nothing(world: World) -> None:
    world.see(closed())
    world.last = {}
    assert [await world.look(at) for at in (DUE, DUE + TRY_AGAIN_MS)] == [0, 0]


async def test_policy_that_is_gone_is_waited_for(world: World) -> None:
    world.see(closed())
    world.version = None
    assert await world.look(DUE) == 0
    world.version = POLICY
    assert [await world.look(at) for at in (DUE + TRY_AGAIN_MS - 1, DUE + TRY_AGAIN_MS)] == [0, 1]


async def test_redis_that_does_not_answer_is_tried_again(world: World) -> None:
    world.see(closed())
    world.answers = False
    with pytest.raises(StoreUnavailableError):
        await world.look(DUE)
    world.answers = True
    assert await world.look(DUE + TRY_AGAIN_MS) == 1


async def test_group_of_which_nothing_fires_any_more_in_redis_is_looked_at_by_nobody(world: World) -> None:
    world.see(closed())
    world.answer = Folded(FoldWord.COUNTED, 2, 0, False, 0, 0, "", [])
    assert await world.look(DUE) == 1
    assert world.expected == []
