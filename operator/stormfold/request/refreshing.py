"""Refreshing: what is read again after a write that met a newer version."""

from stormfold.api.remediationrequest import RemediationRequest
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import NotFoundError
from stormfold.request.index import RequestIndex
from stormfold.request.reading import Request


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
