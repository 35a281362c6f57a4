"""The files that the webhook is given: the shared secret, its certificate and key; they may change at any
time."""

import logging
import ssl
from abc import ABC, abstractmethod
from pathlib import Path

from prometheus_client import Counter

from stormfold.files import Signature, signature

log = logging.getLogger(__name__)

MIN_SECRET = 16
"""Characters that a shared secret must have."""

RELOADS = Counter(
    "stormfold_webhook_reloads_total",
    "Changed files of the webhook by what became of them.",
    ["file", "outcome"],
)


class Reloaded(ABC):
    """Some files that are read again when they have changed; an empty path is none."""

    kind: str
    """What they are, as the log and the metric say it."""

    def __init__(self, *paths: str) -> None:
        self._paths = [Path(path) for path in paths if path]
        self._seen = self._signature()

    def reload(self) -> None:
        """Use the files if they have changed. If they cannot be used, the log says so, and what was used goes
        on being used."""
        before, self._seen = self._seen, self._signature()
        if self._seen == before:
            return
        outcome = "failed"
        try:
            self._read()
            outcome = "done"
            log.info("webhook file read again", extra={"file": self.kind})
        except (OSError, ValueError) as exc:
            self._seen = []  # they count as changed until they can be used
            log.error(
                "webhook file not usable, the last one stays in use",
                extra={"file": self.kind, "error": str(exc)},
            )
        finally:
            RELOADS.labels(file=self.kind, outcome=outcome).inc()

    @abstractmethod
    def _read(self) -> None: ...

    def _signature(self) -> list[Signature | None]:
        return [signature(path) for path in self._paths]


class Secret(Reloaded):
    """The shared secret, which stands in a file."""

    kind = "secret"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = path
        self.text = b""
        """Without white space around it; empty: there is none."""

    def load(self) -> None:
        """Read it, if there is one.

        Raises:
            OSError: it cannot be read, or is too short to be a secret.
        """
        if self._path:
            self._read()

    def _read(self) -> None:
        try:
            text = Path(self._path).read_bytes().strip()
        except OSError as exc:
            raise OSError(f"STORMFOLD_WEBHOOK_SECRET_FILE: {exc}") from exc
        if len(text) < MIN_SECRET:
            raise OSError(
                f"STORMFOLD_WEBHOOK_SECRET_FILE: {self._path} must hold at least {MIN_SECRET} characters"
            )
        self.text = text


class Certificate(Reloaded):
    """The certificate of the server, with its key."""

    kind = "certificate"

    def __init__(self, cert_file: str, key_file: str) -> None:
        super().__init__(cert_file, key_file)
        self._pair = cert_file, key_file
        self._context: ssl.SSLContext | None = None

    def load(self) -> ssl.SSLContext | None:
        """The context to serve with, which takes later certificates too; None: there is no certificate.

        Raises:
            OSError: the files cannot be read, or do not belong together.
        """
        if self._pair[0]:
            self._context = self._made()
        return self._context

    def _read(self) -> None:
        # A pair that does not fit would spoil the context that serves, so another one tries it first.
        self._made()
        assert self._context is not None
        self._context.load_cert_chain(*self._pair)

    def _made(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(*self._pair)
        except OSError as exc:
            cert_file, key_file = self._pair
            raise OSError(
                f"STORMFOLD_WEBHOOK_TLS_CERT_FILE, STORMFOLD_WEBHOOK_TLS_KEY_FILE: {cert_file} and "
                f"{key_file} are no pair that can be used: {exc}"
            ) from exc
        return context
