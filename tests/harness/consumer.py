"""A consumer of requests, as docs/consumers.md tells how to write one."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from tests.harness.api import Api, ApiError, Manifest


def in_seconds(seconds: float) -> str:
    """A time from now, as the API writes it."""
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat().replace("+00:00", "Z")


def claim_of(request: Manifest) -> Manifest | None:
    """The claim in a request, valid or not."""
    remediation = request["status"].get("remediation") or {}
    claim: Manifest | None = remediation.get("claim")
    return claim


def is_expired(claim: Manifest) -> bool:
    """Whether the claim is over, by this machine's clock."""
    return datetime.fromisoformat(claim["expirationTime"]).timestamp() <= time.time()


class Consumer:
    """Works on requests under a name that nobody else has."""

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self.name = name

    async def apply(
        self, request: Manifest, *, resource_version: str = "", force: bool = False, **remediation: Any
    ) -> Manifest:
        """The request after this consumer has said all that it has to say.

        Raises:
            ApiError: 409 if another one owns some of it, or the request has changed since `resource_version`.
        """
        metadata = request["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        body = {
            "apiVersion": request["apiVersion"],
            "kind": "RemediationRequest",
            "metadata": {"name": name} | ({"resourceVersion": resource_version} if resource_version else {}),
            "status": {"remediation": remediation} if remediation else {},
        }
        return await self._api.request(
            "PATCH",
            f"/apis/{request['apiVersion']}/namespaces/{namespace}/remediationrequests/{name}/status",
            body,
            content_type="application/apply-patch+yaml",
            fieldManager=self.name,
            force=str(force).lower(),
        )

    def claim(self, request: Manifest, seconds: float = 60) -> Manifest:
        """What it writes to claim the request, or to go on holding it."""
        return {
            "holderIdentity": self.name,
            "revision": request["status"]["revision"],
            "expirationTime": in_seconds(seconds),
        }

    async def take(self, request: Manifest, seconds: float = 60, **more: Any) -> bool:
        """Claim the request, or renew the claim on it; whether it is ours now."""
        try:
            await self.apply(request, claim=self.claim(request, seconds), **more)
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    async def take_over(self, request: Manifest, **more: Any) -> bool:
        """Claim a request whose claim has expired; whether it is ours now."""
        metadata = request["metadata"]
        while True:
            read = await self._api.get("RemediationRequest", metadata["name"], metadata["namespace"])
            assert read
            held = claim_of(read)
            if held and not is_expired(held):
                return False
            version = read["metadata"]["resourceVersion"]
            try:
                await self.apply(read, claim=self.claim(read), resource_version=version, force=True, **more)
            except ApiError as error:
                if error.status != 409:
                    raise
                continue  # it has changed: look again
            return True

    async def release(self, request: Manifest, **more: Any) -> None:
        """Claim it no more; what `more` says stays."""
        await self.apply(request, **more)
