"""Sender: posts alerts of one namespace as Alertmanager does, and says what the requests of it count."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.harness.api import Api, Manifest
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import at, rows

Body = dict[str, Any]
BEGAN = datetime.now(UTC) - timedelta(minutes=10)
COUNTS = "spec.epoch status.phase status.signals.total status.signals.firing status.signals.resolved"
WITHIN_SECONDS = 30.0
TAKEN = {"rejected": [], "discarded": [], "pending": []}


@dataclass
class Sender:
    """Posts alerts of one namespace, as Alertmanager does."""

    api: Api
    namespace: str
    token_file: Path
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        self.token_file.write_text(self.token)

    def alert(self, pod: str, *, name: str = "PodDown", firing: bool = True, began: int = 0) -> Body:
        """An alert about a pod, which began so many seconds after `BEGAN`."""
        return {
            "status": "firing" if firing else "resolved",
            "labels": {"alertname": name, "namespace": self.namespace, "pod": pod, "severity": "high"},
            "startsAt": (BEGAN + timedelta(seconds=began)).isoformat(),
        }

    def alerts(self, count: int, **changes: Any) -> list[Body]:
        """Alerts about `count` pods."""
        return [self.alert(f"pod-{number}", **changes) for number in range(count)]

    async def post(self, operator: OperatorProcess, alerts: list[Body]) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        return await operator.post_alerts({"version": "4", "alerts": alerts}, token=self.token)

    def posting(self, operator: OperatorProcess, alerts: list[Body]) -> asyncio.Task[tuple[int, Any]]:
        """The same, while something else is done."""
        return asyncio.create_task(self.post(operator, alerts))

    async def policy(self, **spec: Any) -> None:
        """A policy of the namespace under which storms settle only when they are told to."""
        terms = {"groupWait": "100ms", "window": {"idle": "10m"}, "closeAfter": "1h"}
        policy = {
            "apiVersion": "stormfold.dev/v1alpha1",
            "kind": "StormPolicy",
            "metadata": {"name": "team", "namespace": self.namespace},
            "spec": terms | spec,
        }
        await self.api.create(policy)

    async def accepted(self) -> None:
        """Wait until the policy is in force."""
        await eventually(
            lambda: self.api.get("StormPolicy", "team", self.namespace),
            lambda seen: at(seen, "status.conditions.Accepted.status") == "True",
            within=WITHIN_SECONDS,
            what="the policy is in force",
        )

    async def requests(self) -> list[Manifest]:
        """The requests of the namespace, the first epoch first."""
        found = await self.api.list("RemediationRequest", self.namespace)
        return sorted(found, key=lambda request: request["spec"]["epoch"])

    async def counts(self, paths: str = COUNTS) -> list[tuple[Any, ...]]:
        """What each request says at these paths."""
        return rows(await self.requests(), paths)

    async def come_to(self, expected: list[tuple[Any, ...]], paths: str = COUNTS) -> None:
        """Wait until the requests say so."""
        await eventually(
            lambda: self.counts(paths),
            lambda seen: seen == expected,
            within=WITHIN_SECONDS,
            what=str(expected),
        )
