"""Large objects, met at start and as they come: the operator stays small and ready, and counts them all.

Each runs under a memory cgroup of what is shipped as the limit. Where none can be made,
`test_operator_runs_under_the_shipped_limit` says so; that the peak stays below `PEAK_MB` is asserted all the
same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness import resources
from tests.harness.api import STORMFOLD, Api, Manifest
from tests.harness.api_proxy import ApiProxy
from tests.harness.cluster import prepared
from tests.harness.eventually import eventually
from tests.harness.memory import MemoryLimit, memory_limit, peak_mb
from tests.harness.operator import OperatorProcess
from tests.harness.scene import QUICK, at

from lab.controlplane import ControlPlane
from stormfold.kube.lease import DURATION_SECONDS, RENEW_SECONDS

SHIPPED_LIMIT = 512 * 1024 * 1024
"""That of manifests/base/deployment.yaml."""
PEAK_MB = 105
"""At rest it has 70 to 80, and with what is below at most 86; what is large takes 20 to 110 MB."""
LOOK_SECONDS = 0.2
WITHIN_SECONDS = 150.0
AT_ONCE = 16
AT = "2026-01-01T00:00:00Z"
EVENTS = {"match": {"sources": ["event"]}}


pytestmark = pytest.mark.timeout(600)
"""Most of the time goes into making what is large."""


@pytest.fixture
def control_plane() -> Iterator[ControlPlane]:
    """One for each test: it is there sooner than large objects are deleted."""
    with prepared() as running:
        yield running


@pytest.fixture
def limit() -> Iterator[MemoryLimit | str]:
    """The shipped limit as a cgroup, or why there is none."""
    with memory_limit(SHIPPED_LIMIT) as made:
        yield made


@dataclass
class Watched:
    """An operator under the limit, and what `/readyz` said from when it was first ready."""

    process: OperatorProcess
    limit: MemoryLimit | str
    unready: list[str] = field(default_factory=list)
    """But for the Lease alone: where the API server is slow, it ends without a fault of the operator."""
    slowest: float = 0.0
    """How much of its own work was done before an answer, in seconds of CPU."""

    async def start(self) -> None:
        """Start it inside of the limit."""
        await self.process.start(ready=False)
        if isinstance(self.limit, MemoryLimit):
            self.limit.take(self.process.pid)
        await eventually(
            lambda: self.process.get("/readyz"), lambda seen: seen[0] == 200, within=120, what="it is ready"
        )

    async def look(self) -> None:
        """Look at it for ever."""
        while True:
            asked = self.process.cpu_seconds()
            status, text = await self.process.get("/readyz")
            self.slowest = max(self.slowest, self.process.cpu_seconds() - asked)
            if status != 200 and json.loads(text)["problems"].keys() != {"lease"}:
                self.unready.append(text)
            await asyncio.sleep(LOOK_SECONDS)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """Start it; at the end it must have been ready all the time, and small."""
        await self.start()
        look = asyncio.create_task(self.look())
        try:
            yield
            assert self.process.running, "the operator has ended"
            assert not look.done(), look.exception()
        finally:
            look.cancel()
            await asyncio.wait({look})
        assert self.unready == []
        assert self.slowest < DURATION_SECONDS - RENEW_SECONDS, "it may lose its Lease"
        peak = peak_mb(self.process.pid)
        print(f"peak: {peak:.0f} MB, slowest answer: {self.slowest:.2f} s")  # noqa: T201 - what `pytest -rP` is asked for
        assert peak <= PEAK_MB


@pytest.fixture
async def watched(operator: NewOperator, limit: MemoryLimit | str) -> AsyncIterator[Watched]:
    """An operator that is not started yet."""
    process = await operator(start=False)
    yield Watched(process, limit)
    process.kill()


def test_operator_runs_under_the_shipped_limit(limit: MemoryLimit | str) -> None:
    if isinstance(limit, str):
        pytest.skip(f"did NOT run under a limit of {SHIPPED_LIMIT} bytes: {limit}")


# --- what is large


def event(namespace: str, number: int, size: int) -> Manifest:
    """An Event whose message has so many bytes."""
    target = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": f"pod-{number % 50}"}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"large.{number:05}", "namespace": namespace},
        "type": "Warning",
        "reason": "FailedCreate",
        "message": 'pods "web" is forbidden: '.ljust(size, "x"),
        "involvedObject": target,
        "reportingComponent": "test",
        "firstTimestamp": AT,
        "lastTimestamp": AT,
        "count": 1,
    }


ANNOTATIONS = 256 * 1024
"""Bytes that the API server takes of an object's metadata.annotations."""


