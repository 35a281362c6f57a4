"""The watch of Events on a real API server: both APIs, what is asked for, and each occurrence once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from tests.harness.api import Api, Manifest
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.metrics import sample

from lab.controlplane import ControlPlane
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.enrich.enricher import Enricher
from stormfold.enrich.namespaces import Namespaces
from stormfold.enrich.owners import Owners
from stormfold.fold.folder import Folder
from stormfold.kube.access import find_access
from stormfold.kube.client import KubeClient
from stormfold.model.arrival import Arrival, EventRef, Verdict
from stormfold.policy.router import Router
from stormfold.sources.events import watch
from stormfold.sources.events.stream import EventStream
from stormfold.sources.events.watch import EventWatch
from stormfold.sources.progress import Progress

MANIFESTS = Path(__file__).parents[3] / "manifests"
LIST = r"/api/v1/events\?fieldSelector=type(!|%21)(=|%3D)Normal&limit="
WATCH = r"/api/v1/events\?watch=1&fieldSelector=type(!|%21)(=|%3D)Normal&"
NEWER = "/apis/events.k8s.io/v1/namespaces/{}/events"
AT = "2026-01-01T00:00:00.000000Z"
GONE = {"status": "Failure", "reason": "Expired", "message": "too old resource version"}


class Reader:
    """A stream behind a watch, and its folder: what comes is durable at once, and is counted."""

    def __init__(self, client: KubeClient) -> None:
        self.progress = Progress()
        router = Router()
        stream = EventStream(
            self.progress,
            client=client,
            enricher=Enricher(Namespaces(client, router), Owners(client, asyncio.Event()), router),
            folder=cast("Folder", self),
        )
        self.watch = EventWatch(client, stream)
        self._live_before = sample("stormfold_events_live")
        self.arrivals: list[Arrival] = []

    async def submit(self, arrival: Arrival, waits: Callable[[str], bool]) -> None:
        """As the folder."""
        self.arrivals.append(arrival)
        arrival.via.durable(arrival, Verdict(SignalPhase.FOLDED, SignalReason.COUNTED, ""))

    @property
    def live(self) -> float:
        """How many Events it knows of."""
        return sample("stormfold_events_live") - self._live_before

    def counts(self, namespace: str) -> dict[str, int]:
        """Name and target of what was submitted in a namespace, and how often it occurred."""
        counts: dict[str, int] = {}
        for arrival in self.arrivals:
            if arrival.namespace == namespace and arrival.target:
                assert isinstance(arrival.ref, EventRef)
                key = f"{arrival.name} {arrival.target.kind}/{arrival.target.name}"
                counts[key] = counts.get(key, 0) + arrival.ref.count - arrival.ref.after
        return counts


NewReader = Callable[..., Awaitable[Reader]]


@pytest.fixture
async def reader(api: Api, api_proxy: ApiProxy, tmp_path: Path) -> AsyncIterator[NewReader]:
    """Starts readers behind the proxy, as the administrator or with a token; `wanted` unless it is False."""
    async with AsyncExitStack() as stack:

        async def make(*, token: str | None = None, wanted: bool = True) -> Reader:
            kubeconfig = api_proxy.kubeconfig(tmp_path / "proxied", token=token)
            access = await find_access({"KUBECONFIG": str(kubeconfig)})
            made = Reader(await stack.enter_async_context(KubeClient(access)))
            made.watch.want(wanted)
            task = asyncio.create_task(made.watch.run())
            stack.push_async_callback(lambda: asyncio.wait({task}))
            stack.callback(task.cancel)
            return made

        yield make


def event(namespace: str, name: str, **fields: Any) -> Manifest:
    """A Warning by the API of core/v1."""
    about = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Warning",
        "reason": "Failed",
        "count": 1,
        "involvedObject": about,
        "source": {"component": "kubelet"},
    } | fields


def series_event(namespace: str, name: str) -> Manifest:
    """A Warning by the API of events.k8s.io/v1."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Warning",
        "reason": "FailedScheduling",
        "action": "Scheduling",
        "eventTime": AT,
        "reportingController": "default-scheduler",
        "reportingInstance": "default-scheduler-0",
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name},
    }


async def occurs(api: Api, namespace: str, name: str, count: int) -> None:
    """Raise a count, as the older API does."""
    await api.patch("Event", name, namespace, {"count": count})


async def come_to(reader: Reader, namespace: str, expected: dict[str, int]) -> None:
    """Wait until these and no others were submitted."""
    await eventually(lambda: reader.counts(namespace), lambda seen: seen == expected, what=str(expected))


