"""What is wrong with a policy that the API server took."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate

from stormfold.api.duration import parse_duration
from stormfold.api.match import Selector
from stormfold.api.reason import Reason
from stormfold.api.reasons.specs import SpecReason
from stormfold.api.stormpolicy import PLAIN_KEYS, REOPEN_AFTER_MOST, PolicySpec
from stormfold.model.evidence import is_secret
from stormfold.model.group import PolicyId

LABEL_NAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,128}")
"""What a key of a Signal's `spec.labels` can be: sources have their own rules, but none has white space in a
name."""
SET = re.compile(r"\[!?\]?[^\]]*\]")
"""A set of characters in a glob."""
EMPTY_SET = translate("[z-a]")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, with what to do about it."""

    reason: Reason
    message: str


def _glob_faults(globs: tuple[str, ...], field: str) -> Iterator[Fault]:
    for glob in globs:
        if any(translate(part) == EMPTY_SET for part in SET.findall(glob)):
            why = "it has an empty range such as [z-a]"
        elif glob != glob.strip():
            why = "it begins or ends with white space"
        else:
            continue
        yield Fault(SpecReason.GLOB_MATCHES_NOTHING, f"{field}: {glob!r} can match nothing: {why}")


def _label_faults(names: list[str], field: str) -> Iterator[Fault]:
    for name in names:
        if not name.strip():
            yield Fault(SpecReason.EMPTY_LABEL_NAME, f"{field}: must name a label after 'labels.'")
        elif not LABEL_NAME.fullmatch(name):
            yield Fault(SpecReason.INVALID_LABEL_NAME, f"{field}: {name!r} must not contain white space")


def _cause_faults(causes: tuple[str, ...]) -> Iterator[Fault]:
    labels = [key.removeprefix("labels.") for key in causes if key.startswith("labels.")]
    yield from _label_faults(labels, "causes")
    for key in causes:
        if not key.startswith("labels.") and key not in PLAIN_KEYS:
            yield Fault(
                SpecReason.UNKNOWN_GROUP_KEY,
                f"causes: {key!r} must be one of {', '.join(PLAIN_KEYS)}, labels.<key>",
            )
    for name in filter(is_secret, labels):
        yield Fault(
            SpecReason.INVALID_LABEL_NAME,
            f"causes: {name!r} looks like a secret, and such labels are never shown: leave it out",
        )


def _selector_names(selector: Selector | None) -> list[str]:
    if selector is None:
        return []
    return [*selector.match_labels, *(expression.key for expression in selector.match_expressions)]


MIN_REQUEST_RETENTION_MS = 3_600_000
MAX_SPEC_BYTES = 32 * 1024
"""Of a policy's spec. The CRD's limits add up to a megabyte, and each request holds a copy."""


def faults(policy: PolicyId, spec: PolicySpec) -> list[Fault]:
    """Everything that is wrong, the worst first; empty: the policy is in force.

    Much of it the CRD refuses as well; it is checked again for policies that are older than their CRD.
    """
    return list(_faults(policy, spec))


def _faults(policy: PolicyId, spec: PolicySpec) -> Iterator[Fault]:
    size = len(spec.model_dump_json(by_alias=True, exclude_defaults=True).encode())
    if size > MAX_SPEC_BYTES:
        yield Fault(
            SpecReason.INVALID_SPEC,
            f"spec: must have at most {MAX_SPEC_BYTES} bytes as JSON, not {size}: name fewer things in match",
        )
    label_keys = [key.removeprefix("labels.") for key in spec.group_by if key.startswith("labels.")]
    yield from _label_faults(label_keys, "groupBy")
    for key in spec.group_by:
        if not key.startswith("labels.") and key not in PLAIN_KEYS:
            yield Fault(
                SpecReason.UNKNOWN_GROUP_KEY,
                f"groupBy: {key!r} must be one of {', '.join(PLAIN_KEYS)}, labels.<key>",
            )
    yield from _cause_faults(spec.causes or ())
    yield from _glob_faults(spec.match.names, "match.names")
    yield from _glob_faults(spec.match.sources, "match.sources")
    if spec.evidence:
        yield from _glob_faults(spec.evidence.labels or (), "evidence.labels")
        yield from _glob_faults(spec.evidence.annotations or (), "evidence.annotations")
    yield from _label_faults(_selector_names(spec.match.label_selector), "match.labelSelector")
    yield from _label_faults(_selector_names(spec.match.namespace_selector), "match.namespaceSelector")
    window = spec.window
    for field, milliseconds in (
        ("threshold.within", spec.threshold.within_ms),
        ("window.idle", window.idle_ms),
        ("window.maxDuration", window.max_duration_ms),
        ("closeAfter", spec.close_after_ms),
        ("staleAfter", spec.stale_after_ms),
    ):
        if milliseconds <= 0:
            yield Fault(SpecReason.DURATION_NOT_POSITIVE, f"{field}: must be greater than 0")
    if window.idle_ms > window.max_duration_ms:
        yield Fault(
            SpecReason.IDLE_LONGER_THAN_MAX_DURATION,
            f"window.idle: {window.idle} must be less than or equal to window.maxDuration "
            f"({window.max_duration})",
        )
    if window.idle_ms > spec.close_after_ms:
        yield Fault(
            SpecReason.IDLE_LONGER_THAN_CLOSE_AFTER,
            f"window.idle: {window.idle} must be less than or equal to closeAfter ({spec.close_after})",
        )
    if spec.group_wait_ms > spec.threshold.within_ms:
        yield Fault(
            SpecReason.GROUP_WAIT_LONGER_THAN_WITHIN,
            f"groupWait: {spec.group_wait} must be less than or equal to threshold.within "
            f"({spec.threshold.within})",
        )
    if spec.request_retention_ms < MIN_REQUEST_RETENTION_MS:
        yield Fault(
            SpecReason.REQUEST_RETENTION_TOO_SHORT,
            f"requestRetention: {spec.request_retention} must be 1h or more",
        )
    longest = parse_duration(REOPEN_AFTER_MOST)
    for field, text in (("succeeded", spec.reopen_after.succeeded), ("failed", spec.reopen_after.failed)):
        if parse_duration(text) > longest:
            yield Fault(
                SpecReason.REOPEN_AFTER_TOO_LONG,
                f"reopenAfter.{field}: {text} must be {REOPEN_AFTER_MOST} or less",
            )
    if not policy.namespace and not spec.request_namespace and "namespace" not in spec.group_by:
        yield Fault(
            SpecReason.REQUEST_NAMESPACE_MISSING,
            "requestNamespace: must be set when groupBy does not contain 'namespace'",
        )
