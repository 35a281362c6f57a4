"""The intake and the folder of the operator in this process, on a real Redis and without an API server."""

from __future__ import annotations

from typing import Any, cast

from stormfold.api.conditions import Reason
from stormfold.api.signal import SignalPhase
from stormfold.fold.batching import Folder
from stormfold.fold.connection import Connection
from stormfold.fold.store import StormStore
from stormfold.intake.checkpoint import ShardProgress
from stormfold.intake.rest import Rest
from stormfold.intake.signals import Seen, SignalIntake, SignalParser
from stormfold.model.arrival import Verdict
from stormfold.policy.router import Router
from stormfold.policy.version import PolicyVersion

PARSE = SignalParser("stormfold-system")
COUNTED = Verdict(SignalPhase.FOLDED, Reason.COUNTED, "counted")


def folder_of(connection: Connection, version: PolicyVersion) -> Folder:
    """The folder as the operator has it, under one policy; what is folded stays unsafe, since nobody writes requests."""
    router = Router()
    router.update([version])
    folder = Folder(
        StormStore(connection, cluster="bench"),
        route=router.route,
        continuation=lambda gid: None,
        held=lambda gid, epoch: None,
        closed_spans=lambda gid, stream: (),
        leads=lambda arrival: True,
        renewed=lambda arrival: arrival,
        tell=lambda arrival, verdict: None,
        safe_verdict=lambda gid, epoch: COUNTED,
        hint=lambda number, due_ms: None,
    )
    router.in_use = folder.versions_in_use
    return folder


def rest() -> Rest[Seen]:
    """What is left for want of room: it is only counted, since nobody reads it again."""
    return Rest(cast("Any", None), kind="Signal", collection=str, parse=PARSE)


def intake_of(folder: Folder, left: Rest[Seen] | None = None) -> SignalIntake:
    """The intake before it, of which nobody else hears."""
    return SignalIntake(
        ShardProgress(),
        submit=folder.submit,
        rest=rest() if left is None else left,
        concluded=lambda ref, verdict: None,
        kept=lambda seen: None,
        changed=lambda ref: None,
        deleted=lambda uid: None,
    )
