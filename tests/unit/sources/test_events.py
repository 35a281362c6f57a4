"""Kubernetes Events become arrivals, or nothing; each of their occurrences is taken once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.harness.metrics import sample
from tests.harness.streams import event_stream
from tests.harness.values import NOBODY, T0

from stormfold.api.conditions import Reason
from stormfold.api.signal import Severity, SignalPhase
from stormfold.kube.changes import Change, Changed, Deleted, Listed, Reached
from stormfold.model.arrival import Arrival, EventRef, Target, Verdict
from stormfold.model.checkpoint import Checkpoint
from stormfold.sources.backlog import Deferred
from stormfold.sources.events.parser import MAX_COUNT, EventParser, SeenEvent
from stormfold.sources.events.watch import SELECT
from stormfold.sources.progress import Progress

ROOT = Path(__file__).parents[3]
RECORDING = "shared/data/kspan/deployment-2-pods.yaml"
"""Events of a real cluster that nobody of this project wrote; it lies beside the checkout."""

PARSE = EventParser(NOBODY)
CREATED = "2026-01-01T00:00:00Z"
WRITE = {"manager": "kubelet", "operation": "Update", "time": CREATED}
BODY: dict[str, Any] = {
    "metadata": {
        "name": "web-0.18a1f0c3d2e4b501",
        "namespace": "shop",
        "uid": "uid-1",
        "resourceVersion": "110",
        "creationTimestamp": CREATED,
        "managedFields": [WRITE],
    },
    "type": "Warning",
    "reason": "Failed",
    "message": 'Failed to pull image "registry.example/web:1": connection refused',
    "count": 1,
    "eventTime": None,
    "firstTimestamp": CREATED,
    "lastTimestamp": CREATED,
    "involvedObject": {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "shop",
        "name": "web-0",
        "uid": "uid-of-web-0",
        "fieldPath": "spec.containers{web}",
    },
    "source": {"component": "kubelet", "host": "worker-07"},
    "reportingComponent": "kubelet",
    "reportingInstance": "worker-07",
}
ARRIVAL = Arrival(
    ref=EventRef("uid-1", 110, 1, 0),
    name="Failed",
    namespace="shop",
    severity=Severity.WARNING,
    firing=True,
    target=Target("v1", "Pod", "web-0", "shop"),
    labels={
        "component": "kubelet",
        "host": "worker-07",
        "container": "web",
        "image": "registry.example/web:1",
    },
    source="event",
    seen_ms=T0,
    fingerprint="uid-of-web-0/Failed",
    via=NOBODY,
    annotations={"message": 'Failed to pull image "registry.example/web:1": connection refused'},
)


def body(
    *, metadata: dict[str, Any] | None = None, about: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """BODY with other fields; one of None is taken away."""
    made = copy.deepcopy(BODY)
    made["metadata"] |= metadata or {}
    made["involvedObject"] |= about or {}
    made |= fields
    made["involvedObject"] = {
        key: value for key, value in made["involvedObject"].items() if value is not None
    }
    return {key: value for key, value in made.items() if value is not None}


def arrival(of: dict[str, Any]) -> Arrival:
    """What an Event becomes that must become something."""
    outcome = PARSE(of).outcome
    assert isinstance(outcome, Arrival)
    return outcome


def test_event_is_an_arrival() -> None:
    assert PARSE(BODY) == SeenEvent(
        "uid-1", "shop", "web-0.18a1f0c3d2e4b501", 110, T0 // 1000, T0 // 1000, False, 1, ARRIVAL
    )


def test_event_that_says_only_its_reason_is_an_arrival() -> None:
    bare = {key: BODY[key] for key in ("metadata", "type", "reason")} | {
        "involvedObject": {"namespace": "shop"}
    }
    assert arrival(bare) == replace(
        ARRIVAL, target=None, labels={}, fingerprint="shop/Failed", annotations={}
    )


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        pytest.param({"count": 7}, 7, id="count"),
        pytest.param({"count": None}, 1, id="no count"),
        pytest.param({"count": 0}, 1, id="a count of the newer API"),
        pytest.param({"count": None, "series": {"count": 14}}, 14, id="a series"),
        pytest.param({"count": 3, "series": {"count": 14}}, 14, id="both"),
        pytest.param({"count": 3, "series": {}}, 3, id="an empty series"),
        pytest.param({"count": -5}, 1, id="a negative count"),
        pytest.param({"count": 2**31 - 1}, MAX_COUNT, id="a count that nobody believes"),
        pytest.param({"count": "7"}, 1, id="a count that is no number"),
        pytest.param({"count": True}, 1, id="a count that is a truth"),
        pytest.param({"count": 3, "series": "14"}, 3, id="a series that is none"),
    ],
)
def test_event_has_a_count(fields: dict[str, Any], count: int) -> None:
    seen = PARSE(body(**fields))
    assert isinstance(seen.outcome, Arrival)
    assert seen.count == count
    assert seen.outcome.ref == EventRef("uid-1", 110, count, 0)


LATER, MUCH_LATER = "2026-01-01T00:05:00Z", "2026-01-01T01:00:00.500000Z"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        pytest.param({"lastTimestamp": LATER}, 300, id="the last of a count"),
        pytest.param({"lastTimestamp": None, "eventTime": LATER}, 300, id="the first of a series"),
        pytest.param(
            {"lastTimestamp": LATER, "eventTime": LATER, "series": {"lastObservedTime": MUCH_LATER}},
            3600.5,
            id="the last of a series",
        ),
        pytest.param({"lastTimestamp": None}, 0, id="no time but its creation"),
        pytest.param({"lastTimestamp": "1970-01-01T00:00:00Z"}, 0, id="before its creation"),
        pytest.param({"lastTimestamp": "0000-01-01T00:00:00Z"}, 0, id="a year that Python does not know"),
        pytest.param({"lastTimestamp": "2026-01-01T00:05:00"}, 0, id="no zone"),
        pytest.param({"lastTimestamp": 300}, 0, id="no text"),
    ],
)
def test_event_was_seen_last(fields: dict[str, Any], seconds: float) -> None:
    assert arrival(body(**fields)).seen_ms == T0 + seconds * 1000


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        pytest.param({"count": 7, "lastTimestamp": LATER}, 300, id="since its creation"),
        pytest.param({"count": 1, "lastTimestamp": LATER}, 0, id="a single one"),
        pytest.param(
            {"count": 7, "firstTimestamp": "2026-01-01T00:02:00Z", "lastTimestamp": LATER},
            180,
            id="since its first occurrence",
        ),
        pytest.param(
            {"count": 7, "firstTimestamp": "2025-12-31T23:50:00Z", "lastTimestamp": LATER},
            300,
            id="not from before its creation",
        ),
        pytest.param(
            {"count": 7, "firstTimestamp": MUCH_LATER, "lastTimestamp": LATER}, 0, id="times in reverse"
        ),
        pytest.param({"count": 7, "lastTimestamp": "1970-01-01T00:00:00Z"}, 0, id="before its creation"),
    ],
)
def test_occurrences_lie_between_the_first_and_the_last(fields: dict[str, Any], seconds: float) -> None:
    seen = PARSE(body(**fields))
    assert isinstance(seen.outcome, Arrival)
    assert isinstance(seen.outcome.ref, EventRef)
    assert (seen.span_ms, seen.outcome.ref.span_ms) == (seconds * 1000, seconds * 1000)


def test_event_of_the_future_was_seen_now() -> None:
    before = datetime.now(UTC).timestamp() * 1000
    seen_ms = arrival(body(lastTimestamp="9999-12-31T23:59:59Z")).seen_ms
    assert int(before) <= seen_ms <= datetime.now(UTC).timestamp() * 1000


LABELS = ARRIVAL.labels
WITHOUT_IMAGE = {key: value for key, value in LABELS.items() if key != "image"}


@pytest.mark.parametrize(
    ("message", "image"),
    [
        ('Failed to pull image "nginx": not found', "nginx"),
        (
            'Failed to pull image "ghcr.io/a/b@sha256:0f": rpc error: failed to pull "ghcr.io/a/b@sha256:0f"',
            "ghcr.io/a/b@sha256:0f",
        ),
        ('Failed to inspect image "nginx:1": rpc error', "nginx:1"),
        ('Failed to inspect image "": rpc error', None),
        ('Failed to apply default image tag "Nginx:1:2": invalid reference format', "Nginx:1:2"),
        ('Container image "nginx:1" is not present with pull policy of Never', "nginx:1"),
        ('Container image "nginx:1" already present on machine', None),
        ('Failed to pull image "nginx', None),
        ('Failed to pull image "a\\"b": x', None),
        ('Failed to pull image "a\nb": x', None),
        (f'Failed to pull image "{"a" * 256}": x', "a" * 256),
        (f'Failed to pull image "{"a" * 257}": x', None),
        ("Error: ErrImagePull", None),
        ("Error: ImagePullBackOff", None),
        ("Back-off restarting failed container web in pod web-0_shop(1)", None),
        ('(combined from similar events): Failed to pull image "nginx": not found', None),
        ('it says: Failed to pull image "nginx": not found', None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_image_is_read_from_the_beginning_of_a_message(message: object, image: str | None) -> None:
    assert arrival(body(message=message)).labels == (
        WITHOUT_IMAGE | {"image": image} if image else WITHOUT_IMAGE
    )


@pytest.mark.parametrize(
    "message",
    ['Failed to pull image "' + "a" * 2**20, '"' * 2**20, "\n" * 2**20, "Failed to pull image " * 2**16],
)
def test_message_of_a_megabyte_is_no_label(message: str) -> None:
    assert arrival(body(message=message)).labels == WITHOUT_IMAGE


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        pytest.param(
            {"about": {"fieldPath": "spec.initContainers{setup}"}}, {"container": "setup"}, id="init"
        ),
        pytest.param(
            {"about": {"fieldPath": "spec.ephemeralContainers{debug}"}},
            {"container": "debug"},
            id="ephemeral",
        ),
        pytest.param({"about": {"fieldPath": "spec.containers[0]"}}, {"container": None}, id="no name"),
        pytest.param({"about": {"fieldPath": None}}, {"container": None}, id="no container"),
        pytest.param({"reportingComponent": ""}, {}, id="the component of the older API"),
        pytest.param(
            {"reportingComponent": "my.org/controller", "source": None},
            {"component": "my.org/controller", "host": None},
            id="the component of the newer API",
        ),
        pytest.param(
            {"reportingComponent": None, "source": {}}, {"component": None, "host": None}, id="nobody reports"
        ),
        pytest.param({"source": {"host": "h" * 1000}}, {"host": "h" * 256}, id="a host that is too long"),
    ],
)
def test_labels_say_where_an_event_comes_from(fields: dict[str, Any], changed: dict[str, str | None]) -> None:
    wanted = {key: value for key, value in (LABELS | changed).items() if value is not None}
    assert arrival(body(**fields)).labels == wanted


NODE = {"apiVersion": None, "kind": "Node", "name": "worker-07", "uid": "worker-07", "namespace": None}


@pytest.mark.parametrize("namespace", ["default", "kube-system"])
def test_event_about_a_node_speaks_for_the_namespace_in_which_kubernetes_puts_it(namespace: str) -> None:
    found = arrival(body(metadata={"namespace": namespace}, about=NODE))
    assert (found.namespace, found.target) == (namespace, Target("v1", "Node", "worker-07", None))


def test_node_is_the_same_with_and_without_a_namespace() -> None:
    fields = {"kind": "Node", "name": "worker-07", "uid": None, "apiVersion": "v1"}
    one = arrival(body(metadata={"namespace": "default"}, about=fields | {"namespace": None}))
    other = arrival(body(metadata={"namespace": "default"}, about=fields | {"namespace": "default"}))
    assert one == other
    assert (one.target, one.fingerprint) == (Target("v1", "Node", "worker-07"), "Node//worker-07/Failed")


@pytest.mark.parametrize(
    ("namespace", "about"),
    [
        pytest.param("shop", "bank", id="another namespace"),
        pytest.param("stormfold-system", "shop", id="another one, from the operator's"),
        pytest.param("default", "shop", id="another one, from where Events about nodes lie"),
        pytest.param("shop", None, id="no namespace"),
    ],
)
def test_event_speaks_for_its_own_namespace_only(namespace: str, about: str | None) -> None:
    outcome = PARSE(body(metadata={"namespace": namespace}, about={"namespace": about})).outcome
    assert outcome == Verdict(
        SignalPhase.REJECTED,
        Reason.TARGET_IN_OTHER_NAMESPACE,
        f"involvedObject.namespace: {about or ''!r} must be {namespace!r}, the Event's own namespace",
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"reason": None}, "name: String should have at least 1 character", id="no reason"),
        pytest.param(
            {"reason": "R" * 254}, "name: String should have at most 253 characters", id="a reason too long"
        ),
        pytest.param({"reason": 7}, "name: Input should be a valid string", id="a reason that is no text"),
        pytest.param(
            {"about": {"kind": "K" * 64}},
            "target.kind: String should have at most 63 characters",
            id="a kind too long",
        ),
        pytest.param(
            {"about": {"name": "n" * 254}},
            "target.name: String should have at most 253 characters",
            id="a name too long",
        ),
    ],
)
def test_event_that_cannot_be_a_signal_is_rejected(changed: dict[str, Any], message: str) -> None:
    assert PARSE(body(**changed)).outcome == Verdict(
        SignalPhase.REJECTED, Reason.INVALID_SIGNAL, f"as a Signal's spec, {message}"
    )


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"type": "Normal"}, id="Normal"),
        pytest.param({"type": "normal"}, id="Normal in lower case"),
        pytest.param({"type": " NORMAL "}, id="Normal in capitals"),
        pytest.param({"type": None}, id="of no type"),
        pytest.param({"type": ""}, id="of an empty type"),
        pytest.param({"type": 7}, id="of a type that is no text"),
        pytest.param({"reportingComponent": "stormfold"}, id="by stormfold"),
        pytest.param(
            {"reportingComponent": "", "source": {"component": "stormfold"}}, id="by stormfold, as of old"
        ),
        pytest.param(
            {"about": {"apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal"}}, id="about one of our kinds"
        ),
    ],
)
def test_event_is_left_out(changed: dict[str, Any]) -> None:
    assert PARSE(body(**changed)).outcome is None


def test_api_server_is_asked_for_all_types_but_normal() -> None:
    assert SELECT == {"fieldSelector": "type!=Normal"}


@pytest.mark.parametrize(
    ("written", "severity", "severity_text"),
    [
        ("Warning", Severity.WARNING, ""),
        ("warning", Severity.WARNING, ""),
        ("Error", Severity.HIGH, "Error"),
        ("error", Severity.HIGH, "error"),
        ("Fatal", Severity.CRITICAL, "Fatal"),
        ("Critical", Severity.CRITICAL, "Critical"),
        ("Failed", Severity.WARNING, "Failed"),
        ("x" * 1000, Severity.WARNING, "x" * 63),
    ],
)
def test_type_says_how_bad_it_is(written: str, severity: Severity, severity_text: str) -> None:
    """What is no type of Kubernetes' own a policy's severityMap may know."""
    assert arrival(body(type=written)) == replace(ARRIVAL, severity=severity, severity_text=severity_text)


@pytest.mark.parametrize(
    ("changed", "fingerprint"),
    [
        pytest.param({}, "uid-of-web-0/Failed", id="uid and reason"),
        pytest.param(
            {"metadata": {"uid": "uid-2"}, "message": "x"}, "uid-of-web-0/Failed", id="another Event"
        ),
        pytest.param({"reason": "BackOff"}, "uid-of-web-0/BackOff", id="another reason"),
        pytest.param({"about": {"uid": None}}, "Pod/shop/web-0/Failed", id="no uid"),
    ],
)
def test_instance_is_an_object_with_a_reason(changed: dict[str, Any], fingerprint: str) -> None:
    assert arrival(body(**changed)).fingerprint == fingerprint


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
                    f"{KUBELET} container=checkout image=registry.shop.example/checkout:4.2.1",
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


# --- each occurrence once


def version(number: int, count: int = 1, **changes: Any) -> SeenEvent:
    """The Event at a resourceVersion; one with a count was written to since its creation."""
    metadata = changes.pop("metadata", {}) | {"resourceVersion": str(number)}
    if count > 1:
        metadata = {"managedFields": [WRITE | {"time": LATER}]} | metadata
    return PARSE(body(metadata=metadata, count=count, **changes))


class Stream:
    """A stream that began at checkpoint 100, with the refs that it has submitted."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.progress.begin(Checkpoint(100, T0 // 1000 - 60))
        self.progress.begun()
        self.submitted: list[EventRef] = []
        self.room = True
        self.stream = event_stream(self.progress, folder=self)
        self.backlog = self.stream.backlog

    async def submit(self, arrival: Arrival, waits: Callable[[str], bool]) -> str | None:
        """As the folder."""
        if waits("shop") or not self.room:
            return "shop"
        assert isinstance(arrival.ref, EventRef)
        self.submitted.append(arrival.ref)
        return None

    async def take(self, *changes: Change[SeenEvent]) -> list[tuple[int, int, int]]:
        """(resourceVersion, after, count) of what is submitted of these changes."""
        before = len(self.submitted)
        for change in changes:
            await self.stream.take(change)
        return [(ref.resource_version, ref.after, ref.count) for ref in self.submitted[before:]]

    def conclude(self, verdict: Verdict) -> None:
        """The last that was submitted is durable."""
        self.stream.durable(replace(ARRIVAL, ref=self.submitted[-1]), verdict)

    @property
    def checkpoint(self) -> int:
        return self.progress.checkpoint().resource_version


