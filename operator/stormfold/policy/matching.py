"""Whether a policy governs an arrival."""

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate

from stormfold.api.match import Match, Selector, SelectorOperator
from stormfold.model.arrival import Arrival, EventRef

Labels = Mapping[str, str]
Matcher = Callable[[Arrival, Labels], bool]
"""Takes an arrival and the labels of the namespace that it speaks for."""
EVENT_SOURCE = "event"
"""The source of every Kubernetes Event. A policy takes Events only if it names it in `match.sources`: there
are many of them, and whoever wrote a policy for alerts did not ask for them."""


def glob_pattern(globs: Sequence[str]) -> re.Pattern[str] | None:
    """One pattern for all globs (`*`, `?`, `[abc]`; upper and lower case differ); None if there are none.

    `translate` makes patterns that do not backtrack over a `*`, so a hostile glob costs no more than its
    length.
    """
    return re.compile("|".join(f"(?:{translate(glob)})" for glob in globs)) if globs else None


def selects(selector: Selector | None, labels: Labels) -> bool:
    """Whether labels satisfy a selector, by the rules of Kubernetes; no selector selects everything."""
    if selector is None:
        return True
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for expression in selector.match_expressions:
        value = labels.get(expression.key)
        match expression.operator:
            case SelectorOperator.IN:
                holds = value in expression.values
            case SelectorOperator.NOT_IN:
                holds = value not in expression.values
            case SelectorOperator.EXISTS:
                holds = value is not None
            case SelectorOperator.DOES_NOT_EXIST:
                holds = value is None
        if not holds:
            return False
    return True


def labels_matched(match: Match) -> frozenset[str]:
    """The names of the labels of a signal that `match` asks about."""
    selector = match.label_selector
    if selector is None:
        return frozenset()
    return frozenset((*selector.match_labels, *(asked.key for asked in selector.match_expressions)))


def takes_events(match: Match) -> bool:
    """Whether `match` may take a Kubernetes Event: a glob in `sources` says so."""
    sources = glob_pattern(match.sources)
    return sources is not None and sources.match(EVENT_SOURCE) is not None


def matcher(match: Match, namespace: str = "") -> Matcher:
    """A function that tells whether `match` takes an arrival: every field that is set must take it, and the
    arrival must speak for the `namespace`, if one is given.

    An Event is taken only if `sources` is set.
    """
    names, sources = glob_pattern(match.names), glob_pattern(match.sources)
    severities = frozenset(match.severities)

    def matches(arrival: Arrival, namespace_labels: Labels) -> bool:
        return (
            (not namespace or namespace == arrival.namespace)
            and (names is None or names.match(arrival.name) is not None)
            and (not severities or arrival.severity in severities)
            and (
                sources.match(arrival.source) is not None
                if sources is not None
                else not isinstance(arrival.ref, EventRef)
            )
            and selects(match.label_selector, arrival.labels)
            and selects(match.namespace_selector, namespace_labels)
        )

    return matches
