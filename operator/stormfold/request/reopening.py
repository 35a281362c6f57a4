"""Reopener: a group whose request was closed while alerts fired opens its next one by itself.

The closed request is what is due: when, `reopens_ms` tells from it alone. Every replica knows it by its
index, after a restart too, and tries; the script opens the group once. So nothing of it is kept in Redis but
the alerts and their latest words, and if Redis loses those, the list in the request stands for them.
"""

import asyncio
import heapq
import logging
from typing import Protocol

from prometheus_client import Counter

from stormfold.api.conditions import ConditionType
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.stormpolicy import CloseOn
from stormfold.fold.arguments import Fold, Reopening
from stormfold.fold.errors import StoreFullError, StoreUnavailableError
from stormfold.fold.store import StormStore
from stormfold.model.group import Group, PolicyId, partition
from stormfold.model.moments import milliseconds, now_ms
from stormfold.model.opening import Opening
from stormfold.policy.version import PolicyVersion
from stormfold.request.reading import Request, opening_of
from stormfold.request.remediation import FIXED, Phases
from stormfold.request.seeding import seed_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
TRY_AGAIN_MS = 10_000
"""As long as the closed request says that alerts fire and no later one is seen, it is tried again so often:
the policy may come into force again, and what Redis has opened it may lose."""

REOPENED = Counter(
    "stormfold_storms_reopened_total",
    "Requests opened because alerts of a closed request still fire.",
)


class Requests(Protocol):
    """The RemediationRequests."""

    def over(self, group_hash: str) -> Request | None:
        """The group's last request that says anything, if it is closed and there."""


class Policies(Protocol):
    """The policies as they are now."""

    def in_force(self, policy: PolicyId) -> PolicyVersion | None:
        """A policy, if it is in force."""


class Deadlines(Protocol):
    """Who looks at storms when they are due."""

    def expect(self, number: int, due_ms: int) -> None:
        """A partition has something due then, Unix ms."""


def stops(request: Request, phases: Phases) -> bool:
    """Whether a closed request says that nothing is to be done about what fires on."""
    status = request.resource.status
    return request.report.wants_nothing_done(status.revision if status else 1, phases)


def reopens_ms(request: Request, phases: Phases) -> int | None:
    """When the group opens its next storm by itself, as this last request of it says, Unix ms; None if it
    does not: nothing fires, or its end says that nothing is to be done."""
    policy = request.resource.spec.policy
    said = request.holding(ConditionType.CLOSED)
    if said is None or not request.closed or not request.firing_alerts or policy.close_on is CloseOn.QUIET:
        return None
    if stops(request, phases):
        return None
    closed_ms = milliseconds(said.last_transition_time)
    if said.reason == RequestReason.MAX_DURATION_REACHED:
        return closed_ms
    if said.reason != RequestReason.REMEDIATION_FINISHED:
        return None
    after = policy.reopen_after
    is_fixed = request.report.phase.casefold() in FIXED
    return closed_ms + (after.succeeded_ms if is_fixed else after.failed_ms)


def reopening_of(request: Request, version: PolicyVersion) -> Fold | None:
    """What opens the next storm under the policy as it is now; None if that groups by other keys: what is
    repeated then goes where those say."""
    opening = opening_of(request)
    if version.spec.group_by != request.resource.spec.policy.group_by:
        return None
    own = dict(opening.group.values).get("namespace") or request.namespace
    namespace = version.id.namespace or version.spec.request_namespace or own
    status = request.resource.status
    return Fold(
        request.group_hash,
        version.terms,
        Opening(
            Group(version.id, opening.group.values, namespace),
            version.uid,
            version.generation,
            version.spec_json,
            opening.name,
            opening.severity,
            opening.target,
        ).encoded(),
        (),
        seed=seed_of(request),
        reopening=Reopening(request.epoch, status.severity.rank if status and status.severity else 0),
    )


class Reopener:
    """Opens groups again when their closed requests are due."""

    def __init__(
        self,
        store: StormStore,
        requests: Requests,
        policies: Policies,
        *,
        phases: Phases,
        deadlines: Deadlines,
    ) -> None:
        """`phases` are those of `status.remediation` that are understood."""
        self._store = store
        self._requests = requests
        self._policies = policies
        self._phases = phases
        self._deadlines = deadlines
        self._queue: list[tuple[int, str]] = []
        """When to try, Unix ms, and the group hash; of a group only what `_due` says counts."""
        self._due: dict[str, int] = {}

    def observed(self, request: Request) -> None:
        """A newer version of a request was seen: its group may be due at another time, or no more."""
        group_hash = request.group_hash
        over = self._requests.over(group_hash)
        due_ms = reopens_ms(over, self._phases) if over else None
        if due_ms is None:
            self._due.pop(group_hash, None)
        elif over is request or group_hash not in self._due:
            self._line_up(group_hash, due_ms)

    def _line_up(self, group_hash: str, due_ms: int) -> None:
        self._due[group_hash] = due_ms
        heapq.heappush(self._queue, (due_ms, group_hash))

    async def run(self) -> None:
        """Work for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except (StoreUnavailableError, StoreFullError) as exc:
                log.warning("groups not opened again, trying again", extra={"error": str(exc)})

    async def look(self) -> None:
        """Try what is due.

        Raises:
            StoreError: see `StormStore`.
        """
        while self._queue and self._queue[0][0] <= now_ms():
            due_ms, group_hash = heapq.heappop(self._queue)
            if self._due.get(group_hash) != due_ms:
                continue
            # First, so that it is tried again whatever happens.
            self._line_up(group_hash, now_ms() + TRY_AGAIN_MS)
            request = self._requests.over(group_hash)
            if request is None or reopens_ms(request, self._phases) is None:
                del self._due[group_hash]
                continue
            version = self._policies.in_force(request.policy)
            if version and (fold := reopening_of(request, version)):
                await self._open(fold, request)

    async def _open(self, fold: Fold, request: Request) -> None:
        number = partition(fold.group_hash)
        [answer] = await self._store.fold(number, [fold], now_ms=now_ms())
        if not answer.open:
            return
        self._deadlines.expect(number, answer.due_ms or now_ms())
        if answer.ordinals:  # it was not open before
            REOPENED.inc()
            log.info(
                "alerts of a closed request still fire: the group opens its next one",
                extra=request.log_fields,
            )
