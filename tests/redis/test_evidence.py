"""What the signals of a storm show is in Redis until its request holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson
import pytest
from tests.harness.folding import T0, Group, alert, event, resolved, signal, signals
from tests.harness.values import cluster_version, version

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.replies import AckWord, Folded
from stormfold.fold.showing import NOTHING_TOLD, Told
from stormfold.fold.showing import shown as shown_of
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival
from stormfold.model.evidence import Evidence
from stormfold.model.storm import Seed, Snapshot
from stormfold.request.evidence import changes, joined

SHOWING = version().showing
HAS_FIRST = Told(sampled=3)


@dataclass
class Storm(Group):
    """One whose signals are shown."""

    async def show(
        self,
        *arrivals: Arrival,
        told: Told | None = None,
        known: tuple[int, int] = (0, 0),
        seed: Seed | None = None,
    ) -> Folded:
        """Count in one call what Redis is known to have been told."""
        fold = self.fold_of(*arrivals, known=known, seed=seed)
        of = replace(fold, shown=shown_of(SHOWING, told or NOTHING_TOLD, arrivals))
        (answer,) = await self.store.fold(self.partition, [of], now_ms=T0)
        return answer

    @property
    def evidence_key(self) -> str:
        """Where what they show is kept."""
        return keys.evidence(self.partition, self.group_hash)


@pytest.fixture
def storm(store: StormStore) -> Storm:
    """A group that has no storm yet."""
    return Storm(store)


def shown(snapshot: Snapshot) -> dict[int, str]:
    """Number of each sample, and what its target is called."""
    return {
        number: orjson.loads(text).get("target", {}).get("name", "")
        for number, text in snapshot.evidence.samples.items()
    }


async def after(storm: Storm, *batches: Sequence[Arrival], told: Told | None = None) -> dict[int, str]:
    """The samples when these have been counted."""
    for batch in batches:
        await storm.show(*batch, told=told)
    return shown(await storm.look(at=10))


async def test_first_three_and_latest_two_signals_are_samples(storm: Storm) -> None:
    assert await after(storm, signals(1, 2)) == {1: "web-1", 2: "web-2"}
    assert await after(storm, signals(3, 4)) == {1: "web-1", 2: "web-2", 3: "web-3", 4: "web-4"}
    later = await after(storm, signals(5, 9), told=HAS_FIRST)
    assert later == {1: "web-1", 2: "web-2", 3: "web-3", 5: "web-8", 6: "web-9"}
    one_by_one = await after(storm, *([one] for one in signals(10, 12)), told=HAS_FIRST)
    assert one_by_one == {1: "web-1", 2: "web-2", 3: "web-3", 8: "web-11", 9: "web-12"}


async def test_large_batch_has_samples_from_both_ends(storm: Storm) -> None:
    samples = await after(storm, signals(1, 200))
    assert samples == {1: "web-1", 2: "web-2", 3: "web-3", 4: "web-199", 5: "web-200"}


async def test_replica_that_does_not_know_what_was_told_changes_no_first_sample(storm: Storm) -> None:
    samples = await after(storm, signals(1, 4), signals(5, 9))
    assert samples == {1: "web-1", 2: "web-2", 3: "web-3", 8: "web-8", 9: "web-9"}


async def test_signal_that_counts_no_more_is_no_sample(storm: Storm) -> None:
    first = signals(1, 4)
    assert await after(storm, first, [*first, signal(5, "web-5")], first) == {
        1: "web-1",
        2: "web-2",
        3: "web-3",
        4: "web-4",
        5: "web-5",
    }


async def test_repeats_and_ends_of_alerts_are_no_samples(storm: Storm) -> None:
    await storm.show(alert("a", labels={"n": "1"}), alert("b"))
    await storm.show(alert("a"), resolved("b"), alert("b"))
    snapshot = await storm.look(at=10)
    assert (snapshot.total, snapshot.evidence.sampled, list(snapshot.evidence.samples)) == (2, 2, [1, 2])
    assert orjson.loads(snapshot.evidence.samples[1])["labels"] == {"n": "1"}


async def test_only_new_occurrences_of_events_are_samples(storm: Storm) -> None:
    await storm.show(event("a", 1, 3), event("b", 2, 1))
    await storm.show(event("a", 3, 3), event("b", 4, 2))
    snapshot = await storm.look(at=10)
    assert (snapshot.total, snapshot.evidence.sampled) == (5, 3)


async def test_what_the_request_holds_is_not_kept(storm: Storm, redis: Valkey) -> None:
    await storm.show(*signals(1, 9))
    written = await storm.look(at=10)
    assert await storm.ack(written, at=10) is AckWord.ACKED
    assert redis.command("EXISTS", storm.evidence_key) == 0
    await storm.show(signal(10, "web-10"), told=HAS_FIRST)
    later = await storm.look(at=20)
    assert (later.evidence.sampled, shown(later)) == (6, {6: "web-10"})


async def test_what_came_while_the_request_was_written_is_kept(storm: Storm) -> None:
    await storm.show(*signals(1, 4))
    written = await storm.look(at=10)
    await storm.show(signal(5, "web-5"))
    assert await storm.ack(written, at=10) is AckWord.MORE
    assert shown(await storm.look(at=20))[5] == "web-5"


async def test_look_that_writes_nothing_takes_nothing_away(storm: Storm) -> None:
    await storm.show(*signals(1, 4))
    await storm.ack(await storm.look(at=10), at=10, written=False)
    assert len((await storm.look(at=20)).evidence.samples) == 4


async def test_next_storm_of_the_group_shows_its_own_signals(storm: Storm, redis: Valkey) -> None:
    await storm.show(*signals(1, 4))
    await storm.freeze_and_close(at=10)
    assert redis.command("EXISTS", storm.evidence_key) == 0
    assert await after(storm, [signal(5, "web-5")]) == {1: "web-5"}


async def test_discarded_group_shows_nothing(storm: Storm, redis: Valkey) -> None:
    await storm.show(*signals(1, 4))
    await storm.discard(await storm.look(at=10))
    assert redis.command("EXISTS", storm.evidence_key) == 0


async def test_samples_are_counted_on_from_the_request(storm: Storm) -> None:
    seed = Seed(1, closed=False, incarnation="before", total=9, folded=9, through=9, sampled=9)
    await storm.show(*signals(10, 12), seed=seed)
    snapshot = await storm.look(at=10)
    assert (snapshot.evidence.sampled, shown(snapshot)) == (12, {11: "web-11", 12: "web-12"})


async def test_storm_that_is_replaced_by_its_request_shows_nothing_of_its_own(
    storm: Storm,
) -> None:
    await storm.show(*signals(1, 2))
    seed = Seed(1, closed=False, incarnation="before", total=9, folded=9, through=9, sampled=9)
    await storm.show(signal(10, "web-10"), seed=seed)
    assert shown(await storm.look(at=10)) == {10: "web-10"}


async def test_where_nothing_is_shown_it_is_only_told_since_when(storm: Storm, redis: Valkey) -> None:
    nothing = cluster_version(requestNamespace="platform", causes=[]).showing
    fold = storm.fold_of(*signals(1, 4, labels={"app": "web"}))
    of = replace(fold, shown=shown_of(nothing, NOTHING_TOLD, fold.arrivals))
    await storm.store.fold(storm.partition, [of], now_ms=T0)
    assert (await storm.look(at=10)).evidence == Evidence(started_ms=T0 + 1)


def labelled(number: int, summary: str = "down", **labels: str) -> Arrival:
    """A Signal with labels and a summary."""
    return signal(number, f"web-{number}", labels=labels, annotations={"summary": summary})


async def test_only_what_all_signals_have_in_common_is_shown_of_all(storm: Storm) -> None:
    await storm.show(labelled(1, a="1", b="2", c="3"), labelled(2, a="1", b="2"))
    first = (await storm.look(at=10)).evidence
    assert (first.labels, first.annotations) == ({"a": "1", "b": "2"}, {"summary": "down"})
    await storm.show(labelled(3, "up", a="1", b="7"))
    later = (await storm.look(at=20)).evidence
    assert (later.labels, later.annotations) == ({"a": "1"}, {})


async def test_two_replicas_that_know_nothing_of_each_other_show_what_is_common_to_both(storm: Storm) -> None:
    one = NOTHING_TOLD.and_then(SHOWING, [labelled(1, a="1", b="2", c="3")])
    await storm.show(labelled(1, a="1", b="2", c="3"))
    await storm.show(labelled(2, a="1", b="2"))
    await storm.show(labelled(3, a="1", c="3"), told=one)
    assert (await storm.look(at=10)).evidence.labels == {"a": "1"}


async def test_what_is_common_is_told_anew_after_the_request_holds_it(storm: Storm) -> None:
    await storm.show(labelled(1, a="1", b="2"))
    await storm.ack(await storm.look(at=10), at=10)
    told = NOTHING_TOLD.and_then(SHOWING, [labelled(1, a="1", b="2")])
    await storm.show(labelled(2, a="1", b="2"), told=told)
    assert (await storm.look(at=20)).evidence.labels is None
    await storm.show(labelled(3, a="1"), told=told)
    assert (await storm.look(at=30)).evidence.labels == {"a": "1"}


async def test_what_all_have_in_common_stays_when_another_process_tells_more_than_a_request_shows(
    storm: Storm,
) -> None:
    """One that is restarted has heard of one signal, and all of that is common to it."""

    def down(number: int) -> Arrival:
        notes = {"summary": "s" * 200, "runbook_url": "https://runbooks.example/Down"}
        return signal(
            number,
            labels={"zone": "eu-1"} | {f"a{n}": f"{number}-{'x' * 100}" for n in range(8)},
            annotations=notes | {"description": f"{number} {'d' * 600}"},
        )

    await storm.show(down(1), down(2))
    written = await storm.look(at=10)
    first = changes(joined(written.evidence, {}, held=None, sampled=0, shown=0), None)
    assert set(first["commonAnnotations"]) == {"runbook_url", "summary"}
    assert first["commonLabels"] == {"zone": "eu-1"}
    await storm.ack(written, at=10)
    await storm.show(down(3))
    came = (await storm.look(at=20)).evidence
    assert came.annotations
    assert changes(joined(came, {}, held=first, sampled=5, shown=0), first) == {}


async def test_earliest_begin_and_all_runbooks_are_kept(storm: Storm) -> None:
    for number, began in ((1, T0 - 5), (2, T0 - 9), (3, T0 - 7)):
        url = {"runbook_url": f"https://{number % 2}.example/"}
        await storm.show(signal(number, started_ms=began, annotations=url))
    evidence = (await storm.look(at=10)).evidence
    assert evidence.started_ms == T0 - 9
    assert evidence.runbook_urls == ("https://1.example/", "https://0.example/")


async def test_what_is_shown_takes_bounded_room_until_the_request_holds_it_and_then_none(
    storm: Storm, redis: Valkey
) -> None:
    large = {f"label-{number:02}": "\U0001f525" * 256 for number in range(64)}
    for number in range(1, 201, 10):  # each time by a process that knows of nothing
        await storm.show(
            *(
                signal(
                    version_,
                    f"web-{version_}",
                    labels=large | {"pod": f"web-{version_}"},
                    annotations={
                        "summary": "s" * 1024,
                        "description": "d" * 1024,
                        "runbook_url": f"https://{version_}.example/{'u' * 480}",
                    },
                )
                for version_ in range(number, number + 10)
            )
        )
    used = redis.command("MEMORY", "USAGE", storm.evidence_key, "SAMPLES", 0)
    assert isinstance(used, int)
    assert used < 19 * 1024
    await storm.ack(await storm.look(at=10), at=10)
    assert redis.command("EXISTS", storm.evidence_key) == 0


READ = {
    "string": ("GET",),
    "hash": ("HGETALL",),
    "set": ("SMEMBERS",),
    "zset": ("ZRANGE", 0, -1),
}
"""Type of a key → the command that tells all of it."""


def everything(server: Valkey) -> str:
    """All that the server has, as one text."""
    names = server.command("KEYS", "*")
    assert isinstance(names, list)
    told = [str(names)]
    for name in names:
        command, *rest = READ[str(server.command("TYPE", str(name)))]
        told.append(str(server.command(str(command), str(name), *rest)))
    return "\n".join(told)


async def test_secrets_never_enter_redis(storm: Storm, redis: Valkey) -> None:
    secret = {name: f"s3cr3t-{name}" for name in ("api_token", "db_password", "client-secret", "ssh_key")}
    globs = ["*", *secret]
    showing = version(evidence={"labels": globs, "annotations": globs}).showing
    labels, annotations = secret | {"app": "web"}, secret | {"summary": "down"}
    fold = storm.fold_of(*(signal(n, labels=labels, annotations=annotations) for n in range(1, 9)))
    await storm.store.fold(
        storm.partition, [replace(fold, shown=shown_of(showing, NOTHING_TOLD, fold.arrivals))], now_ms=T0
    )
    assert "down" in everything(redis)
    assert "s3cr3t" not in everything(redis)
    sample = orjson.loads((await storm.look(at=10)).evidence.samples[1])
    assert (sample["labels"], sample["summary"]) == ({"app": "web"}, "down")
