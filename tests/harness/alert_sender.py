"""Sender: posts alerts of one namespace as Alertmanager does, and says what the requests of it count."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.harness.api import Api, Manifest
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene, rows

Body = dict[str, Any]
BEGAN = datetime.now(UTC) - timedelta(minutes=10)
COUNTS = "spec.epoch status.phase status.signals.total status.signals.firing status.signals.resolved"
LASTING: Manifest = {"groupWait": "100ms", "window": {"idle": "10m"}, "closeAfter": "1h"}
"""Terms under which storms settle only when they are told to."""
TAKEN = {"rejected": [], "discarded": [], "pending": []}


class Sender(Scene):
    """Posts alerts of one namespace, as Alertmanager does, to the operators that it is told."""

    terms = LASTING

    def __init__(self, api: Api, namespace: str, token_file: Path) -> None:
        super().__init__(api, namespace)
        self.token_file = token_file
        self.token = secrets.token_hex(16)
        token_file.write_text(self.token)

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

    async def accepted(self) -> None:
        """Wait until the policy is in force."""
        policy = await self.api.get("StormPolicy", self.policy_name, self.namespace)
        assert policy
        await self.judged(policy)

    async def counts(self, paths: str = COUNTS) -> list[tuple[Any, ...]]:
        """What each request says at these paths."""
        return rows(await self.requests(), paths)

    async def come_to(self, expected: list[tuple[Any, ...]], paths: str = COUNTS) -> None:
        """Wait until the requests say so."""
        await self.requests_come_to(paths, expected)
