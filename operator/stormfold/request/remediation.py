"""What a consumer says in `status.remediation`, and what follows from it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from stormfold.api.conditions import Condition, ConditionStatus, ConditionType
from stormfold.api.reasons.consumers import ConsumerReason
from stormfold.api.site import see
from stormfold.model.moments import written
from stormfold.request.deciding import Finding, Reported

TO_DO = {
    ConditionType.REMEDIATION_PHASE_UNKNOWN: "use a known phase, or add it to STORMFOLD_ACTIVE_PHASES",
    ConditionType.STALE_REMEDIATION: "look again, and report with the current observedRevision",
    ConditionType.CLAIM_EXPIRED: "another consumer may take over",
}


FIXED = frozenset({"succeeded", "completed"})
"""The terminal phases that say that the problem is fixed, without case."""


NEVER = frozenset({"skipped", "cancelled"})
"""The terminal phases that say that nothing is to be done, without case: something new opens the group's next
request."""


@dataclass(frozen=True, slots=True)
class Phases:
    """The phases that are understood, in any case."""

    terminal: frozenset[str]
    active: frozenset[str]

    @classmethod
    def of(cls, terminal: Iterable[str], active: Iterable[str]) -> Self:
        """Those that close a request, and those that say that work goes on."""
        return cls(
            frozenset(phase.casefold() for phase in terminal), frozenset(phase.casefold() for phase in active)
        )

    def is_terminal(self, phase: str) -> bool:
        """Whether it says that nobody works on the request any more."""
        return phase.casefold() in self.terminal

    def is_known(self, phase: str) -> bool:
        """Whether it says anything; no phase is known, too."""
        return not phase or phase.casefold() in self.terminal | self.active


@dataclass(frozen=True, slots=True)
class Claim:
    """Who works on the request, and until when, in Unix ms."""

    holder: str
    revision: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a consumer has written."""

    phase: str = ""
    observed_revision: int | None = None
    """The revision that it was about; None: the current one."""
    claim: Claim | None = None
    closing: bool = False
    """The annotation `stormfold.dev/close` asks for the request to be closed."""

    def is_stale(self, revision: int, phases: Phases) -> bool:
        """Whether it ends an older revision than `revision`, the current one."""
        observed = self.observed_revision
        return phases.is_terminal(self.phase) and observed is not None and observed < revision

    def wants_nothing_done(self, revision: int, phases: Phases) -> bool:
        """Whether it says that nothing is to be done about the current revision, `revision`."""
        said = self.phase.casefold() in NEVER and phases.is_terminal(self.phase)
        return self.closing or (said and not self.is_stale(revision, phases))

    def claim_is_valid(self, now_ms: int) -> bool:
        """Whether somebody may work on the request now."""
        return self.claim is not None and now_ms < self.claim.expires_ms


def reported(
    report: Report, conditions: Iterable[Condition], phases: Phases, *, revision: int, now_ms: int
) -> Reported:
    """What is to be decided by it, for an open request with these conditions and this revision."""
    conditions = tuple(conditions)
    return Reported(
        finished=phases.is_terminal(report.phase) and not report.is_stale(revision, phases),
        closing=report.closing,
        unsaid=_unsaid(conditions, findings(report, conditions, phases, revision=revision, now_ms=now_ms)),
        expires_ms=report.claim.expires_ms if report.claim and report.claim_is_valid(now_ms) else None,
    )


def findings(
    report: Report,
    before: Iterable[Condition],
    phases: Phases,
    *,
    revision: int,
    now_ms: int,
    over: bool = False,
) -> dict[ConditionType, Finding]:
    """The conditions about it. One that is not True is said only if it is among those `before`; `over` says
    that the request is closed."""
    there = {condition.type for condition in before}
    found = {
        ConditionType.REMEDIATION_PHASE_UNKNOWN: _phase_unknown(report, phases),
        ConditionType.STALE_REMEDIATION: _stale(report, phases, revision),
        ConditionType.CLAIM_EXPIRED: _expired(report, now_ms, over=over),
    }
    return {kind: finding for kind, finding in found.items() if finding.status or kind in there}


def _phase_unknown(report: Report, phases: Phases) -> Finding:
    if phases.is_known(report.phase):
        return Finding(
            False, ConsumerReason.PHASE_KNOWN, f'phase "{report.phase}"' if report.phase else "no phase"
        )
    return Finding(
        True,
        ConsumerReason.PHASE_NOT_KNOWN,
        see(
            ConsumerReason.PHASE_NOT_KNOWN,
            f'phase "{report.phase}" is neither terminal nor active, so the request stays open: '
            f"{TO_DO[ConditionType.REMEDIATION_PHASE_UNKNOWN]}",
        ),
    )


def _stale(report: Report, phases: Phases, revision: int) -> Finding:
    if not report.is_stale(revision, phases):
        return Finding(False, ConsumerReason.REVISION_CURRENT, "the report is not about an older revision")
    return Finding(
        True,
        ConsumerReason.OLDER_REVISION,
        see(
            ConsumerReason.OLDER_REVISION,
            f"{report.phase} is about revision {report.observed_revision}, but signals came since and the "
            f"request is at revision {revision}: {TO_DO[ConditionType.STALE_REMEDIATION]}",
        ),
    )


def _expired(report: Report, now_ms: int, *, over: bool) -> Finding:
    claim = report.claim
    if over:
        return Finding(False, ConsumerReason.CLAIM_ENDED, "a claim ends with its request")
    if claim is None:
        return Finding(False, ConsumerReason.NOT_CLAIMED, "nobody claims the request")
    if report.claim_is_valid(now_ms):
        return Finding(False, ConsumerReason.CLAIM_VALID, f"claimed by {claim.holder}")
    return Finding(
        True,
        ConsumerReason.CLAIM_NOT_RENEWED,
        see(
            ConsumerReason.CLAIM_NOT_RENEWED,
            f"the claim of {claim.holder} expired at {written(claim.expires_ms)}: "
            f"{TO_DO[ConditionType.CLAIM_EXPIRED]}",
        ),
    )


def _unsaid(conditions: Iterable[Condition], found: Mapping[ConditionType, Finding]) -> bool:
    said = {condition.type: (condition.status, condition.message) for condition in conditions}
    return any(
        said.get(kind) != (ConditionStatus.TRUE if finding.status else ConditionStatus.FALSE, finding.message)
        for kind, finding in found.items()
    )
