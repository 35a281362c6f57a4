"""One test's share of a cluster: a namespace of its own, its policies and signals, and what came of them."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from tests.harness import resources
from tests.harness.api import Api, Manifest
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess

QUICK: Manifest = {"groupWait": "100ms", "window": {"idle": "500ms"}}
"""Terms under which a request is made at once and settles half a second after the last signal."""
WHERE_TO = "spec.epoch status.phase status.signals.total"
WITHIN_SECONDS = 40.0


def at(manifest: Any, path: str) -> Any:
    """What lies at a dotted path, None if nothing does; a step into a list of conditions is their type.

    `group` stands for the values of a request's group.
    """
    if path == "group":
        return tuple(item.get("value") for item in manifest["spec"].get("group", ()))
    found = manifest
    for step in path.split("."):
        if isinstance(found, list):
            found = next((item for item in found if item.get("type") == step), None)
        else:
            found = (found or {}).get(step)
    return found


def rows(manifests: Sequence[Manifest], paths: str) -> list[tuple[Any, ...]]:
    """Of each manifest what lies at the paths, which are separated by blanks."""
    return [tuple(at(manifest, path) for path in paths.split()) for manifest in manifests]


class Scene:
    """Everything is made in `namespace` unless another one is named; what it makes of the cluster it takes
    away."""

    terms: Manifest = QUICK
    """What policies say if they are not told otherwise."""
    policy_name = "team"

    def __init__(self, api: Api, namespace: str, operator: OperatorProcess | None = None) -> None:
        """`operator` is the one that must run while something is awaited; None: that varies."""
        self.api = api
        self.namespace = namespace
        self.operator = operator
        self._numbers = itertools.count()
        self._cluster_policies: list[str] = []
        self._gates: list[tuple[str, str]] = []

    def _assert_running(self) -> None:
        assert self.operator is None or self.operator.running, "the operator has ended"

    async def close(self) -> None:
        """Take away what would govern other tests: the cluster's policies, and gates elsewhere."""
        for namespace, name in self._gates:
            if await self.api.get("StormGate", name, namespace):
                await self.api.delete("StormGate", name, namespace)
        for name in self._cluster_policies:
            if await self.api.get("ClusterStormPolicy", name):
                await self.api.delete("ClusterStormPolicy", name)

    async def another_namespace(self, **labels: str) -> str:
        """A further namespace, with labels."""
        name = f"{self.namespace}-{next(self._numbers)}"
        await self.api.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        )
        return name

    # --- policies

    async def policy(
        self, name: str = "", *, namespace: str | None = None, accepted: bool = True, **spec: Any
    ) -> Manifest:
        """A StormPolicy, once the operator, if one runs, has said whether it is in force; without a spec it
        has the `terms`."""
        return await self.apply_policy(
            resources.storm_policy(namespace or self.namespace, name or self.policy_name, self.terms | spec),
            accepted=accepted,
        )

    async def cluster_policy(self, name: str, *, accepted: bool = True, **spec: Any) -> Manifest:
        """A ClusterStormPolicy, like `policy`; it is deleted when the test ends."""
        return await self.apply_policy(resources.cluster_policy(name, self.terms | spec), accepted=accepted)

    async def apply_policy(self, manifest: Manifest, *, accepted: bool = True) -> Manifest:
        """Any policy, like `policy`."""
        if manifest["kind"] == "ClusterStormPolicy":
            self._cluster_policies.append(manifest["metadata"]["name"])
        made = await self.api.create(manifest)
        return await self.judged(made, accepted=accepted) if self.operator else made

    async def change_policy(self, policy: Manifest, *, accepted: bool = True, **spec: Any) -> Manifest:
        """The policy after a merge into its spec, once the operator has judged it anew."""
        metadata = policy["metadata"]
        changed = await self.api.patch(
            policy["kind"], metadata["name"], metadata.get("namespace"), {"spec": spec}
        )
        return await self.judged(changed, accepted=accepted)

    async def judged(self, policy: Manifest, *, accepted: bool = True) -> Manifest:
        """The policy once the operator has said of this generation whether it is in force."""
        self._assert_running()
        metadata = policy["metadata"]
        verdict = (str(accepted), metadata["generation"])

        def read() -> Awaitable[Any]:
            return self.api.get(policy["kind"], metadata["name"], metadata.get("namespace"))

        judged: Manifest = await eventually(
            read,
            lambda seen: (
                rows(
                    [seen],
                    "status.conditions.Accepted.status status.conditions.Accepted.observedGeneration",
                )
                == [verdict]
            ),
            within=WITHIN_SECONDS,
            what=f"policy {metadata['name']} has Accepted={accepted}",
        )
        return judged

    # --- gates

    async def gate(
        self,
        name: str,
        *,
        by: str = "",
        reason: str = "maintenance",
        until: str | None = None,
        verdict: str = "Hold",
        namespace: str | None = None,
        **spec: Any,
    ) -> Manifest:
        """A StormGate as it was made or changed, with one hold if `by` says whose."""
        hold = {"by": by, "reason": reason, "verdict": verdict} | ({"until": until} if until else {})
        namespace = namespace or self.namespace
        manifest = resources.storm_gate(namespace, name, {"holds": [hold] if by else []} | spec)
        if await self.api.get("StormGate", name, namespace):
            return await self.api.patch("StormGate", name, namespace, {"spec": manifest["spec"]})
        if namespace != self.namespace:
            self._gates.append((namespace, name))
        return await self.api.create(manifest)

    # --- signals

    def manifest(
        self, name: str, pod: str | None = None, *, namespace: str | None = None, **spec: Any
    ) -> Manifest:
        """A Signal to be created, about a pod if one is named."""
        resource_name = f"signal-{next(self._numbers):05}"
        return resources.signal(namespace or self.namespace, resource_name, name, pod, **spec)

    async def signal(
        self, name: str, pod: str | None = None, *, namespace: str | None = None, **spec: Any
    ) -> Manifest:
        """One new Signal."""
        return await self.api.create(self.manifest(name, pod, namespace=namespace, **spec))

    async def pods(
        self, name: str, count: int, *, first: int = 0, namespace: str | None = None, **spec: Any
    ) -> list[Manifest]:
        """New Signals of `count` pods, created as fast as the API server takes them."""
        return await self.api.create_all(
            [
                self.manifest(name, f"pod-{number:05}", namespace=namespace, **spec)
                for number in range(first, first + count)
            ]
        )

    async def edit(self, signal: Manifest, **spec: Any) -> Manifest:
        """A Signal whose spec says something else."""
        metadata = signal["metadata"]
        return await self.api.patch("Signal", metadata["name"], metadata["namespace"], {"spec": spec})

    async def signals_come_to(
        self, paths: str, expected: list[tuple[Any, ...]], *, namespace: str | None = None
    ) -> list[Manifest]:
        """The Signals, by name, once they say at the paths what is expected."""
        return await self._come_to("Signal", paths, expected, namespace or self.namespace)

    # --- requests

    async def requests(self, namespace: str | None = None) -> list[Manifest]:
        """All requests, in the order of their groups and epochs."""
        found = await self.api.list("RemediationRequest", namespace or self.namespace)
        return sorted(found, key=lambda r: (str(at(r, "group")), r["spec"]["epoch"]))

    async def requests_come_to(
        self, paths: str, expected: list[tuple[Any, ...]], *, namespace: str | None = None
    ) -> list[Manifest]:
        """All requests, in their order, once they say at the paths what is expected."""
        return await self._come_to("RemediationRequest", paths, expected, namespace or self.namespace)

    async def comes_to(self, *expected: tuple[Any, ...], namespace: str | None = None) -> list[Manifest]:
        """All requests, in their order, once (epoch, phase, total) of each is as expected."""
        return await self.requests_come_to(WHERE_TO, list(expected), namespace=namespace)

    async def remediate(self, request: Manifest, **remediation: Any) -> Manifest:
        """What a consumer does: it reports in `status.remediation`."""
        metadata = request["metadata"]
        return await self.api.patch(
            "RemediationRequest",
            metadata["name"],
            metadata["namespace"],
            {"status": {"remediation": remediation}},
            subresource="status",
        )

    async def make_old(self, request: Manifest) -> None:
        """Let a request say that all it says has been so since January 2026."""
        metadata, conditions = request["metadata"], request["status"]["conditions"]
        old = [condition | {"lastTransitionTime": "2026-01-01T00:00:00Z"} for condition in conditions]
        await self.api.patch(
            "RemediationRequest",
            metadata["name"],
            metadata["namespace"],
            {"status": {"conditions": old}},
            subresource="status",
        )

    # --- Events

    async def events_come_to(
        self, about: Mapping[str, Any], expected: list[tuple[str, str]], *, namespace: str | None = None
    ) -> None:
        """Wait until the Events about an object are the expected (type, reason), in their order."""
        uid = about["metadata"]["uid"]

        async def read() -> list[tuple[str, str]]:
            events = await self.api.list("Event", namespace or self.namespace)
            ours = [event for event in events if event["involvedObject"].get("uid") == uid]
            ours.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
            return [(event["type"], event["reason"]) for event in ours]

        await eventually(
            read, lambda seen: seen == expected, within=WITHIN_SECONDS, what=f"Events {expected}"
        )

    async def _come_to(
        self, kind: str, paths: str, expected: list[tuple[Any, ...]], namespace: str
    ) -> list[Manifest]:
        found: list[Manifest] = []

        async def read() -> list[tuple[Any, ...]]:
            self._assert_running()
            if kind == "RemediationRequest":
                found[:] = await self.requests(namespace)
            else:
                found[:] = sorted(
                    await self.api.list(kind, namespace), key=lambda item: str(item["metadata"]["name"])
                )
            return rows(found, paths)

        await eventually(
            read,
            lambda seen: seen == expected,
            within=WITHIN_SECONDS,
            what=f"{paths} of every {kind} is {expected}",
        )
        return list(found)
