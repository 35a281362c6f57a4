"""The RemediationRequests of an API server that is a mapping: what the models of replicas write."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from stormfold.kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from stormfold.request.reading import Request


class Requests:
    """The RemediationRequests that the API server has, with the three verbs by which they are written."""

    def __init__(self) -> None:
        self.bodies: dict[str, dict[str, Any]] = {}
        self.deleted: list[dict[str, Any]] = []
        """The last of each that was deleted."""
        self._versions = itertools.count(1)

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Make an object in a collection."""
        path = f"{path}/{body['metadata']['name']}"
        if path in self.bodies:
            raise AlreadyExistsError(f"creating {path}", 409, "AlreadyExists", "")
        version = str(next(self._versions))
        metadata = {**body["metadata"], "uid": f"uid-{version}", "generation": 1, "resourceVersion": version}
        self.bodies[path] = {**body, "metadata": metadata}
        return self.bodies[path]

    async def get(self, path: str) -> dict[str, Any]:
        """Read an object."""
        if path not in self.bodies:
            raise NotFoundError(f"reading {path}", 404, "NotFound", "")
        return self.bodies[path]

    async def merge_patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Change the status of an object, of which the writer says which version it has read."""
        path = path.removesuffix("/status")
        before = await self.get(path)
        if body["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]:
            raise ConflictError(f"patching {path}", 409, "Conflict", "")
        metadata = {**before["metadata"], "resourceVersion": str(next(self._versions))}
        status = merged(before.get("status"), body["status"])
        self.bodies[path] = {**before, "metadata": metadata, "status": status}
        return self.bodies[path]

    def delete(self, epoch: int) -> None:
        """Delete the request of an epoch."""
        self.deleted += [body for body in self.bodies.values() if body["spec"]["epoch"] == epoch]
        self.bodies = {path: body for path, body in self.bodies.items() if body["spec"]["epoch"] != epoch}

    def read(self) -> dict[int, Request]:
        """Epoch → request."""
        requests = map(Request.read, self.bodies.values())
        return {request.epoch: request for request in requests}

    def total(self) -> int:
        """How many signals all of them have counted."""
        return sum(body["status"]["signals"]["total"] for body in self._written())

    def unlisted(self) -> list[int]:
        """Of each, how many alerts its list does not have."""
        return [body["status"]["continuation"]["unlistedAlerts"] for body in self._written()]

    def _written(self) -> Iterable[dict[str, Any]]:
        return (body for body in self.bodies.values() if "status" in body)


def merged(before: Any, patch: Any) -> Any:
    """What a JSON merge patch (RFC 7386) makes of a value."""
    if not isinstance(patch, dict):
        return patch
    fields = dict(before) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            fields.pop(name, None)
        else:
            fields[name] = merged(fields.get(name), value)
    return fields
