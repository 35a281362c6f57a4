"""A team: a namespace with a policy of its own, whose pods report trouble, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tests.harness import resources
from tests.harness.api import Api, Manifest
from tests.harness.eventually import eventually
from tests.harness.scene import Scene

from stormfold.model.group import PolicyId, group_hash

POLICY = "storms"
FAST: Manifest = {
    "groupBy": ["name", "namespace"],
    "threshold": {"signals": 5, "within": "10s"},
    "groupWait": "300ms",
    "window": {"idle": "1s", "maxDuration": "1h"},
    "closeAfter": "10m",
}
"""A policy that differs from the shipped one only in how soon a storm is told to be quiet."""


@dataclass(frozen=True)
class Storm:
    """What a request says, as far as the tests of faults are about it."""

    total: int
    firing: int
    resources: dict[str, int]
    """Pod to how many signals were about it."""
    count: int
    """affectedResourceCount."""
    phase: str = "Settled"
    epoch: int = 1


class Team(Scene):
    """Reports on pods that are new each time: `count` signals of a name are `count` instances."""

    terms = FAST
    policy_name = POLICY

    def __init__(self, api: Api, namespace: str) -> None:
        super().__init__(api, namespace)
        self.expected: dict[str, Storm] = {}
        """What each name's request must say in the end; kept by `report`."""

    def group_hash(self, name: str) -> str:
        """The id of the group that signals of this name make."""
        policy = PolicyId("StormPolicy", self.namespace, POLICY)
        return group_hash(policy, (("name", name), ("namespace", self.namespace)))

    def next_signal(self, name: str) -> Manifest:
        """The next signal of a name, about a pod of its own."""
        pod = f"{name}-{next(self._numbers)}"
        return resources.signal(self.namespace, pod, name, pod, severity="high")

    async def report(self, name: str, count: int) -> list[Manifest]:
        """Make `count` signals of a name, all at once; they belong in its request from then on."""
        signals = [self.next_signal(name) for _ in range(count)]
        made = await self.api.create_all(signals)
        self.expect(name, (signal["metadata"]["name"] for signal in signals))
        return made

    def expect(self, name: str, pods: Iterable[str]) -> None:
        """One more signal about each pod must be in the request of that name."""
        before = self.expected.get(name) or Storm(0, 0, {}, 0)
        resources = dict(before.resources)
        total = before.total
        for pod in pods:
            resources[pod] = resources.get(pod, 0) + 1
            total += 1
        self.expected[name] = replace(
            before, total=total, firing=len(resources), resources=resources, count=len(resources)
        )

    async def requests_of(self, name: str) -> list[Manifest]:
        """The team's requests of one name, the first epoch first."""
        return [request for request in await self.requests() if request["spec"]["name"] == name]

    async def totals(self, name: str) -> list[int]:
        """What each request of a name has counted; an empty list while there is none."""
        return [
            request.get("status", {}).get("signals", {}).get("total", 0)
            for request in await self.requests_of(name)
        ]

    async def counted(self, name: str) -> None:
        """Wait until all that was reported under a name is in one request."""
        total = self.expected[name].total
        await eventually(
            lambda: self.totals(name), lambda totals: totals == [total], within=30, what=f"{name}: {total}"
        )

    async def storms(self) -> dict[str, list[Storm]]:
        """Name to what its requests say."""
        storms: dict[str, list[Storm]] = {}
        for request in await self.requests():
            storms.setdefault(request["spec"]["name"], []).append(_storm(request))
        return storms

    async def quiet(self, *, within: float = 30.0) -> dict[str, list[Storm]]:
        """What the requests say once each of the expected ones is there, no longer Open, and has all signals.

        A request with too many signals is as good as one with all: the caller compares.
        """

        def done(storms: dict[str, list[Storm]]) -> bool:
            return all(
                len(storms.get(name, [])) >= 1
                and all(storm.phase != "Open" for storm in storms[name])
                and sum(storm.total for storm in storms[name]) >= wanted.total
                for name, wanted in self.expected.items()
            )

        return await eventually(self.storms, done, within=within, what=f"quiet: {self.expected}")

    async def assert_exact(self, *, within: float = 30.0) -> None:
        """Exactly one request for each name, with exactly what was reported, once it is quiet."""
        assert await self.quiet(within=within) == {name: [storm] for name, storm in self.expected.items()}


def _storm(request: Manifest) -> Storm:
    status = request.get("status") or {}
    signals = status.get("signals") or {}
    return Storm(
        total=signals.get("total", 0),
        firing=signals.get("firing", 0),
        resources={one["name"]: one["signals"] for one in status.get("resources", [])},
        count=status.get("affectedResourceCount", 0),
        phase=status.get("phase", "Open"),
        epoch=request["spec"]["epoch"],
    )
