"""The steps of a signal's way at which a test can hold the operator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.harness.api_proxy import Rule as ApiRule
from tests.harness.api_proxy import When
from tests.harness.redis_proxy import Rule as RedisRule
from tests.harness.stage import Stage

from stormfold.fold.scripts import Script
from stormfold.kube.lease import checkpoints_of

Step = Callable[[Stage, str, When], ApiRule | RedisRule]
"""Makes the rule that holds the step of a storm: stage, name of the storm, before or after the server's
work."""

LEASE = "/leases/stormfold-ingest"
REQUEST = r"/namespaces/{namespace}/remediationrequests/storm-{group_hash}-1/status"
SIGNAL = r"/namespaces/{namespace}/signals/{name}-\d+"


def checkpoint_of(lease: dict[str, Any]) -> int:
    """The resourceVersion up to which the Lease says that all Signals are durable."""
    return checkpoints_of(lease).signals.resource_version


def script(which: Script) -> Step:
    """A script's call about the storm. One that is held for 5 s is called again: that is held, too."""
    return lambda stage, name, when: stage.redis_proxy.hold(
        "EVALSHA", (which.sha.encode(), stage.team.group_hash(name).encode()), when=when, times=None
    )


def call(method: str, path: str) -> Step:
    """A request about the storm: `{name}`, `{group_hash}` and `{namespace}` in `path` are its own."""
    return lambda stage, name, when: stage.api_proxy.hold(
        method,
        path.format(name=name, group_hash=stage.team.group_hash(name), namespace=stage.team.namespace),
        when=when,
        times=None,
    )


def create(stage: Stage, name: str, when: When) -> ApiRule:
    """The creation of the storm's request."""
    request = f'"storm-{stage.team.group_hash(name)}-1"'.encode()
    path = f"/namespaces/{stage.team.namespace}/remediationrequests$"
    return stage.api_proxy.hold("POST", path, when=when, body=lambda body: request in body, times=None)


def checkpoint(stage: Stage, name: str, when: When) -> ApiRule:
    """The renewal that carries a checkpoint beyond what the Lease carries now, whatever the storm."""
    seen: list[int] = []

    def beyond(body: bytes) -> bool:
        seen.append(checkpoint_of(json.loads(body)))
        return seen[-1] > seen[0]

    return stage.api_proxy.hold("PUT", LEASE, when=when, body=beyond)
