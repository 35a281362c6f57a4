"""The alert of a request, as the API of Alertmanager (version 2) takes it. Pure.

Its labels come from the spec of the request, which never changes: so it is the same alert for Alertmanager
whichever replica posts it, how often it is posted, and when.
"""

import re
from datetime import datetime, timedelta
from typing import Any

import orjson

from stormfold.api.conditions import ConditionType
from stormfold.model.arrival import STORM_MARK
from stormfold.model.evidence import harmless
from stormfold.request.reading import Request

NAME = "StormOpen"
"""The alert's name."""
VALID = timedelta(minutes=3)
"""For so long Alertmanager takes it as firing if it is not posted again."""


def is_storm(request: Request) -> bool:
    """Whether people are to hear of it: its group has reached its threshold."""
    return request.holding(ConditionType.STORM_DETECTED) is not None


def ended(request: Request) -> datetime | None:
    """When it was closed; None if it is open."""
    closed = request.holding(ConditionType.CLOSED)
    return closed.last_transition_time if closed else None


def alert(request: Request, now: datetime) -> dict[str, Any]:
    """The alert as it is to be posted at that time: it fires until `VALID` later, or is over. What its
    request says of a time to come is taken for now: Alertmanager refuses an alert that begins after its end,
    and would let one fire on that ends later."""
    opened, end = min(request.resource.spec.opened_at, now), ended(request)
    return {
        "labels": labels(request),
        "annotations": _annotations(request),
        "startsAt": opened.isoformat(),
        "endsAt": (max(opened, min(end, now)) if end else now + VALID).isoformat(),
    }


def labels(request: Request) -> dict[str, str]:
    """Its labels. `labels.node` of a policy's groupBy becomes `group_labels_node`: names of labels have
    letters, digits and _ only, also in Alertmanagers before 0.27."""
    spec, metadata = request.resource.spec, request.resource.metadata
    named = {
        "alertname": NAME,
        STORM_MARK: "true",
        "namespace": metadata.namespace,
        "request": metadata.name,
        "policy": spec.policy_ref.name,
        "severity": spec.severity.value,
    }
    for item in spec.group:
        name = f"group_{re.sub(r'[^a-zA-Z0-9_]', '_', item.key)}"
        while name in named:
            name += "_"
        if value := harmless(item.value or ""):
            named[name] = value
    return named


def _annotations(request: Request) -> dict[str, str]:
    status, shown = request.resource.status, orjson.loads(request.shown)
    texts = {
        "summary": (status and status.summary) or request.resource.spec.name,
        "runbook_url": next(iter(shown.get("runbookURLs", ())), ""),
        "dashboard_url": next(
            (sample["dashboardURL"] for sample in shown.get("samples", ()) if "dashboardURL" in sample), ""
        ),
    }
    return {name: harmless(text) for name, text in texts.items() if text}
