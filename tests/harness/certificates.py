"""Certificates for a test: self-signed, so each is its own authority."""

from __future__ import annotations

import subprocess
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
