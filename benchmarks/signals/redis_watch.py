"""What Redis itself notes while this measures: the scripts that were called, and what was slow."""

from __future__ import annotations

from typing import Any

from lab.valkey import Valkey

SLOW_MS = 1
"""A command of Redis that takes longer is noted in its SLOWLOG."""
LATENCY_MS = 5
"""What holds Redis up for longer is noted by its latency monitor."""


def redis_calls(valkey: Valkey) -> float:
    """Scripts that were called, from outside."""
    lines = str(valkey.command("INFO", "commandstats")).splitlines()
    stats = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(
        int(value.split(",")[0].removeprefix("calls="))
        for name, value in stats.items()
        if name.startswith(("cmdstat_evalsha", "cmdstat_eval"))
    )


def watch_redis(valkey: Valkey) -> None:
    """Let it note what is slow from now on."""
    valkey.command("CONFIG", "SET", "slowlog-log-slower-than", SLOW_MS * 1000, "slowlog-max-len", 10_000)
    valkey.command("CONFIG", "SET", "latency-monitor-threshold", LATENCY_MS)
    valkey.command("SLOWLOG", "RESET")
    valkey.command("LATENCY", "RESET")
    valkey.command("CONFIG", "RESETSTAT")


def what_held_redis_up(valkey: Valkey) -> dict[str, float]:
    """Since `watch_redis`: scripts, those that were slow and the slowest of them, and what the latency
    monitor noted."""
    slow: Any = valkey.command("SLOWLOG", "GET", -1)
    latest: Any = valkey.command("LATENCY", "LATEST")
    return {
        "scripts": redis_calls(valkey),
        "slow_commands": len(slow),
        "slowest_command_ms": max((entry[2] for entry in slow), default=0) / 1000,
        "latency_events": len(latest),
        "worst_latency_ms": max((event[3] for event in latest), default=0),
    }
