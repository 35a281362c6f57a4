"""Walk: a group's alerts, its requests, and one replica that does what is to be done, in any order."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from tests.harness.folding import Group, alert, fields_of, resolved, signal
from tests.harness.requests import Requests
from tests.harness.values import ARRIVAL, T0

from lab.valkey import Valkey
from stormfold.api.reason import Reason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.fold import keys
from stormfold.fold.arguments import Fold
from stormfold.fold.elsewhere import Elsewhere
from stormfold.fold.replies import CloseWord, FoldWord
from stormfold.fold.store import StormStore
from stormfold.gate.gates import GateIndex
from stormfold.kube.recorder import Recorder
from stormfold.model.arrival import Arrival
from stormfold.model.storm import Snapshot
from stormfold.policy.version import PolicyVersion
from stormfold.request.deciding import Close, Discard, Reported, Write, decide
from stormfold.request.index import RequestIndex
from stormfold.request.noting import Noter
from stormfold.request.reading import Request
from stormfold.request.remediation import Phases
from stormfold.request.reopening import reopening_of, reopens_ms
from stormfold.request.writing import Outcome, RequestWriter

ENDS = ("Succeeded", "TimedOut", "Skipped")
PHASES = Phases.of(ENDS, ())
NAMES = [f"alert-{number}" for number in range(8)]


@dataclass
class Told:
    """What Alertmanager knows of an alert."""

    fires: bool
    starts: int
    """Seconds after `T0`."""


class Walk:
    """A group, its requests, and one replica that does what is to be done."""

    def __init__(
        self, store: StormStore, redis: Valkey, dice: random.Random, policy: PolicyVersion, *, small: bool
    ) -> None:
        self.is_small = small
        self.store, self.redis, self.dice, self.policy = store, redis, dice, policy
        self.now_ms = T0
        self.requests = Requests()
        self.index = RequestIndex(cast("Any", self))
        client = cast("Any", self.requests)
        self.writer = RequestWriter(
            client,
            self.index,
            Recorder(client, identity="walk"),
            phases=PHASES,
            elsewhere=Elsewhere(cast("Any", self)),
            gates=GateIndex("stormfold-system"),
        )
        self.noter = Noter(client, store, self.index, cast("Any", self))
        self.index.subscribe(self.noter)
        self.index.subscribe_to_deletions(self.noter)
        self.group = Group(store, policy.group(ARRIVAL).group_hash, policy.terms, redis)
        self.opening = policy.opening(policy.group(ARRIVAL), ARRIVAL).encoded()
        self.alerts: dict[str, Told] = {}
        self.occurrences: set[tuple[str, int]] = set()
        self.signals = 0
        self.in_flight: list[Arrival] = []
        self.totals: list[int] = []
        """Those of the closed requests."""
        self.exact = not small
        """Nothing was lost, deleted or discarded, so that each occurrence counts just once."""
        self.faulty = False
        self.log: list[Any] = []

    # --- as deadlines, the leader and the clock

    def make_due(self, group_hashes: Any) -> None:
        """Not of interest."""

    def fenced(self) -> int:
        """It leads."""
        return 1

    def now(self) -> int:
        """Unix ms."""
        return self.now_ms

    # --- what comes in

    async def fold(self, *arrivals: Arrival) -> None:
        """Count, as a replica that has just started: with what the last request says."""
        continuation = self.index.continuation(self.group.group_hash)
        seed = continuation.seed if continuation else None
        fold = Fold(self.group.group_hash, self.policy.terms, self.opening, arrivals, seed=seed)
        [answer] = await self.store.fold(self.group.partition, [fold], now_ms=self.now_ms)
        assert answer.word is FoldWord.COUNTED
        self.in_flight += [one for one, ordinal in zip(arrivals, answer.ordinals, strict=True) if ordinal]

    def report(self, name: str) -> Arrival:
        """What is posted of an alert now."""
        told, report = self.alerts[name], alert
        self.occurrences.add((name, told.starts))
        ends: dict[str, Any] = {}
        if not told.fires:
            report, ends = resolved, {"ends": (self.now_ms - T0) // 1000 + 1}
        return report(name, told.starts, seen_ms=self.now_ms, **ends)

    async def post(self, *names: str) -> None:
        self.log.append([(name, self.alerts[name]) for name in names])
        if names:
            await self.fold(*map(self.report, names))

    def some(self, *, fires: bool | None = None) -> list[str]:
        found = [name for name, told in self.alerts.items() if fires in {None, told.fires}]
        return self.dice.sample(found, self.dice.randint(0, len(found)))

    def begin(self, name: str, *, fires: bool) -> None:
        before = self.alerts[name].starts if name in self.alerts else -1
        self.alerts[name] = Told(fires, max((self.now_ms - T0) // 1000, before + 1))

    async def fire(self) -> None:
        """It begins, or fires again with the start that it had."""
        name = self.dice.choice(NAMES)
        if name in self.alerts:
            self.alerts[name].fires = True
        else:
            self.begin(name, fires=True)
        await self.post(name)

    async def begin_anew(self) -> None:
        """Whether its end was told or not; the end alone may be told of what began."""
        name = self.dice.choice(NAMES)
        self.begin(name, fires=self.dice.random() < 0.75)
        await self.post(name)

    async def end(self) -> None:
        names = self.some(fires=True)
        for name in names:
            self.alerts[name].fires = False
        await self.post(*names)

    async def repeat(self) -> None:
        await self.post(*self.some())

    async def signal(self) -> None:
        self.signals += 1
        await self.fold(signal(self.signals))

    # --- what is done about it

    async def act(self) -> None:
        """Look at the storm, if there is one."""
        await self.store.make_due([self.group.group_hash], now_ms=self.now_ms)
        storm = await self.group.claim(at=self.now_ms - T0)
        if storm is None:
            return
        request = self.index.get(storm.group_hash, storm.epoch)
        reported = request.reported(PHASES, storm.revision, self.now_ms) if request else Reported()
        decision = decide(storm, has_request=request is not None, reported=reported, now_ms=self.now_ms)
        self.log.append(decision)
        match decision:
            case Write(phase, deadline):
                written = await self.writer.write(storm, phase, closed_for=None, now_ms=self.now_ms)
                if written is Outcome.BEHIND:  # an older request is there, of which the index knew nothing
                    await self.fold_again()
                    return
                settled = phase is RequestPhase.SETTLED and not storm.settled
                at = self.now_ms - T0
                await self.group.ack(storm, at=at, settled=settled, next_look=deadline - T0)
            case Close(reason, _):
                await self.close(storm, reason)
            case Discard():
                await self.discard(storm, forget=self.dice.random() < 0.2)
            case _:
                return
        self.in_flight = []

    async def close(self, storm: Snapshot, reason: Reason) -> None:
        _, frozen = await self.store.freeze(
            storm, reason=reason.name, expected_folded=None, now_ms=self.now_ms
        )
        assert frozen is not None
        written = await self.writer.write(frozen, RequestPhase.CLOSED, closed_for=reason, now_ms=self.now_ms)
        assert written is Outcome.WRITTEN
        assert await self.store.close_storm(frozen) is CloseWord.CLOSED
        self.totals.append(frozen.total)

    async def discard(self, storm: Snapshot, *, forget: bool) -> None:
        word = await self.store.discard(storm, "DISCARDED:BELOW_THRESHOLD", forget_alerts=forget)
        self.log.append((word, forget))
        assert word is CloseWord.CLOSED
        self.exact = False

    async def consume(self) -> None:
        """The consumer reports that it has ended."""
        for path, body in list(self.requests.bodies.items()):
            request = Request.read(body)
            if not request.closed and request.begun:
                phase = self.dice.choice(ENDS)
                self.log.append((request.epoch, phase))
                patch_ = {"metadata": body["metadata"], "status": {"remediation": {"phase": phase}}}
                self.index.seen(await self.requests.merge_patch(path, patch_))
                await self.act()

    async def note(self) -> None:
        await self.noter.forget()
        await self.noter.look()
        if request := self.index.over(self.group.group_hash):
            self.log.append(("noted", request.epoch, request.firing_alerts))

    async def reopen(self) -> None:
        request = self.index.over(self.group.group_hash)
        due_ms = reopens_ms(request, PHASES) if request else None
        if request and due_ms is not None and due_ms <= self.now_ms:
            fold = reopening_of(request, self.policy)
            assert fold is not None
            [answer] = await self.store.fold(self.group.partition, [fold], now_ms=self.now_ms)
            self.log.append(("reopened", answer.open, answer.epoch))

    # --- what goes wrong

    async def lose(self) -> None:
        """Redis is emptied, and what no request holds is folded again."""
        self.redis.command("FLUSHALL")
        await self.fold_again()

    async def fail_over(self) -> None:
        """Another server answers, which has the same."""
        state = self.fields(self.group.storm_key)
        for field in {"incarnation", "discarded_by"} & state.keys():
            self.group.note_another_server(field)
        await self.fold_again()

    async def fold_again(self) -> None:
        self.faulty, self.exact = True, False
        waiting, self.in_flight = self.in_flight, []
        await self.fold(*waiting)

    async def delete(self) -> None:
        """Somebody deletes the closed request."""
        if request := self.index.over(self.group.group_hash):
            self.faulty, self.exact = True, False
            self.requests.delete(request.epoch)
            self.index.gone(self.requests.deleted[-1])

    # --- the walk

    async def step(self, faults: bool) -> None:
        self.now_ms += self.dice.choice((100, 1000, 3000, 20_000))
        steps = {
            self.fire: 4, self.end: 4, self.begin_anew: 2, self.repeat: 3, self.signal: 1,
            self.act: 6, self.consume: 2, self.note: 2, self.reopen: 2,
        }  # fmt: skip
        if faults:
            steps |= {self.lose: 1, self.fail_over: 1, self.delete: 1}
        [step] = self.dice.choices(list(steps), list(steps.values()))
        self.log.append(f"{self.now_ms - T0} {step.__name__}")
        await step()
        self.agrees()

    def fields(self, key: str) -> dict[str, str]:
        return fields_of(self.redis, key)

    def of_alerts(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """What Redis has of those of the open storm, and of those before."""
        number, group_hash = self.group.partition, self.group.group_hash
        return self.fields(keys.alerts(number, group_hash)), self.fields(keys.before(number, group_hash))

    def agrees(self) -> None:
        """The counts of the storm are those of its alerts."""
        storm, (here, _) = self.fields(self.group.storm_key), self.of_alerts()
        if storm.get("state") == "open":
            fires = sum(text[0] == "f" for text in here.values())
            assert fires == int(storm.get("alerts_firing", 0)), (storm, here)
        total = int(storm.get("total", 0)) + sum(self.totals)
        if self.exact:
            assert total == len(self.occurrences) + self.signals, "an alert counts twice, or not at all"
        if not self.faulty:
            assert int(storm.get("total", 0)) <= len(self.occurrences) + self.signals, "an alert counts twice"

    async def rounds(self, number: int, step_ms: int) -> None:
        """All goes well for a while."""
        for _ in range(number):
            self.now_ms += step_ms
            await self.post(*(name for name, told in self.alerts.items() if told.fires))
            await self.note()
            await self.reopen()
            await self.act()
            await self.act()

    def check(self) -> None:
        """No alert that fires is hidden."""
        storm, (here, before) = self.fields(self.group.storm_key), self.of_alerts()
        last = self.index.over(self.group.group_hash)
        listed = {one.id for one in (last.tracked_alerts or ()) if one.firing} if last else set()
        for name, told in self.alerts.items():
            id_ = alert(name).occurrence
            is_discarded = self.policy.terms.discard and before.get(id_, "").endswith("d")
            if not told.fires or is_discarded or (self.is_small and self.policy.terms.discard):
                continue
            if storm["state"] == "open":
                assert self.is_small or here.get(id_, " ")[0] == "f", (name, id_)
                assert self.index.get(self.group.group_hash, int(storm["epoch"])), "it has no request"
            else:
                assert last is not None, (name, id_)
                is_counted = id_ in listed or last.firing_alerts > len(listed)
                assert is_counted or (self.is_small and listed), (name, id_)
                assert reopens_ms(last, PHASES) is None, "it is due"

    async def end_all(self) -> None:
        """Nothing fires any more, and no word comes for long: no request says otherwise, but for alerts that
        Redis does not know one by one (docs/limits.md)."""
        for told in self.alerts.values():
            told.fires = False
        await self.post(*self.alerts)
        self.now_ms += self.policy.terms.stale_after_ms
        await self.rounds(4, 400_000)
        last = self.index.over(self.group.group_hash)
        if self.is_small:
            return
        assert self.fields(self.group.storm_key).get("state", "closed") == "closed"
        assert not last or not last.firing_alerts, "a request says that an alert fires"
