"""Everything that stormfold says to people: `tests/golden/` holds it.

`python -m tests.harness.said` writes the files anew. Each line has a reason and the message.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.harness import said_at_start, said_by_webhook, said_of_requests, said_of_specs

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS: dict[str, Callable[[], said_of_requests.Said]] = {
    "conditions": said_of_requests.conditions,
    "reports": said_of_requests.reports,
    "decisions": said_of_requests.decisions,
    "gates": said_of_requests.gates,
    "events": said_of_requests.events,
    "summaries": said_of_requests.summaries,
    "policies": said_of_specs.policies,
    "signals": said_of_specs.signals,
    "alerts": said_by_webhook.alerts,
    "webhook": said_by_webhook.webhook,
    "errors": said_at_start.errors,
    "logs": said_at_start.logs,
}
"""Name of a file → what it holds."""


def texts() -> dict[str, str]:
    """What each file is to hold, by its name."""
    found = {
        f"{name}.txt": "".join(f"- {what}: {message}\n" for what, message in said())
        for name, said in KINDS.items()
    }
    return found | {"help.txt": "\n".join(said_at_start.helps())}


if __name__ == "__main__":
    for name, text in texts().items():
        (GOLDEN / name).write_text(text)
