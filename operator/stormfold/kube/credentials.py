"""Credentials: what we show the API server; asked for again before it ends, and when the API server says 401.

Both threads that talk to the API server, ours and kopf's, take them from one object. Whoever needs them while
they are being asked for waits for the same answer.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stormfold.kube.errors import CredentialError
from stormfold.kube.tls import Pair

log = logging.getLogger(__name__)

EARLY_SHARE = 0.1
"""Credentials are asked for again when so much of their life is left,"""
EARLY_SECONDS = 60.0
"""but not earlier than so long before its end. Meanwhile those that there are go on being used."""
AGAIN_SECONDS = 5.0
"""How long after an answer, or a failure, a plugin is asked again at the earliest, whatever the API server
says."""
LOOK_SECONDS = 1.0
"""How often a file with a token is read."""
COMPLAIN_SECONDS = 60.0
"""How often the log says that credentials could not be renewed while those before are still used."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What is shown. It is printed without its secrets."""

    authorization: str = ""
    """The value of the header Authorization; empty: none."""
    pair: Pair | None = None
    """A client certificate with its key."""
    ends: float = math.inf
    """When it ends, Unix seconds, as far as was said."""

    def __repr__(self) -> str:
        return f"Credential(ends={self.ends})"


NOTHING = Credential()


class Source(Protocol):
    """Where credentials come from."""

    @property
    def quick(self) -> bool:
        """Whether they are there at once, so that nobody has to wait in a thread of its own."""

    def fetch(self) -> Credential:
        """Those of this moment; may block.

        Raises:
            CredentialError: there are none.
        """


class Fixed:
    """Credentials that stay as they are."""

    quick = True

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def fetch(self) -> Credential:
        """The same each time."""
        return self._credential


class TokenFile:
    """A file with a bearer token, as the kubelet writes it for a ServiceAccount, and writes anew before it
    ends."""

    quick = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = NOTHING

    def fetch(self) -> Credential:
        """The token in the file now."""
        try:
            token = self._path.read_text("ascii").strip()
        except (OSError, ValueError) as exc:
            raise CredentialError(f"the token file {self._path} cannot be read ({exc})") from exc
        if not token:
            raise CredentialError(f"the token file {self._path} is empty")
        if self._found.authorization != f"Bearer {token}":
            self._found = Credential(f"Bearer {token}")
        return self._found


class Credentials:
    """The credentials of one source. May be asked from any event loop."""

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock
        self._fixed = isinstance(source, Fixed)
        self._lock = threading.Lock()
        self._last: Credential | None = None
        self._due = -math.inf
        """When to ask again, by the clock."""
        self._asked = -math.inf
        """When the last answer came, or a failure."""
        self._failure: CredentialError | None = None
        """Why the last time gave none."""
        self._complained = -math.inf
        self._fetching: Future[Credential] | None = None

    async def get(self) -> Credential:
        """Those to use now.

        Raises:
            CredentialError: there are none.
        """
        now = self._clock()
        last = self._last
        if last is not None and now < self._due:
            return last
        with self._lock:
            # Looked at again: the answer may have come before we had the lock.
            last = self._last
            if last is not None and now < self._due:
                return last
            if last is None and self._failure and now < self._asked + AGAIN_SECONDS:
                raise self._failure
            fetching = self._fetching or self._begin()
            last = self._last
        if last is not None and now < last.ends:
            return last
        return await asyncio.shield(asyncio.wrap_future(fetching))

    async def renew(self, refused: Credential) -> bool:
        """Whether there are others than those which the API server has just refused."""
        with self._lock:
            if self._last is refused:
                if self._fixed or (not self._source.quick and self._clock() < self._asked + AGAIN_SECONDS):
                    return False
                self._due = -math.inf
                if not self._source.quick:
                    self._last = None
        return await self.get() is not refused

    def _begin(self) -> "Future[Credential]":
        """Ask for them; to be called with the lock."""
        fetching: Future[Credential] = Future()
        self._fetching = fetching
        if self._source.quick:
            self._end(fetching, *self._fetch())
        else:
            threading.Thread(
                target=lambda: self._locked_end(fetching, *self._fetch()), name="credentials", daemon=True
            ).start()
        return fetching

    def _fetch(self) -> tuple[Credential | None, CredentialError | None]:
        try:
            return self._source.fetch(), None
        except CredentialError as exc:
            return None, exc

    def _locked_end(
        self, fetching: "Future[Credential]", found: Credential | None, failure: CredentialError | None
    ) -> None:
        with self._lock:
            self._end(fetching, found, failure)

    def _end(
        self, fetching: "Future[Credential]", found: Credential | None, failure: CredentialError | None
    ) -> None:
        now = self._asked = self._clock()
        self._fetching = None
        self._failure = failure
        if found is not None:
            self._last = found
            self._due = self._next(found, now)
            fetching.set_result(found)
            return
        assert failure is not None
        self._due = now + AGAIN_SECONDS
        if self._last is not None and now < self._last.ends:
            if now >= self._complained + COMPLAIN_SECONDS:
                self._complained = now
                log.warning(
                    "credentials not renewed, those before are still used", extra={"error": str(failure)}
                )
            fetching.set_result(self._last)
        else:
            self._last = None
            fetching.set_exception(failure)

    def _next(self, found: Credential, now: float) -> float:
        if self._fixed:
            return math.inf
        if self._source.quick:
            return now + LOOK_SECONDS
        life = found.ends - now
        return max(found.ends - min(EARLY_SECONDS, life * EARLY_SHARE), now + AGAIN_SECONDS)
