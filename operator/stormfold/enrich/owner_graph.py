"""OwnerGraph: what controls what, and which pod is on which node; of objects that are there, and of those that
have gone.

| of the target | its owner |
|---|---|
| it is there, or is remembered | the top of the chain of controllers; itself, if it has none |
| it was never seen, but a controller is known that names its pods so | the top of that controller's chain |
| it was never seen, and no such controller is known, or several disagree | none, as for a target whose name says nothing |
| its kind is none of those watched | itself: nobody reads who controls it |

A chain is followed by uid, since names are used again. It ends where the next object is of a kind that is not
watched, with what the last one says of it. No I/O: `owners.py` feeds it.
"""  # noqa: E501

import re
import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from stormfold.kube.changes import version_number
from stormfold.model.arrival import Target
from stormfold.model.causes import Counted, digest_of
from stormfold.model.evidence import NameCount, short_name

REMEMBERED = 20_000
"""How many objects are remembered that have gone, 14 MB at most: the latest, and those that were asked
for."""
LONGEST_KIND, LONGEST_NAME = 63, 253
"""Kubernetes bounds what objects are called, but not what an ownerReference says: one beyond these names
nothing."""
DEPTH = 8
"""The longest chain that is followed; Kubernetes' own have three objects."""

NO_PODS = NameCount(0)

GROUPS = {
    "Pod": "",
    "ReplicaSet": "apps",
    "Deployment": "apps",
    "StatefulSet": "apps",
    "DaemonSet": "apps",
    "Job": "batch",
    "CronJob": "batch",
}
"""The kinds that are watched, and their API groups."""
CLUSTER_SCOPED = frozenset(("Node", "Namespace", "PersistentVolume"))
"""Kinds without a namespace that signals are about, or that control pods, as a Node does its static ones."""

RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
"""What Kubernetes makes random names and hashes of."""
NAMED_AFTER: dict[str, tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]] = {
    "Pod": (
        (re.compile(rf"(.+)-{RANDOM}{{5}}"), ("ReplicaSet", "DaemonSet", "Job")),
        (re.compile(rf"(.+)-\d+-{RANDOM}{{5}}"), ("Job",)),
        (re.compile(r"(.+)-\d+"), ("StatefulSet",)),
    ),
    "ReplicaSet": ((re.compile(rf"(.+)-{RANDOM}{{1,10}}"), ("Deployment",)),),
    "Job": ((re.compile(r"(.+)-\d+"), ("CronJob",)),),
}
"""How controllers name what they make. Names over 57 characters are cut for it, and are then not found."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Controller:
    """What an object says of its controller."""

    group: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Member:
    """An object, as far as owner graph goes."""

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: int
    controller: Controller | None = None
    node: str | None = None

    @property
    def places(self) -> int:
        """One: Kubernetes bounds each of its texts."""
        return 1

    @property
    def key(self) -> tuple[str, str, str]:
        """Its name everywhere."""
        return self.kind, self.namespace, self.name


def identity(kind: str, namespace: str, name: str) -> str:
    """The value of `owner`: `kind/namespace/name`, or `kind/name` of a kind that has no namespace."""
    return f"{kind}/{name}" if kind in CLUSTER_SCOPED else f"{kind}/{namespace}/{name}"


class MemberParser:
    """Reads the rows of one kind's Table. Pods share what they have in common: it is kept once."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._controllers: WeakValueDictionary[str, Controller] = WeakValueDictionary()

    def __call__(self, row: dict[str, Any]) -> Member:
        """Read one, from its metadata and, of a pod, the column Node."""
        metadata = row["metadata"]
        node = row["cells"].get("Node") if self._kind == "Pod" else None
        return Member(
            self._kind,
            sys.intern(metadata["namespace"]),
            metadata["name"],
            metadata["uid"],
            version_number(metadata.get("resourceVersion")),
            self._controller(metadata.get("ownerReferences") or ()),
            None if node in {None, "", "<none>"} else sys.intern(node),
        )

    def _controller(self, references: list[dict[str, Any]] | tuple[()]) -> Controller | None:
        for reference in references:
            if reference.get("controller") and _can_be_there(reference):
                uid = reference["uid"]
                known = self._controllers.get(uid)
                if known is None:
                    group, _, _ = reference["apiVersion"].rpartition("/")
                    known = Controller(group, reference["kind"], reference["name"], uid)
                    self._controllers[uid] = known
                return known
        return None


