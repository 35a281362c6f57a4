"""The files that the webhook is given: the shared secret, its certificate and key; they may change at any
time."""

import ssl
from pathlib import Path

from stormfold.files import Signature, signature

MIN_SECRET = 16
"""Characters that a shared secret must have."""


class Watched:
    """Some files, by what the file system says of them; an empty path is none."""

    def __init__(self, *paths: str) -> None:
        self._paths = [Path(path) for path in paths if path]
        self._seen = self._signature()

    def changed(self) -> bool:
        """Whether they are others than when this was asked last."""
        before, self._seen = self._seen, self._signature()
        return self._seen != before

    def forget(self) -> None:
        """What was seen is of no use: they count as changed."""
        self._seen = []

    def _signature(self) -> list[Signature | None]:
        return [signature(path) for path in self._paths]


def read_secret(path: str) -> bytes:
    """The shared secret in a file, without white space around it.

    Raises:
        OSError: there is none that can be read, or it is too short to be one.
    """
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as exc:
        raise OSError(f"STORMFOLD_WEBHOOK_SECRET_FILE: {exc}") from exc
    if len(secret) < MIN_SECRET:
        raise OSError(f"STORMFOLD_WEBHOOK_SECRET_FILE: {path} must hold at least {MIN_SECRET} characters")
    return secret


def server_tls(cert_file: str, key_file: str) -> ssl.SSLContext:
    """A context that serves this pair.

    Raises:
        OSError: the files cannot be read, or do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert_file, key_file)
    except OSError as exc:
        raise OSError(
            f"STORMFOLD_WEBHOOK_TLS_CERT_FILE, STORMFOLD_WEBHOOK_TLS_KEY_FILE: {cert_file} and {key_file} "
            f"are no pair "
            f"that can be used: {exc}"
        ) from exc
    return context
