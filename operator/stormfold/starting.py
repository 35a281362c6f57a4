"""Starting: what the operator needs is checked, then it runs."""

import asyncio
import time

import uvloop

from stormfold.api.site import page
from stormfold.app import App
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreConfigError, StoreError, StoreUnavailableError
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ClusterConfigError, CredentialError
from stormfold.kube.lease import LeaseLostError
from stormfold.kube.preflight import PreflightError, preflight
from stormfold.settings import Settings

FIXABLE = (
    ClusterConfigError,
    CredentialError,
    PreflightError,
    StoreError,
    ApiError,
    LeaseLostError,
    OSError,
)
"""What ends the process with one line that says what to fix."""

FOUND_SECONDS = 10.0
"""So long nothing may answer where Redis is to be, at start."""
FOUND_AGAIN_SECONDS = 0.5


def begin(settings: Settings) -> None:
    """Check what is needed, then run until told to stop.

    Raises:
        ExceptionGroup: of what is `FIXABLE`, or of a defect.
    """
    uvloop.run(operate(settings))


async def operate(settings: Settings) -> None:
    """The same, in an event loop."""
    if not settings.redis_is_named:
        raise StoreConfigError(
            "STORMFOLD_REDIS_URL is not set: create the Secret stormfold-redis with the key url in namespace "
            f"{settings.namespace}. See {page('install', 'a-redis-of-your-own')}"
        )
    connection = Connection.from_url(settings.redis_url)
    try:
        await until_found(connection)
        async with await KubeClient.connect() as client:
            cluster = await preflight(client, namespace=settings.namespace)
            await App(settings, client, connection, cluster).run()
    finally:
        await connection.close()


async def until_found(connection: Connection) -> None:
    """Check Redis, again and again while nothing answers: in a new installation it starts beside us.

    What Redis refuses for a time is waited for by the app, whose probes say so.

    Raises:
        StoreConfigError: no wait helps.
        StoreUnavailableError: nothing has answered for `FOUND_SECONDS`.
    """
    began = time.monotonic()
    while True:
        try:
            await connection.check()
        except StoreUnavailableError as exc:
            if exc.words:
                return
            if time.monotonic() - began > FOUND_SECONDS:
                raise
        else:
            return
        await asyncio.sleep(FOUND_AGAIN_SECONDS)
