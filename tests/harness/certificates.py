"""Certificates for a test: self-signed, so each is its own authority. And a server with TLS in front of one
without."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """Files of a certificate and its key."""

    certificate: Path
    key: Path

    def flags(self) -> tuple[str, str]:
        """For `kubectl create secret tls`."""
        return f"--cert={self.certificate}", f"--key={self.key}"


def pair(folder: Path, host: str) -> Pair:
    """A certificate for a host, good for a day, in a folder."""
    made = Pair(folder / f"{host}.crt", folder / f"{host}.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "1", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    files = ("-keyout", made.key, "-out", made.certificate)
    subprocess.run([*command, *files], check=True, capture_output=True)
    return made


@asynccontextmanager
async def behind_tls(port: int, certificate: Path, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """The port of a server with TLS that passes everything on: Valkey, as we have it, has no TLS.

    The key lies beside the certificate.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while sent := await reader.read(65_536):
                writer.write(sent)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with await asyncio.start_server(serve, host, 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]