def concluded(phase: SignalPhase, reason: Reason) -> Verdict:
    return Verdict(phase, reason, "")


COUNTED = concluded(SignalPhase.FOLDED, Reason.COUNTED)
NOT_GOVERNED = concluded(SignalPhase.REJECTED, Reason.NO_POLICY_MATCHES)


async def test_new_event_is_submitted_and_holds_the_checkpoint_until_it_is_durable() -> None:
    stream = Stream()
    assert await stream.take(Changed(version(110))) == [(110, 0, 1)]
    assert stream.checkpoint == 109
    stream.conclude(COUNTED)
    assert stream.checkpoint == 110


async def test_event_is_submitted_with_the_occurrences_that_are_new() -> None:
    stream = Stream()
    await stream.take(Changed(version(110)))
    stream.conclude(COUNTED)
    assert await stream.take(Changed(version(120, 4))) == [(120, 1, 4)]
    # Those that are under way are told again: they may have to be folded again after this.
    assert await stream.take(Changed(version(130, 6))) == [(130, 1, 6)]
    stream.conclude(COUNTED)
    assert await stream.take(Changed(version(140, 7))) == [(140, 6, 7)]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("count", [3, 2])
async def test_count_that_does_not_rise_is_nothing_new(count: int, durable: bool) -> None:
    stream = Stream()
    await stream.take(Changed(version(110, 3)))
    if durable:
        stream.conclude(COUNTED)
    again = version(120, count, metadata={"labels": {"seen": "yes"}})
    assert await stream.take(Changed(again), Listed([again], 130, frozenset())) == []
    assert await stream.take(Changed(version(140, 4))) == [(140, 3 if durable else 0, 4)]


