"""Alertmanager: one of those that hear of storms."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from stormfold.kube.errors import ClusterConfigError
from stormfold.kube.tls import Tls

PATH = "/api/v2/alerts"
SECONDS = 5.0
"""How long a post may take."""
SHOWN = 200
"""Characters of an answer that a message shows."""


class NotToldError(Exception):
    """It has not taken the alerts, or it is not known whether it has."""


def bearer(file: str) -> Callable[[], dict[str, str]]:
    """What gives the headers of a post; the file is read for each. An empty path is no token.

    Raises:
        NotToldError: of what it gives: the file cannot be read, or is no token.
    """

    def headers() -> dict[str, str]:
        if not file:
            return {}
        try:
            token = Path(file).read_text().strip()
        except (OSError, ValueError) as exc:
            raise NotToldError(f"STORMFOLD_NOTIFY_TOKEN_FILE cannot be read: {exc}") from exc
        if not (token.isascii() and token.isprintable() and token):
            raise NotToldError(f"STORMFOLD_NOTIFY_TOKEN_FILE: {file} holds no token")
        return {"Authorization": f"Bearer {token}"}

    return headers


class Alertmanager:
    """Takes alerts at `url`."""

    def __init__(self, url: str, *, token_file: str = "", ca_file: str = "") -> None:
        """Both files are read again when they have changed; without `ca_file` the system's authorities are
        believed."""
        self.url = url.rstrip("/")
        self._headers = bearer(token_file)
        self._tls = Tls(ca=Path(ca_file) if ca_file else None)

    async def post(self, session: aiohttp.ClientSession, alerts: Sequence[dict[str, Any]]) -> None:
        """Tell it of alerts. Raises `NotToldError`."""
        try:
            async with session.post(
                f"{self.url}{PATH}",
                data=orjson.dumps(alerts),
                headers={"Content-Type": "application/json", **self._headers()},
                ssl=self._context(),
                timeout=aiohttp.ClientTimeout(SECONDS),
                # The token is for this address only.
                allow_redirects=False,
            ) as answer:
                if answer.status != 200:
                    said = (await answer.content.read(SHOWN)).decode(errors="replace")
                    raise NotToldError(f"it answered {answer.status}: {said}")
        except TimeoutError as exc:
            raise NotToldError(f"it did not answer within {SECONDS:g} s") from exc
        # A ValueError is of a host that there cannot be.
        except (aiohttp.ClientError, ClusterConfigError, OSError, ValueError) as exc:
            raise NotToldError(str(exc)) from exc

    def _context(self) -> ssl.SSLContext | bool:
        return self._tls.context() if self.url.startswith("https:") else True
