"""What a storm costs, counted and not timed, against what is recorded in `benchmarks/guard.json`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.harness.folding import Group

from lab.valkey import Valkey

RECORDED = Path(__file__).parents[2] / "benchmarks" / "guard.json"

ALLOCATOR = 0.1
"""This share more a storm may take by chance: its keys get chunks that happen to be free, and those may be
larger."""


def hold(**counted: int) -> None:
    """Fail if a figure has risen, and say from what to what."""
    recorded: dict[str, int] = json.loads(RECORDED.read_text())
    risen = [
        f"{name} rose from {recorded[name]} to {value}"
        for name, value in counted.items()
        if value > recorded[name] * (1 + ALLOCATOR if name.startswith("bytes_") else 1)
    ]
    assert not risen, (
        f"{'; '.join(risen)}. If that is what it is worth, write the new figure into benchmarks/guard.json, "
        "and say why in the commit"
    )


def bytes_of(server: Valkey, group: Group) -> int:
    """All that the server keeps for the group, key names and its own bookkeeping included."""
    names = server.command("KEYS", f"sf:*:{group.group_hash}")
    assert isinstance(names, list)
    # The sorted set of deadlines is shared; here this storm bears all of it.
    of_each = [server.command("MEMORY", "USAGE", str(name), "SAMPLES", 0) for name in [*names, group.due_key]]
    return sum(used for used in of_each if isinstance(used, int))
