"""What is sent: the bodies of Signals and Events of a group."""

from __future__ import annotations

from tests.chaos.stream import Group, Law
from tests.harness.api import Manifest


def signal_name(group: Group, number: int) -> str:
    """The name of a Signal resource."""
    return f"{group.name}-{number:05}"


def signal(group: Group, number: int, *, resolved: bool) -> Manifest:
    """A Signal about a pod of the group."""
    labels = {"node": group.name} if group.law is Law.CLUSTER else {}
    return {
        "apiVersion": "stormfold.dev/v1alpha1",
        "kind": "Signal",
        "metadata": {"name": signal_name(group, number), "namespace": group.place(number)},
        "spec": {
            "name": group.name,
            "severity": "warning",
            "state": "Resolved" if resolved else "Firing",
            "target": {"kind": "Pod", "name": group.pod(number)},
            "labels": labels,
        },
    }


def event(group: Group, number: int, *, at: str) -> Manifest:
    """An Event about a pod of the group, as it is reported first."""
    namespace = group.place(number)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": signal_name(group, number), "namespace": namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": namespace,
            "name": group.pod(number),
        },
        "reason": group.name,
        "message": "it happened",
        "type": "Warning",
        "count": 1,
        "firstTimestamp": at,
        "lastTimestamp": at,
    }
