"""Stream: which groups have a storm at a moment, and the Signals and alerts about their pods. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Manifest = dict[str, Any]

PERIOD_SECONDS = 12.0
"""Each group has one storm in this time: it comes for half of it, and is then quiet for longer than
`closeAfter`."""
PODS = 20
WIDE_PODS = 60
"""Of every tenth group: more than are listed."""
LISTED = 25
ALERTS = 10
"""In one post."""
NAMESPACES = tuple(f"soak-team-{number}" for number in range(8))
POLICY = {
    "threshold": {"signals": 5, "within": "3s"},
    "groupWait": "100ms",
    "window": {"idle": "1s"},
    "closeAfter": "3s",
    "retention": "10s",
    "limits": {"resources": LISTED},
}


@dataclass(frozen=True)
class Group:
    """What belongs together; storms of it come and go."""

    number: int

    @property
    def name(self) -> str:
        """Of its signals."""
        return f"soak-{self.number:02}"

    @property
    def namespace(self) -> str:
        """Where it is."""
        return NAMESPACES[self.number % len(NAMESPACES)]

    @property
    def pods(self) -> int:
        """How many are affected."""
        return WIDE_PODS if self.number % 10 == 9 else PODS

    @property
    def listed(self) -> bool:
        """Whether a request lists all of them, so that they can be compared one by one."""
        return self.pods <= LISTED

    @property
    def alerts_too(self) -> bool:
        """Whether alerts are posted about it, beside its Signals."""
        return self.number % 2 == 0

    def pod(self, place: int) -> str:
        """The name of one."""
        return f"{self.name}-7d9f8b6c5d-{place % self.pods:05}"

    def has_storm(self, seconds: float) -> bool:
        """Whether signals of it come that long after the beginning."""
        begins = PERIOD_SECONDS * self.number / len(GROUPS)
        return (seconds - begins) % PERIOD_SECONDS < PERIOD_SECONDS / 2


GROUPS = tuple(Group(number) for number in range(40))


class Turns:
    """Whose Signal is next: groups that have a storm take turns, and so do the pods of each."""

    def __init__(self) -> None:
        self._turn = 0
        self._places = dict.fromkeys(GROUPS, 0)

    def next(self, seconds: float) -> tuple[Group, int]:
        """The group, and a number that its Signals have not had."""
        storms = [group for group in GROUPS if group.has_storm(seconds)]
        group = storms[self._turn % len(storms)]
        self._turn += 1
        self._places[group] += 1
        return group, self._places[group]


def signal(group: Group, number: int) -> Manifest:
    """A Signal about one of the group's pods."""
    return {
        "apiVersion": "stormfold.dev/v1alpha1",
        "kind": "Signal",
        "metadata": {"name": f"{group.name}-{number:07}", "namespace": group.namespace},
        "spec": {
            "name": group.name,
            "severity": "warning",
            "state": "Firing",
            # As an alert names it, so that both count for one resource.
            "target": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": group.pod(number),
                "namespace": group.namespace,
            },
            "labels": {"container": "checkout", "job": "kube-state-metrics", "team": "payments"},
            "annotations": {"summary": "Pod is crash looping."},
        },
    }


def alert(group: Group, place: int, *, starts: float, firing: bool) -> Manifest:
    """An alert about one of its pods; the same pod's fire again and again, each time with a later start."""
    return {
        "status": "firing" if firing else "resolved",
        "labels": {
            "alertname": group.name,
            "namespace": group.namespace,
            "pod": group.pod(place),
            "severity": "warning",
        },
        "startsAt": datetime.fromtimestamp(starts, UTC).isoformat(timespec="milliseconds"),
        "fingerprint": f"{group.name}-{place % group.pods:05}",
    }
