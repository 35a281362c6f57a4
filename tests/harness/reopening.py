"""Groups whose alerts fire on after their request was closed: terms, and what their requests say."""

from __future__ import annotations

from typing import Any

from tests.harness.api import Api, Manifest
from tests.harness.eventually import eventually
from tests.harness.front import WITHIN_SECONDS, Front
from tests.harness.scene import rows

from stormfold.request.alert_list import decoded

SOON = {"closeAfter": "2s", "reopenAfter": {"succeeded": "3s", "failed": "3s"}}
LATER = SOON | {"reopenAfter": {"failed": "8s"}}
"""For what a test does in between."""
FIRST = (1, "Closed", 6, 6, "NewSignals")
AGAIN = (2, "Settled", 0, 6, "StillFiring")


async def said(front: Front) -> list[tuple[Any, ...]]:
    """(epoch, phase, total, firing, why it opened) of each request, the first epoch first."""
    found = await front.team.requests()
    return sorted(
        rows(found, "spec.epoch status.phase status.signals.total status.signals.firing spec.reason")
    )


async def come_to(front: Front, *expected: tuple[Any, ...]) -> list[Manifest]:
    """Wait until the requests say so, the first epoch first."""
    await eventually(
        lambda: said(front),
        lambda seen: seen == list(expected),
        within=WITHIN_SECONDS,
        what=f"requests are {expected}",
    )
    return sorted(await front.team.requests(), key=lambda request: request["spec"]["epoch"])


async def ends(api: Api, request: Manifest, phase: str) -> None:
    """What a consumer reports."""
    metadata = request["metadata"]
    done = {"status": {"remediation": {"phase": phase}}}
    where = ("RemediationRequest", metadata["name"], metadata["namespace"])
    await api.patch(*where, done, subresource="status")


def listed(request: Manifest) -> list[bool]:
    """Of each alert in the request's list, whether it fires."""
    return [alert.firing for alert in decoded(request["status"]["withAlerts"]) or ()]