OLD = {"creationTimestamp": "2025-12-31T23:00:00Z"}


@pytest.mark.parametrize(
    ("found", "submitted"),
    [
        pytest.param(version(100, 7), [], id="at the checkpoint"),
        pytest.param(version(110), [(110, 0, 1)], id="above it"),
        pytest.param(version(110, 7), [(110, 0, 7)], id="above it, with a count"),
        pytest.param(version(110, metadata=OLD), [], id="above it, created long before, once, edited"),
        pytest.param(
            version(110, metadata=OLD | {"managedFields": [WRITE | {"time": OLD["creationTimestamp"]}]}),
            [(110, 0, 1)],
            id="above it, created long before by a clock that is behind",
        ),
        pytest.param(
            version(110, 7, metadata=OLD), [(110, 1, 7)], id="above it, created long before, occurred since"
        ),
        pytest.param(
            version(110, 7, firstTimestamp="2025-12-31T23:30:00Z"),
            [(110, 6, 7)],
            id="above it, continuing one that has expired",
        ),
        pytest.param(
            version(110, 7, firstTimestamp="2025-12-31T23:31:00Z"),
            [(110, 0, 7)],
            id="above it, begun not long before it was created",
        ),
        pytest.param(
            version(110, 7, firstTimestamp=None, eventTime="2025-12-31T20:00:00Z"),
            [(110, 6, 7)],
            id="above it, continuing a series that has expired",
        ),
    ],
)
async def test_event_found_at_start_is_submitted_but_for_what_was_counted(
    found: SeenEvent, submitted: list[tuple[int, int, int]]
) -> None:
    stream = Stream()
    assert await stream.take(Listed([found], 200, frozenset())) == submitted
    assert await stream.take(Changed(version(210, 9))) == [
        (210, submitted[0][1] if submitted else found.count, 9)
    ]


