"""The checkpoints as the Leases carry them, and whose turn it is."""

from __future__ import annotations

from typing import Any

import pytest

from stormfold.kube.lease import _encoded, checkpoints_of
from stormfold.model.checkpoint import Checkpoint, Checkpoints


def lease(**annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "annotations": {f"stormfold.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
        }
    }


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}, {"annotations": {}}])
def test_lease_that_says_nothing_has_no_checkpoint(metadata: dict[str, Any]) -> None:
    assert checkpoints_of({"metadata": metadata}) == Checkpoints()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "4711", '"12"', "[4711]", "[1, 2, 3]", '["many", 1]', '{"1": 1, "2": 2}', "[1, null]"],
)
def test_what_somebody_else_wrote_there_counts_as_nothing(text: str) -> None:
    assert checkpoints_of(lease(checkpoint=text, event_checkpoint=text)) == Checkpoints()


def test_each_stream_has_a_checkpoint_of_its_own() -> None:
    signals, events = Checkpoint(4711, 1_767_225_600), Checkpoint(13, 1_767_225_000)
    written = lease(checkpoint=_encoded(signals), event_checkpoint=_encoded(events))
    assert checkpoints_of(written) == Checkpoints(signals, events)
    assert written["metadata"]["annotations"]["stormfold.dev/checkpoint"] == "[4711,1767225600]"
