"""Owners: the top controller and the node of an arrival's target, watched only while a policy groups by one
of them.

Without the rights of `manifests/components/owners`, all of them or none, nothing is watched and both are
None: a part of a chain would end at another object than the whole, and split a storm. A log line, a metric
and the conditions of the policies concerned say so.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from prometheus_client import Counter, Gauge

from stormfold.enrich.owner_graph import GROUPS, MemberParser, OwnerGraph
from stormfold.kube import paths
from stormfold.kube.changes import Changed, Deleted, Listed
from stormfold.kube.client import TABLE, KubeClient
from stormfold.kube.errors import ApiError
from stormfold.kube.listwatch import ListWatch
from stormfold.kube.preflight import denied_owner_rights
from stormfold.model.arrival import Arrival
from stormfold.model.causes import MIN_ELSEWHERE, Counted
from stormfold.policy.caveats import owners_not_readable
from stormfold.policy.validation import Fault
from stormfold.policy.version import PolicyVersion

log = logging.getLogger(__name__)

SAID_SECONDS = 10.0
"""The log says how much is not listed yet when an arrival has waited for so long."""
RIGHTS_SECONDS = 10.0
"""How often rights that we do not have are asked for again."""

OBJECTS = Gauge("stormfold_owner_objects", "Objects by which owners are found.", ["state"])
RESOLVED = Counter(
    "stormfold_owners_resolved_total", "Owners looked up, by whether one was found.", ["outcome"]
)
RIGHTS_DENIED = Gauge(
    "stormfold_owner_rights_denied", "Rights that owners need and that stormfold does not have."
)


class _UnwantedError(Exception):
    """Ends the watches."""


class Owners:
    """Fills in `owner` and `node` of arrivals."""

    def __init__(self, client: KubeClient, policies_changed: asyncio.Event) -> None:
        """`policies_changed` is set when rights were found missing, or came: `caveat` says something else
        then."""
        self._client = client
        self._policies_changed = policies_changed
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._settled = asyncio.Event()
        """Set when all has been listed, or when it is known that nothing can be: nobody need wait."""
        self._begin()

    def _begin(self) -> None:
        """Know nothing."""
        self._graph = OwnerGraph()
        self._unlisted = set(GROUPS)
        self._denied: list[str] = []
        self._settled.clear()

    @property
    def wanted(self) -> bool:
        """Whether a policy groups by owner or node."""
        return self._wanted.is_set()

    @property
    def ready(self) -> bool:
        """Whether owners can be told: all kinds have been listed."""
        return not self._unlisted

    def want(self, wanted: bool) -> None:
        """Whether a policy, in force or retained, groups by owner or node; what is not wanted is
        forgotten."""
        if wanted and not self._wanted.is_set():
            self._settled.clear()
            self._unwanted.clear()
            self._wanted.set()
        elif not wanted and self._wanted.is_set():
            self._wanted.clear()
            self._unwanted.set()
            self._settled.set()

    def caveat(self, version: PolicyVersion) -> Fault | None:
        """What a policy that is in force must be told."""
        if not version.wants_owners or not self._denied:
            return None
        return owners_not_readable(self._denied)

    def census(self) -> Mapping[str, Counted]:
        """How common nodes are among the pods of the cluster, where that is known."""
        pods = self._graph.pods_of_nodes
        return {"node": pods} if self.ready and pods.signals >= MIN_ELSEWHERE else {}

    async def resolve(self, arrival: Arrival, needed: Callable[[Arrival], bool]) -> Arrival:
        """The arrival with its owner and node, or as it is if nobody wants them. One for which they are
        needed waits until all kinds are listed: every replica must find the same."""
        target = arrival.target
        if target is None or not self._wanted.is_set():
            return arrival
        if not self._settled.is_set() and needed(arrival):
            await self._wait()
        owner = self._graph.owner_of(target, arrival.namespace) if self.ready else None
        node = self._graph.node_of(target, arrival.namespace) if self.ready or target.kind == "Node" else None
        RESOLVED.labels(outcome="found" if owner else "unknown").inc()
        return replace(arrival, owner=owner, node=node)

    async def _wait(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SAID_SECONDS):
                    await self._settled.wait()
                return
            except TimeoutError:
                log.warning(
                    "signals wait: not all pods and controllers are listed yet",
                    extra={"kinds": sorted(self._unlisted)},
                )

    async def run(self) -> None:
        """Watch for ever, while wanted."""
        while True:
            await self._wanted.wait()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._end_when_unwanted(), name="owners-unwanted")
                    await self._obtain_rights()
                    for kind in GROUPS:
                        group.create_task(self._follow(kind), name=f"owners-{kind}")
            except* _UnwantedError:
                log.info("no policy groups by owner or node any more")
            self._begin()
            self._count()
            RIGHTS_DENIED.set(0)

    async def _end_when_unwanted(self) -> None:
        await self._unwanted.wait()
        raise _UnwantedError

    async def _obtain_rights(self) -> None:
        """Return when we have all rights; while we have not, arrivals do not wait."""
        while True:
            try:
                denied = await denied_owner_rights(self._client)
            except ApiError as exc:
                log.warning("own rights not read, trying again", extra={"error": str(exc)})
                await asyncio.sleep(1)
                continue
            if denied != self._denied:
                self._note_denied(denied)
            if not denied:
                return
            self._settled.set()
            await asyncio.sleep(RIGHTS_SECONDS)

    def _note_denied(self, denied: list[str]) -> None:
        self._denied = denied
        RIGHTS_DENIED.set(len(denied))
        if denied:
            log.error(
                "owner and node are null for all signals: apply manifests/components/owners",
                extra={"denied": denied},
            )
        else:
            log.info("the rights to read owners were granted")
            self._settled.clear()
        self._policies_changed.set()

    async def _follow(self, kind: str) -> None:
        watch = ListWatch(
            self._client,
            paths.built_in(GROUPS[kind], f"{kind.lower()}s"),
            kind=kind,
            parse=MemberParser(kind),
            accept=TABLE,
        )
        try:
            async for change in watch.changes():
                match change:
                    case Listed():
                        for uid in change.gone:
                            self._graph.remove(uid)
                        async for item in change.each():
                            self._graph.add(item)
                        self._unlisted.discard(kind)
                        if self.ready:
                            self._settled.set()
                    case Changed(item):
                        self._graph.add(item)
                    case Deleted(uid, _):
                        self._graph.remove(uid)
                self._count()
        finally:
            watch.end()

    def _count(self) -> None:
        there, gone = self._graph.counts
        OBJECTS.labels(state="there").set(there)
        OBJECTS.labels(state="gone").set(gone)
