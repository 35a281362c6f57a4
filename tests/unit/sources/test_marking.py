"""What becomes of marks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from tests.harness.values import ARRIVAL

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import RefusedError
from stormfold.model.arrival import SignalRef, Verdict
from stormfold.sources.signals.marking import Mark, Marker


def ref(name: str) -> SignalRef:
    """A Signal; the first letter of its name is its namespace."""
    assert isinstance(ARRIVAL.ref, SignalRef)
    return replace(ARRIVAL.ref, namespace=name[0], name=name)


class Refusing:
    """An API server that admits no mark of a Signal whose name ends in `-refused`."""

    async def merge_patch(self, path: str, body: dict[str, Any]) -> None:
        if path.endswith("-refused/status"):
            raise RefusedError("marking", 403, "Forbidden", "by admission")


class Stream:
    """Who took the Signals in, and hears of their marks; those are over whose name ends in `-raised`."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def is_latest(self, ref: SignalRef) -> bool:
        """Whether the Signal is there, and has no newer occurrence."""
        return not ref.name.endswith("-raised")

    def marked(self, ref: SignalRef) -> None:
        """The mark is there."""
        self.told.put_nowait(("marked", ref.name))

    def unmarkable(self, ref: SignalRef) -> None:
        """It never will be."""
        self.told.put_nowait(("unmarkable", ref.name))


async def test_marks_are_told_of_that_are_there_or_never_will_be_and_late_ones_are_not_written() -> None:
    stream = Stream()
    marker = Marker(cast("KubeClient", Refusing()), per_second=1000)
    for name in ("a-refused", "a-raised", "a-there"):
        verdict = Verdict(SignalPhase.DISCARDED, SignalReason.BELOW_THRESHOLD, "")
        marker.offer(Mark(ref(name), verdict, stream))
    writing = asyncio.create_task(marker.run())
    assert [await stream.told.get(), await stream.told.get()] == [
        ("unmarkable", "a-refused"),
        ("marked", "a-there"),
    ]
    writing.cancel()
