"""Keeping: what becomes of a Signal that was taken in: its status says where it went, and in the end it is
deleted."""

import time
from collections.abc import Coroutine

from stormfold.kube.client import KubeClient
from stormfold.model.arrival import Arrival, SignalRef, Verdict
from stormfold.policy.router import Router
from stormfold.sources.signals.marking import Mark, Marker, Stream
from stormfold.sources.signals.retention import Retention


class SignalKeeper:
    """Looks after the Signals of all streams of this process."""

    def __init__(self, client: KubeClient, router: Router, *, per_second: int, per_namespace: int) -> None:
        """`per_second` is how many statuses are written, `per_namespace` how many counted Signals are
        kept."""
        self._router = router
        self._marker = Marker(client, per_second=per_second)
        self._retention = Retention(client, per_namespace=per_namespace)

    def parts(self) -> dict[str, Coroutine[None, None, None]]:
        """What runs for ever, by name."""
        return {**self._retention.parts(), "marks": self._marker.run()}

    def arrived(self, live: int) -> None:
        """A Signal is taken in: `live` are in the cluster now."""
        self._retention.arrived(live)

    def durable(self, ref: SignalRef, verdict: Verdict, stream: Stream) -> None:
        """Say where an occurrence went, and delete it in the end. `stream` hears whether that could be
        said."""
        self._marker.offer(Mark(ref, verdict, stream))
        self._retention.keep(ref, verdict.retention_ms / 1000)

    def keep(self, ref: SignalRef, arrival: Arrival | None, created: int) -> None:
        """It was counted before this process began: delete it in the end. `created` is in Unix seconds."""
        age = time.time() - created
        self._retention.keep(ref, max(0.0, self._router.retention_ms(arrival) / 1000 - age))

    def changed(self, ref: SignalRef) -> None:
        """A Signal has a newer version."""
        self._retention.changed(ref)

    def forget(self, uid: str) -> None:
        """A Signal is gone."""
        self._retention.forget(uid)
