"""The checkpoints as the Leases carry them, and whose turn it is."""

from __future__ import annotations

from typing import Any

import pytest

from stormfold.kube.lease import Checkpoint, Checkpoints, _encoded, checkpoints_of, highest


def lease(**annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "annotations": {f"stormfold.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
        }
    }


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}, {"annotations": {}}])
def test_lease_that_says_nothing_has_nocheckpoints_of(metadata: dict[str, Any]) -> None:
    assert checkpoints_of({"metadata": metadata}) == Checkpoints()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "4711",
        '"1"',
        '{"0": 4711}',
        '{"0": [1]}',
        '{"0": ["many", 1]}',
        '{"x": [1, 2]}',
        '{"0": null}',
    ],
)
def test_what_somebody_else_wrote_there_counts_as_nothing(text: str) -> None:
    assert checkpoints_of(lease(checkpoints=text, event_checkpoints=text)) == Checkpoints()


def test_each_segment_of_each_stream_has_a_checkpoint_of_its_own() -> None:
    signals = {2: Checkpoint(4711, 1_767_225_600), 15: Checkpoint(12, 0)}
    events = {2: Checkpoint(13, 1_767_225_000)}
    written = lease(checkpoints=_encoded(signals), event_checkpoints=_encoded(events))
    assert checkpoints_of(written) == Checkpoints(signals, events)
    assert (
        written["metadata"]["annotations"]["stormfold.dev/checkpoints"]
        == '{"2":[4711,1767225600],"15":[12,0]}'
    )


def test_highest_checkpoint_of_a_segment_holds_whichever_lease_has_it() -> None:
    one = Checkpoints({2: Checkpoint(10, 100), 3: Checkpoint(50, 500)}, {2: Checkpoint(7)})
    other = Checkpoints({2: Checkpoint(20, 90), 4: Checkpoint(1)})
    found = Checkpoints({2: Checkpoint(20, 90), 3: Checkpoint(50, 500), 4: Checkpoint(1)}, {2: Checkpoint(7)})
    assert highest([one, other]) == found
    assert highest([other, one]) == found