async def test_rejected_event_is_concluded_at_once() -> None:
    stream = Stream()
    assert await stream.take(Changed(version(110, about={"namespace": "bank"}))) == []
    assert stream.checkpoint == 110


async def test_event_that_is_left_out_holds_nothing() -> None:
    stream = Stream()
    assert await stream.take(Changed(version(110, type="Normal"))) == []
    assert stream.checkpoint == 110


async def test_event_that_no_policy_took_counts_from_then_on_when_one_does() -> None:
    stream = Stream()
    await stream.take(Changed(version(110, 5)))
    stream.conclude(NOT_GOVERNED)
    assert await stream.take(Changed(version(120, 7))) == [(120, 5, 7)]


async def test_arrival_comes_through_the_stream_that_read_it() -> None:
    stream = Stream().stream
    outcome = stream.parse(BODY).outcome
    assert isinstance(outcome, Arrival)
    assert outcome.via is stream


async def test_arrival_is_folded_without_what_has_become_durable_since_it_was_made() -> None:
    stream = Stream()
    await stream.take(Changed(version(110, 3)), Changed(version(120, 5)))
    first, second = (replace(ARRIVAL, ref=ref) for ref in stream.submitted)
    assert [stream.stream.current(of) for of in (first, second)] == [first, second]
    stream.stream.durable(first, COUNTED)
    assert stream.stream.current(second).ref == EventRef("uid-1", 120, 5, 3)
    stream.stream.durable(second, COUNTED)
    assert stream.stream.current(second).ref == EventRef("uid-1", 120, 5, 5)


