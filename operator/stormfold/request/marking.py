"""Marks: a Signal's status says where it went, under a budget.

Of what a request holds a mark is a courtesy to people. Of what none holds it is the only trace: the checkpoint waits for
it. `Rejected` and `Discarded` go first, then Signals with a raised generation (they cannot prove otherwise that they
were counted), then the others. In a storm most of the others are never marked: the queue is short. Namespaces take
turns, so that who applies a few Signals sees their marks while another namespace has a storm.
"""

import asyncio
import logging
from collections.abc import Callable

from prometheus_client import Counter

from stormfold.api.signal import RequestRef, Signal, SignalPhase, SignalStatus
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError, RefusedError
from stormfold.model.arrival import SignalRef, Verdict
from stormfold.request.turns import Turns

log = logging.getLogger(__name__)

WAITING_FOLDED = 200
"""Counted Signals that wait for their mark; what comes on top gets none."""
WAITING_FIRST = 20_000
"""Rejected, Discarded and raised Signals that wait."""
LONGEST_WAIT_SECONDS = 10.0

MARKS = Counter("stormfold_marks_total", "Marks of Signals by what became of them.", ["outcome"])


class Marker:
    """Writes marks in the background. `marked` hears of each that is there, `refused` of each that never will be."""

    def __init__(
        self,
        client: KubeClient,
        *,
        per_second: int,
        marked: Callable[[SignalRef], None],
        refused: Callable[[SignalRef], None],
    ) -> None:
        self._client = client
        self._interval = 1 / per_second
        self._marked = marked
        self._refused = refused
        self._first: Turns[tuple[SignalRef, Verdict]] = Turns(WAITING_FIRST)
        self._folded: Turns[tuple[SignalRef, Verdict]] = Turns(WAITING_FOLDED)
        self._work = asyncio.Event()

    def offer(self, ref: SignalRef, verdict: Verdict) -> None:
        """Note where an occurrence went."""
        first = verdict.phase is not SignalPhase.FOLDED or ref.generation > 1
        if not (self._first if first else self._folded).add(ref.namespace, (ref, verdict)):
            MARKS.labels(outcome="skipped").inc()
        self._work.set()

    async def run(self) -> None:
        """Write marks for ever."""
        wait = 0.0
        while True:
            await self._work.wait()
            while self._first or self._folded:
                ref, verdict = (self._first or self._folded).pop()
                try:
                    await self._mark(ref, verdict)
                    wait = 0.0
                except (NotFoundError, ConflictError):
                    MARKS.labels(outcome="gone").inc()
                except RefusedError as exc:
                    MARKS.labels(outcome="refused").inc()
                    log.warning(
                        "mark refused",
                        extra={"namespace": ref.namespace, "signal": ref.name, "error": str(exc)},
                    )
                    self._refused(ref)
                except ApiError:
                    MARKS.labels(outcome="failed").inc()
                    if verdict.phase is not SignalPhase.FOLDED or ref.generation > 1:
                        self._first.put_back(ref.namespace, (ref, verdict))
                    wait = min(max(2 * wait, 1.0), LONGEST_WAIT_SECONDS)
                await asyncio.sleep(wait + self._interval)
            self._work.clear()

    async def _mark(self, ref: SignalRef, verdict: Verdict) -> None:
        status = SignalStatus(
            phase=verdict.phase,
            reason=verdict.reason,
            message=verdict.message[:1024],
            remediation_request=RequestRef(namespace=verdict.request_namespace, name=verdict.request_name)
            if verdict.request_name
            else None,
            observed_generation=ref.generation,
        )
        body = {"metadata": {"uid": ref.uid}, "status": status.manifest()}
        body["status"].setdefault("remediationRequest", None)
        await self._client.merge_patch(paths.status(Signal.plural, ref.name, ref.namespace), body)
        MARKS.labels(outcome="written").inc()
        self._marked(ref)
