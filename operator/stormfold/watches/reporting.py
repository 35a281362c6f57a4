"""Policies out: a condition on each that says whether it is in force, and what looks wrong in it."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from stormfold.api.conditions import Condition, ConditionStatus, ConditionType, set_condition
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.reasons.specs import SpecReason
from stormfold.api.resource import API_VERSION
from stormfold.api.site import see
from stormfold.api.stormpolicy import PolicyStatus
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError, RefusedError
from stormfold.kube.recorder import About, Recorder
from stormfold.model.evidence import cut
from stormfold.model.group import PolicyId
from stormfold.model.moments import written
from stormfold.model.seldom import Seldom
from stormfold.policy.router import Router
from stormfold.policy.validation import Fault
from stormfold.request.deciding import plural
from stormfold.request.places import Places, Queued
from stormfold.request.refusals import LOG_SECONDS, LONGEST_WORDS
from stormfold.watches.policy import Policy

log = logging.getLogger(__name__)

NAMED = 5
"""Namespaces that a message names."""
FAILING_SECONDS = 5.0
"""For so long a round does what fails: the next one reads policies again, and begins with the others."""
IN_FORCE = "the policy is in force"
NOTHING_MISSING = "no signal has lacked a key of groupBy since the policy was changed"


class PolicyReporter:
    """Writes the statuses of policies."""

    def __init__(
        self,
        client: KubeClient,
        recorder: Recorder,
        *,
        router: Router,
        places: Places,
        changed: asyncio.Event,
    ) -> None:
        """`changed` is set when a policy has changed since it was read."""
        self._client = client
        self._recorder = recorder
        self._router = router
        self._places = places
        self._changed = changed
        self._failed: dict[str, None] = {}
        """UIDs of policies whose last write failed, the one that was tried longest ago first."""
        self._logged = Seldom()

    async def report(
        self, policies: Sequence[Policy], caveats_of: Callable[[Policy], Sequence[Fault]]
    ) -> bool:
        """Write the statuses that are to say something else; whether all say it now.

        What is refused about one keeps no other from its own: those whose last write failed are tried last.

        Raises:
            ApiError: the API server does not answer, or asks for less.
        """
        there = {policy.metadata.uid: policy for policy in policies}
        failed = [uid for uid in self._failed if uid in there]
        self._failed = dict.fromkeys(failed)
        failing = 0.0
        for uid in [*(uid for uid in there if uid not in self._failed), *failed]:
            began = time.monotonic()
            try:
                await self._report(there[uid], caveats_of(there[uid]))
                self._failed.pop(uid, None)
            except ApiError as exc:
                if not isinstance(exc, RefusedError) and exc.status < 500:
                    raise
                self._failed.pop(uid, None)
                self._failed[uid] = None
                self._note(there[uid], exc)
                failing += time.monotonic() - began
                if failing > FAILING_SECONDS:
                    break
        return not self._failed

    def _note(self, policy: Policy, exc: ApiError) -> None:
        if not self._logged.tells(LOG_SECONDS):
            return
        log.warning(
            "statuses of policies are not written, trying again",
            extra={
                "policies": len(self._failed),
                "policy": policy.metadata.name,
                "namespace": policy.metadata.namespace,
                "error": cut(str(exc), LONGEST_WORDS),
            },
        )

    async def _report(self, policy: Policy, caveats: Sequence[Fault]) -> None:
        kind, metadata, wrong, before = policy.kind, policy.metadata, policy.faults, policy.status
        fault = wrong[0] if wrong else None
        now = datetime.now(UTC).replace(microsecond=0)
        accepted = Condition(
            type=ConditionType.ACCEPTED,
            status=ConditionStatus.FALSE if fault else ConditionStatus.TRUE,
            reason=next((said.reason for said in (*wrong, *caveats)), SpecReason.VALID),
            message=not_in_force(wrong) if wrong else in_force(caveats),
            observed_generation=metadata.generation,
            last_transition_time=now,
        )
        wait = waiting(self._places.waiting_of(PolicyId(kind.__name__, metadata.namespace, metadata.name)))
        groups_waiting = Condition(
            type=ConditionType.GROUPS_WAITING,
            status=ConditionStatus.FALSE
            if wait.reason is SpecReason.OPEN_STORMS_WITHIN_LIMIT
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
                "groups of the policy wait: limits.openStorms is reached",
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
                said_with_page = see(caveat.reason, caveat.message)
                self._recorder.record(about, "Warning", caveat.reason, said_with_page)

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
            reason=SpecReason.GROUP_VALUE_MISSING if found else SpecReason.GROUP_VALUES_THERE,
            message=lacking(found),
            observed_generation=generation,
            last_transition_time=now,
        )


def in_force(caveats: Sequence[Fault]) -> str:
    """What is to be said of a policy that is in force."""
    if not caveats:
        return IN_FORCE
    return see(caveats[0].reason, f"{IN_FORCE}, but {'; '.join(caveat.message for caveat in caveats)}")


def not_in_force(wrong: Sequence[Fault]) -> str:
    """What is to be said of a policy that has these faults."""
    return see(wrong[0].reason, "; ".join(fault.message for fault in wrong))


def lacking(found: str | None) -> str:
    """What is to be said of a policy whose signals lack keys, or do not."""
    return see(SpecReason.GROUP_VALUE_MISSING, found) if found else NOTHING_MISSING


def waiting(queued: Sequence[Queued]) -> Fault:
    """What is to be said of a policy of which so much waits."""
    if not queued:
        return Fault(SpecReason.OPEN_STORMS_WITHIN_LIMIT, "no group waits for a request")
    where = "; ".join(
        f"in {one.namespace} {plural(one.groups, 'group')} with {plural(one.signals, 'signal')} since "
        f"{written(one.since_ms)}"
        for one in queued[:NAMED]
    )
    more = f"; and in {len(queued) - NAMED} more namespaces" if len(queued) > NAMED else ""
    return Fault(
        SignalReason.OPEN_STORMS_REACHED,
        see(
            SignalReason.OPEN_STORMS_REACHED,
            f"limits.openStorms is reached, so groups wait: {where}{more}. Close requests, group by fewer "
            "keys, or raise the limit",
        ),
    )
