"""Policies in: resources → PolicyVersions in force, and a condition on each that says whether it is."""

import asyncio
import logging
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Gauge
from pydantic import ValidationError

from stormfold.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    set_condition,
)
from stormfold.api.resource import API_VERSION, ObjectMeta, identity_of
from stormfold.api.stormpolicy import ClusterStormPolicy, PolicySpec, PolicyStatus, StormPolicy
from stormfold.enrich.namespaces import Namespaces
from stormfold.enrich.owners import Owners
from stormfold.fold.storms import Storms
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError
from stormfold.kube.recorder import About, Recorder
from stormfold.model.group import PolicyId
from stormfold.model.moments import written
from stormfold.policy.caveats import Rivals, looks_like_regex
from stormfold.policy.matching import Labels
from stormfold.policy.router import Router
from stormfold.policy.validation import Fault, faults
from stormfold.policy.version import PolicyVersion
from stormfold.request.deciding import plural
from stormfold.request.index import RequestIndex
from stormfold.request.places import Places, Queued
from stormfold.sources.ingest import Ingest

log = logging.getLogger(__name__)

RESYNC_SECONDS = 60.0
"""How often policies are read without an event: deletions may be missed while disconnected."""
GATHER_SECONDS = 0.1
"""How long events are gathered: `kubectl apply` of many policies is one change."""
NAMED = 5
"""Namespaces that a message names."""
Kind = type[StormPolicy] | type[ClusterStormPolicy]
KINDS: tuple[Kind, ...] = (StormPolicy, ClusterStormPolicy)
MAX_POLICIES = 50
"""StormPolicies of a namespace that are in force at once: each may be asked about each of its signals, and
whoever may write there must not make everybody's signals wait. ClusterStormPolicies are the
administrators'."""
IN_FORCE = "the policy is in force"

BEYOND = Fault(
    Reason.TOO_MANY_POLICIES,
    f"the namespace has {MAX_POLICIES} policies that go before this one: merge some, or delete them",
)

POLICIES = Gauge("stormfold_policies", "Policies by whether they are in force.", ["accepted"])


def examined(kind: str, body: dict[str, Any]) -> tuple[PolicyVersion | None, list[Fault]]:
    """The policy as a version, and what is wrong with it; a version with faults must not be put in force."""
    metadata = ObjectMeta.model_validate(identity_of(body["metadata"]))
    identity = PolicyId(kind, metadata.namespace, metadata.name)
    try:
        spec = PolicySpec.model_validate(body.get("spec") or {})
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return None, [Fault(Reason.INVALID_SPEC, f"{where}: {first['msg']}")]
    return PolicyVersion(identity, metadata.uid, metadata.generation, spec), faults(identity, spec)


@dataclass(slots=True)
class Policy:
    """What is kept of a policy resource: whoever may write one may write a megabyte into its metadata."""

    kind: Kind
    metadata: ObjectMeta
    status: PolicyStatus
    version: PolicyVersion | None
    """None: it is not to be put in force."""
    faults: list[Fault]

    @classmethod
    def read(cls, kind: Kind, body: dict[str, Any]) -> "Policy":
        """The policy of an API object."""
        version, wrong = examined(kind.__name__, body)
        metadata = ObjectMeta.model_validate(identity_of(body["metadata"]))
        status = PolicyStatus.model_validate(body.get("status") or {})
        return cls(kind, metadata, status, None if wrong else version, wrong)


class Accepted:
    """The policies that are to be put in force: of a namespace's own, those that go before all its others."""

    def __init__(self) -> None:
        self._of: dict[str, list[Policy]] = {}

    def add(self, policy: Policy) -> None:
        """Take in one that may be put in force; of too many, the one that goes last is not."""
        version = policy.version
        if version is None:
            return
        namespace = version.id.namespace
        ours = self._of.setdefault(namespace, [])
        insort(ours, policy, key=_precedence)
        if namespace and len(ours) > MAX_POLICIES:
            last = ours.pop()
            last.version = None
            last.faults.append(BEYOND)

    @property
    def versions(self) -> list[PolicyVersion]:
        """Their versions."""
        return [policy.version for ours in self._of.values() for policy in ours if policy.version]


def _precedence(policy: Policy) -> tuple[bool, int, str]:
    assert policy.version is not None
    return policy.version.precedence


