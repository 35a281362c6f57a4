"""Namespaces that the watch has not told of: asked for one by one, so that an alert of one that is not there
hears so."""

import asyncio
import logging
import time
from collections.abc import Iterable

from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, NotFoundError, RefusedError
from stormfold.policy.router import Router

log = logging.getLogger(__name__)

ABSENT_SECONDS = 5.0
"""So long a namespace is taken for absent after the API server said so, unless the watch tells of it."""
AT_ONCE = 4
"""Namespaces that are asked for together."""
RETRY_SECONDS = 1.0


class Namespaces:
    """Tells the router of namespaces before something is routed that is about them."""

    def __init__(self, client: KubeClient, router: Router) -> None:
        self._client = client
        self._router = router
        self._asked: dict[str, float] = {}
        """Absent namespaces → when that was said, by the monotonic clock, the oldest first."""

    async def know(self, names: Iterable[str]) -> None:
        """Make the router know of each of them what its labels are, or that it is absent. Tries until it is
        known."""
        self._forget()
        unknown = [
            name for name in names if name not in self._asked and not self._router.knows_namespace(name)
        ]
        if not unknown:
            return
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(name: str) -> None:
            async with gate:
                await self._ask(name)

        await asyncio.gather(*map(ask, unknown))

    def _forget(self) -> None:
        before = time.monotonic() - ABSENT_SECONDS
        while self._asked and next(iter(self._asked.values())) < before:
            name = next(iter(self._asked))
            del self._asked[name]
            self._router.absent.discard(name)

    async def _ask(self, name: str) -> None:
        while True:
            try:
                body = await self._client.get(f"/api/v1/namespaces/{name}")
            except NotFoundError:
                self._asked[name] = time.monotonic()
                self._router.absent.add(name)
                return
            except RefusedError:
                self._router.namespace_changed(name, {})
                return
            except ApiError as exc:
                log.warning("namespace not read, trying again", extra={"error": str(exc)})
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._router.namespace_changed(name, body["metadata"].get("labels") or {})
                return
