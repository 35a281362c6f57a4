"""What the operator knows of requests: which it holds, and what folding asks of them."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from tests.harness.heard import Heard
from tests.harness.metrics import sample
from tests.harness.request_bodies import GROUP_HASH, POLICY, STORM, body, request
from tests.harness.values import ARRIVAL, T0

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.signal import SignalPhase
from stormfold.fold.holding import RequestPosition
from stormfold.kube.errors import RefusedError
from stormfold.model.arrival import AlertRef, EventRef, SignalRef, Verdict
from stormfold.request.reading import Request
from stormfold.request.remediation import Report

CLAIM = {"holderIdentity": "robot-1", "revision": 2, "expirationTime": "2026-01-01T00:05:00Z"}


def test_observed_request_is_held_and_told(heard: Heard) -> None:
    heard.index.observe(request())
    assert heard.index.get(GROUP_HASH, 2) == request()
    assert heard.index.latest(GROUP_HASH) == request()
    assert list(heard.index.open_requests()) == [request()]
    assert heard.versions == [(GROUP_HASH, 2, 7)]
    assert heard.looks == []


def test_request_that_is_met_with_a_word_of_the_consumer_needs_a_look(heard: Heard) -> None:
    heard.index.observe(request(remediation="Succeeded"))
    assert heard.looks == [GROUP_HASH]


def test_unknown_group_has_nothing(heard: Heard) -> None:
    assert heard.index.get(GROUP_HASH, 1) is None
    assert heard.index.latest(GROUP_HASH) is None
    assert heard.index.continuation(GROUP_HASH) is None
    assert heard.index.open_before(GROUP_HASH, 9) == []


@pytest.mark.parametrize("later", [9, 10])
def test_older_version_and_a_repeat_change_nothing(heard: Heard, later: int) -> None:
    heard.index.observe(request(version=10))
    heard.index.observe(request(replace(STORM, folded=99), version=later))
    assert heard.index.get(GROUP_HASH, 2) == request(version=10)
    assert heard.versions == [(GROUP_HASH, 2, 7)]


@pytest.mark.parametrize(("version", "read"), [(9, False), (10, False), (11, True)])
def test_only_a_newer_version_is_read(
    heard: Heard, caplog: pytest.LogCaptureFixture, version: int, read: bool
) -> None:
    heard.index.observe(request(version=10))
    again = body(version=version)
    again["status"]["phase"] = "Merged"  # which nobody who reads it understands
    heard.index.seen(again)
    assert [record.message for record in caplog.records] == NOT_UNDERSTOOD * read


NOT_UNDERSTOOD = ["a RemediationRequest is not of stormfold, ignoring it"]


def test_request_of_another_storm_is_read(heard: Heard) -> None:
    heard.index.observe(request(version=10))
    heard.index.seen(body(replace(STORM, epoch=3)))
    assert heard.versions == [(GROUP_HASH, 2, 7), (GROUP_HASH, 3, 7)]


def test_what_is_no_request_is_left_alone_and_told_once_a_minute(
    heard: Heard, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = {"metadata": {"resourceVersion": "1"}}
    heard.index.seen(nothing)
    heard.index.gone(nothing)
    assert [record.message for record in caplog.records] == NOT_UNDERSTOOD
    monkeypatch.setattr("stormfold.request.index.TOLD_SECONDS", 0.0)
    heard.index.gone(nothing)
    assert [record.message for record in caplog.records] == NOT_UNDERSTOOD * 2


@pytest.mark.parametrize(
    ("part", "changes", "why"),
    [
        pytest.param(
            "metadata",
            {"namespace": "ops"},
            "its policy makes it in namespace shop",
            id="in another namespace",
        ),
        pytest.param(
            "metadata", {"name": "storm-1"}, f"its name must be storm-{GROUP_HASH}-2", id="of another name"
        ),
        pytest.param(
            "spec",
            {"groupHash": "0" * 16},
            "spec.groupHash does not follow from spec.policyRef and spec.group",
            id="of another group",
        ),
        pytest.param(
            "spec",
            {"openedAt": "0000-01-01T00:00:00Z"},
            "spec.openedAt: must be a time such as 2026-03-01T11:00:00Z, not '0000-01-01T00:00:00Z'",
            id="that cannot be read",
        ),
    ],
)
def test_request_that_stormfold_cannot_have_made_is_left_alone_and_told(
    heard: Heard, caplog: pytest.LogCaptureFixture, part: str, changes: dict[str, str], why: str
) -> None:
    foreign = body()
    foreign[part] |= changes
    heard.index.seen(foreign)
    assert heard.versions == []
    assert heard.index.latest(GROUP_HASH) is None
    with pytest.raises(RefusedError, match=re.escape(f"has not made ({why}): delete it")):
        heard.index.read(foreign)
    assert [record.message for record in caplog.records] == NOT_UNDERSTOOD


def test_every_listener_hears_of_each_newer_version() -> None:
    first, second = Heard(), Heard()
    first.index.subscribe(second)
    first.index.seen(body())
    first.index.seen(body())
    assert first.versions == second.versions == [(GROUP_HASH, 2, 7)]


def test_newer_version_replaces_it(heard: Heard) -> None:
    heard.index.observe(request())
    heard.index.observe(request(replace(STORM, folded=9), version=11))
    assert heard.versions == [(GROUP_HASH, 2, 7), (GROUP_HASH, 2, 9)]
    assert heard.looks == []


def test_new_word_of_the_consumer_needs_a_look(heard: Heard) -> None:
    heard.index.observe(request())
    heard.index.observe(request(version=11, remediation="Running"))
    heard.index.observe(request(version=12, remediation="Running"))
    heard.index.observe(request(version=13, remediation="Succeeded"))
    assert heard.looks == [GROUP_HASH] * 2
    latest = heard.index.latest(GROUP_HASH)
    assert latest is not None
    assert latest.report == Report("Succeeded")


def test_claim_and_revision_are_words_of_the_consumer(heard: Heard) -> None:
    later = CLAIM | {"revision": 3}
    words = ({"claim": CLAIM}, {"claim": CLAIM}, {"claim": later}, {"observedRevision": 3}, {})
    for version, changes in enumerate(words, 10):
        written = body(version=version)
        written["status"]["remediation"] = {"phase": "Running", **changes}
        heard.index.observe(Request.read(written))
    assert heard.looks == [GROUP_HASH] * 4


@pytest.mark.parametrize(
    ("phase", "now_ms", "claims"),
    [
        pytest.param(RequestPhase.OPEN, 1_767_225_899_999, (1, 0), id="valid"),
        pytest.param(RequestPhase.OPEN, 1_767_225_900_000, (0, 1), id="expired"),
        pytest.param(RequestPhase.CLOSED, 1_767_225_899_999, (0, 0), id="of a closed request"),
    ],
)
def test_claims_are_counted(heard: Heard, phase: RequestPhase, now_ms: int, claims: tuple[int, int]) -> None:
    written = body(phase=phase)
    written["status"]["remediation"] = {"claim": CLAIM}
    heard.index.observe(Request.read(written))
    heard.index.update_gauges(now_ms)
    name = "stormfold_remediation_claims"
    assert (sample(name, state="valid"), sample(name, state="expired")) == claims


COUNTED = replace(STORM, through=4711, event_through=90, first_ms=T0 - 4_000)
EARLIER = replace(COUNTED, epoch=1, through=4000, first_ms=T0 - 60_000)


@pytest.mark.parametrize(
    ("ref", "seen_ms", "holds"),
    [
        pytest.param(SignalRef("shop", "a", "uid", 1, 4711), T0, True, id="the newest"),
        pytest.param(SignalRef("shop", "a", "uid", 1, 4712), T0, False, id="a newer one"),
        pytest.param(SignalRef("shop", "a", "uid", 1, 4000), T0 - 60_000, True, id="of the request before"),
        pytest.param(SignalRef("shop", "a", "uid", 1, 3000), T0 - 60_001, False, id="from before the first"),
        pytest.param(EventRef("uid", 90, 3, 0), T0, True, id="the newest Event"),
        pytest.param(EventRef("uid", 91, 3, 0), T0, False, id="a newer one of Events"),
        pytest.param(AlertRef(0, T0), T0, False, id="an alert has no resourceVersion"),
    ],
)
def test_requests_hold_what_is_not_newer_than_what_they_counted_and_happened_since(
    heard: Heard, ref: SignalRef | EventRef | AlertRef, seen_ms: int, holds: bool
) -> None:
    arrival = replace(ARRIVAL, ref=ref, seen_ms=seen_ms)
    assert not heard.index.holds(GROUP_HASH, arrival)
    heard.index.observe(request(EARLIER, RequestPhase.CLOSED))
    heard.index.observe(request(COUNTED, version=11))
    assert heard.index.holds(GROUP_HASH, arrival) is holds
    assert not heard.index.holds("fedcba9876543210", arrival)


def test_versions_by_which_there_are_requests_are_told(heard: Heard) -> None:
    assert list(heard.index.versions()) == []
    heard.index.observe(request(phase=RequestPhase.CLOSED))
    assert [version.key for version in heard.index.versions()] == [POLICY.key]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda b: b["spec"].pop("groupHash"), id="no groupHash"),
        pytest.param(lambda b: b["spec"].update(epoch=0), id="no epoch"),
        pytest.param(lambda b: b["status"].update(phase="Merged"), id="a phase of the future"),
    ],
)
def test_request_that_we_could_not_have_made_is_no_request(spoil: Any) -> None:
    spoiled = copy.deepcopy(body())
    spoil(spoiled)
    with pytest.raises(ValidationError):
        Request.read(spoiled)


def test_next_version_of_a_request_shares_its_spec_until_that_changes(heard: Heard) -> None:
    first = request(version=10)
    heard.index.observe(first)
    assert heard.index.read(body(version=11)).resource.spec is first.resource.spec
    edited = body(version=12)
    edited["metadata"]["generation"] = 2
    edited["spec"]["name"] = "Edited"
    assert heard.index.read(edited).resource.spec.name == "Edited"
    assert heard.index.read(body(version=13, uid="made-again")).resource.spec is not first.resource.spec


def test_requests_of_a_policy_share_what_they_hold_of_it() -> None:
    one, other = request(), request(replace(STORM, group_hash="1" * 16))
    assert one.resource.spec.policy is other.resource.spec.policy


def test_what_somebody_wrote_into_a_status_that_cannot_be_read_is_as_absent_and_hides_nothing_else() -> None:
    written, year_0 = body(), "0000-01-01T00:00:00Z"
    forged = copy.deepcopy(written)
    forged["status"] |= {"firstSeen": year_0, "decision": {"verdict": "Proceed", "since": year_0}}
    odd = {"type": "Odd", "status": "True", "reason": "Odd", "lastTransitionTime": year_0}
    forged["status"]["conditions"].insert(1, odd)
    expected, found = Request.read(written).resource.status, Request.read(forged).resource.status
    assert expected
    assert found == expected.model_copy(update={"first_seen": None, "decision": None})


def test_spec_that_cannot_be_read_is_not_taken_for_a_status() -> None:
    written = body()
    written["spec"]["openedAt"] = written["status"]["firstSeen"] = "0000-01-01T00:00:00Z"
    with pytest.raises(ValidationError):
        Request.read(written)


def test_position_is_how_much_the_request_of_an_epoch_holds(heard: Heard) -> None:
    heard.index.observe(request(replace(STORM, origin="incarnation-0:3")))
    assert heard.index.position(GROUP_HASH, 2) == RequestPosition(2, "incarnation-1", 7, "incarnation-0:3")
    assert heard.index.position(GROUP_HASH, 3) is None


def test_signal_is_told_which_request_holds_it_and_how_long_it_is_kept(heard: Heard) -> None:
    heard.index.observe(request())
    assert heard.index.verdict(GROUP_HASH, 2) == Verdict(
        SignalPhase.FOLDED,
        SignalReason.COUNTED,
        f"counted in RemediationRequest shop/{request().resource.metadata.name}",
        "shop",
        request().resource.metadata.name,
        POLICY.spec.retention_ms,
        "default",
    )


def test_signal_of_a_request_that_is_not_known_any_more_is_told_its_name(heard: Heard) -> None:
    name = request(replace(STORM, epoch=1)).resource.metadata.name
    assert heard.index.verdict(GROUP_HASH, 1) == Verdict(
        SignalPhase.FOLDED, SignalReason.COUNTED, f"counted in RemediationRequest /{name}", "", name, 600_000
    )
    # What is known of a later one of its group says where it was, and how long its Signals are kept.
    heard.index.observe(request())
    told = heard.index.verdict(GROUP_HASH, 1)
    assert (told.request_namespace, told.request_name, told.retention_ms) == (
        "shop",
        name,
        POLICY.spec.retention_ms,
    )
