"""Streams of Signals and Events without a cluster: their parts that are real, and doubles of those that do
I/O."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from stormfold.enrich.enricher import Enricher
from stormfold.enrich.namespaces import Namespaces
from stormfold.enrich.owners import Owners
from stormfold.kube.recorder import About
from stormfold.model.arrival import Arrival, SignalRef, Verdict
from stormfold.policy.router import Router
from stormfold.sources.events.stream import EventStream
from stormfold.sources.progress import Progress
from stormfold.sources.signals.stream import SignalStream

NAMESPACES = ("shop", "ops", "bank", "default", "stormfold-system")
"""Those whose labels are known."""
OPERATOR_NAMESPACE = "stormfold-system"


class Keeper:
    """Looks after no Signal; has heard of all: (what, of what)."""

    def __init__(self, told: list[tuple[str, object]] | None = None) -> None:
        self.told: list[tuple[str, object]] = [] if told is None else told
        self.live: list[int] = []
        """How many Signals there were at each arrival."""

    def arrived(self, live: int) -> None:
        """A new occurrence is taken in."""
        self.live.append(live)

    def durable(self, ref: SignalRef, verdict: Verdict, stream: object) -> None:
        """Where an occurrence went."""
        self.told.append(("durable", (ref, verdict)))

    def keep(self, ref: SignalRef, arrival: Arrival | None, created: int) -> None:
        """It was counted before."""
        self.told.append(("keep", (ref.uid, arrival.name if arrival else None, created)))

    def changed(self, ref: SignalRef) -> None:
        """A Signal has a newer version."""
        self.told.append(("changed", ref.resource_version))

    def forget(self, uid: str) -> None:
        """A Signal is gone."""
        self.told.append(("forget", uid))


class Records:
    """Writes no Kubernetes Event; has all: (name of the object, kind, reason, message)."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, str, str]] = []

    def record_once(self, about: About, kind: str, reason: str, message: str) -> None:
        """Note one."""
        self.recorded.append((about.name, kind, reason, message))


def enricher() -> Enricher:
    """One that has all labels, and whose owners nobody wants."""
    router = Router()
    router.namespaces_listed({name: {} for name in NAMESPACES})
    client = cast("Any", None)
    return Enricher(Namespaces(client, router), Owners(client, asyncio.Event()), router)


def signal_stream(
    progress: Progress,
    *,
    folder: object,
    client: object = None,
    keeper: Keeper | None = None,
    records: Records | None = None,
) -> SignalStream:
    """A stream of Signals; `client` reads what was left."""
    return SignalStream(
        progress,
        client=cast("Any", client),
        operator_namespace=OPERATOR_NAMESPACE,
        enricher=enricher(),
        folder=cast("Any", folder),
        keeper=keeper or Keeper(),
        recorder=cast("Any", records or Records()),
    )


def event_stream(progress: Progress, *, folder: object, client: object = None) -> EventStream:
    """A stream of Events; `client` reads what was left."""
    return EventStream(
        progress,
        client=cast("Any", client),
        enricher=enricher(),
        folder=cast("Any", folder),
    )
