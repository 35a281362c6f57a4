"""Whether a package that a lock file names has a known vulnerability: pip-audit asks OSV about each.

    python scripts/audit.py requirements.lock …

    AUDIT=required   fails also if OSV could not be asked
    AUDIT_URL=…      what has OSV's API

Packages for other platforms or versions of Python than the present ones are not asked about.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

OSV = "https://api.osv.dev/v1/query"
UNANSWERED = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ServiceError")
"""What pip-audit ends with if OSV does not answer."""
IGNORED: dict[str, str] = {}
"""Id of an advisory that does not concern us → why."""


def main() -> int:
    """Audit the lock files named on the command line; the exit code."""
    url = os.environ.get("AUDIT_URL", OSV)
    locks = [f"--requirement={name}" for name in sys.argv[1:]]
    ignored = [f"--ignore-vuln={advisory}" for advisory in IGNORED]
    with TemporaryDirectory() as folder:
        report = Path(folder, "report")
        command = [sys.executable, "-m", "pip_audit", "--vulnerability-service=osv", f"--osv-url={url}"]
        options = [
            "--strict",
            "--disable-pip",
            "--desc=off",
            "--aliases=on",
            "--progress-spinner=off",
            f"--output={report}",
        ]
        run = subprocess.run(
            [*command, *options, *ignored, *locks], capture_output=True, text=True, check=False
        )
        found = report.read_text().strip() if report.is_file() else ""
    if run.returncode == 0:
        print(f"audit: no known advisories, says {url}")
        return 0
    if found:
        print(found, "audit: update these packages, or say in scripts/audit.py why not", sep="\n")
        return 1
    why = (run.stderr.strip() or "no word why").splitlines()[-1]
    if not why.split(":")[0].endswith(UNANSWERED):
        print(run.stderr)
        return 1
    required = os.environ.get("AUDIT") == "required"
    print(f"audit did NOT run: {url}: {why}")
    print("AUDIT=required, so this is a failure" if required else "AUDIT=required makes that a failure")
    return int(required)


if __name__ == "__main__":
    sys.exit(main())
