"""The audit asks what OSV would say; here a server on loopback says it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
NOWHERE = "http://127.0.0.1:1/v1/query"
ADVISORY = {
    "id": "PYSEC-2026-7",
    "aliases": ["CVE-2026-0007"],
    "summary": "Reads beyond the end",
    "affected": [
        {
            "package": {"name": "bad", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1"}]}],
        }
    ],
}


@dataclass
class Source:
    """What is answered, by name of a package, and what was asked."""

    url: str
    vulnerabilities: dict[str, list[Any]] = field(default_factory=dict)
    status: int = 200
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def source() -> Iterator[Source]:
    """A server that speaks OSV's API."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            it.asked.append((query["package"]["name"], query["version"]))
            self.send_response(it.status)
            self.end_headers()
            vulnerabilities = it.vulnerabilities.get(query["package"]["name"], [])
            self.wfile.write(json.dumps({"vulns": vulnerabilities} if vulnerabilities else {}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        it = Source(f"http://127.0.0.1:{server.server_port}/v1/query")
        Thread(target=server.serve_forever, daemon=True).start()
        yield it
        server.shutdown()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock file with two packages."""
    path = tmp_path / "requirements.lock"
    digest = f"--hash=sha256:{64 * '0'}"
    path.write_text(f"good==1.0 \\\n    {digest}\nbad==2.0 ; python_version > '3' \\\n    {digest}\n")
    return path


def audit(url: str, *locks: Path, **environment: str) -> tuple[int, list[str]]:
    """Exit code and lines."""
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "audit.py", *locks],
        env={**os.environ, "AUDIT_URL": url, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout.splitlines()


def test_packages_without_an_advisory_pass(source: Source, lock: Path) -> None:
    code, lines = audit(source.url, lock, AUDIT="required")
    assert (code, lines) == (0, [f"audit: no known advisories, says {source.url}"])
    assert sorted(source.asked) == [("bad", "2.0"), ("good", "1.0")]


def test_known_vulnerability_fails(source: Source, lock: Path) -> None:
    source.vulnerabilities["bad"] = [ADVISORY]
    code, lines = audit(source.url, lock)
    assert (code, lines[-2].split()) == (1, ["bad", "2.0", "PYSEC-2026-7", "2.1", "CVE-2026-0007"])
    assert lines[-1] == "audit: update these packages, or say in scripts/audit.py why not"


@pytest.mark.parametrize(("required", "code"), [("", 0), ("required", 1)])
@pytest.mark.parametrize("reached", [True, False])
def test_source_that_does_not_answer_is_no_clean_bill(
    source: Source, lock: Path, required: str, code: int, reached: bool
) -> None:
    source.status = 500
    url = source.url if reached else NOWHERE
    found, lines = audit(url, lock, AUDIT=required)
    assert (found, lines[0].startswith(f"audit did NOT run: {url}: ")) == (code, True)
    assert lines[1].startswith("AUDIT=required")


def test_lock_file_that_is_not_there_fails(source: Source, tmp_path: Path) -> None:
    code, lines = audit(source.url, tmp_path / "missing.lock")
    assert (code, source.asked) == (1, [])
    assert "missing.lock" in "\n".join(lines)
