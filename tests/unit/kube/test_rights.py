"""What manifests/ grants is what the operator asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stormfold.kube.preflight import EVENT_RIGHTS, LEASE_RIGHTS, OWNER_RIGHTS, RIGHTS

MANIFESTS = Path(__file__).parents[3] / "manifests"
BASE = MANIFESTS / "base" / "rbac.yaml"


def granted(manifest: Path, kind: str) -> list[tuple[str, str, str]]:
    """(API group, resource or resource/subresource, verb) of every rule of the only role of that kind."""
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(manifest.read_text()))
    (role,) = (document for document in documents if document["kind"] == kind)
    return sorted(
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def test_cluster_role_grants_each_right_once_and_no_other() -> None:
    assert granted(BASE, "ClusterRole") == sorted(
        (group, f"{resource}/{subresource}" if subresource else resource, verb)
        for group, resource, subresource, verbs in RIGHTS
        for verb in verbs
    )


def test_role_grants_the_lease_and_nothing_else() -> None:
    assert granted(BASE, "Role") == sorted(("coordination.k8s.io", "leases", verb) for verb in LEASE_RIGHTS)


@pytest.mark.parametrize(("component", "rights"), [("owners", OWNER_RIGHTS), ("events", EVENT_RIGHTS)])
def test_component_grants_what_it_is_for_and_nothing_else(
    component: str, rights: tuple[tuple[str, str, str, tuple[str, ...]], ...]
) -> None:
    manifest = MANIFESTS / "components" / component / "rbac.yaml"
    assert granted(manifest, "ClusterRole") == sorted(
        (group, resource, verb) for group, resource, _, verbs in rights for verb in verbs
    )