async def test_checkpoint_follows_bookmarks() -> None:
    stream = Stream()
    await stream.take(Listed([], 150, frozenset()), Reached(180))
    assert stream.checkpoint == 180


async def test_event_that_expires_before_it_is_durable_still_holds_the_checkpoint() -> None:
    stream = Stream()
    await stream.take(Changed(version(110)), Deleted("uid-1", 120))
    assert stream.checkpoint == 109
    stream.conclude(COUNTED)
    assert stream.checkpoint == 120


def expire(stream: Stream) -> list[Change[SeenEvent]]:
    return [Deleted("uid-1", 200)]


def miss(stream: Stream) -> list[Change[SeenEvent]]:
    return [Listed([], 200, frozenset(["uid-1"]))]


@pytest.mark.parametrize("go", [expire, miss])
async def test_redis_may_forget_an_event_when_it_is_gone(
    go: Callable[[Stream], list[Change[SeenEvent]]],
) -> None:
    stream, before = Stream(), sample("stormfold_events_live")
    await stream.take(Changed(version(110, 2)))
    stream.conclude(COUNTED)
    stream.progress.kept(Checkpoint(150, T0 // 1000 + 60))
    assert (stream.progress.trim(), sample("stormfold_events_live") - before) == (109, 1)
    await stream.take(*go(stream))
    assert (stream.progress.trim(), sample("stormfold_events_live") - before) == (150, 0)


async def test_redis_may_forget_an_event_that_occurred_once_as_soon_as_its_creation_proves_it() -> None:
    stream = Stream()
    await stream.take(Changed(version(110)))
    stream.conclude(COUNTED)
    stream.progress.kept(Checkpoint(150, T0 // 1000 + 1))
    assert stream.progress.trim() == 150


async def test_redis_may_forget_the_lower_count_only_when_the_higher_is_durable() -> None:
    stream = Stream()
    await stream.take(Changed(version(110, 2)))
    stream.conclude(COUNTED)
    await stream.take(Changed(version(120, 3)))
    stream.progress.kept(Checkpoint(119, 0))
    assert stream.progress.trim() == 109
    stream.conclude(COUNTED)
    stream.progress.kept(Checkpoint(150, 0))
    assert stream.progress.trim() == 119


async def test_redis_never_heard_of_an_event_that_no_policy_took() -> None:
    stream = Stream()
    await stream.take(Changed(version(110, 5)))
    stream.conclude(NOT_GOVERNED)
    stream.progress.kept(Checkpoint(150, 0))
    assert stream.progress.trim() == 150


# --- while there is no room


async def left_with(*counts: int) -> Stream:
    """A stream whose Event has come with these counts while there was no room; the first comes at version
    110."""
    stream = Stream()
    stream.room = False
    for place, count in enumerate(counts):
        await stream.take(Changed(version(110 + place, count)))
    stream.room = True
    return stream


async def test_event_that_was_left_holds_the_checkpoint_and_is_taken_as_it_was_left() -> None:
    stream = await left_with(3)
    assert (stream.submitted, len(stream.backlog), stream.checkpoint) == ([], 1, 109)
    deferred = stream.backlog.drop("uid-1")
    assert deferred == Deferred("uid-1", "shop", "web-0.18a1f0c3d2e4b501", 3, 110)
    await stream.stream.resume(deferred, version(115, 3))
    assert stream.submitted == [EventRef("uid-1", 110, 3, 0)]
    stream.conclude(COUNTED)
    assert stream.checkpoint == 110


async def test_occurrences_that_were_left_come_with_newer_ones() -> None:
    stream = await left_with(3, 5)
    deferred = stream.backlog.drop("uid-1")
    assert deferred
    await stream.stream.resume(deferred, version(111, 5))
    assert stream.submitted == [EventRef("uid-1", 111, 5, 0)]
    stream.conclude(COUNTED)
    assert stream.checkpoint == 111


async def test_event_that_has_gone_before_it_was_read_holds_nothing_up() -> None:
    stream = await left_with(3)
    before = sample("stormfold_signals_missed_total", kind="Event")
    await stream.take(Deleted("uid-1", 120))
    missed = sample("stormfold_signals_missed_total", kind="Event") - before
    assert (len(stream.backlog), stream.checkpoint, missed) == (0, 120, 3)


async def test_event_for_which_there_is_still_no_room_is_left_again() -> None:
    stream = await left_with(3)
    deferred = stream.backlog.drop("uid-1")
    assert deferred
    stream.room = False
    await stream.stream.resume(deferred, version(110, 3))
    assert (stream.submitted, len(stream.backlog), stream.checkpoint) == ([], 1, 109)


# --- any interleaving


@dataclass
class Stored:
    """An Event on the API server."""

    count: int
    version: int
    created: int
    edited: bool = False

    def seen(self, uid: str) -> SeenEvent:
        ref = EventRef(uid, self.version, self.count, 0)
        return SeenEvent(
            *(uid, "shop", uid, self.version, self.created, self.created, self.edited, self.count),
            replace(ARRIVAL, ref=ref),
        )


class Occurrences(RuleBasedStateMachine):
    """An API server, a watch that is behind it, an operator that dies and comes back, and a Redis that
    remembers.

    Folding, becoming durable, renewing and forgetting come in any order; Redis adds what an arrival of an
    Event asks for: `count - max(after, what it remembers)`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.version = 10
        self.events: dict[str, Stored] = {}
        self.last: dict[str, int] = {}
        """Of Events that are there and of those that are gone, the highest count."""
        self.watch: list[Change[SeenEvent]] = []
        self.lease = Checkpoint(10)
        self.remembered: dict[str, tuple[int, int]] = {}
        self.totals: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        self.progress = Progress()
        self.progress.begin(self.lease)
        self.stream = event_stream(self.progress, folder=self)
        self.queue: list[EventRef] = []
        self.folded: list[EventRef] = []
        self.known: set[str] = set()
        self.relist()

    async def submit(self, arrival: Arrival, waits: Callable[[str], bool]) -> None:
        """As the folder."""
        assert isinstance(arrival.ref, EventRef)
        self.queue.append(arrival.ref)

    def take(self, change: Change[SeenEvent]) -> None:
        with pytest.raises(StopIteration):
            self.stream.take(change).send(None)  # nothing in here waits

    def change(self, uid: str, stored: Stored) -> None:
        self.version += 1
        stored.version = self.version
        self.events[uid] = stored
        self.last[uid] = stored.count
        self.watch.append(Changed(stored.seen(uid)))

    @rule(count=st.sampled_from([1, 1, 1, 4]))
    def occurs_first(self, count: int) -> None:
        uid = f"uid-{len(self.last)}"
        self.change(uid, Stored(count, 0, T0 // 1000 + 20 * self.version))

    @precondition(lambda self: self.events)
    @rule(data=st.data(), more=st.integers(0, 3))
    def occurs_again_or_is_edited(self, data: st.DataObject, more: int) -> None:
        uid = data.draw(st.sampled_from(sorted(self.events)))
        stored = self.events[uid]
        self.change(uid, replace(stored, count=stored.count + more, edited=True))

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def expires(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.events)))
        self.version += 1
        del self.events[uid]
        self.watch.append(Deleted(uid, self.version))

    @precondition(lambda self: self.watch)
    @rule()
    def deliver(self) -> None:
        change = self.watch.pop(0)
        if isinstance(change, Changed):
            self.known.add(change.item.uid)
        self.take(change)

    @rule()
    def relist(self) -> None:
        self.watch.clear()
        items = sorted(
            (stored.seen(uid) for uid, stored in self.events.items()), key=lambda it: it.resource_version
        )
        self.take(Listed(items, self.version, frozenset(self.known - self.events.keys())))
        self.known = set(self.events)

    @precondition(lambda self: self.queue or self.folded)
    @rule(data=st.data())
    def fold(self, data: st.DataObject) -> None:
        """One that waits, or one that is not durable yet once more."""
        ref = data.draw(st.sampled_from([*self.queue, *self.folded]))
        count, version = self.remembered.get(ref.uid, (0, 0))
        new = max(0, ref.count - max(ref.after, count))
        self.totals[ref.uid] = self.totals.get(ref.uid, 0) + new
        self.remembered[ref.uid] = max(ref.count, count), max(ref.resource_version, version)
        if ref in self.queue:
            self.queue.remove(ref)
            self.folded.append(ref)

    @precondition(lambda self: self.folded)
    @rule(data=st.data())
    def is_durable(self, data: st.DataObject) -> None:
        ref = data.draw(st.sampled_from(self.folded))
        self.folded.remove(ref)
        self.stream.durable(replace(ARRIVAL, ref=ref), COUNTED)

    @rule()
    def renew(self) -> None:
        self.lease = self.progress.checkpoint()
        self.progress.kept(self.lease)

    @rule()
    def forget(self) -> None:
        trim = self.progress.trim()
        self.remembered = {uid: (n, v) for uid, (n, v) in self.remembered.items() if v > trim}

    @rule()
    def die(self) -> None:
        self.start()

    @invariant()
    def no_occurrence_is_counted_twice(self) -> None:
        for uid, total in self.totals.items():
            assert total <= self.last[uid], uid

    def teardown(self) -> None:
        """Once it is quiet, every occurrence of an Event that is still there is counted."""
        while self.watch:
            self.deliver()
        while self.queue:
            ref = self.queue[0]
            self.fold(_Draw(ref))  # type: ignore[arg-type]
        for uid, stored in self.events.items():
            assert self.totals[uid] == stored.count, uid
        super().teardown()


class _Draw:
    """Draws what it is told to."""

    def __init__(self, drawn: object) -> None:
        self._drawn = drawn

    def draw(self, _: object) -> object:
        return self._drawn


TestOccurrences = Occurrences.TestCase
TestOccurrences.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(BODY.keys() - {"metadata"})), JSON))
def test_event_of_any_shape_is_read(fields: dict[str, Any]) -> None:
    seen = PARSE(BODY | fields)
    assert 1 <= seen.count <= MAX_COUNT
    if isinstance(seen.outcome, Arrival):
        assert seen.outcome.namespace == "shop"
        assert all(len(text) <= 256 for text in seen.outcome.labels.values())


@given(st.dictionaries(st.sampled_from(sorted(BODY["involvedObject"])), JSON))
def test_event_about_anything_is_read(about: dict[str, Any]) -> None:
    outcome = PARSE(BODY | {"involvedObject": BODY["involvedObject"] | about}).outcome
    if isinstance(outcome, Arrival) and outcome.target:
        assert outcome.target.namespace == "shop"