async def test_events_of_both_apis_and_all_types_but_normal_are_counted(
    api: Api, api_proxy: ApiProxy, namespace: str, reader: NewReader
) -> None:
    await api.create(event(namespace, "before", count=4))
    made = await reader()
    await eventually(lambda: api_proxy.open_watches(WATCH), what="the watch")
    await api.create(event(namespace, "normal", type="Normal", count=9))
    await api.create(event(namespace, "lower", type="normal", count=9))
    for kind in ("Error", "Fatal", "warning"):
        await api.create(event(namespace, kind.lower(), type=kind, count=2))
    await api.create(event(namespace, "after"))
    newer = NEWER.format(namespace)
    await api.request("POST", newer, series_event(namespace, "series"))
    for count in (2, 3):
        await occurs(api, namespace, "after", count)
    series = {"series": {"count": 5, "lastObservedTime": AT}}
    await api.request("PATCH", f"{newer}/series", series, content_type="application/merge-patch+json")
    await api.patch("Event", "before", namespace, {"metadata": {"labels": {"seen": "yes"}}})
    await api.create(event(namespace, "last"))
    await come_to(
        made,
        namespace,
        {
            "Failed Pod/before": 4,
            "Failed Pod/after": 3,
            "FailedScheduling Pod/series": 5,
            "Failed Pod/last": 1,
            "Failed Pod/error": 2,
            "Failed Pod/fatal": 2,
            "Failed Pod/warning": 2,
        },
    )
    assert made.live == 7
    assert api_proxy.count("GET", LIST) == 1


async def test_what_happens_while_the_watch_is_away_is_counted_once(
    api: Api, api_proxy: ApiProxy, namespace: str, reader: NewReader
) -> None:
    made = await reader()
    for name in ("rises", "stays", "expires"):
        await api.create(event(namespace, name, count=2))
    before = {f"Failed Pod/{name}": 2 for name in ("rises", "stays", "expires")}
    await come_to(made, namespace, before)
    await eventually(lambda: len(api_proxy.open_watches(WATCH)) == 1, within=30, what="it watches")
    refusal = api_proxy.respond("GET", WATCH, 410, GONE, times=None)
    assert api_proxy.end_watches(WATCH) == 1
    await eventually(refusal.arrived.is_set, what="the watch is refused")
    await occurs(api, namespace, "rises", 5)
    await api.create(event(namespace, "new", count=3))
    await api.delete("Event", "expires", namespace)
    api_proxy.remove(refusal)
    await come_to(made, namespace, before | {"Failed Pod/rises": 5, "Failed Pod/new": 3})
    await occurs(api, namespace, "stays", 3)
    await come_to(
        made, namespace, before | {"Failed Pod/rises": 5, "Failed Pod/new": 3, "Failed Pod/stays": 3}
    )
    assert made.live == 3
    assert api_proxy.count("GET", LIST) >= 2


async def test_event_made_anew_after_it_expired_counts_its_last_occurrence(
    api: Api, namespace: str, reader: NewReader
) -> None:
    made = await reader()
    began = {"firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T02:00:00Z"}
    await api.create(event(namespace, "again", count=41, **began))
    await come_to(made, namespace, {"Failed Pod/again": 1})


# The API server holds an Event with an eventTime to nothing here.
async def test_event_that_names_another_tenants_object_is_rejected(
    api: Api, namespace: str, reader: NewReader
) -> None:
    made = await reader()
    foreign = series_event(namespace, "foreign")
    foreign["regarding"]["namespace"] = "stormfold-system"
    await api.request("POST", NEWER.format(namespace), foreign)
    own = await api.create(event(namespace, "own"))
    await come_to(made, namespace, {"Failed Pod/own": 1})
    assert made.counts("stormfold-system") == {}
    checkpoint = made.progress.checkpoint().resource_version
    assert checkpoint >= int(own["metadata"]["resourceVersion"]) - 1, "neither holds the checkpoint"


async def test_events_are_watched_only_while_a_policy_takes_them(
    api: Api, api_proxy: ApiProxy, namespace: str, reader: NewReader
) -> None:
    made = await reader(wanted=False)
    await api.create(event(namespace, "before", count=2))
    assert api_proxy.count("GET", "/events") == 0
    made.watch.want(True)
    await come_to(made, namespace, {"Failed Pod/before": 2})
    await eventually(lambda: api_proxy.open_watches(WATCH), what="the watch")
    made.watch.want(False)
    await api.create(event(namespace, "last"))
    await eventually(lambda: not api_proxy.open_watches(WATCH), what="no watch")
    await occurs(api, namespace, "before", 5)
    made.watch.want(True)
    await come_to(made, namespace, {"Failed Pod/before": 5, "Failed Pod/last": 1})


async def test_missing_right_is_named_in_the_log_and_waited_for(
    *,
    api: Api,
    api_proxy: ApiProxy,
    control_plane: ControlPlane,
    kubectl: Kubectl,
    namespace: str,
    reader: NewReader,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "RIGHTS_SECONDS", 0.1)
    rights = MANIFESTS / "components" / "events" / "rbac.yaml"
    await kubectl("delete", "--ignore-not-found", "-f", str(rights))
    await kubectl("apply", "-f", str(MANIFESTS / "base" / "rbac.yaml"))
    await api.create(event(namespace, "before", count=2))
    with caplog.at_level(logging.ERROR):
        made = await reader(token=control_plane.service_account_token("stormfold-system", "stormfold"))
        await eventually(lambda: caplog.records, what="a word in the log")
    assert caplog.records[0].message == (
        "a policy takes Events, but they cannot be watched: apply manifests/components/events/rbac.yaml"
    )
    assert vars(caplog.records[0])["denied"] == ["list events", "watch events"]
    assert api_proxy.count("GET", "/events") == 0
    await kubectl("apply", "-f", str(rights))
    await come_to(made, namespace, {"Failed Pod/before": 2})
    await kubectl("delete", "-f", str(rights))
