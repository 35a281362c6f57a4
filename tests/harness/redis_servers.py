"""Which Redis-compatible servers the Redis tier runs on: every one that is found on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.valkey import embedded_valkey


def found_servers() -> dict[str, Path]:
    """Name to binary: the embedded Valkey always, and `redis-server` if it is on PATH."""
    servers = {"valkey": embedded_valkey()}
    if redis := shutil.which("redis-server"):
        servers["redis"] = Path(redis)
    return servers


def redis_required() -> bool:
    """Whether a missing `redis-server` is a failure: on CI, or by `E2E=required`."""
    return os.environ.get("CI") == "true" or os.environ.get("E2E") == "required"
