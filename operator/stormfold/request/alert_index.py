"""AlertIndex: which open request lists an alert, so that the alert goes there also after policies change."""

from typing import NamedTuple

from prometheus_client import Gauge

from stormfold.policy.routing import Place
from stormfold.request import alert_list
from stormfold.request.reading import Request, opening_of

INDEXED_ALERTS = 100_000
"""The most alerts that are kept, about 100 bytes each. Those of further requests go by today's policies until
the list of their request changes and there is room."""

INDEXED = Gauge("stormfold_alerts_indexed", "Alerts that open RemediationRequests list, up to 100,000.")


class Listed(NamedTuple):
    """What was read of a request."""

    text: str
    """Its list of alerts."""
    place: Place
    ids: tuple[str, ...]
    """The alerts in the list."""


class AlertIndex:
    """Alert → the open request that lists it."""

    def __init__(self) -> None:
        self._of: dict[str, Listed] = {}
        """By group."""
        self._group_of: dict[str, str] = {}
        """By id of an alert."""

    def note(self, group_hash: str, request: Request | None) -> None:
        """Take in the group's open request; None if it has none."""
        known = self._of.get(group_hash)
        text = request.alerts if request else ""
        if text == (known.text if known else ""):
            return
        for alert_id in known.ids if known else ():
            del self._group_of[alert_id]
        self._of.pop(group_hash, None)
        if request and text:
            self._of[group_hash] = Listed(text, _place_of(request), self._taken(group_hash, text))
        INDEXED.set(len(self._group_of))

    def _taken(self, group_hash: str, text: str) -> tuple[str, ...]:
        free = [a.id for a in alert_list.decoded(text) or () if a.id not in self._group_of]
        taken = free[: max(0, INDEXED_ALERTS - len(self._group_of))]
        self._group_of.update(dict.fromkeys(taken, group_hash))
        return tuple(taken)

    def listed_in(self, alert_id: str) -> Place | None:
        """Where the open request is that lists the alert."""
        group_hash = self._group_of.get(alert_id)
        return self._of[group_hash].place if group_hash else None


def _place_of(request: Request) -> Place:
    return Place(request.version, opening_of(request).group)
