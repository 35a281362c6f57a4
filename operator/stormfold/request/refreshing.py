"""Refreshing: writes of a status as it was read; one that meets a newer version has it read again."""

from collections.abc import Mapping
from typing import Any

from stormfold.api.remediationrequest import RemediationRequest
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ConflictError, NotFoundError
from stormfold.request.index import RequestIndex
from stormfold.request.reading import Request


async def patch_status(
    client: KubeClient,
    index: RequestIndex,
    request: Request,
    status: Mapping[str, Any],
    *,
    as_read: bool = True,
) -> Request:
    """Patch the status of a request, if it is as it was read, or else if no other has its name; gives what it
    is now, which the index knows.

    Raises:
        ApiError: it could not be done, or it is not known whether it was.
    """
    metadata = request.resource.metadata
    only = {"resourceVersion": str(request.resource_version)} if as_read else {"uid": metadata.uid}
    body = {"metadata": only, "status": status}
    path = paths.status(RemediationRequest.plural, metadata.name, metadata.namespace)
    written = index.read(await client.merge_patch(path, body))
    index.observe(written)
    return written


async def patch_status_or_refresh(
    client: KubeClient, index: RequestIndex, request: Request, status: Mapping[str, Any]
) -> Request:
    """The same; the index knows of what made it fail.

    Raises:
        ConflictError: it has changed; it was read again.
        NotFoundError: it is gone.
        ApiError: it could not be done, or it is not known whether it was.
    """
    try:
        return await patch_status(client, index, request, status)
    except ConflictError:
        await read_again(client, index, request)
        raise
    except NotFoundError:
        index.observe_deleted(request)
        raise


async def read_again(client: KubeClient, index: RequestIndex, request: Request) -> None:
    """Let the index know what the API server has of the request, if it is there.

    Raises:
        ApiError: it could not be read.
    """
    metadata = request.resource.metadata
    try:
        body = await client.get(paths.item(RemediationRequest.plural, metadata.name, metadata.namespace))
    except NotFoundError:
        index.observe_deleted(request)
        return
    again = index.read(body)
    if again.resource.metadata.uid != metadata.uid:
        index.observe_deleted(request)
    index.observe(again)