def annotations(size: int = ANNOTATIONS - 1024) -> dict[str, str]:
    """Annotations of so many bytes."""
    return {"example.org/notes": "x" * size}


def signal(namespace: str, number: int) -> Manifest:
    """A Signal with as many annotations as the API server takes, in its metadata and in its spec."""
    made = resources.signal(
        namespace,
        f"large-{number:05}",
        "Trouble",
        f"pod-{number % 50}",
        annotations={"summary": "y" * 4096, "description": "z" * 4096},
    )
    made["metadata"]["annotations"] = annotations()
    return made


def labelled(namespace: str, number: int) -> Manifest:
    """A Signal with as many labels as its CRD takes, each as long as it may be."""
    labels = {f"{label:03}".ljust(128, "l"): f"{number:05}".ljust(256, "v") for label in range(64)}
    return resources.signal(
        namespace, f"labelled-{number:05}", "Trouble", f"pod-{number % 50}", labels=labels
    )


def policy(namespace: str, name: str, **spec: Any) -> Manifest:
    """A StormPolicy with as many annotations as the API server takes."""
    terms = QUICK | {"threshold": {"signals": 100_000, "within": "1m"}} | spec
    return resources.storm_policy(namespace, name, terms, annotations=annotations())


async def create(api: Api, manifests: Iterable[Manifest]) -> None:
    """Make them all, and keep no answer."""
    left = iter(manifests)

    async def some() -> None:
        for manifest in left:
            await api.create(manifest)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def counted(api: Api, namespace: str, total: int) -> None:
    """Wait until the one request of a namespace holds so many signals, and no more."""

    async def totals() -> list[Any]:
        found = await api.list("RemediationRequest", namespace)
        return [at(request, "status.signals.total") for request in found]

    await eventually(totals, lambda seen: seen == [total], within=WITHIN_SECONDS, what=f"{total} counted")


Make = Callable[[str, int], Manifest]


@pytest.mark.parametrize(
    ("make", "number", "spec"),
    [
        pytest.param(lambda ns, n: event(ns, n, 900_000), 80, EVENTS, id="80 Events of 900 KB"),
        pytest.param(lambda ns, n: event(ns, n, 76_000), 500, EVENTS, id="500 Events of 76 KB"),
        pytest.param(signal, 125, {}, id="125 Signals with 264 KB of annotations"),
    ],
)
async def test_large_signals_are_counted_by_a_small_operator(
    make: Make, number: int, spec: dict[str, Any], *, api: Api, namespace: str, watched: Watched
) -> None:
    await api.create(resources.storm_policy(namespace, "team", QUICK | spec))
    await create(api, (make(namespace, n) for n in range(number)))
    async with watched.started():
        await counted(api, namespace, number)
        more = number // 2
        await create(api, (make(namespace, n) for n in range(number, number + more)))
        await counted(api, namespace, number + more)


async def test_listed_signals_beyond_what_is_kept_at_once_are_read_again_and_counted_once(
    operator: NewOperator, api: Api, api_proxy: ApiProxy, namespace: str, tmp_path: Path
) -> None:
    await api.create(resources.storm_policy(namespace, "team", QUICK))
    listed = 20
    await create(api, (labelled(namespace, n) for n in range(listed)))
    # The first four of the list are kept; of the others, the two that come last.
    read_again = (await api.list("Signal", namespace))[4:]
    in_order = sorted(read_again, key=lambda found: int(found["metadata"]["resourceVersion"]))
    *_, edited, deleted = [found["metadata"]["name"] for found in in_order]
    again = r"/signals\?fieldSelector=metadata.name(=|%3D)labelled-"
    held = api_proxy.hold("GET", again, times=None)
    process = await operator(
        kubeconfig=api_proxy.kubeconfig(tmp_path / "proxied"),
        constants={"stormfold.kube.listwatch.LISTED_PLACES": 76},
        ready=False,
    )
    await eventually(held.arrived.is_set, within=60, what="the first is read again")
    # What becomes of them before their turn, the watch tells.
    await api.patch("Signal", edited, namespace, {"spec": {"severity": "high"}})
    await api.delete("Signal", deleted, namespace)

    async def cached() -> set[str]:
        """What the API server's cache has, from which they are read: it may lag behind."""
        found = await api.list("Signal", namespace, resourceVersion="0")
        return {item["metadata"]["name"] for item in found}

    await eventually(cached, lambda names: deleted not in names, what="the deletion is in the cache")
    held.release()
    await counted(api, namespace, listed - 1)
    await create(api, (labelled(namespace, n) for n in range(listed, listed + 5)))
    await counted(api, namespace, listed + 4)
    # 19 places each: four are kept.
    assert api_proxy.count("GET", again) == listed - 4
    assert process.running


