"""Writes: whether Redis takes them, which no answer to a question tells."""

import asyncio
import logging
import time

from prometheus_client import Gauge

from stormfold.fold.errors import StoreConfigError, StoreError
from stormfold.fold.store import StormStore

log = logging.getLogger(__name__)

TAKEN = Gauge(
    "stormfold_redis_last_answer_timestamp_seconds", "When Redis last took a write, all servers of it."
)

PROOF_SECONDS = 1.0
"""How long after one proof the next is asked for."""
SILENT_SECONDS = 10.0
"""How old the last proof may be before we are not ready."""


class Writes:
    """Asks every primary each second."""

    def __init__(self, store: StormStore) -> None:
        self._store = store
        self._proven = -SILENT_SECONDS
        self._words = ""
        """What Redis said when it last refused; empty if it has taken a write since, or does not answer."""

    def trouble(self) -> str | None:
        """Why writes are not known to go well, in the words of Redis if it has any."""
        if time.monotonic() - self._proven <= SILENT_SECONDS:
            return None
        if self._words:
            return f"Redis refuses writes: {self._words}"
        return f"Redis has not answered for {SILENT_SECONDS:.0f} s"

    async def run(self) -> None:
        """Ask for ever; a server that is no primary any more loses its connections by that.

        Raises:
            StoreConfigError: no wait helps. Not before the first proof: until then the preflight says so, and
            better.
        """
        proven = False
        while True:
            try:
                await self._store.prove_writes()
            except StoreError as exc:
                if proven and isinstance(exc, StoreConfigError):
                    raise
                if proven and exc.words and not self._words:
                    log.warning(
                        "Redis refuses writes, waiting until it takes them", extra={"error": str(exc)}
                    )
                self._words = exc.words
            else:
                if self._words:
                    log.info("Redis takes writes again")
                proven = True
                self._proven, self._words = time.monotonic(), ""
                TAKEN.set_to_current_time()
            await asyncio.sleep(PROOF_SECONDS)
