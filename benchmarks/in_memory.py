"""The stream of Signals and the folder of the operator in this process, on a real Redis and without an API
server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from tests.harness.values import NOBODY

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.enrich.enricher import Enricher
from stormfold.enrich.namespaces import Namespaces
from stormfold.enrich.owners import Owners
from stormfold.fold.connection import Connection
from stormfold.fold.folder import Folder
from stormfold.fold.holding import Continuation, RequestPosition
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival, SignalRef, Verdict
from stormfold.policy.router import Router
from stormfold.policy.routing import Place
from stormfold.policy.version import PolicyVersion
from stormfold.sources.progress import Progress
from stormfold.sources.signals.parser import SignalParser
from stormfold.sources.signals.stream import SignalStream

OPERATOR_NAMESPACE = "stormfold-system"
PARSE = SignalParser(OPERATOR_NAMESPACE, NOBODY)
COUNTED = Verdict(SignalPhase.FOLDED, SignalReason.COUNTED, "counted")


class NoRequests:
    """There are no requests, since nobody writes any."""

    def position(self, group_hash: str, epoch: int) -> RequestPosition | None:
        """Nothing is held."""
        return None

    def continuation(self, group_hash: str) -> Continuation | None:
        """There is nothing to continue from."""
        return None

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """Nothing is read again."""
        return False

    def listed_in(self, alert: Arrival) -> Place | None:
        """No request lists anything."""
        return None

    def verdict(self, group_hash: str, epoch: int) -> Verdict:
        """What nobody is told."""
        return COUNTED


class NoDeadlines:
    """Nobody looks at storms when they are due."""

    def expect(self, number: int, due_ms: int) -> None:
        """Not of interest."""


class NoKeeper:
    """Signals are neither marked nor deleted."""

    def arrived(self, live: int) -> None:
        """Not of interest."""

    def durable(self, ref: SignalRef, verdict: Verdict, stream: SignalStream) -> None:
        """Not of interest."""

    def keep(self, ref: SignalRef, arrival: Arrival | None, created: int) -> None:
        """Not of interest."""

    def changed(self, ref: SignalRef) -> None:
        """Not of interest."""

    def forget(self, uid: str) -> None:
        """Not of interest."""


class NoRecorder:
    """No Events are written."""

    def record_once(self, *_: object) -> None:
        """Not of interest."""


def folder_of(connection: Connection, version: PolicyVersion) -> Folder:
    """The folder as the operator has it, under one policy; what is folded stays in flight, since nobody
    writes requests."""
    router = Router()
    router.update([version], in_use=())
    store = StormStore(connection, cluster="bench")
    return Folder(store, router, NoRequests(), NoDeadlines())


def stream_of(folder: Folder, namespaces: Iterable[str]) -> SignalStream:
    """The stream of the Signals of these namespaces; what the folder has no room for is left, and not read
    again."""
    no_client = cast("Any", None)
    router = Router()
    router.namespaces_listed({namespace: {} for namespace in namespaces})
    return SignalStream(
        Progress(),
        client=no_client,
        operator_namespace=OPERATOR_NAMESPACE,
        enricher=Enricher(Namespaces(no_client, router), Owners(no_client, asyncio.Event()), router),
        folder=folder,
        keeper=NoKeeper(),
        recorder=cast("Any", NoRecorder()),
    )