async def test_policies_with_large_annotations_make_no_large_operator(
    api: Api, namespace: str, watched: Watched
) -> None:
    await create(api, (policy(namespace, f"p-{n:03}", match={"names": ["No"]}) for n in range(40)))
    async with watched.started():
        await create(api, (policy(namespace, f"p-{n:03}", match={"names": ["No"]}) for n in range(40, 80)))

        async def judged() -> int:
            return int((await watched.process.metrics()).total("stormfold_policies"))

        await eventually(judged, lambda seen: seen == 80, within=WITHIN_SECONDS, what="all are judged")


async def test_requests_in_which_consumers_write_much_make_no_large_operator(
    api: Api, namespace: str, watched: Watched
) -> None:
    groups = 16
    await api.create(
        resources.storm_policy(namespace, "team", QUICK | {"window": {"idle": "1h"}, "closeAfter": "1h"})
    )

    def report(name: str, number: int) -> Manifest:
        return resources.signal(namespace, f"{name}-{number}", f"Trouble{number:03}")

    async def each_holds(total: int) -> None:
        for name in names:  # one by one, and seldom more than once: they are large
            await eventually(
                lambda name=name: api.get("RemediationRequest", name, namespace),
                lambda seen: at(seen, "status.signals.total") == total,
                within=WITHIN_SECONDS,
                what=f"{name} has {total}",
            )

    async def write(name: str) -> None:
        path = f"{STORMFOLD}/namespaces/{namespace}/remediationrequests/{name}/status"
        body = json.dumps(
            {"status": {"remediation": {"phase": "Running", "notes": "x" * 1_000_000}}}
        ).encode()
        await api.request("PATCH", path, body, content_type="application/merge-patch+json")

    async with watched.started():
        await create(api, (report("first", n) for n in range(groups)))
        made = await eventually(
            lambda: api.list("RemediationRequest", namespace),
            lambda seen: len(seen) == groups,
            within=WITHIN_SECONDS,
            what="all requests are made",
        )
        names = [request["metadata"]["name"] for request in made]
        await each_holds(1)
        for name in names:
            await write(name)
        await create(api, (report("second", n) for n in range(groups)))
        await each_holds(2)
    watched.process.kill()
    async with watched.started():
        await create(api, (report("third", n) for n in range(groups)))
        await each_holds(3)


async def test_pods_with_large_metadata_make_no_large_operator(
    api: Api, namespace: str, watched: Watched
) -> None:
    def pod(number: int) -> Manifest:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"web-{number:03}",
                "namespace": namespace,
                "annotations": annotations(),
            },
            "spec": {
                "containers": [
                    {"name": "web", "image": "web", "env": [{"name": "A", "value": "y" * 300_000}]}
                ]
            },
        }

    await api.create(policy(namespace, "team", groupBy=["owner"]))
    pods = 50
    await create(api, (pod(n) for n in range(pods)))

    async def there() -> int:
        return int((await watched.process.metrics()).total("stormfold_owner_objects", state="there"))

    async with watched.started():
        await eventually(there, lambda seen: seen >= pods, within=WITHIN_SECONDS, what="all are listed")
        await create(api, (pod(n) for n in range(pods, 2 * pods)))
        await eventually(there, lambda seen: seen >= 2 * pods, within=WITHIN_SECONDS, what="all came")
