"""Sending: carries a plan out, and tries again as kubectl and Alertmanager do."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
from tests.chaos.accounting import Accounting, Said, above
from tests.chaos.bodies import event, signal, signal_name
from tests.chaos.stream import (
    Alert,
    Create,
    Group,
    Happen,
    Law,
    Move,
    Occurrence,
    Plan,
    Post,
    Raise,
    Touch,
    Way,
)
from tests.chaos.world import REFUSED, ChaosWorld
from tests.harness.api import ApiError, Manifest
from tests.harness.world import OPERATOR_NAMESPACE, answer_of, posting

from stormfold.model.checkpoint import Checkpoints

CREATES_AT_ONCE = 24
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)
ENDS_AT_ONCE = 250
"""Alerts in a body that says they are over."""
STRANGER = "stranger"


@dataclass
class Sender:
    """Sends a plan into a world and notes it. `dice` decides what the plan leaves open."""

    world: ChaosWorld
    accounting: Accounting
    plan: Plan
    dice: random.Random
    unanswered: int = 0
    """Posts that no replica has answered by 200 yet."""
    copies: int = 0
    """Alerts that were sent although they had been sent."""
    edits: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    """Answers to posts other than 200, 0 for none."""

    def __post_init__(self) -> None:
        self._gate = asyncio.Semaphore(CREATES_AT_ONCE)
        self._versions: dict[tuple[str, int], int] = {}
        """(group, number) to the resourceVersion at which a Signal was made."""
        self._happened: dict[tuple[str, int], int] = {}
        """(group, number) to how often an Event has happened."""
        self._reporters: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        """One reporter raises the count of an Event: it never goes back."""
        self.checkpoints = Checkpoints()
        """The last ones that were seen on the Leases."""
        self._session: aiohttp.ClientSession | None = None
        self._until_seconds = math.inf
        self._posted: list[Post] = []
        self._ended: set[Occurrence] = set()
        """First occurrences of alerts of which an end was posted."""
        self._taken: set[Occurrence] = set()
        """Alerts of which a post was answered by 200."""

    @asynccontextmanager
    async def _posting(self) -> AsyncIterator[None]:
        async with posting(force_close=True) as self._session:
            yield

    def still_firing(self) -> set[Group]:
        """Groups with an alert that fires for sure: it was accepted, and no end of it was ever posted."""
        posted = [alert.occurrence for move in self._posted for alert in move.alerts]
        return {
            one.group
            for one in posted
            if replace(one, repeat=0) not in self._ended
            and Said.ACCEPTED in self.accounting.ledgers[one.group.name].told.get(one, ())
        }

    async def end_alerts(self) -> None:
        """Post that every alert is over, until each post is taken: one that fires holds its request open."""
        over: defaultdict[Group, list[Alert]] = defaultdict(list)
        for move in self._posted:  # one that was not sent must not come to be counted by its end
            over[move.alerts[0].occurrence.group] += [replace(alert, firing=False) for alert in move.alerts]
        async with self._posting(), asyncio.TaskGroup() as tasks:
            for place, alerts in enumerate(over.values()):
                tasks.create_task(self._end_alerts(sorted(alerts, key=lambda alert: alert.starts), place))

    async def _end_alerts(self, alerts: list[Alert], replica: int) -> None:
        for first in range(0, len(alerts), ENDS_AT_ONCE):
            part = alerts[first : first + ENDS_AT_ONCE]
            while Said.PENDING in (said := _said(part, *await self._answer(self._body(part), replica))):
                replica += 1
                await asyncio.sleep(RETRY_SECONDS[-1])
            for alert, one in zip(part, said, strict=True):
                self.accounting.answered_in_the_end(alert.occurrence, one)

    async def send(self, *, until: float) -> None:
        """Send all of it; returns when everything is taken, or soon after `until`.

        What was begun by then is ended and not cut off, else nobody knew whether it was done. Posts are given
        up, and nothing more is begun.
        """
        self._until_seconds = until
        sends: dict[type[Move], Callable[[Any], Coroutine[Any, Any, None]]] = {
            Create: self._create,
            Touch: self._touch,
            Raise: self._raise,
            Happen: self._happen,
            Post: self._post,
        }
        async with self._posting(), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._create_strangers())
            for move in self.plan.moves:
                await self._until(move.at)
                if self.world.seconds > until:
                    break
                tasks.create_task(sends[type(move)](move))

    async def _until(self, at: float) -> None:
        # Also where it is late: what was sent before has its turn, and a loaded machine gets less at once.
        await asyncio.sleep(max(0.0, at - self.world.seconds))

    async def _insist(self, call: Callable[[], Coroutine[Any, Any, Manifest]]) -> Manifest | None:
        """What the API server answers, tried again while it is away; None if the object is there, or gone,
        already."""
        attempt = 0
        while True:
            try:
                async with self._gate:
                    return await call()
            except ApiError as error:
                if error.status in {404, 409}:
                    return None
            except REFUSED:
                pass
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1

    # --- Signals

    async def _create(self, move: Create) -> None:
        await asyncio.gather(
            *(
                self._create_one(move.group, number, resolved=number in move.resolved)
                for number in move.numbers
            )
        )

    async def _create_one(self, group: Group, number: int, *, resolved: bool) -> None:
        body = signal(group, number, resolved=resolved)
        self.accounting.sent(Occurrence(group, number), self.world.seconds)
        made = await self._insist(lambda: self.world.api.create(body))
        if made is None:
            # An answer was lost on the way: it had been made.
            made = await self._insist(
                lambda: self.world.api.request("GET", self._path(group, number)),
            )
        if made:
            self._versions[group.name, number] = int(made["metadata"]["resourceVersion"])

    def _path(self, group: Group, number: int) -> str:
        namespace = group.place(number)
        return f"/apis/stormfold.dev/v1alpha1/namespaces/{namespace}/signals/{signal_name(group, number)}"

    async def _patch(self, group: Group, number: int, change: Manifest) -> Manifest | None:
        return await self._insist(
            lambda: self.world.api.request(
                "PATCH", self._path(group, number), change, content_type="application/merge-patch+json"
            )
        )

    async def _touch(self, move: Touch) -> None:
        if (move.group.name, move.number) not in self._versions:
            return
        note = {"metadata": {"annotations": {"chaos": f"{self.world.seconds:.3f}"}}}
        touched = await self._patch(move.group, move.number, note)
        if touched:
            self.edits += 1
            occurrence = Occurrence(move.group, move.number)
            version = int(touched["metadata"]["resourceVersion"])
            self.accounting.edited(occurrence, version, self.world.seconds)

    async def _raise(self, move: Raise) -> None:
        """Only once it is durable: of two changes between two reads the operator sees the last
        (docs/decisions/0001)."""
        version = self._versions.get((move.group.name, move.number))
        if version is None or above(self.checkpoints, Occurrence(move.group, move.number), version):
            return
        change = {"spec": {"annotations": {"summary": "it got worse"}}}
        occurrence = Occurrence(move.group, move.number, repeat=1)
        if await self._patch(move.group, move.number, change):
            self.accounting.sent(occurrence, self.world.seconds)

    # --- Events

    async def _happen(self, move: Happen) -> None:
        async with self._reporters[move.group.name, move.number]:
            await self._report(move)

    async def _report(self, move: Happen) -> None:
        group, number, now = move.group, move.number, datetime.now(UTC).isoformat(timespec="seconds")
        before = self._happened.get((group.name, number))
        name = signal_name(group, number)
        if move.count == 1:
            body = event(group, number, at=now)
            self.accounting.sent(Occurrence(group, number, Way.EVENTS), self.world.seconds)
            await self._insist(lambda: self.world.api.create(body))
            self._happened[group.name, number] = 1
        elif before is not None and before < move.count:
            path = f"/api/v1/namespaces/{group.place(number)}/events/{name}"
            change = {"count": move.count, "lastTimestamp": now}
            self._happened[group.name, number] = move.count
            occurrences = [Occurrence(group, number, Way.EVENTS, repeat) for repeat in range(move.count)]
            for one in occurrences[before:]:
                self.accounting.sent(one, self.world.seconds)
            raised = await self._insist(
                lambda: self.world.api.request(
                    "PATCH", path, change, content_type="application/merge-patch+json"
                )
            )
            assert raised is not None
            for one in occurrences[:before]:
                self.accounting.edited(one, int(raised["metadata"]["resourceVersion"]), self.world.seconds)

    async def _create_strangers(self) -> None:
        for number in range(self.plan.strangers):
            home = self.plan.groups[number].home
            body = {
                "apiVersion": "stormfold.dev/v1alpha1",
                "kind": "Signal",
                "metadata": {"name": f"{STRANGER}-{number:02}", "namespace": home},
                "spec": {
                    "name": STRANGER,
                    "target": {"kind": "Pod", "name": "web", "namespace": OPERATOR_NAMESPACE},
                },
            }
            await self._until(number * 2.5)
            await self._insist(lambda body=body: self.world.api.create(body))

    # --- alerts

    async def _post(self, move: Post) -> None:
        # A later start comes when the first was taken, as Alertmanager posts them: an earlier one that came
        # after it would be the same occurrence.
        first = {replace(alert.occurrence, repeat=0) for alert in move.alerts if alert.occurrence.repeat}
        while not first <= self._taken:
            if self.world.seconds > self._until_seconds:
                return
            await asyncio.sleep(RETRY_SECONDS[0])
        self._posted.append(move)
        for alert in move.alerts:
            self.accounting.sent(alert.occurrence, self.world.seconds)
        async with asyncio.TaskGroup() as tasks:
            for after, replica in move.copies:
                alerts = list(move.alerts)
                self.dice.shuffle(alerts)
                self.copies += len(alerts)
                tasks.create_task(self._post_later(after, tuple(alerts), replica))
            await self._post_until_taken(move.alerts, move.replica)
            if move.resolve_after is not None:
                await asyncio.sleep(move.resolve_after)
                self._ended |= {replace(alert.occurrence, repeat=0) for alert in move.alerts}
                resolved = tuple(replace(alert, firing=False) for alert in move.alerts)
                await self._post_until_taken(resolved, move.replica)

    async def _post_later(self, after: float, alerts: tuple[Alert, ...], replica: int) -> None:
        await asyncio.sleep(after)
        await self._post_until_taken(alerts, replica)

    async def _post_until_taken(self, alerts: tuple[Alert, ...], replica: int) -> None:
        assert self._session is not None
        body = self._body(alerts)
        self.unanswered += 1
        attempt = 0
        while (answer := await self._answer(body, replica + attempt))[0] != 200:
            self.refused[answer[0]] += 1
            if self.world.seconds > self._until_seconds:
                return
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1
        self.unanswered -= 1
        self._taken |= {alert.occurrence for alert in alerts}
        for refused in answer[1]["rejected"]:  # the plan has none that a policy would not take
            self.accounting.refused(alerts[refused["index"]].occurrence, refused["message"])
        for alert, said in zip(alerts, _said(alerts, *answer), strict=True):
            self.accounting.answered(alert.occurrence, said)

    async def _answer(self, body: Any, replica: int) -> tuple[int, Any]:
        """The code and the JSON of a replica's answer, 0 for none."""
        assert self._session is not None
        url = self.world.replicas[replica % len(self.world.replicas)].operator.webhook_url
        return await answer_of(self._session, url, body)

    def _body(self, alerts: Iterable[Alert]) -> dict[str, Any]:
        return {"version": "4", "alerts": [self._alert(alert) for alert in alerts]}

    def _alert(self, alert: Alert) -> dict[str, Any]:
        one = alert.occurrence
        group = one.group
        starts = datetime.fromtimestamp(self.world.began_wall + alert.starts, UTC)
        labels = {
            "alertname": group.name,
            "namespace": group.place(one.number),
            "pod": one.pod,
            "severity": "warning",
        } | ({"node": group.name} if group.law is Law.CLUSTER else {})
        return {
            "status": "firing" if alert.firing else "resolved",
            "labels": labels,
            "startsAt": starts.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "fingerprint": f"{group.name}-{one.number:06}",
        }


def _said(alerts: Sequence[Alert], status: int, answer: Any) -> list[Said]:
    """What an answer says of each alert of a post; one that is no 200, that nothing is known yet."""
    if status != 200:
        return [Said.PENDING] * len(alerts)
    said = [Said.ACCEPTED] * len(alerts)
    for word, notes in ((Said.DISCARDED, answer["discarded"]), (Said.PENDING, answer["pending"])):
        for note in notes:
            said[note["index"]] = word
    return said
