"""Steering: gates that come, change and go, and consumers that claim requests and report on them.

A seed makes a plan; `Steerer` carries it out. What a consumer may do is up to the API server: a conflict and
a refusal are answers as good as any, and are counted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from tests.chaos.accounting import Accounting
from tests.chaos.stream import NAMESPACES, PLATFORM, Group, Law
from tests.chaos.world import REFUSED, ChaosWorld
from tests.harness.api import ApiError, Manifest
from tests.harness.cluster import OPERATOR_NAMESPACE
from tests.harness.consumer import Consumer, claim_of, in_seconds, is_expired
from tests.harness.resources import storm_gate

GATE_MOVES = 30
DEEDS = 160
ENDS = ("Succeeded", "Failed", "Skipped", "Cancelled") * 2
"""Terminal phases among them: after the last two kinds, a group does not open again by itself."""
ROBOTS = 3
TRIES = 3
RETRY_SECONDS = 0.3
HOMES = (PLATFORM, *(NAMESPACES[law][0] for law in (Law.TEAM, Law.BRISK, Law.EVENTS, Law.MANY)))
"""Namespaces with gates of their own; requests of another one are governed by the operators' gates only."""


@dataclass(frozen=True, slots=True)
class Held:
    """A hold of a gate."""

    by: str
    verdict: str
    seconds: float | None
    """For so long; None: until it is removed."""


@dataclass(frozen=True, slots=True)
class SetGate:
    """A gate is made, or says something else from now on."""

    at: float
    namespace: str
    name: str
    spec: Mapping[str, Any]
    holds: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteGate:
    """A gate is deleted, whatever it says."""

    at: float
    namespace: str
    name: str


class Deed(Enum):
    """What a consumer does to an open request of a group."""

    TAKE = auto()
    RENEW = auto()
    TAKE_OVER = auto()
    RELEASE = auto()
    REPORT = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Act:
    """A consumer does something."""

    at: float
    group: Group
    robot: int
    deed: Deed
    phase: str
    seconds: float
    """How long a claim lasts."""


Move = SetGate | DeleteGate | Act


def steered(seed: int, groups: Sequence[Group], *, seconds: float) -> tuple[Move, ...]:
    """The plan of a seed, in the order of time."""
    dice = random.Random(f"steering {seed}")
    moves = [*_gates(dice, seconds), *_acts(dice, groups, seconds)]
    return tuple(sorted(moves, key=lambda move: move.at))


def _gates(dice: random.Random, seconds: float) -> Iterator[Move]:
    for _ in range(GATE_MOVES):
        at = dice.uniform(1, seconds)
        namespace = dice.choice((OPERATOR_NAMESPACE, *HOMES))
        name = dice.choice(("first", "second"))
        selector = {}
        if namespace == OPERATOR_NAMESPACE:  # a hold over all all the time would leave nothing to see
            selector = {"selector": {"namespaces": dice.sample(HOMES, 2)}}
        match dice.choices(("holds", "breaker", "budget", "nothing", "deleted"), (5, 3, 3, 2, 4))[0]:
            case "holds":
                holds = tuple(
                    Held(by, dice.choice(("Hold", "Stop")), dice.choice((None, dice.uniform(0.5, 4))))
                    for by in dice.sample(("alice", "bob"), dice.randint(1, 2))
                )
                yield SetGate(at, namespace, name, selector, holds)
            case "breaker":
                cooldown = dice.choice(("500ms", "1s", "2s"))
                breaker = {"openRequests": dice.randint(1, 4), "within": "20s", "cooldown": cooldown}
                yield SetGate(at, namespace, name, selector | {"breaker": breaker})
            case "budget":
                budget = dice.choice(({"concurrent": dice.randint(1, 3)}, {"perHour": dice.randint(2, 9)}))
                yield SetGate(at, namespace, name, selector | {"budget": budget})
            case "nothing":
                yield SetGate(at, namespace, name, selector)
            case "deleted":
                yield DeleteGate(at, namespace, name)


def _acts(dice: random.Random, groups: Sequence[Group], seconds: float) -> Iterator[Move]:
    deeds = dice.choices(
        (Deed.TAKE, Deed.RENEW, Deed.TAKE_OVER, Deed.RELEASE, Deed.REPORT),
        (8, 3, 3, 2, 3),
        k=DEEDS - len(ENDS),
    )
    said = [(Deed.END, phase) for phase in ENDS]
    for deed, phase in (*said, *((deed, f"Step{dice.randrange(100)}") for deed in deeds)):
        yield Act(
            dice.uniform(2, seconds),
            dice.choice(groups),
            dice.randrange(ROBOTS),
            deed,
            phase,
            dice.uniform(0.5, 4),
        )


