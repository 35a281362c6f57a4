"""Tls: whom we believe to be the API server, and the certificate that we show; files are read again when they
change."""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stormfold.files import Signature, signature
from stormfold.kube.errors import ClusterConfigError

Pem = Path | bytes
"""A file in PEM, or what would be in it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key."""

    certificate: Pem
    key: Pem


class NamedContext(ssl.SSLContext):
    """A context that asks for a certificate of this name, whatever address it is that we connect to."""

    server_name = ""

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **more: Any) -> Any:
        """What asyncio and uvloop begin a connection with."""
        if self.server_name:
            more["server_hostname"] = self.server_name
        return super().wrap_bio(incoming, outgoing, *args, **more)


class Tls:
    """Makes contexts from the files as they are at the moment. May be asked from any thread."""

    def __init__(
        self,
        *,
        ca: Pem | None = None,
        pair: Pair | None = None,
        verified: bool = True,
        server_name: str = "",
    ) -> None:
        """Without `ca` the system's authorities are believed; an empty `server_name` is that of the
        address."""
        self._ca = ca
        self._pair = pair
        self._verified = verified
        self._server_name = server_name
        self._files = [
            item for item in (ca, *((pair.certificate, pair.key) if pair else ())) if isinstance(item, Path)
        ]
        self._made: tuple[list[Signature | None], Pair | None, ssl.SSLContext] | None = None

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """The context to connect with, which shows `pair` if there is none of its own; another one after a
        change.

        Raises:
            ClusterConfigError: a file cannot be read, or is not what it should be, and there was no better
            one before.
        """
        pair = self._pair or pair
        signatures = [signature(path) for path in self._files]
        made = self._made
        if made is not None and made[:2] == (signatures, pair):
            return made[2]
        try:
            context = self._context(pair)
        except ClusterConfigError:
            if made is None:
                raise
            return made[2]  # files that belong together are not always written at once
        self._made = (signatures, pair, context)
        return context

    def _context(self, pair: Pair | None) -> ssl.SSLContext:
        # Not `create_default_context`: from Python 3.13 on that wants extensions which many clusters'
        # authorities lack.
        context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.server_name = self._server_name
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self._verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self._ca is None:
            context.load_default_certs()
        else:
            try:
                text = self._ca if isinstance(self._ca, bytes) else self._ca.read_bytes()
                context.load_verify_locations(cadata=text.decode("ascii", "ignore"))
            except (OSError, ValueError) as exc:
                raise ClusterConfigError(
                    f"the certificate authority {_shown(self._ca)} cannot be used ({exc})"
                ) from exc
        if pair:
            try:
                with _as_file(pair.certificate) as certificate, _as_file(pair.key) as key:
                    context.load_cert_chain(certificate, key, password=_no_passphrase)
            except (OSError, ValueError) as exc:
                raise ClusterConfigError(
                    f"the client certificate {_shown(pair.certificate)} and its key {_shown(pair.key)} "
                    f"cannot be used ({exc})"
                ) from exc
        return context


def _shown(item: Pem) -> str:
    return str(item) if isinstance(item, Path) else "in the kubeconfig"


def _no_passphrase() -> str:
    # Otherwise OpenSSL asks the terminal for it, and waits.
    raise ValueError("the key has a passphrase")


@contextmanager
def _as_file(item: Pem) -> Iterator[str]:
    """A file's name for what OpenSSL takes from files only; in memory where there are such files."""
    if isinstance(item, Path):
        yield str(item)
    elif hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("stormfold")
        try:
            os.write(descriptor, item)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(item)
            file.flush()
            yield file.name
