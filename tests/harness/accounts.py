"""ServiceAccounts that post alerts."""

from __future__ import annotations

import contextlib
from typing import Any

from tests.harness.api import Api


async def account(api: Api, namespace: str, *, audience: str = "") -> str:
    """A token of a new ServiceAccount `alerts` of the namespace, or of the one that is there."""
    with contextlib.suppress(AssertionError):
        await api.create(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "alerts", "namespace": namespace},
            }
        )
    asked: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    if audience:
        asked["spec"]["audiences"] = [audience]
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/alerts/token"
    return str((await api.request("POST", path, asked))["status"]["token"])


async def allow(api: Api, account_of: str, namespace: str = "") -> None:
    """Let its ServiceAccount `alerts` create Signals in the namespace, or in all."""
    inside = f"/namespaces/{namespace}" if namespace else ""
    kind = "" if namespace else "Cluster"
    root = f"/apis/rbac.authorization.k8s.io/v1{inside}"
    metadata = {"name": f"alerts-{account_of}"}
    rule = {"apiGroups": ["stormfold.dev"], "resources": ["signals"], "verbs": ["create"]}
    await api.request("POST", f"{root}/{kind.lower()}roles", {"metadata": metadata, "rules": [rule]})
    await api.request(
        "POST",
        f"{root}/{kind.lower()}rolebindings",
        {
            "metadata": metadata,
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": f"{kind}Role",
                "name": metadata["name"],
            },
            "subjects": [{"kind": "ServiceAccount", "name": "alerts", "namespace": account_of}],
        },
    )
