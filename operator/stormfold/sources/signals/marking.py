"""Marks: a Signal's status says where it went, under a budget.

Of what a request holds a mark is a courtesy to people. Of what none holds it is the only trace: the
checkpoint waits for it. `Rejected` and `Discarded` go first, then Signals with a raised generation (they
cannot prove otherwise that they were counted), then the others. In a storm most of the others are never
marked: the queue is short. Namespaces take turns, so that who applies a few Signals sees their marks while
another namespace has a storm.
"""

import asyncio
import logging
from typing import NamedTuple, Protocol

from prometheus_client import Counter

from stormfold.api.signal import RequestRef, Signal, SignalPhase, SignalStatus
from stormfold.api.site import see
from stormfold.fairness import FairQueue
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError, RefusedError
from stormfold.model.arrival import SignalRef, Verdict

log = logging.getLogger(__name__)

WAITING_FOLDED = 200
"""Counted Signals that wait for their mark; what comes on top gets none."""
WAITING_FIRST = 20_000
"""Rejected, Discarded and raised Signals that wait."""
LONGEST_WAIT_SECONDS = 10.0

MARKS = Counter("stormfold_marks_total", "Statuses of Signals, by what became of them.", ["outcome"])


class Stream(Protocol):
    """Who took the Signals in."""

    def is_latest(self, ref: SignalRef) -> bool:
        """Whether the Signal is there, and has no newer occurrence."""

    def marked(self, ref: SignalRef) -> None:
        """The mark is there."""

    def unmarkable(self, ref: SignalRef) -> None:
        """It never will be."""


class Mark(NamedTuple):
    """What a Signal's status is to say."""

    ref: SignalRef
    verdict: Verdict
    stream: Stream

    @property
    def goes_first(self) -> bool:
        """Whether it is more than a courtesy."""
        return self.verdict.phase is not SignalPhase.FOLDED or self.ref.generation > 1


class Marker:
    """Writes marks in the background."""

    def __init__(
        self,
        client: KubeClient,
        *,
        per_second: int,
    ) -> None:
        self._client = client
        self._interval = 1 / per_second
        self._first: FairQueue[str, Mark] = FairQueue(WAITING_FIRST)
        self._folded: FairQueue[str, Mark] = FairQueue(WAITING_FOLDED)
        self._work = asyncio.Event()

    def offer(self, mark: Mark) -> None:
        """Note where an occurrence went."""
        if not (self._first if mark.goes_first else self._folded).add(mark.ref.namespace, mark):
            MARKS.labels(outcome="skipped").inc()
        self._work.set()

    async def run(self) -> None:
        """Write marks for ever."""
        wait = 0.0
        while True:
            await self._work.wait()
            while self._first or self._folded:
                mark = (self._first or self._folded).pop()
                if not mark.stream.is_latest(mark.ref):
                    # Its mark would take back what the status says of a newer occurrence, and raise the
                    # resourceVersion under which that was counted.
                    MARKS.labels(outcome="gone").inc()
                    await asyncio.sleep(0)  # thousands may be over at once
                    continue
                try:
                    await self._write(mark)
                    wait = 0.0
                except (NotFoundError, ConflictError):
                    MARKS.labels(outcome="gone").inc()
                except RefusedError as exc:
                    MARKS.labels(outcome="refused").inc()
                    log.warning(
                        "status of a Signal refused",
                        extra={"namespace": mark.ref.namespace, "signal": mark.ref.name, "error": str(exc)},
                    )
                    mark.stream.unmarkable(mark.ref)
                except ApiError:
                    MARKS.labels(outcome="failed").inc()
                    if mark.goes_first:
                        self._first.put_back(mark.ref.namespace, mark)
                    wait = min(max(2 * wait, 1.0), LONGEST_WAIT_SECONDS)
                await asyncio.sleep(wait + self._interval)
            self._work.clear()

    async def _write(self, mark: Mark) -> None:
        ref, verdict = mark.ref, mark.verdict
        status = SignalStatus(
            phase=verdict.phase,
            reason=verdict.reason,
            message=see(verdict.reason, verdict.message, most=900)
            if verdict.phase is SignalPhase.REJECTED
            else verdict.message[:1024],
            remediation_request=RequestRef(namespace=verdict.request_namespace, name=verdict.request_name)
            if verdict.request_name
            else None,
            observed_generation=ref.generation,
        )
        body = {"metadata": {"uid": ref.uid}, "status": status.manifest()}
        body["status"].setdefault("remediationRequest", None)
        await self._client.merge_patch(paths.status(Signal.plural, ref.name, ref.namespace), body)
        MARKS.labels(outcome="written").inc()
        mark.stream.marked(ref)
