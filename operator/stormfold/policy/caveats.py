"""What looks wrong in policies that are in force. Pure."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

from stormfold.api.match import Match, Selector, SelectorExpression, SelectorOperator
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.reasons.specs import SpecReason
from stormfold.api.stormpolicy import MissingKeys
from stormfold.model.arrival import Arrival
from stormfold.model.group import Group
from stormfold.policy.matching import EVENT_SOURCE, glob_pattern
from stormfold.policy.validation import Fault
from stormfold.policy.version import PolicyVersion

NAMED = 5
"""Policies that a message names."""
COMPARED = 8
"""Globs of a field that are compared with those of another policy: 50 policies with 32 long ones each would
take seconds."""
COUNTED = 100
"""Signals that lack a key are counted up to so many."""
REGULAR_EXPRESSION = re.compile(r"\.[*+]|^\^|\$$|[|\\]")
"""What regular expressions have and names of signals do not."""

Key = tuple[str, int]
"""(uid, generation) of a policy."""


def looks_like_regex(version: PolicyVersion) -> Fault | None:
    """What a policy is told whose globs were perhaps meant as regular expressions."""
    match = version.spec.match
    for field, globs in (("match.names", match.names), ("match.sources", match.sources)):
        for glob in globs:
            if REGULAR_EXPRESSION.search(glob):
                return Fault(
                    SpecReason.GLOB_LOOKS_LIKE_REGEX,
                    f"{field}: {glob!r} looks like a regular expression, but is a glob: write * for any "
                    "characters, ? for one, and one entry for each alternative",
                )
    return None


def request_namespace_not_found(named: str) -> Fault:
    """What a policy is told whose requests have no namespace to lie in."""
    return Fault(
        SignalReason.REQUEST_NAMESPACE_NOT_FOUND,
        f"requestNamespace {named!r} does not exist, so the policy makes no requests: create it, or "
        "change requestNamespace",
    )


def owners_not_readable(denied: Sequence[str]) -> Fault:
    """What a policy is told that groups by owner or node, which the operator has no right to read."""
    return Fault(
        SpecReason.OWNERS_NOT_READABLE,
        f"owner and node are null for all its signals, since RBAC denies {', '.join(denied)}: apply "
        "manifests/components/owners",
    )


class Rivals:
    """Finds policies of equal priority that can match the same signals; compares two versions once."""

    def __init__(self) -> None:
        self._compared: dict[tuple[Key, Key], bool] = {}
        self._rivals: dict[Key, list[PolicyVersion]] = {}

    def update(self, versions: Iterable[PolicyVersion]) -> None:
        """All versions in force."""
        before, self._compared, rivals = self._compared, {}, defaultdict[Key, list[PolicyVersion]](list)
        peers = defaultdict[tuple[str, int], list[PolicyVersion]](list)
        for version in sorted(versions, key=lambda version: version.precedence):
            peers[version.id.namespace, version.spec.priority].append(version)
        for equal in peers.values():
            for one, other in combinations(equal, 2):
                pair = one.key, other.key
                meet = before.get(pair)
                if meet is None:
                    meet = can_match_the_same(one.spec.match, other.spec.match)
                self._compared[pair] = meet
                if meet:
                    rivals[one.key].append(other)
                    rivals[other.key].append(one)
        self._rivals = dict(rivals)

    def caveat(self, version: PolicyVersion) -> Fault | None:
        """What a policy is told that has rivals."""
        rivals = self._rivals.get(version.key)
        if not rivals:
            return None
        said = [
            f"{rival.id} goes {'before' if rival.precedence < version.precedence else 'after'} this one"
            for rival in rivals[:NAMED]
        ]
        more = f", and {len(rivals) - NAMED} more policies" if len(rivals) > NAMED else ""
        return Fault(
            SpecReason.EQUAL_PRIORITY,
            f"policies of equal priority ({version.spec.priority}) can match the same signals, so that their "
            f"names decide: {', '.join(said)}{more}; set priority",
        )


class MissingValues:
    """Counts the signals that have no value of a key by which their policy groups, each once."""

    def __init__(self, first: Callable[[], None]) -> None:
        """`first` is called when a version first meets one."""
        self._first = first
        self._lack: dict[Key, dict[str, set[str]]] = {}
        """Version → key → the signals, up to `COUNTED`."""

    def note(self, version: PolicyVersion, group: Group, arrival: Arrival) -> None:
        """A signal goes to a group of a version that lacks values."""
        lack = self._lack.setdefault(version.key, {})
        for key in group.missing:
            if key not in lack:
                lack[key] = set()
                self._first()
            if len(lack[key]) < COUNTED:
                lack[key].add(arrival.occurrence)

    def keep(self, versions: Iterable[PolicyVersion]) -> None:
        """Forget all versions but these."""
        kept = {version.key for version in versions}
        self._lack = {key: lack for key, lack in self._lack.items() if key in kept}

    def finding(self, version: PolicyVersion) -> str | None:
        """What a policy is told whose signals lacked values; None if none did."""
        lack = self._lack.get(version.key)
        if not lack:
            return None
        said = (f"{_counted(len(signals))} without {key}" for key, signals in sorted(lack.items()))
        where = (
            "They form a group of their own"
            if version.spec.missing_keys is MissingKeys.GROUP
            else "They go to the next policy whose keys they all have, or form a group of their own"
        )
        return (
            f"groupBy: {', '.join(said)}. {where}. Group by a key that they have, or let match select only "
            "signals that have it"
        )


def _counted(signals: int) -> str:
    more = " or more" if signals == COUNTED else ""
    return f"{signals}{more} signal{'' if signals == 1 else 's'}"


def can_match_the_same(one: Match, other: Match) -> bool:
    """Whether a signal can be one that both match. Two globs are taken to meet if one of them matches the
    text of the other: `A-*` and `*-b` are not seen to. Beyond `COMPARED` globs nothing is seen."""
    return (
        (not one.severities or not other.severities or not set(one.severities).isdisjoint(other.severities))
        and _selectors_meet(one.label_selector, other.label_selector)
        and _selectors_meet(one.namespace_selector, other.namespace_selector)
        and _globs_meet(one.sources, other.sources)
        and _beyond_events(one.sources, other.sources)
        and _globs_meet(one.names, other.names)
    )


def _beyond_events(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a policy without sources, which takes no Events, meets one that takes more than Events."""
    if one and other:
        return True
    return {*one, *other} != {EVENT_SOURCE}


