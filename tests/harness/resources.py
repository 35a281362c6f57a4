"""Our resources as manifests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.harness.api import Manifest

API_VERSION = "stormfold.dev/v1alpha1"


def storm_policy(namespace: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> Manifest:
    """A StormPolicy."""
    return {
        "apiVersion": API_VERSION,
        "kind": "StormPolicy",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": dict(spec),
    }


def cluster_policy(name: str, spec: Mapping[str, Any]) -> Manifest:
    """A ClusterStormPolicy."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ClusterStormPolicy",
        "metadata": {"name": name},
        "spec": dict(spec),
    }


def storm_gate(namespace: str, name: str, spec: Mapping[str, Any]) -> Manifest:
    """A StormGate."""
    return {
        "apiVersion": API_VERSION,
        "kind": "StormGate",
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def signal(
    namespace: str,
    resource_name: str,
    name: str,
    pod: str | None = None,
    **spec: Any,
) -> Manifest:
    """A Signal of a name, about a pod if one is given."""
    target = {"target": {"kind": "Pod", "name": pod}} if pod else {}
    return {
        "apiVersion": API_VERSION,
        "kind": "Signal",
        "metadata": {"name": resource_name, "namespace": namespace},
        "spec": {"name": name, **target, **spec},
    }
