"""What a lost storm is continued from."""

from __future__ import annotations

from tests.harness.folding import T0, pod

from stormfold.model.storm import Detected, Seed

SEED = Seed(
    epoch=3,
    closed=False,
    incarnation="before",
    total=7,
    folded=7,
    firing=4,
    resolved=2,
    severity=3,
    first_ms=T0 - 5000,
    last_ms=T0 - 1000,
    opened_ms=T0 - 6000,
    arrived_ms=T0 - 1000,
    detected=Detected.BY_SIGNALS,
    revision=2,
    through=100,
    resource_count=2,
    resources={pod("web-1"): 5, pod("web-2"): 2},
    written_ms=T0 - 900,
)
"""The request of epoch 3 holds seven signals about two pods."""
