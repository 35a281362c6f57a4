"""What a storm costs the API server, counted: the writes of the operator, as the audit log tells them."""

from __future__ import annotations

import json
from collections import Counter

from tests.harness.costs import hold
from tests.harness.eventually import eventually
from tests.harness.scene import Scene

from lab.controlplane import ControlPlane

SIGNALS = 40
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


async def test_storm_takes_no_more_writes_than_recorded(scene: Scene, control_plane: ControlPlane) -> None:
    # All signals are there before the request is made, so that how fast they come does not matter.
    await scene.policy(groupWait="4s", threshold={"signals": 100, "within": "1m"}, window={"idle": "1s"})
    await scene.pods("Trouble", SIGNALS)
    [request] = await scene.comes_to((1, "Settled", SIGNALS))
    await scene.signals_come_to("status.phase", [("Folded",)] * SIGNALS)
    await scene.remediate(request, phase="Succeeded")
    await scene.comes_to((1, "Closed", SIGNALS))

    writes = await eventually(
        lambda: writes_of(control_plane, scene.namespace),
        lambda found: found["signals"] >= SIGNALS,
        what="the audit log holds every mark",
    )
    hold(
        api_writes_of_a_storm_from_opening_to_closing=writes["remediationrequests"],
        api_writes_of_the_marks_of_40_signals=writes["signals"],
        api_writes_of_the_events_of_a_storm=writes["events"],
        api_writes_of_other_kinds_in_a_storm=writes.total()
        - sum(writes[kind] for kind in ("remediationrequests", "signals", "events")),
    )


async def writes_of(control_plane: ControlPlane, namespace: str) -> Counter[str]:
    """The operator's writes in a namespace by kind, but for what it says of the policy."""
    assert control_plane.audit_log is not None
    events = map(json.loads, control_plane.audit_log.read_text().splitlines())
    return Counter(
        event["objectRef"]["resource"]
        for event in events
        if event.get("userAgent") == "stormfold"
        and event["verb"] in WRITES
        and event.get("objectRef", {}).get("namespace") == namespace
        and event["objectRef"]["resource"] != "stormpolicies"
    )
