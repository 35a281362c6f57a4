"""Decisions: those of open requests, and their writes."""

from collections.abc import Iterator
from typing import Any

from stormfold.api.conditions import ConditionType
from stormfold.api.decision import Decision, Verdict
from stormfold.api.reasons.gates import GateReason
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.stormgate import Place
from stormfold.gate.judging import held_ms
from stormfold.gate.passing import Outcome
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import NotFoundError
from stormfold.model.moments import written
from stormfold.request.deciding import Finding
from stormfold.request.index import RequestIndex
from stormfold.request.reading import Request
from stormfold.request.refreshing import patch_status, patch_status_or_refresh
from stormfold.request.remediation import FIXED
from stormfold.request.rendering import with_findings

REASONS = {reason.value: reason for reason in GateReason}


def proceed(decision: Decision) -> dict[ConditionType, Finding]:
    """The condition that mirrors a decision."""
    goes = decision.verdict is Verdict.PROCEED
    return {ConditionType.PROCEED: Finding(goes, REASONS[decision.reason], decision.message)}


def patch(decision: Decision) -> dict[str, Any]:
    """The decision for a merge patch, which keeps what it does not name."""
    return {"until": None} | decision.manifest()


def expires(request: Request, decision: Decision, now_ms: int) -> str | None:
    """When a request is closed in any case, as its status says it under a decision; None while it is held."""
    if decision.verdict is not Verdict.PROCEED:
        return None
    lasts_ms = request.resource.spec.policy.window.max_duration_ms
    return written(request.made_ms + lasts_ms + held_ms(decision, now_ms))


class Decisions:
    """The requests of this process, as gates see them."""

    def __init__(self, client: KubeClient, index: RequestIndex) -> None:
        self._client = client
        self._index = index

    def begun(self) -> Iterator[Request]:
        """Those that are not closed and say something: the first write brings its decision."""
        return (request for request in self._index.open_requests() if request.begun and not request.deleted)

    def newest(self, request: Request) -> Request | None:
        """What is known of it now; None if it is closed or gone."""
        found = self._index.get(request.group_hash, request.epoch)
        if found is None or found.closed or found.resource.metadata.uid != request.resource.metadata.uid:
            return None
        return found

    async def outcome(self, place: Place) -> Outcome | None:
        """What became of a request that had a place, as the API server has it; None: it is open.

        Raises:
            ApiError: it could not be read.
        """
        path = paths.item(RemediationRequest.plural, place.name, place.namespace)
        try:
            body = await self._client.get(path)
        except NotFoundError:
            return Outcome.GONE
        if body["metadata"]["uid"] != place.uid:
            return Outcome.GONE
        request = self._index.read(body)
        self._index.observe(request)
        if not request.closed:
            return None
        said = request.holding(ConditionType.CLOSED)
        if said is None or said.reason != RequestReason.REMEDIATION_FINISHED:
            return Outcome.GONE
        return Outcome.SUCCEEDED if request.report.phase.casefold() in FIXED else Outcome.FAILED

    async def decide(self, request: Request, decision: Decision, *, now_ms: int) -> None:
        """Write a decision on a request as it was read.

        Raises:
            ConflictError: it has changed; it was read again.
            ApiError: it could not be done.
        """
        conditions = with_findings(
            request.conditions,
            proceed(decision),
            generation=request.resource.metadata.generation,
            now_ms=now_ms,
        )
        said = self._said(request, decision, now_ms)
        status = said | {"conditions": [condition.manifest() for condition in conditions]}
        await patch_status_or_refresh(self._client, self._index, request, status)

    async def hold(self, request: Request, decision: Decision, *, now_ms: int) -> None:
        """Write a decision that is not Proceed, whatever has changed in the request since it was read, but
        for its condition: the list may have changed, too.

        Raises:
            ConflictError: another request has its name now.
            NotFoundError: it is gone.
            ApiError: it could not be done.
        """
        said = self._said(request, decision, now_ms)
        try:
            await patch_status(self._client, self._index, request, said, as_read=False)
        except NotFoundError:
            self._index.observe_deleted(request)
            raise

    def _said(self, request: Request, decision: Decision, now_ms: int) -> dict[str, Any]:
        return {
            "decision": patch(decision),
            "deadlines": {"expire": expires(request, decision, now_ms)},
        }
