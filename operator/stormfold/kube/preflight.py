"""What must be there before anything runs: the API server, our CRDs, our rights."""

import asyncio
from typing import Any

from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import GROUP, VERSION
from stormfold.api.signal import Signal
from stormfold.api.stormgate import StormGate
from stormfold.api.stormpolicy import ClusterStormPolicy, StormPolicy
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ApiUnavailableError, NotFoundError, UnauthorizedError
from stormfold.kube.paths import GROUP_PATH

KINDS = (Signal, RemediationRequest, StormPolicy, ClusterStormPolicy, StormGate)
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RIGHTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    (GROUP, Signal.plural, "", ("list", "watch", "delete")),
    (GROUP, Signal.plural, "status", ("patch",)),
    (GROUP, RemediationRequest.plural, "", ("get", "list", "watch", "create", "delete")),
    (GROUP, RemediationRequest.plural, "status", ("patch",)),
    (GROUP, StormPolicy.plural, "", ("list", "watch")),
    (GROUP, StormPolicy.plural, "status", ("patch",)),
    (GROUP, ClusterStormPolicy.plural, "", ("list", "watch")),
    (GROUP, ClusterStormPolicy.plural, "status", ("patch",)),
    (GROUP, StormGate.plural, "", ("list", "watch")),
    (GROUP, StormGate.plural, "status", ("patch",)),
    ("", "namespaces", "", ("get", "list", "watch")),
    ("", "events", "", ("create",)),
    ("authentication.k8s.io", "tokenreviews", "", ("create",)),
    ("authorization.k8s.io", "subjectaccessreviews", "", ("create",)),
)
"""(API group, resource, subresource, verbs) that the operator uses in all namespaces."""
LEASE_RIGHTS = ("get", "create", "update")
OWNER_RIGHTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = tuple(
    (group, resource, "", ("list", "watch"))
    for group, resource in (
        ("", "pods"),
        ("apps", "replicasets"),
        ("apps", "deployments"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("batch", "jobs"),
        ("batch", "cronjobs"),
    )
)
"""Those that only policies need which group by owner or node."""
EVENT_RIGHTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (("", "events", "", ("list", "watch")),)
"""Those that only policies need which take Events."""


class PreflightError(Exception):
    """Something is missing; the message says what, and how to fix it."""


async def preflight(client: KubeClient, *, namespace: str) -> str:
    """Check everything; gives the cluster's identity, the uid of its namespace kube-system.

    Raises:
        PreflightError: the API server, a CRD, a right or the operator's namespace is missing.
    """
    try:
        await _crds(client)
        await _rights(client, namespace)
        try:
            await client.get(f"/api/v1/namespaces/{namespace}")
        except NotFoundError as exc:
            raise PreflightError(
                f"namespace {namespace} does not exist: kubectl create namespace {namespace}, or set "
                f"STORMFOLD_NAMESPACE"
            ) from exc
        kube_system = await client.get("/api/v1/namespaces/kube-system")
    except UnauthorizedError as exc:
        raise PreflightError(
            f"the API server at {client.host} does not know our credentials: fix KUBECONFIG or the service "
            f"account"
        ) from exc
    except ApiUnavailableError as exc:
        raise PreflightError(
            f"the API server at {client.host} does not answer ({exc.message}): check KUBECONFIG and the "
            f"network"
        ) from exc
    except ApiError as exc:
        raise PreflightError(f"the API server at {client.host} refused: {exc}") from exc
    return str(kube_system["metadata"]["uid"])


async def _crds(client: KubeClient) -> None:
    wanted = {kind.plural for kind in KINDS}
    try:
        served: dict[str, Any] = await client.get(GROUP_PATH)
    except NotFoundError:
        served = {}
    missing = wanted - {resource["name"] for resource in served.get("resources", ())}
    if missing:
        names = ", ".join(f"{plural}.{GROUP}" for plural in sorted(missing))
        raise PreflightError(f"CRDs are missing ({names}, version {VERSION}): kubectl apply -f crds/")


async def _rights(client: KubeClient, namespace: str) -> None:
    wanted = _wishes(RIGHTS) + [
        {"group": "coordination.k8s.io", "resource": "leases", "verb": verb, "namespace": namespace}
        for verb in LEASE_RIGHTS
    ]
    if denied := await _denied(client, wanted):
        raise PreflightError(
            f"RBAC denies {', '.join(denied)}: apply manifests/base/rbac.yaml, and run under its "
            f"ServiceAccount"
        )


async def denied_owner_rights(client: KubeClient) -> list[str]:
    """Those of `OWNER_RIGHTS` that we do not have, as `verb resource`."""
    return await _denied(client, _wishes(OWNER_RIGHTS))


async def denied_event_rights(client: KubeClient) -> list[str]:
    """Those of `EVENT_RIGHTS` that we do not have, as `verb resource`."""
    return await _denied(client, _wishes(EVENT_RIGHTS))


def _wishes(rights: tuple[tuple[str, str, str, tuple[str, ...]], ...]) -> list[dict[str, str]]:
    return [
        {"group": group, "resource": resource, "subresource": sub, "verb": verb}
        for group, resource, sub, verbs in rights
        for verb in verbs
    ]


async def _denied(client: KubeClient, wanted: list[dict[str, str]]) -> list[str]:
    answers = await asyncio.gather(*(_may(client, wish) for wish in wanted))
    return [
        f"{wish['verb']} {wish['resource']}{'/' + wish['subresource'] if wish.get('subresource') else ''}"
        for wish, allowed in zip(wanted, answers, strict=True)
        if not allowed
    ]


async def _may(client: KubeClient, wish: dict[str, str]) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": wish},
    }
    answer = await client.create(REVIEWS, review)
    return bool(answer.get("status", {}).get("allowed"))
