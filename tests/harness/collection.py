"""The tests of the API tier before they run: which file begins first, and what has to be built for them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.harness import programs

from lab.building import ensure_binaries

LONGEST = (
    *("test_still_firing", "test_still_firing_faults", "test_kills", "test_alertmanager", "test_memory"),
    *("test_redis_refusals", "test_fairness", "test_chart_release", "test_deploy", "test_places"),
    "test_api_faults",
    *("test_redis_loss", "test_closing", "test_refused", "test_storms", "test_commands", "test_chart"),
    *("test_quiet", "test_access", "test_gates", "test_manifests", "test_windows", "test_signals"),
    "test_undeploy",
    *("test_consumers", "test_start", "test_alerts", "test_pending", "test_waiting", "test_policies"),
    *("test_admission", "test_breaker_and_budget", "test_alertmanager_alone", "test_standby"),
    *("test_notify", "test_consumer_examples", "test_claims", "test_checkpoint", "test_hostile"),
    *("test_verdict_in_time", "test_admission_of_claims", "test_release", "test_shutdown"),
    "test_event_times",
)
"""The files that take 20 s and more, longest first: they are begun first, so that no worker is alone in the
end."""
_PLACES = {name: place for place, name in enumerate(LONGEST)}


def place_of(item: pytest.Item) -> int:
    """Where a test stands in the order of files; those that are not among the longest come last, together."""
    return _PLACES.get(item.path.stem, len(LONGEST))


def build_for(tests: Sequence[pytest.Item]) -> None:
    """Build the programs that these tests need, those that are not there yet."""
    if tests:
        ensure_binaries()
    if any("alertmanager_program" in getattr(item, "fixturenames", ()) for item in tests):
        programs.current_alertmanager()
    if any("helm" in getattr(item, "fixturenames", ()) or "helm" in item.name for item in tests):
        programs.helm()
    if any(item.path.name == "test_release.py" for item in tests):
        programs.actionlint()
