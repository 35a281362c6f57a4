"""A small, fast client of the API server for setting scenes and reading what came of them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import aiohttp
from tests.harness.sockets import Sockets

from stormfold.kube.answers import read_json

Manifest = dict[str, Any]

STORMFOLD = "/apis/stormfold.dev/v1alpha1"
KINDS: dict[str, tuple[str, str]] = {
    "Signal": (STORMFOLD, "signals"),
    "RemediationRequest": (STORMFOLD, "remediationrequests"),
    "StormPolicy": (STORMFOLD, "stormpolicies"),
    "ClusterStormPolicy": (STORMFOLD, "clusterstormpolicies"),
    "StormGate": (STORMFOLD, "stormgates"),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "Event": ("/api/v1", "events"),
    "Namespace": ("/api/v1", "namespaces"),
    "Pod": ("/api/v1", "pods"),
    "ReplicaSet": ("/apis/apps/v1", "replicasets"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "StatefulSet": ("/apis/apps/v1", "statefulsets"),
    "DaemonSet": ("/apis/apps/v1", "daemonsets"),
    "Job": ("/apis/batch/v1", "jobs"),
    "CronJob": ("/apis/batch/v1", "cronjobs"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
}
"""Kind to the path of its group version and its plural."""


class ApiError(AssertionError):
    """The API server refused; `status` is the HTTP status, `reason` and the message are those of its
    Status."""

    def __init__(self, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {answer.get('reason')}: {answer.get('message')}")
        self.status = status
        self.reason = answer.get("reason")


class Server(Protocol):
    """Where an API server is, and how an administrator gets in."""

    @property
    def url(self) -> str: ...
    @property
    def ca_file(self) -> Path: ...
    @property
    def token(self) -> str: ...


class Api:
    """Objects in and out as plain dicts, as the user `admin`; an async context manager."""

    def __init__(self, server: Server) -> None:
        trust = ssl.create_default_context(cafile=str(server.ca_file))
        self._sockets = Sockets()
        self._session = aiohttp.ClientSession(
            base_url=server.url,
            headers={"Authorization": f"Bearer {server.token}"},
            connector=aiohttp.TCPConnector(ssl=trust, limit=50, socket_factory=self._sockets),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._sockets.closed()

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        **query: str,
    ) -> Manifest:
        """What the API server answered; 429 with a Retry-After is no answer yet, as for every Kubernetes
        client.

        A body of bytes is sent as it is.

        Raises:
            ApiError: a status of 400 or more.
        """
        headers = {} if body is None else {"Content-Type": content_type}
        while True:
            sent = {"data": body} if isinstance(body, bytes) else {"json": body}
            async with self._session.request(method, path, headers=headers, params=query, **sent) as response:
                answer: Manifest = read_json(await response.read())
            # Common while the server makes the storage of a new kind ready, also after its CRD is
            # Established.
            if response.status == 429 and "Retry-After" in response.headers:
                await asyncio.sleep(float(response.headers["Retry-After"]) / 4)
            elif response.status >= 400:
                raise ApiError(response.status, answer)
            else:
                return answer

    async def create(self, manifest: Manifest) -> Manifest:
        """The object as it was made."""
        return await self.request(
            "POST", _path(manifest["kind"], manifest["metadata"].get("namespace")), manifest
        )

    async def create_all(self, manifests: Iterable[Manifest], *, at_once: int = 50) -> list[Manifest]:
        """Make many objects, `at_once` at a time, in their order as far as that allows."""
        gate = asyncio.Semaphore(at_once)

        async def one(manifest: Manifest) -> Manifest:
            async with gate:
                return await self.create(manifest)

        return list(await asyncio.gather(*(one(m) for m in manifests)))

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        """The object, or None if there is none."""
        try:
            return await self.request("GET", _path(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, kind: str, namespace: str | None = None, **query: str) -> Sequence[Manifest]:
        """All objects of a kind, in one namespace or in all."""
        return list((await self.request("GET", _path(kind, namespace), **query))["items"])

    async def listed(self, kind: str, namespace: str | None = None) -> tuple[Sequence[Manifest], str]:
        """All objects of a kind, and the resourceVersion of the list."""
        answer = await self.request("GET", _path(kind, namespace))
        return answer["items"], answer["metadata"]["resourceVersion"]

    async def watch(self, kind: str, version: str, namespace: str | None = None) -> AsyncIterator[Manifest]:
        """The changes after a resourceVersion, as the API server tells them, until it ends the watch.

        Raises:
            ApiError: it says that the watch is over; 410 if it does not know that version any more.
        """
        query = {"watch": "true", "resourceVersion": version}
        endless = aiohttp.ClientTimeout(total=None)
        async with self._session.get(_path(kind, namespace), params=query, timeout=endless) as response:
            if response.status >= 400:
                raise ApiError(response.status, read_json(await response.read()))
            pending = b""
            async for chunk in response.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    event: Manifest = read_json(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 0), event["object"])
                    yield event

    async def patch(
        self, kind: str, name: str, namespace: str | None, change: Manifest, *, subresource: str = ""
    ) -> Manifest:
        """The object after a JSON merge patch; `subresource` may be `status`."""
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return await self.request("PATCH", path, change, content_type="application/merge-patch+json")

    async def delete(self, kind: str, name: str, namespace: str | None = None, **query: str) -> None:
        """Delete an object that must be there."""
        await self.request("DELETE", _path(kind, namespace, name), **query)

    async def delete_all(self, kind: str) -> None:
        """Delete every object of a kind, in all namespaces."""
        objects = await self.list(kind)
        for namespace in {item["metadata"].get("namespace") for item in objects}:
            await self.request("DELETE", _path(kind, namespace))


def _path(kind: str, namespace: str | None = None, name: str | None = None) -> str:
    root, plural = KINDS[kind]
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{inside}/{plural}" + (f"/{name}" if name else "")
