"""Real Alertmanagers in front of two replicas: whatever arrives how often, each alert is counted once."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NewAlertmanager, NewOperator
from tests.harness.alertmanager import Alert, Alertmanager, config, pod_alerts
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.redis_proxy import RedisProxy
from tests.harness.scene import rows
from tests.harness.team import Team

from lab.valkey import Valkey

NAME = "CrashLooping"
NODES = 3
WITHIN_SECONDS = 60.0
GROUPED = ("alertname", "namespace", "node")
"""By node: several groups of Alertmanager's, so several bodies, make one storm."""

on_the_current_one = pytest.mark.parametrize("alertmanager_program", ["current"], indirect=True)


@dataclass(frozen=True)
class Front:
    """What the fixture `front` gives: two replicas, and a team whose policy makes one storm of all alerts of
    a name."""

    replicas: tuple[OperatorProcess, OperatorProcess]
    team: Team
    token_file: Path

    def config(self, *replicas: int, **timing: str) -> dict[str, Any]:
        """Of an Alertmanager that sends to these replicas, or else to both."""
        urls = [self.replicas[number].webhook_url for number in replicas or (0, 1)]
        return config(urls, token_file=self.token_file, group_by=GROUPED, **timing)

    def alerts(self, count: int) -> list[Alert]:
        """Alerts about as many pods, spread over the nodes."""
        spread = [count // NODES + (number < count % NODES) for number in range(NODES)]
        return [
            alert
            for number, share in enumerate(spread)
            for alert in pod_alerts(
                NAME, share, first=1000 * number, namespace=self.team.namespace, node=f"node-{number}"
            )
        ]

    async def counts(self) -> list[tuple[Any, ...]]:
        """(epoch, total, firing, resolved, recovered) of every request of the team."""
        return rows(
            await self.team.requests(),
            "spec.epoch status.signals.total status.signals.firing status.signals.resolved"
            " status.conditions.Recovered.status",
        )

    async def come_to(self, total: int, *, firing: int | None = None, resolved: int = 0) -> None:
        """Wait until there is one request with these counts, and none beside it; what is not resolved
        fires."""
        firing = total - resolved if firing is None else firing
        expected = [(1, total, firing, resolved, "False" if firing else "True")]
        await eventually(
            self.counts, lambda seen: seen == expected, within=WITHIN_SECONDS, what=f"counts are {expected}"
        )


@pytest.fixture
def policy() -> dict[str, Any]:
    """Fields of the team's policy, for a test to set."""
    return {}


@pytest.fixture
async def front(
    *,
    api: Api,
    operator: NewOperator,
    redis_proxy: RedisProxy,
    namespace: str,
    tmp_path: Path,
    policy: dict[str, Any],
) -> Front:
    """Two replicas on one Redis, behind `redis_proxy`."""
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(16))
    first, second = [
        await operator(identity=f"replica-{number}", redis_url=redis_proxy.url, webhook_token_file=token)
        for number in range(2)
    ]
    team = Team(api, namespace)
    await team.policy(**policy)
    for replica in (first, second):
        await replica.obeys(1)
    return Front((first, second), team, token)


async def delivered(*senders: Alertmanager) -> int:
    """How many bodies of theirs were taken."""
    attempts = [await sender.attempts() for sender in senders]
    return sum(made - failed for made, failed in attempts)


async def delivered_again(*senders: Alertmanager, bodies: int) -> None:
    """Wait until so many more bodies were taken."""
    before = await delivered(*senders)
    await eventually(
        lambda: delivered(*senders),
        lambda seen: seen >= before + bodies,
        within=WITHIN_SECONDS,
        what=f"{bodies} more bodies are taken",
    )


async def test_alert_that_both_replicas_get_again_and_again_is_counted_once(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(60))
    await front.come_to(60)
    # Each group to each replica at least three times more.
    await delivered_again(sender, bodies=3 * NODES * 2)
    assert await front.counts() == [(1, 60, 60, 0, "False")]