def _globs_meet(one: Sequence[str], other: Sequence[str]) -> bool:
    one, other = one[:COMPARED], other[:COMPARED]
    ours, theirs = glob_pattern(one), glob_pattern(other)
    if ours is None or theirs is None:
        return True
    return any(ours.match(glob) for glob in other) or any(theirs.match(glob) for glob in one)


def _selectors_meet(one: Selector | None, other: Selector | None) -> bool:
    of_label = defaultdict[str, list[SelectorExpression]](list)
    for selector in (one, other):
        for expression in _expressions(selector):
            of_label[expression.key].append(expression)
    return all(_can_hold(expressions) for expressions in of_label.values())


def _expressions(selector: Selector | None) -> list[SelectorExpression]:
    if selector is None:
        return []
    labels = [
        SelectorExpression(key=key, operator=SelectorOperator.IN, values=(value,))
        for key, value in selector.match_labels.items()
    ]
    return [*labels, *selector.match_expressions]


def _can_hold(expressions: Sequence[SelectorExpression]) -> bool:
    """Whether a label can have a value, or be missing, so that all of these hold about it."""
    allowed = [
        frozenset(expression.values)
        for expression in expressions
        if expression.operator is SelectorOperator.IN
    ]
    forbidden = {
        value
        for expression in expressions
        if expression.operator is SelectorOperator.NOT_IN
        for value in expression.values
    }
    operators = {expression.operator for expression in expressions}
    if SelectorOperator.DOES_NOT_EXIST in operators and (allowed or SelectorOperator.EXISTS in operators):
        return False
    return not allowed or bool(frozenset.intersection(*allowed) - forbidden)