class PolicyIntake:
    """Reads all policies whenever one may have changed."""

    def __init__(
        self,
        client: KubeClient,
        recorder: Recorder,
        *,
        router: Router,
        namespaces: Namespaces,
        owners: Owners,
        storms: Storms,
        places: Places,
        requests: RequestIndex,
        ingest: Ingest,
        changed: asyncio.Event,
    ) -> None:
        """`changed` is set when some policy may have changed, or what is to be said of one."""
        self._client = client
        self._recorder = recorder
        self._router = router
        self._namespaces = namespaces
        self._owners = owners
        self._storms = storms
        self._places = places
        self._requests = requests
        self._ingest = ingest
        self._changed = changed
        self._rivals = Rivals()

    def changed(self) -> None:
        """Some policy may have changed."""
        self._changed.set()

    def namespace_changed(self, name: str, labels: Labels | None) -> None:
        """A namespace has other labels, or None: it is gone."""
        self._router.namespace_changed(name, labels)
        if name in self._router.request_namespaces:
            self._changed.set()

    async def run(self) -> None:
        """Follow changes for ever."""
        while True:
            try:
                async with asyncio.timeout(RESYNC_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(GATHER_SECONDS)
            self._changed.clear()
            try:
                await self.sync()
            except ApiError as exc:
                log.warning("policies not read, trying again", extra={"error": str(exc)})
                self._changed.set()
                await asyncio.sleep(1)

    async def sync(self) -> None:
        """Read all policies, put the accepted ones in force, then write what each one's status should say."""
        found: list[Policy] = []
        accepted = Accepted()
        for kind in KINDS:

            def read(body: dict[str, Any], kind: Kind = kind) -> Policy:
                policy = Policy.read(kind, body)
                accepted.add(policy)
                return policy

            policies, _ = await self._client.list_all(paths.collection(kind.plural), read)
            found += policies
        versions = accepted.versions
        self._router.hold(() if self._ingest.caught_up else self._requests.versions())
        self._router.update(versions, self._storms.versions_in_use())
        in_use = self._router.versions
        self._owners.want(any(version.needs_owners for version in in_use))
        self._ingest.want_events(any(version.takes_events for version in in_use))
        POLICIES.labels(accepted="true").set(len(versions))
        POLICIES.labels(accepted="false").set(len(found) - len(versions))
        if not self._ingest.leading:
            return
        self._rivals.update(versions)
        await self._namespaces.know(self._router.request_namespaces)
        for policy in found:
            await self._report(policy, self._caveats(policy.version) if policy.version else [])

    def _caveats(self, version: PolicyVersion) -> list[Fault]:
        """What a policy that is in force must be told, the worst first."""
        found = (
            self._without_namespace(version),
            self._owners.caveat(version),
            looks_like_regex(version),
            self._rivals.caveat(version),
        )
        return [caveat for caveat in found if caveat]

    def _without_namespace(self, version: PolicyVersion) -> Fault | None:
        named = None if version.id.namespace else version.spec.request_namespace
        if not named or self._router.knows_namespace(named):
            return None
        return Fault(
            Reason.REQUEST_NAMESPACE_NOT_FOUND,
            f"requestNamespace {named!r} does not exist, so it makes no requests: create the namespace, or "
            "change requestNamespace",
        )

    async def _report(self, policy: "Policy", caveats: Sequence[Fault]) -> None:
        kind, metadata, wrong, before = policy.kind, policy.metadata, policy.faults, policy.status
        fault = wrong[0] if wrong else None
        now = datetime.now(UTC).replace(microsecond=0)
        accepted = Condition(
            type=ConditionType.ACCEPTED,
            status=ConditionStatus.FALSE if fault else ConditionStatus.TRUE,
            reason=next((said.reason for said in (*wrong, *caveats)), Reason.VALID),
            message="; ".join(w.message for w in wrong)[:2000] if wrong else in_force(caveats),
            observed_generation=metadata.generation,
            last_transition_time=now,
        )
        wait = waiting(self._places.waiting_of(PolicyId(kind.__name__, metadata.namespace, metadata.name)))
        groups_waiting = Condition(
            type=ConditionType.GROUPS_WAITING,
            status=ConditionStatus.FALSE
            if wait.reason is Reason.OPEN_STORMS_WITHIN_LIMIT
            else ConditionStatus.TRUE,
            reason=wait.reason,
            message=wait.message,
            observed_generation=metadata.generation,
            last_transition_time=now,
        )
        conditions = set_condition(set_condition(before.conditions, accepted), groups_waiting)
        known = {condition.type: condition for condition in before.conditions}
        missing = self._missing(policy, known.get(ConditionType.GROUP_VALUE_MISSING), now)
        after = PolicyStatus(
            observed_generation=metadata.generation,
            conditions=set_condition(conditions, missing) if missing else conditions,
        )
        if after == before:
            return
        patch = {"metadata": {"resourceVersion": metadata.resource_version}, "status": after.manifest()}
        try:
            await self._client.merge_patch(
                paths.status(kind.plural, metadata.name, metadata.namespace), patch
            )
        except (ConflictError, NotFoundError):
            self._changed.set()
            return
        about = About(API_VERSION, kind.__name__, metadata.name, metadata.namespace, metadata.uid)
        if groups_waiting.status is ConditionStatus.TRUE and wait.reason not in {
            condition.reason for condition in before.conditions
        }:
            log.warning(
                "groups of the policy wait: limits.openStorms are open",
                extra={"policy": metadata.name, "namespace": metadata.namespace},
            )
            self._recorder.record(about, "Warning", wait.reason, wait.message)
        if fault:
            log.warning(
                "policy not accepted",
                extra={"policy": metadata.name, "namespace": metadata.namespace, "reason": fault.reason},
            )
            self._recorder.record(about, "Warning", fault.reason, accepted.message)
        was = known.get(ConditionType.GROUP_VALUE_MISSING)
        if missing and missing.holds and not (was and was.holds):
            log.warning(
                "signals lack a key by which their policy groups",
                extra={"policy": metadata.name, "namespace": metadata.namespace, "why": missing.message},
            )
            self._recorder.record(about, "Warning", missing.reason, missing.message)
        said = known[ConditionType.ACCEPTED].message if ConditionType.ACCEPTED in known else ""
        for caveat in caveats:
            if caveat.message not in said:
                log.warning(
                    "the policy is in force, but not as it may be meant",
                    extra={
                        "policy": metadata.name,
                        "namespace": metadata.namespace,
                        "reason": caveat.reason,
                        "why": caveat.message,
                    },
                )
                self._recorder.record(about, "Warning", caveat.reason, caveat.message)

    def _missing(self, policy: Policy, before: Condition | None, now: datetime) -> Condition | None:
        """The condition GroupValueMissing, if it is to be said anew. What was True stays so, also when
        another replica leads, until the policy is changed."""
        generation = policy.metadata.generation
        found = self._router.missing.finding(policy.version) if policy.version else None
        if not found and (before is None or before.observed_generation == generation):
            return None
        return Condition(
            type=ConditionType.GROUP_VALUE_MISSING,
            status=ConditionStatus.TRUE if found else ConditionStatus.FALSE,
            reason=Reason.GROUP_VALUE_MISSING if found else Reason.GROUP_VALUES_THERE,
            message=found or "no signal has lacked a key of groupBy since the policy was changed",
            observed_generation=generation,
            last_transition_time=now,
        )


def in_force(caveats: Sequence[Fault]) -> str:
    """What is to be said of a policy that is in force."""
    if not caveats:
        return IN_FORCE
    return f"{IN_FORCE}, but {'; '.join(caveat.message for caveat in caveats)}"[:2000]


def waiting(queued: Sequence[Queued]) -> Fault:
    """What is to be said of a policy of which so much waits."""
    if not queued:
        return Fault(Reason.OPEN_STORMS_WITHIN_LIMIT, "no group waits for a request")
    where = "; ".join(
        f"in {one.namespace} {plural(one.groups, 'group')} with {plural(one.signals, 'signal')} since "
        f"{written(one.since_ms)}"
        for one in queued[:NAMED]
    )
    more = f"; and in {len(queued) - NAMED} more namespaces" if len(queued) > NAMED else ""
    return Fault(
        Reason.OPEN_STORMS_REACHED,
        f"limits.openStorms are open, so that groups wait: {where}{more}. Close storms, group by less, or "
        "raise the limit",
    )