@dataclass
class Steerer:
    """Carries a plan out in a world."""

    world: ChaosWorld
    accounting: Accounting
    moves: Sequence[Move]
    answers: Counter[str] = field(default_factory=Counter)
    """To what consumers wrote: taken, refused by an admission policy, none, or another status."""
    gates: int = 0
    """How often a gate was made, changed or deleted."""

    async def run(self) -> None:
        """Do each move at its time."""
        async with asyncio.TaskGroup() as tasks:
            for move in self.moves:
                await asyncio.sleep(max(0.0, move.at - self.world.seconds))
                match move:
                    case SetGate() | DeleteGate():
                        tasks.create_task(self._gate(move))
                    case Act():
                        tasks.create_task(self._act(move))

    async def lift_all(self) -> None:
        """Delete all gates, so that everything comes to its end."""
        while True:
            try:
                for gate in await self.world.api.list("StormGate"):
                    metadata = gate["metadata"]
                    await self.world.api.delete("StormGate", metadata["name"], metadata["namespace"])
            except REFUSED:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    # --- gates

    async def _gate(self, move: SetGate | DeleteGate) -> None:
        async with self.world.lock(f"gate {move.namespace}/{move.name}"):
            for _ in range(TRIES):
                try:
                    await self._write_gate(move)
                except ApiError as error:
                    if error.status in {404, 409}:
                        return  # there is none to be deleted, or an answer was lost on the way
                except REFUSED:
                    pass
                else:
                    self.gates += 1
                    said = move.spec | {"holds": move.holds} if isinstance(move, SetGate) else "deleted"
                    self.accounting.fault(f"gate {move.namespace}/{move.name}: {said}", self.world.seconds)
                    return
                await asyncio.sleep(RETRY_SECONDS)

    async def _write_gate(self, move: SetGate | DeleteGate) -> None:
        api = self.world.api
        if isinstance(move, DeleteGate):
            await api.delete("StormGate", move.name, move.namespace)
            return
        spec = dict(move.spec) | {"holds": [_written(held) for held in move.holds]}
        gate = storm_gate(move.namespace, move.name, spec)
        if not await api.get("StormGate", move.name, move.namespace):
            await api.create(gate)
            return
        path = f"/apis/{gate['apiVersion']}/namespaces/{move.namespace}/stormgates/{move.name}"
        change = [{"op": "replace", "path": "/spec", "value": spec}]
        await api.request("PATCH", path, change, content_type="application/json-patch+json")

    # --- consumers

    async def _act(self, act: Act) -> None:
        for shown in list(self.accounting.ledgers[act.group.name].requests.values()):
            if shown.phase not in {"Open", "Settled"}:
                continue
            try:
                request = await self.world.api.get("RemediationRequest", shown.name, act.group.home)
                done = request is not None and await self._do(act, request)
            except ApiError as error:
                self.answers["refused" if "denied request" in str(error) else str(error.status)] += 1
            except REFUSED:
                self.answers["none"] += 1
            else:
                if done:
                    self.answers["taken"] += 1
                    note = f"robot-{act.robot} does {act.deed.name} {act.phase} in {shown.name}"
                    self.accounting.note(act.group.name, note, self.world.seconds)

    async def _do(self, act: Act, request: Manifest) -> bool:
        """Whether it is done; False if there is nothing to do.

        Raises:
            ApiError: the API server says no.
        """
        robot = Consumer(self.world.api, f"robot-{act.robot}")
        claim = claim_of(request) if request.get("status") else None
        ours = claim is not None and claim["holderIdentity"] == robot.name
        new_claim = {"claim": robot.claim(request, act.seconds)} if request.get("status") else {}
        match act.deed:
            case Deed.TAKE if new_claim:
                await robot.apply(request, phase=act.phase, **new_claim)
            case Deed.RENEW if ours:
                await robot.apply(request, phase=request["status"]["remediation"]["phase"], **new_claim)
            case Deed.TAKE_OVER if claim and is_expired(claim) and not ours:
                return await robot.take_over(request, phase=act.phase)
            case Deed.RELEASE if ours:
                await robot.release(request, phase=request["status"]["remediation"]["phase"])
            case Deed.REPORT if new_claim:
                await robot.apply(request, phase=act.phase, **({"claim": claim} if ours else {}))
            case Deed.END:
                metadata, change = request["metadata"], {"status": {"remediation": {"phase": act.phase}}}
                where = metadata["name"], metadata["namespace"]
                await self.world.api.patch("RemediationRequest", *where, change, subresource="status")
            case _:
                return False
        return True


def _written(held: Held) -> Manifest:
    until = {"until": in_seconds(held.seconds)} if held.seconds is not None else {}
    return {"by": held.by, "reason": f"chaos at {time.time():.3f}", "verdict": held.verdict} | until
