"""Alerts of groups that have no request so far: the post is answered at once and says that they are pending;
they count once their group needs a request, whatever breaks meanwhile, or are discarded with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.nothing_lost.conftest import NewReplica
from tests.harness.alert_sender import TAKEN, Sender
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import WITHIN_SECONDS

from lab.valkey import Valkey

LONG = {"belowThreshold": "Discard", "threshold": {"signals": 5, "within": "1h"}}
SHORT = {"belowThreshold": "Discard", "threshold": {"signals": 5, "within": "4s"}}
BELOW = {
    "reason": "BelowThreshold",
    "message": "its group is below the threshold of StormPolicy/{}/team (5 signals within {} s): if it stays "
    "so, the alert is discarded",
}
DISCARDED = {"reason": "BelowThreshold", "message": "its group got no request"}


def pending(sender: Sender, *indices: int, within: int = 3600) -> tuple[int, Any]:
    """The answer to a post whose alerts are all pending."""
    said = {"reason": BELOW["reason"], "message": BELOW["message"].format(sender.namespace, within)}
    return 200, {"accepted": 0} | TAKEN | {"pending": [{"index": index, **said} for index in indices]}


async def come(process: OperatorProcess, name: str, value: float) -> None:
    """Wait until a metric of the process has a value."""
    await eventually(
        lambda: metric(process, name),
        lambda seen: seen == value,
        within=WITHIN_SECONDS,
        what=f"{name} {value}",
    )


async def metric(process: OperatorProcess, name: str) -> float:
    """What a metric says."""
    return (await process.metrics()).total(name)


@pytest.fixture
async def process(replica: NewReplica, sender: Sender) -> OperatorProcess:
    """A replica that obeys a policy which discards what stays below five signals within an hour."""
    process: OperatorProcess = await replica()
    await sender.policy(**LONG)
    await process.obeys(1)
    return process


async def test_alerts_below_the_threshold_are_answered_at_once_and_count_when_it_is_reached(
    process: OperatorProcess, sender: Sender
) -> None:
    assert await sender.post(process, sender.alerts(3)) == pending(sender, 0, 1, 2)
    assert await sender.post(process, sender.alerts(3)) == pending(sender, 0, 1, 2), "a repeat counts nothing"
    assert await sender.counts() == []
    assert await metric(process, "stormfold_alerts_pending") == 6
    more = [sender.alert("pod-3"), sender.alert("pod-4")]
    assert await sender.post(process, more) == (200, {"accepted": 2, **TAKEN})
    assert await sender.counts() == [(1, "Open", 5, 5, 0)]
    await come(process, "stormfold_signals_in_flight", 0)
    assert await metric(process, "stormfold_alerts_pending") == 0
    assert await sender.post(process, sender.alerts(5)) == (200, {"accepted": 5, **TAKEN})
    assert await sender.counts() == [(1, "Open", 5, 5, 0)]


async def test_end_of_a_pending_alert_is_known_to_the_request(
    process: OperatorProcess, sender: Sender
) -> None:
    assert await sender.post(process, sender.alerts(1)) == pending(sender, 0)
    assert await sender.post(process, sender.alerts(1, firing=False)) == pending(sender, 0)
    status, answer = await sender.post(process, sender.alerts(5)[1:])
    assert (status, answer["accepted"]) == (200, 4)
    assert await sender.counts() == [(1, "Open", 5, 4, 1)]


async def test_pending_alerts_of_all_replicas_count_in_one_request(
    replica: NewReplica, sender: Sender
) -> None:
    replicas = [await replica("replica-0"), await replica("replica-1")]
    await sender.policy(**LONG)
    for process in replicas:
        await process.obeys(1)
    assert await sender.post(replicas[0], sender.alerts(2)) == pending(sender, 0, 1)
    assert await sender.post(replicas[1], sender.alerts(4)) == pending(sender, 0, 1, 2, 3)
    last = [sender.alert("pod-4")]
    assert await sender.post(replicas[0], last) == (200, {"accepted": 1, **TAKEN})
    assert await sender.counts() == [(1, "Open", 5, 5, 0)]
    for process in replicas:
        await come(process, "stormfold_signals_in_flight", 0)


async def test_pending_alerts_are_counted_again_when_redis_has_lost_them(
    process: OperatorProcess, sender: Sender, valkey: Valkey
) -> None:
    assert await sender.post(process, sender.alerts(3)) == pending(sender, 0, 1, 2)
    valkey.command("FLUSHALL")
    more = [sender.alert("pod-3"), sender.alert("pod-4")]
    assert await sender.post(process, more) == (200, {"accepted": 2, **TAKEN})
    assert await sender.counts() == [(1, "Open", 5, 5, 0)]


async def test_what_is_lost_with_redis_and_its_replica_is_pending_again_when_it_is_repeated(
    process: OperatorProcess, sender: Sender, valkey: Valkey
) -> None:
    """The limit of what pending promises."""
    assert await sender.post(process, sender.alerts(3)) == pending(sender, 0, 1, 2)
    process.kill()
    valkey.command("FLUSHALL")
    await process.start()
    more = [sender.alert("pod-3"), sender.alert("pod-4")]
    assert await sender.post(process, more) == pending(sender, 0, 1)
    status, answer = await sender.post(process, sender.alerts(3))
    assert (status, answer["accepted"], answer["pending"]) == (200, 3, [])
    assert await sender.counts() == [(1, "Open", 5, 5, 0)]


async def test_pending_alerts_hold_no_stop_up(process: OperatorProcess, sender: Sender) -> None:
    assert await sender.post(process, sender.alerts(3)) == pending(sender, 0, 1, 2)
    assert await process.terminate(within=10) == 0


async def test_alert_that_stays_below_the_threshold_is_said_to_be_discarded_from_then_on(
    replica: NewReplica, sender: Sender
) -> None:
    replicas = [await replica("replica-0"), await replica("replica-1")]
    await sender.policy(**SHORT)
    for process in replicas:
        await process.obeys(1)
    answers = await asyncio.gather(*(sender.post(process, sender.alerts(2)) for process in replicas))
    assert answers == [pending(sender, 0, 1, within=4)] * 2
    discarded = [{"index": index, **DISCARDED} for index in (0, 1)]
    for process in replicas:
        await come(process, "stormfold_signals_in_flight", 0)
        assert await metric(process, "stormfold_signals_discarded_total") >= 2
        answer = await sender.post(process, sender.alerts(2))
        assert answer == (200, {"accepted": 0} | TAKEN | {"discarded": discarded})
    assert await sender.counts() == []


async def test_post_does_not_wait_for_a_long_group_wait(replica: NewReplica, sender: Sender) -> None:
    process = await replica(environment={"STORMFOLD_WEBHOOK_WAIT_SECONDS": "2"})
    await sender.policy(groupWait="6s")
    await process.obeys(1)
    said = {"reason": "GroupWait", "message": "its request is made when groupWait (6 s) is over"}
    answer = await sender.post(process, sender.alerts(2))
    assert answer == (200, {"accepted": 0} | TAKEN | {"pending": [{"index": n, **said} for n in (0, 1)]})
    await sender.come_to([(1, "Open", 2, 2, 0)])
    assert await sender.post(process, sender.alerts(2)) == (200, {"accepted": 2, **TAKEN})
    await come(process, "stormfold_signals_in_flight", 0)


async def test_end_of_an_alert_that_nobody_knows_is_pending_until_its_group_is_discarded(
    replica: NewReplica, sender: Sender
) -> None:
    process = await replica()
    await sender.policy(threshold={"signals": 5, "within": "2s"})
    await process.obeys(1)
    said = {
        "reason": "NothingFiring",
        "message": "nothing of its group fires; if nothing does within 2 s, the alert is discarded",
    }
    answer = await sender.post(process, sender.alerts(1, firing=False))
    assert answer == (200, {"accepted": 0} | TAKEN | {"pending": [{"index": 0, **said}]})
    await come(process, "stormfold_signals_in_flight", 0)
    assert await sender.counts() == []
