"""The audit asks what PyPI would say; here a server on loopback says it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copyfile
from threading import Thread
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "audit.py"
LOCK = """\
# Made by a test.
good==1.0 \\
    --hash=sha256:00
bad-one[extra]==2.0.post1 ; python_full_version < '3.13' \\
    --hash=sha256:00
bad==2.0 ; sys_platform == 'win32' \\
    --hash=sha256:00
"""
ADVISORY = {
    "id": "PYSEC-2026-7",
    "aliases": ["CVE-2026-0007"],
    "summary": "Reads beyond the end\nand more",
    "fixed_in": ["2.1"],
    "withdrawn": None,
}
REASON = "the reader is never given what somebody else wrote"


@dataclass
class Index:
    """What is answered, by name and version; the rest is not found."""

    url: str
    answers: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def index() -> Iterator[Index]:
    """A server that speaks PyPI's JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = it.answers.get(self.path.removeprefix("/pypi/").removesuffix("/json"))
            self.send_response(200 if answer is not None else 404)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it = Index(f"http://127.0.0.1:{server.server_port}/pypi")
    it.answers = {name: {"vulnerabilities": []} for name in ("good/1.0", "bad-one/2.0.post1", "bad/2.0")}
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield it
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script and a lock file."""
    for folder in ("scripts", ".ci"):
        (tmp_path / folder).mkdir()
    copyfile(SCRIPT, tmp_path / "scripts" / "audit.py")
    (tmp_path / "requirements.lock").write_text(LOCK)
    return tmp_path


def audit(checkout: Path, url: str, **environment: str) -> tuple[int, list[str]]:
    """The exit code, and the lines that were printed."""
    kept = {name: value for name, value in os.environ.items() if name not in ("AUDIT", "AUDIT_URL")}
    ended = subprocess.run(
        [sys.executable, "scripts/audit.py", "requirements.lock", "requirements.lock"],
        cwd=checkout,
        env=kept | {"AUDIT_URL": url, "no_proxy": "127.0.0.1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, (ended.stdout + ended.stderr).splitlines()


def ignore(checkout: Path, **entry: str) -> None:
    lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
    (checkout / ".ci" / "audit-ignore.toml").write_text("\n".join(["[[ignore]]", *lines]))


def test_packages_without_advisories_pass(checkout: Path, index: Index) -> None:
    assert audit(checkout, index.url, AUDIT="required") == (0, ["audit: 3 packages, no known advisories"])


def test_known_vulnerability_fails(checkout: Path, index: Index) -> None:
    index.answers["bad/2.0"] = {"vulnerabilities": [ADVISORY]}
    assert audit(checkout, index.url) == (
        1,
        [
            "  bad 2.0: PYSEC-2026-7, CVE-2026-0007: Reads beyond the end (mended in 2.1)",
            "audit: 3 packages, 1 known advisory",
        ],
    )


def test_advisory_that_was_withdrawn_is_none(checkout: Path, index: Index) -> None:
    index.answers["bad/2.0"] = {"vulnerabilities": [ADVISORY | {"withdrawn": "2026-01-02T00:00:00Z"}]}
    assert audit(checkout, index.url) == (0, ["audit: 3 packages, no known advisories"])


@pytest.mark.parametrize("name", ["PYSEC-2026-7", "CVE-2026-0007"])
def test_advisory_is_ignored_for_a_reason(checkout: Path, index: Index, name: str) -> None:
    index.answers["bad/2.0"] = {"vulnerabilities": [ADVISORY]}
    ignore(checkout, id=name, reason=REASON)
    assert audit(checkout, index.url) == (
        0,
        [f"  ignored: bad 2.0: {name}: {REASON}", "audit: 3 packages, no known advisories"],
    )
    index.answers["bad/2.0"] = {"vulnerabilities": []}
    assert audit(checkout, index.url)[1][0] == f"  ignored without need: {name}"


@pytest.mark.parametrize("entry", [{"id": "PYSEC-2026-7"}, {"reason": REASON}, {"id": "X", "reason": "no"}])
def test_nothing_is_ignored_without_a_reason(checkout: Path, index: Index, entry: dict[str, str]) -> None:
    ignore(checkout, **entry)
    code, lines = audit(checkout, index.url)
    assert code == 1
    assert "must have a reason, as a sentence" in lines[0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(None, "HTTP 404", id="not found"),
        pytest.param(b"<html>", "no JSON", id="a page"),
        pytest.param({"info": {}}, "it has no advisories", id="an index without them"),
    ],
)
def test_package_that_cannot_be_asked_about_is_said_and_fails_where_it_is_required(
    checkout: Path, index: Index, answer: Any, why: str
) -> None:
    index.answers["good/1.0"] = answer
    said = [
        "audit: 2 packages, no known advisories",
        f"audit did NOT run for 1 of 3 packages (good 1.0): {index.url} says {why}",
    ]
    assert audit(checkout, index.url) == (0, [*said, "AUDIT=required makes that a failure"])
    assert audit(checkout, index.url, AUDIT="required") == (
        1,
        [*said, "AUDIT=required, so this is a failure"],
    )


@pytest.mark.parametrize(("required", "code"), [("", 0), ("required", 1)])
def test_source_that_cannot_be_reached_is_said_and_fails_where_it_is_required(
    checkout: Path, required: str, code: int
) -> None:
    url = "http://127.0.0.1:1/pypi"
    found, lines = audit(checkout, url, AUDIT=required)
    assert found == code
    assert lines[0].startswith(f"audit did NOT run for 3 of 3 packages (every package): {url} says ")


def test_lock_file_that_names_nothing_fails(checkout: Path, index: Index) -> None:
    (checkout / "requirements.lock").write_text("# nothing\n")
    assert audit(checkout, index.url) == (1, ["audit: no lock file names a package"])
