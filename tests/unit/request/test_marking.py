"""What becomes of marks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from tests.harness.values import ARRIVAL

from stormfold.api.conditions import Reason
from stormfold.api.signal import SignalPhase
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import RefusedError
from stormfold.model.arrival import SignalRef, Verdict
from stormfold.request.marking import Marker


def ref(name: str) -> SignalRef:
    """A Signal; the first letter of its name is its namespace."""
    assert isinstance(ARRIVAL.ref, SignalRef)
    return replace(ARRIVAL.ref, namespace=name[0], name=name)


class Refusing:
    """An API server that admits no mark of a Signal whose name ends in `-refused`."""

    async def merge_patch(self, path: str, body: dict[str, Any]) -> None:
        if path.endswith("-refused/status"):
            raise RefusedError("marking", 403, "Forbidden", "by admission")


async def test_marks_that_are_there_and_those_that_never_will_be_are_told_of() -> None:
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    marker = Marker(
        cast("KubeClient", Refusing()),
        per_second=1000,
        marked=lambda ref: told.put_nowait(("marked", ref.name)),
        refused=lambda ref: told.put_nowait(("refused", ref.name)),
    )
    for name in ("a-refused", "a-there"):
        marker.offer(ref(name), Verdict(SignalPhase.DISCARDED, Reason.BELOW_THRESHOLD, ""))
    writing = asyncio.create_task(marker.run())
    assert [await told.get(), await told.get()] == [("refused", "a-refused"), ("marked", "a-there")]
    writing.cancel()
