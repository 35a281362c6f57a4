"""Where and when something was measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.harness.redis_servers import found_servers

from benchmarks.part import Json
from lab.building import MODULE

ROOT = Path(__file__).parents[1]
PACKAGES = ("aiohttp", "hiredis", "kopf", "kubernetes", "orjson", "redis", "uvloop")


def describe() -> Json:
    """Date, commit, hardware, versions, and how busy the machine was; nothing that names it."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short=10", "HEAD"),
        # What this package itself writes says nothing of what is measured.
        "changed": bool(_git("status", "--porcelain", "--", "operator", "benchmarks", "tests")),
        "cpu": _first(r"^model name\s*: (.*)$", Path("/proc/cpuinfo")),
        "cores": os.cpu_count(),
        "memory_mb": int(_first(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo"))) // 1024,
        "kernel": platform.release().split("-")[0],
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {
            "python": platform.python_version(),
            **{name: _server_version(binary) for name, binary in found_servers().items()},
            "kube-apiserver": _first(r"k8s\.io/kubernetes (\S+)", MODULE / "go.mod"),
            **{f"{name} (Python)": version(name) for name in PACKAGES},
        },
    }


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _first(pattern: str, path: Path) -> str:
    found = re.search(pattern, path.read_text(), re.MULTILINE)
    return found[1].strip() if found else ""


def _server_version(binary: Path) -> str:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\S+)", said)
    return found[1] if found else said.strip()
