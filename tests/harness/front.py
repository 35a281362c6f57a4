"""Two replicas that real Alertmanagers post to, and a team whose alerts make one storm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.alertmanager import Alert, Alertmanager, config, pod_alerts
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import rows
from tests.harness.team import Team

NAME = "CrashLooping"
NODES = 3
WITHIN_SECONDS = 60.0
GROUPED = ("alertname", "namespace", "node")
"""By node: several groups of Alertmanager's, so several bodies, make one storm."""


@dataclass(frozen=True)
class Front:
    """Two replicas, and a team whose policy makes one storm of all alerts of
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