async def test_resolved_alerts_are_told_from_those_that_still_fire(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    alerts = front.alerts(60)
    await sender.post(alerts)
    await front.come_to(60)
    await sender.post(alert.resolved() for alert in alerts[::2])
    await front.come_to(60, resolved=30)
    await sender.post(alert.resolved() for alert in alerts[1::2])
    await front.come_to(60, resolved=60)


@on_the_current_one
async def test_alert_that_fires_anew_is_counted_anew(front: Front, alertmanager: NewAlertmanager) -> None:
    sender = await alertmanager(front.config())
    alerts = front.alerts(6)
    await sender.post(alerts)
    await front.come_to(6)
    await sender.post(alert.resolved() for alert in alerts)
    await front.come_to(6, resolved=6)
    await sender.post(front.alerts(6))
    await front.come_to(12, firing=6)


async def test_pair_that_has_lost_each_other_counts_like_one(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    pair = [await alertmanager(front.config(repeat_interval="600ms")) for _ in range(2)]
    alerts = front.alerts(60)
    await asyncio.gather(*(sender.post(alerts) for sender in pair))
    await front.come_to(60)
    await delivered_again(*pair, bodies=2 * NODES * 2 * 2)
    assert await front.counts() == [(1, 60, 60, 0, "False")]
    over = [alert.resolved() for alert in alerts[:40]]
    await asyncio.gather(*(sender.post(over) for sender in pair))
    await front.come_to(60, resolved=40)
    assert min([await delivered(sender) for sender in pair]) >= NODES * 2, "both have sent"


@on_the_current_one
async def test_each_of_a_pair_may_have_a_replica_of_its_own(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    pair = [await alertmanager(front.config(number)) for number in range(2)]
    alerts = front.alerts(60)
    await asyncio.gather(*(sender.post(alerts) for sender in pair))
    await eventually(lambda: delivered(*pair), lambda seen: seen >= 2 * NODES, within=WITHIN_SECONDS)
    await front.come_to(60)


@on_the_current_one
async def test_second_of_a_cluster_goes_on_where_the_first_one_ended(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    first = await alertmanager(front.config(repeat_interval="2s"), cluster=True)
    second = await alertmanager(front.config(repeat_interval="2s"), peer=first, peer_timeout="1s")
    alerts = front.alerts(30)
    await asyncio.gather(first.post(alerts), second.post(alerts))
    await front.come_to(30)
    await first.stop()
    await second.post(alert.resolved() for alert in alerts)
    await front.come_to(30, resolved=30)


@on_the_current_one
async def test_alerts_that_are_refused_while_redis_is_away_are_counted_once_it_is_back(
    front: Front, alertmanager: NewAlertmanager, redis_proxy: RedisProxy
) -> None:
    sender = await alertmanager(front.config())
    alerts = front.alerts(60)
    await sender.post(alerts[:30])
    await front.come_to(30)
    redis_proxy.disconnect()
    await sender.post(alerts)
    await eventually(sender.attempts, lambda seen: seen[1] >= 2, within=WITHIN_SECONDS, what="two refusals")
    redis_proxy.reconnect()
    await front.come_to(60)


@on_the_current_one
async def test_replica_that_was_away_counts_nothing_twice(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    first, _ = front.replicas
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    first.kill()
    await sender.post(front.alerts(60))
    await front.come_to(60)
    await first.start()
    await delivered_again(sender, bodies=2 * NODES * 2)
    assert await front.counts() == [(1, 60, 60, 0, "False")]


# --- how long a request is open


async def closing(front: Front, name: str = NAME) -> list[tuple[Any, ...]]:
    """(epoch, phase, Closed, why, firing) of each request of a name."""
    return rows(
        await front.team.requests(name),
        "spec.epoch status.phase status.conditions.Closed.status status.conditions.Closed.reason"
        " status.signals.firing",
    )


async def come_to(front: Front, *expected: Any, name: str = NAME) -> None:
    """Wait until the one request of a name says this of its closing."""
    await eventually(
        lambda: closing(front, name),
        lambda seen: seen == [expected],
        within=WITHIN_SECONDS,
        what=f"{name} is {expected}",
    )


@pytest.mark.parametrize("policy", [{"closeAfter": "2s"}], ids=["closeAfter 2s"])
@pytest.mark.parametrize(
    ("alertmanager_program", "loses"),
    [
        pytest.param("current", False, id="current"),
        pytest.param("debian", False, id="debian"),
        pytest.param("current", True, id="Redis loses all"),
    ],
    indirect=["alertmanager_program"],
)
async def test_request_is_open_while_alerts_fire_and_closes_when_they_have_resolved(
    front: Front, alertmanager: NewAlertmanager, valkey: Valkey, loses: bool
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    alerts = front.alerts(6)
    await sender.post(alerts)
    held = (1, "Settled", "False", "AlertsFiring", 6)
    await come_to(front, *held)
    if loses:
        valkey.command("FLUSHALL")
    # Signals that fire close for quiet: so long the alerts fire beyond closeAfter, and are repeated all the
    # time.
    await front.team.report("signals", 3)
    await come_to(front, 1, "Closed", "True", "QuietForCloseAfter", 3, name="signals")
    await delivered_again(sender, bodies=NODES * 2)
    await come_to(front, *held)
    (request,) = await front.team.requests(NAME)
    assert "close" not in request["status"]["deadlines"]
    await sender.post(alert.resolved() for alert in alerts[1:])
    await come_to(front, 1, "Settled", "False", "AlertsFiring", 1)
    await sender.post([alerts[0].resolved()])
    await come_to(front, 1, "Closed", "True", "QuietForCloseAfter", 0)


@on_the_current_one
@pytest.mark.parametrize(
    "policy", [{"closeAfter": "2s", "window": {"idle": "1s", "maxDuration": "6s"}}], ids=["maxDuration 6s"]
)
async def test_longest_duration_ends_a_request_whose_alerts_fire_for_ever(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(6))
    await come_to(front, 1, "Settled", "False", "AlertsFiring", 6)
    await come_to(front, 1, "Closed", "True", "MaxDurationReached", 6)


LEAVES_OUT = "a sender left 2 alerts out of a post: they are in no request; set its max_alerts to 0"


async def test_alerts_that_a_sender_leaves_out_are_said_in_the_request(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    told = front.config(repeat_interval="600ms")
    for receiver in told["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook["max_alerts"] = 5
    sender = await alertmanager(told)
    # Of each node 7 alerts, of which 5 come.
    await sender.post(front.alerts(7 * NODES))
    await front.come_to(5 * NODES)
    await eventually(
        lambda: _exact(front),
        lambda seen: seen == [("False", "AlertsLeftOut", LEAVES_OUT)],
        within=WITHIN_SECONDS,
    )


async def _exact(front: Front) -> list[tuple[Any, ...]]:
    of = "status.conditions.Exact"
    return rows(await front.team.requests(NAME), f"{of}.status {of}.reason {of}.message")
