"""The checkpoints as the Leases carry them, and whose turn it is."""

from __future__ import annotations

from typing import Any, cast

import pytest

from stormfold.kube import lease as module
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiUnavailableError
from stormfold.kube.lease import DURATION_SECONDS, Lease, checkpoints_of, encoded
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
    written = lease(checkpoint=encoded(signals), event_checkpoint=encoded(events))
    assert checkpoints_of(written) == Checkpoints(signals, events)
    assert written["metadata"]["annotations"]["stormfold.dev/checkpoint"] == "[4711,1767225600]"


class Server:
    """Has one Lease, and may not answer."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] = {"metadata": {"name": "stormfold-ingest"}, "spec": {}}
        self.answers = True

    async def get(self, path: str) -> dict[str, Any]:
        return self.lease

    async def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if not self.answers:
            raise ApiUnavailableError("replacing", 503, "", "no answer")
        self.lease = body
        return body


@pytest.mark.parametrize("away", [DURATION_SECONDS - 0.1, DURATION_SECONDS], ids=["in time", "too late"])
async def test_who_leads_again_after_a_while_in_which_it_may_not_have_led_is_told(
    away: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, server, told = [1000.0], Server(), []
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    ours = Lease(
        cast("KubeClient", server),
        namespace="ops",
        identity="one",
        first=told.append,
        again=lambda: told.append("again"),
    )
    await ours.acquire()
    server.answers = False
    await ours.renew(Checkpoints, lambda kept: None)
    clock[0] += away
    server.answers = True
    assert ours.leading is (away < DURATION_SECONDS)
    await ours.renew(Checkpoints, lambda kept: None)
    await ours.renew(Checkpoints, lambda kept: None)
    assert (ours.leading, told) == (True, ["one"] if away < DURATION_SECONDS else ["one", "again"])
