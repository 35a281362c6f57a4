"""Which of a group's requests the index keeps: the closed, the deleted, and those that begin anew."""

from __future__ import annotations

from dataclasses import replace

from tests.harness.heard import Heard
from tests.harness.metrics import sample
from tests.harness.request_bodies import GROUP_HASH, POLICY, STORM, body, request

from stormfold.api.remediationrequest import RequestPhase
from stormfold.model.storm import Seed
from stormfold.request.seeding import seed_of


def test_request_whose_deletion_is_told_is_gone(heard: Heard) -> None:
    heard.index.seen(body())
    heard.index.gone(body(version=11))
    assert heard.index.get(GROUP_HASH, 2) is None
    assert heard.looks == [GROUP_HASH]


def test_closed_request_of_an_earlier_epoch_is_forgotten(heard: Heard) -> None:
    heard.index.observe(request(replace(STORM, epoch=1), RequestPhase.CLOSED))
    heard.index.observe(request(version=11))
    assert heard.index.get(GROUP_HASH, 1) is None
    heard.index.observe(request(replace(STORM, epoch=1), RequestPhase.CLOSED, version=12))
    assert heard.index.get(GROUP_HASH, 1) is None
    assert heard.index.get(GROUP_HASH, 2) == request(version=11)


def test_closed_request_is_kept_while_the_next_one_says_nothing_yet(heard: Heard) -> None:
    """Redis may be emptied between the two: what has been counted before is told by the closed one alone."""
    early = replace(STORM, epoch=1, alerts=5)
    heard.index.observe(request(early, RequestPhase.CLOSED))
    heard.index.observe(request(phase=None, version=11))
    continuation = heard.index.continuation(GROUP_HASH)
    assert continuation is not None
    assert continuation.seed == seed_of(request(early, RequestPhase.CLOSED))
    heard.index.observe(request(version=12))
    assert heard.index.get(GROUP_HASH, 1) is None


def test_group_is_over_by_its_last_request_that_says_anything(heard: Heard) -> None:
    assert heard.index.over(GROUP_HASH) is None
    heard.index.observe(request())
    assert heard.index.over(GROUP_HASH) is None
    heard.index.observe(closed := request(phase=RequestPhase.CLOSED, version=11))
    assert heard.index.over(GROUP_HASH) is closed
    # A later one was made, but nobody may know of it in Redis.
    later = replace(STORM, epoch=3, folded=1, total=0)
    heard.index.observe(request(later, None, version=12, uid="request-2"))
    assert heard.index.over(GROUP_HASH) is closed
    heard.index.observe(request(later, version=13, uid="request-2"))
    assert heard.index.over(GROUP_HASH) is None


def test_closed_requests_come_in_any_order(heard: Heard) -> None:
    heard.index.observe(request(replace(STORM, epoch=3), None, version=13))
    for epoch, version in ((1, 11), (2, 12)):
        heard.index.observe(request(replace(STORM, epoch=epoch), RequestPhase.CLOSED, version=version))
    continuation = heard.index.continuation(GROUP_HASH)
    assert continuation is not None
    assert continuation.seed.epoch == 2
    assert continuation.seed.through == STORM.through
    assert heard.index.get(GROUP_HASH, 1) is None


def test_request_that_says_nothing_yet_is_begun_anew_if_the_one_before_is_gone(heard: Heard) -> None:
    heard.index.observe(request(phase=None))
    continuation = heard.index.continuation(GROUP_HASH)
    assert continuation is not None
    assert continuation.seed == Seed(epoch=1, closed=True)


def test_open_request_of_an_earlier_epoch_is_held_until_it_is_closed(heard: Heard) -> None:
    early = replace(STORM, epoch=1)
    heard.index.observe(request(early))
    heard.index.observe(request(version=11))
    assert heard.index.open_before(GROUP_HASH, 2) == [request(early)]
    assert heard.index.open_before(GROUP_HASH, 1) == []
    heard.index.observe(request(early, RequestPhase.CLOSED, version=12))
    assert heard.index.open_before(GROUP_HASH, 2) == []
    assert heard.index.get(GROUP_HASH, 1) is None


