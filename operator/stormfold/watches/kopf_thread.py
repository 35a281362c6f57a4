"""kopf in a thread of its own: how it is set up, begun and ended.

kopf ends its whole operator on some ordinary answers of the API server (410 to a watch, an ERROR event with
500), and on its way out cancels every task of its event loop. So it gets a loop of its own, and is begun
again.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import kopf
from prometheus_client import Counter

from stormfold.kube.access import Access
from stormfold.kube.client import IDLE_SECONDS, WATCH_SECONDS
from stormfold.kube.errors import CredentialError
from stormfold.kube.paging import MOST
from stormfold.watches.handlers import Listeners, handlers, listings
from stormfold.watches.session import session_of

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 10.0
LOGIN_SECONDS = 5.0
"""When kopf logs in again after there were no credentials; by itself it would wait for a minute."""
STOP_SECONDS = 5.0
IDENTITY = "stormfold"
"""Our name among kopf's operators, of which there are no others: by default kopf takes it from the name of
the user, and in a container there is none."""
END_SECONDS = 8.0
"""How long kopf may take to end once it has begun to: it gives its own tasks 5 s."""
STEADY_SECONDS = 60.0
"""Once kopf has run for so long, its earlier ends are forgotten."""
ENDS = 3
"""After how many ends in a row we are not ready: its watches of policies and requests cannot be relied on."""

RESTARTS = Counter("stormfold_kopf_restarts_total", "How often kopf ended by itself and was started again.")


BACKOFFS_SECONDS = (0.5, 1.0, 2.0)
"""Waits between kopf's tries of one request; then it ends, and is begun again. Were they endless, so could be
its end: a watch that is cut off by it goes on trying on a connection that is closed."""


class NoDiffs(kopf.DiffBaseStorage):
    """We have no handlers of differences, for which kopf would copy each object twice."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing to compare."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> None:
        """Nothing was kept."""

    def store(self, **_: Any) -> None:
        """Nothing is."""


def settings() -> kopf.OperatorSettings:
    """kopf's settings: few events, nothing written."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.persistence.diffbase_storage = NoDiffs()
    chosen.queueing.idle_timeout = 0.5
    chosen.watching.server_timeout = WATCH_SECONDS
    chosen.watching.client_timeout = chosen.watching.inactivity_timeout = IDLE_SECONDS
    chosen.watching.connect_timeout = 10
    chosen.watching.reconnect_backoff = 0.5
    chosen.watching.chunk_size = MOST  # `session.SmallPages` asks for less
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    chosen.networking.error_backoffs = BACKOFFS_SECONDS
    chosen.networking.enforce_retry_after = True
    return chosen


def registry(
    listeners: Listeners, access: Access, loop: asyncio.AbstractEventLoop, ending: Callable[[], None]
) -> kopf.OperatorRegistry:
    """All handlers, each of which hands over to `loop`. kopf goes the way of `access`; `ending` hears, in
    kopf's loop, that kopf is about to end."""
    registered = kopf.OperatorRegistry()

    @kopf.on.cleanup(registry=registered)
    async def cleanup(**_: Any) -> None:
        ending()

    def hand_over(function: Callable[..., None], *args: Any) -> None:
        loop.call_soon_threadsafe(function, *args)

    @kopf.on.login(registry=registered)
    async def login(**_: Any) -> kopf.AiohttpSession:
        try:
            return await session_of(access, listings(listeners, hand_over))
        except CredentialError as exc:
            raise kopf.TemporaryError(str(exc), delay=LOGIN_SECONDS) from exc

    for kind, handler in handlers(listeners, hand_over).items():
        kopf.on.event(*kind, registry=registered)(handler)
    return registered


class KopfThread:
    """Runs kopf until it is cancelled; begins it again when it ends by itself."""

    def __init__(self, listeners: Listeners, access: Access) -> None:
        self._listeners = listeners
        self._access = access
        self._ends = 0
        self._began = 0.0

    def not_ready(self) -> dict[str, str]:
        """What is wrong if it ends again and again."""
        if self._ends >= ENDS and time.monotonic() - self._began < STEADY_SECONDS:
            return {"kopf": "the watches of policies and requests end again and again: see the log"}
        return {}

    async def run(self) -> None:
        """Supervise for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._began = time.monotonic()
            error = await self._run_once(loop)
            self._ends = self._ends + 1 if time.monotonic() - self._began < STEADY_SECONDS else 1
            RESTARTS.inc()
            log.warning("kopf ended, starting it again", extra={"error": repr(error)})
            await asyncio.sleep(min(2.0 ** (self._ends - 1), LONGEST_WAIT_SECONDS))

    async def _run_once(self, loop: asyncio.AbstractEventLoop) -> BaseException | None:
        stop = threading.Event()
        ended: asyncio.Future[BaseException | None] = loop.create_future()

        def end(error: BaseException | None) -> None:
            if not ended.done():
                ended.set_result(error)

        def target() -> None:
            error: BaseException | None = None
            try:
                asyncio.run(self._operate(loop, stop, end))
            except BaseException as exc:
                error = exc
            if not loop.is_closed():
                loop.call_soon_threadsafe(end, error)

        thread = threading.Thread(target=target, name="kopf", daemon=True)
        thread.start()
        try:
            return await asyncio.shield(ended)
        finally:
            stop.set()
            await asyncio.to_thread(thread.join, STOP_SECONDS)

    async def _operate(
        self,
        loop: asyncio.AbstractEventLoop,
        stop: threading.Event,
        end: Callable[[BaseException | None], None],
    ) -> None:
        ending = asyncio.Event()
        operating = asyncio.create_task(
            kopf.operator(
                registry=registry(self._listeners, self._access, loop, ending.set),
                settings=settings(),
                identity=cast("Any", IDENTITY),
                standalone=True,
                clusterwide=True,
                stop_flag=stop,
            )
        )
        about_to_end = asyncio.create_task(ending.wait())
        try:
            await asyncio.wait((operating, about_to_end), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((operating,), timeout=END_SECONDS)
            if not operating.done() and not stop.is_set():
                # One of its watches waits to log in again, which nobody does any more, and minds no
                # cancellation. The next kopf does without this thread.
                loop.call_soon_threadsafe(end, TimeoutError("kopf could not end"))
            await operating
        finally:
            about_to_end.cancel()
            stop.set()  # kopf waits for it in a thread, for which the loop would wait at its end
