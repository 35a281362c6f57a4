"""What the examples and a recording of real Events become."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.harness.events import CREATED, PARSE, arrival

from stormfold.model.arrival import Arrival, EventRef

ROOT = Path(__file__).parents[4]
RECORDING = "shared/data/kspan/deployment-2-pods.yaml"
"""Events of a real cluster that nobody of this project wrote; it lies beside the checkout."""


def read(file: Path) -> list[dict[str, Any]]:
    """The Events of a file, as core/v1 has them once an API server has stored them."""
    events = []
    for number, document in enumerate(yaml.safe_load_all(file.read_text())):
        if document and document["kind"] == "Event":
            stored = {"uid": f"uid-{number}", "resourceVersion": "110", "creationTimestamp": CREATED}
            document["metadata"] = stored | document["metadata"]
            for newer, older in {
                "regarding": "involvedObject",
                "reportingController": "reportingComponent",
            }.items():
                if newer in document:
                    document[older] = document.pop(newer)
            events.append(document)
    return events


def told(document: dict[str, Any]) -> tuple[object, ...]:
    """An Event in short: reason and count; of what becomes of it, name, namespace, target, labels."""
    seen = PARSE(document)
    short: tuple[object, ...] = (document["reason"], seen.count)
    if not isinstance(seen.outcome, Arrival):
        return (*short, seen.outcome)
    found = seen.outcome
    assert found.target
    target = f"{found.target.kind}/{found.target.name}"
    return (
        *short,
        found.namespace,
        target,
        " ".join(f"{key}={value}" for key, value in found.labels.items()),
    )


CHECKOUT = ("shop", "Pod/checkout-6d5f8c7b9-2kq7m")
KUBELET = "component=kubelet host=worker-07"


@pytest.mark.parametrize(
    ("example", "table"),
    [
        (
            "image-cannot-be-pulled",
            [
                (
                    *("Failed", 3, *CHECKOUT),
                    (
                        f"{KUBELET} container=checkout image=registry.shop.example/checkout:4.2.1 "
                        "registry=registry.shop.example"
                    ),
                ),
                ("Failed", 3, *CHECKOUT, f"{KUBELET} container=checkout"),
                ("Failed", 5, *CHECKOUT, f"{KUBELET} container=checkout"),
            ],
        ),
        ("series", [("FailedScheduling", 14, "search", "Pod/search-0", "component=default-scheduler")]),
        ("node", [("SystemOOM", 1, "default", "Node/worker-07", KUBELET)]),
    ],
)
def test_example_becomes(example: str, table: list[tuple[object, ...]]) -> None:
    assert [told(document) for document in read(ROOT / "examples" / "events" / f"{example}.yaml")] == table


ROLLOUT = [
    ("ScalingReplicaSet", "Deployment", "deployment-controller"),
    ("SuccessfulCreate", "ReplicaSet", "replicaset-controller"),
    ("Scheduled", "Pod", "default-scheduler"),
    *((reason, "Pod", "kubelet podinfo") for reason in ("Pulling", "Pulled", "Created", "Started")),
    ("SuccessfulDelete", "ReplicaSet", "replicaset-controller"),
    ("ScalingReplicaSet", "Deployment", "deployment-controller"),
    ("Killing", "Pod", "kubelet podinfo"),
    ("ScalingReplicaSet", "Deployment", "deployment-controller"),
    ("SuccessfulCreate", "ReplicaSet", "replicaset-controller"),
    ("Scheduled", "Pod", "default-scheduler"),
    *((reason, "Pod", "kubelet podinfo") for reason in ("Pulled", "Created", "Started")),
    ("ScalingReplicaSet", "Deployment", "deployment-controller"),
    ("SuccessfulDelete", "ReplicaSet", "replicaset-controller"),
    ("Killing", "Pod", "kubelet podinfo"),
]
"""The Events of the recording: reason, kind of the target, component and container. Each has occurred
once."""


@pytest.fixture
def recording() -> list[dict[str, Any]]:
    """The Events of the recording, as they were stored."""
    found = [folder / RECORDING for folder in ROOT.parents if (folder / RECORDING).exists()]
    if not found:
        pytest.skip(f"no {RECORDING} beside this checkout")
    return read(found[0])


def test_recorded_events_are_left_out_since_none_is_a_warning(recording: list[dict[str, Any]]) -> None:
    assert [(event["type"], event["reason"], PARSE(event).outcome) for event in recording] == [
        ("Normal", reason, None) for reason, _, _ in ROLLOUT
    ]


def test_recorded_events_would_be_arrivals_if_they_were_warnings(recording: list[dict[str, Any]]) -> None:
    found = [(event, arrival(event | {"type": "Warning"})) for event in recording]
    short = []
    for event, made in found:
        assert made.target
        where = [made.labels[name] for name in ("component", "container") if name in made.labels]
        short.append((made.name, made.target.kind, " ".join(where)))
        assert made.ref == EventRef(event["metadata"]["uid"], int(event["metadata"]["resourceVersion"]), 1, 0)
        assert made.target.name == event["involvedObject"]["name"]
        assert (made.namespace, made.target.namespace) == ("default", "default")
        created = datetime.fromisoformat(event["metadata"]["creationTimestamp"])
        assert made.seen_ms // 1000 == created.timestamp()
        assert set(made.labels) <= {"component", "container", "host"}
    assert short == ROLLOUT