def test_group_takes_a_place_while_its_latest_request_is_open_and_there(heard: Heard) -> None:
    def taken() -> set[str]:
        return set(heard.index.open_in(POLICY.id, "shop"))

    assert taken() == set()
    heard.index.observe(request(replace(STORM, epoch=1), None))
    assert taken() == {GROUP_HASH}
    heard.index.observe(request(replace(STORM, epoch=1), RequestPhase.CLOSED, version=11))
    assert taken() == set()
    heard.index.observe(request(version=12))
    assert (taken(), heard.index.open_in(POLICY.id, "ops")) == ({GROUP_HASH}, frozenset())
    heard.index.gone(body(version=13))
    assert taken() == set()


def test_closed_request_is_the_latest_but_not_open(heard: Heard) -> None:
    heard.index.observe(request(phase=RequestPhase.CLOSED))
    assert heard.index.latest(GROUP_HASH) == request(phase=RequestPhase.CLOSED)
    assert list(heard.index.open_requests()) == []


def test_request_deleted_in_mid_storm_is_remembered_and_looked_at(heard: Heard) -> None:
    heard.index.observe(request())
    heard.index.observe_deleted(request(version=11))
    assert heard.index.get(GROUP_HASH, 2) is None
    last = replace(request(version=11), deleted=True)
    assert heard.index.latest(GROUP_HASH) == heard.index.deleted(GROUP_HASH, 2) == last
    assert heard.looks == [GROUP_HASH]
    heard.index.observe_deleted(request(version=11))
    assert heard.looks == [GROUP_HASH]


def test_request_that_a_whole_list_lacks_was_deleted(heard: Heard) -> None:
    heard.index.observe(request(version=10))
    before = sample("stormfold_missed_deletions_total", kind="RemediationRequest")
    heard.index.listed(frozenset({"request-1"}), 12)
    heard.index.listed(frozenset(), 9)  # it may have been made since
    assert heard.index.get(GROUP_HASH, 2) == request(version=10)
    heard.index.listed(frozenset({"request-2"}), 10)
    heard.index.listed(frozenset(), 12)
    assert heard.index.get(GROUP_HASH, 2) is None
    assert heard.index.deleted(GROUP_HASH, 2) == replace(request(version=10), deleted=True)
    assert heard.looks == [GROUP_HASH]
    assert sample("stormfold_missed_deletions_total", kind="RemediationRequest") == before + 1


def test_closed_request_that_a_whole_list_lacks_was_deleted(heard: Heard) -> None:
    heard.index.observe(request(phase=RequestPhase.CLOSED, version=10))
    heard.index.listed(frozenset(), 10)
    assert heard.index.latest(GROUP_HASH) is None
    assert heard.gone == [(GROUP_HASH, 2)]
    assert list(heard.index.closed) == []


def test_closed_request_of_an_earlier_epoch_that_a_whole_list_lacks_is_not_kept(heard: Heard) -> None:
    first = replace(STORM, epoch=1)
    heard.index.observe(request(first, phase=RequestPhase.CLOSED, version=8, uid="request-0"))
    heard.index.observe(request(version=10))
    assert [closed.uid for closed in heard.index.closed] == ["request-0"]
    heard.index.listed(frozenset({"request-1"}), 10)
    assert list(heard.index.closed) == []
    assert heard.looks == heard.gone == []


def test_request_made_again_takes_the_place_of_the_deleted_one(heard: Heard) -> None:
    heard.index.observe(request())
    heard.index.observe_deleted(request(version=11))
    again = request(version=12, uid="request-2")
    heard.index.observe(again)
    assert heard.index.get(GROUP_HASH, 2) == again
    heard.index.observe_deleted(request(version=11))
    assert heard.index.get(GROUP_HASH, 2) == again


def test_closed_request_that_is_deleted_is_forgotten(heard: Heard) -> None:
    heard.index.observe(request(phase=RequestPhase.CLOSED))
    heard.index.observe_deleted(request(phase=RequestPhase.CLOSED, version=11))
    assert heard.index.latest(GROUP_HASH) is None
    assert heard.looks == []
    assert heard.gone == [(GROUP_HASH, 2)]


def test_deletion_of_a_request_never_seen_changes_nothing(heard: Heard) -> None:
    heard.index.observe_deleted(request())
    assert heard.index.latest(GROUP_HASH) is None
    assert heard.looks == []
