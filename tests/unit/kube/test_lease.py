"""The checkpoint as the Lease carries it."""

from __future__ import annotations

from typing import Any

import pytest

from stormfold.kube.lease import Checkpoint, Checkpoints, _checkpoints


@pytest.mark.parametrize(
    ("metadata", "checkpoint"),
    [
        pytest.param({}, Checkpoint(0, 0), id="no annotations"),
        pytest.param({"annotations": None}, Checkpoint(0, 0), id="null"),
        pytest.param(
            {
                "annotations": {
                    "stormfold.dev/checkpoint": "4711",
                    "stormfold.dev/checkpoint-created-before": "1767225600",
                }
            },
            Checkpoint(4711, 1_767_225_600),
            id="both",
        ),
        pytest.param({"annotations": {"stormfold.dev/checkpoint": "4711"}}, Checkpoint(4711, 0), id="one"),
        *(
            pytest.param({"annotations": {"stormfold.dev/checkpoint": text}}, Checkpoint(0, 0), id=text)
            for text in ("", "-1", "1.5", "many", "²", "0x10")
        ),
    ],
)
def test_checkpoint_is_read_or_begins_at_nothing(metadata: dict[str, Any], checkpoint: Checkpoint) -> None:
    assert _checkpoints({"metadata": metadata}) == Checkpoints(checkpoint)


def test_each_stream_has_a_checkpoint_of_its_own() -> None:
    annotations = {
        "stormfold.dev/checkpoint": "4711",
        "stormfold.dev/checkpoint-created-before": "1767225600",
        "stormfold.dev/event-checkpoint": "12",
        "stormfold.dev/event-checkpoint-created-before": "1767225000",
    }
    assert _checkpoints({"metadata": {"annotations": annotations}}) == Checkpoints(
        Checkpoint(4711, 1_767_225_600), Checkpoint(12, 1_767_225_000)
    )