class OwnerGraph:
    """All objects of the watched kinds, and the latest that have gone."""

    def __init__(self, *, remembered: int = REMEMBERED) -> None:
        self._limit = remembered
        self._there: dict[str, Member] = {}
        """uid → an object of the cluster."""
        self._gone: OrderedDict[str, Member] = OrderedDict()
        """uid → one that has gone. Whatever controls it is behind it, and so is forgotten later."""
        self._named: dict[tuple[str, str, str], Member] = {}
        """Key → the object of that name; if none is there, the latest that is remembered."""
        self._pods_of_node: dict[str, NameCount] = {}
        self._pods = 0

    @property
    def counts(self) -> tuple[int, int]:
        """How many objects are there, and how many are remembered."""
        return len(self._there), len(self._gone)

    def add(self, member: Member) -> None:
        """An object is there, or has changed."""
        self._count_pod(self._there.get(member.uid), -1)
        self._count_pod(member, 1)
        self._there[member.uid] = self._named[member.key] = member

    def _count_pod(self, member: Member | None, more: int) -> None:
        if member is None or not member.node:
            return
        node = digest_of(short_name(member.node))
        pods = self._pods_of_node.get(node, NO_PODS).signals + more
        self._pods += more
        if pods:
            self._pods_of_node[node] = NameCount(pods)
        else:
            del self._pods_of_node[node]

    @property
    def pods_of_nodes(self) -> Counted:
        """How many pods each node has, by the digest of its name."""
        return Counted(self._pods_of_node, signals=self._pods)

    def remove(self, uid: str) -> None:
        """An object has gone."""
        member = self._there.pop(uid, None)
        if member is None:
            return
        self._count_pod(member, -1)
        self._gone[uid] = member
        self._touch(member)
        while len(self._gone) > self._limit:
            _, oldest = self._gone.popitem(last=False)
            if self._named.get(oldest.key) is oldest:
                del self._named[oldest.key]

    def owner_of(self, target: Target, namespace: str) -> str | None:
        """The top controller; `namespace` is that of a target that names none."""
        key = (target.kind, target.namespace or namespace, target.name)
        if not _is_watched(target):
            return identity(*key)
        member = self._named.get(key)
        if member:
            self._touch(member)
            return self._top(member)
        # What is named after a controller has one, so it is not its own owner.
        return self._owner_by_name(*key) if target.kind in NAMED_AFTER else identity(*key)

    def node_of(self, target: Target, namespace: str) -> str | None:
        """The node that a pod is or was on; a Node's own name."""
        if target.kind == "Node":
            return target.name
        member = self._named.get((target.kind, target.namespace or namespace, target.name))
        if member is None or not _is_watched(target):
            return None
        self._touch(member)
        return member.node

    def _chain(self, member: Member) -> Iterator[Member]:
        """The member, and what controls it, as far as that is known."""
        for _ in range(DEPTH):
            yield member
            uid = member.controller.uid if member.controller else ""
            above = self._there.get(uid) or self._gone.get(uid)
            if above is None:
                return
            member = above

    def _touch(self, member: Member) -> None:
        for link in self._chain(member):
            if link.uid in self._gone:
                self._gone.move_to_end(link.uid)

    def _top(self, member: Member) -> str:
        *_, last = self._chain(member)
        above = last.controller
        if above is None:
            return identity(*last.key)
        known = above.uid in self._there or above.uid in self._gone
        if not known and GROUPS.get(above.kind) == above.group:
            # It went before we saw it, or its watch is behind; what it was named after tells more than
            # itself.
            owner = self._owner_by_name(above.kind, last.namespace, above.name)
            if owner:
                return owner
        return identity(above.kind, last.namespace, above.name)

    def _owner_by_name(self, kind: str, namespace: str, name: str) -> str | None:
        makers = [
            (maker, found[1])
            for pattern, kinds in NAMED_AFTER.get(kind, ())
            if (found := pattern.fullmatch(name))
            for maker in kinds
        ]
        owners = {
            self._top(member)
            for maker, its_name in makers
            if (member := self._named.get((maker, namespace, its_name)))
        }
        if not owners:
            owners = {
                owner
                for maker, its_name in makers
                if (owner := self._owner_by_name(maker, namespace, its_name))
            }
        return owners.pop() if len(owners) == 1 else None


def _can_be_there(reference: dict[str, Any]) -> bool:
    """Whether there can be an object that is called so. What is kept of a reference is bounded by it."""
    return (
        len(reference["kind"]) <= LONGEST_KIND
        and len(reference["name"]) <= LONGEST_NAME
        and len(reference["apiVersion"]) <= 2 * LONGEST_NAME
        and len(reference["uid"]) <= LONGEST_NAME
    )


def _is_watched(target: Target) -> bool:
    """Whether it is of a watched kind. Signals need not say `apiVersion`: it is v1 then, which is the core
    group's."""
    group = target.api_version.rpartition("/")[0]
    return target.kind in GROUPS and group in {"", GROUPS[target.kind]}
