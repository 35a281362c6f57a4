"""Showing: what a policy lets its requests show of signals (pure)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from stormfold.api.evidence import EvidenceRules
from stormfold.api.stormpolicy import PolicySpec
from stormfold.model import evidence
from stormfold.model.arrival import Arrival
from stormfold.model.evidence import cut, harmless, json_bytes, was_cut, web_address
from stormfold.model.limits import FIRST_SAMPLES, LATEST_SAMPLES
from stormfold.model.moments import written
from stormfold.policy.causes import CountedCauses, counted_causes
from stormfold.policy.matching import glob_pattern

MAX_SAMPLES = FIRST_SAMPLES + LATEST_SAMPLES
SAMPLE_BYTES = 1536
"""Of a sample as JSON: five of them leave room for the rest of a status of 16 KB."""
MAX_LABELS = 16
MAX_LABEL = 256
MAX_SUMMARY = 512
HEAD_BYTES = 256
"""Of a name as JSON where there is no room for all: one of 253 ASCII characters fits."""
MIN_TEXT = 16
"""Characters of a text of which it makes no sense to show less."""
ALL = ("*",)
NAMES_REMEMBERED = 1024

Names = Callable[[str], str]
"""Gives a label's or an annotation's name as it may be shown, or nothing if it may not."""


@dataclass(frozen=True)
class Showing:
    """What may be shown."""

    samples: int
    label: Names
    annotation: Names
    counts_names: bool = False
    """Whether its signals may have several names."""
    causes: CountedCauses = ()
    """The attributes that are counted."""

    def sample(self, arrival: Arrival) -> str:
        """A sample as JSON, as `status.samples` has it: harmless, and at most `SAMPLE_BYTES`."""
        text = orjson.dumps(self._written(arrival, _Sheet()))
        if len(text) > SAMPLE_BYTES:
            text = orjson.dumps(self._written(arrival, _TightSheet()))
        return text.decode()

    def _written(self, arrival: Arrival, sheet: "_Sheet") -> dict[str, Any]:
        sheet.begin(_head(arrival))
        if was_cut(arrival.name):
            sheet.said["truncated"] = True
        annotations, labels = arrival.annotations, arrival.labels
        shown = {name: text for name, text in annotations.items() if self.annotation(name)}
        sheet.write_text("summary", evidence.annotation(shown, evidence.SUMMARY), MAX_SUMMARY)
        sheet.write_url("runbookURL", evidence.annotation(shown, evidence.RUNBOOK_URL))
        sheet.write_labels({name: value for key, value in labels.items() if (name := self.label(key))})
        sheet.write_url("dashboardURL", evidence.annotation(shown, evidence.DASHBOARD_URL))
        sheet.write_text("description", evidence.annotation(shown, evidence.DESCRIPTION), evidence.MAX_TEXT)
        sheet.write_url("generatorURL", evidence.annotation(shown, evidence.GENERATOR_URL))
        return sheet.said


def _head(arrival: Arrival) -> dict[str, Any]:
    """What a sample says in any case."""
    head: dict[str, Any] = {"name": harmless(arrival.name), "severity": arrival.severity.value}
    if (target := arrival.target) and (name := harmless(target.name)):
        of = {"apiVersion": harmless(target.api_version), "kind": harmless(target.kind)}
        if target.namespace:
            of["namespace"] = harmless(target.namespace)
        head["target"] = of | {"name": name}
    head["startsAt"] = written(arrival.began_ms)
    return head


class _Sheet:
    """A sample that is being written: what is too long is cut, and `truncated` says so."""

    said: dict[str, Any]

    def begin(self, head: dict[str, Any]) -> None:
        """What it says in any case."""
        self.said = head

    def write(self, field: str, value: Any, *, whole: bool) -> None:
        """A field, and whether it has all of its value."""
        self.said[field] = value
        if not whole:
            self.said["truncated"] = True

    def write_text(self, field: str, text: str, most: int) -> None:
        if text:
            text = harmless(text)
            self.write(field, cut(text, most), whole=len(text) <= most)

    def write_url(self, field: str, text: str) -> None:
        if url := web_address(text):
            self.write(field, cut(url, evidence.MAX_TEXT), whole=len(url) <= evidence.MAX_TEXT)

    def write_labels(self, labels: Mapping[str, str]) -> None:
        shown = {name: harmless(labels[name]) for name in sorted(labels)[:MAX_LABELS]}
        whole = len(shown) == len(labels) and (not shown or max(map(len, shown.values())) <= MAX_LABEL)
        whole = whole and not any(map(was_cut, (*shown, *shown.values())))
        if shown:
            self.write("labels", {name: cut(value, MAX_LABEL) for name, value in shown.items()}, whole=whole)


class _TightSheet(_Sheet):
    """One that has no room for all of it."""

    def begin(self, head: dict[str, Any]) -> None:
        super().begin(_shortened(head) | {"truncated": True})
        self._room = SAMPLE_BYTES - json_bytes(self.said)

    def write(self, field: str, value: Any, *, whole: bool) -> None:
        room = self._room - len(f',"{field}":')
        if isinstance(value, str) and not field.endswith("URL"):
            value = _cut_to_bytes(value, room)
        elif isinstance(value, dict):
            value = _some_of(value, room // 2)
        took = json_bytes(value)
        if value and took <= room:
            self._room = room - took
            super().write(field, value, whole=whole)


def _shortened(head: Mapping[str, Any]) -> dict[str, Any]:
    """The same with no text of more than `HEAD_BYTES`."""
    return {
        field: _shortened(value) if isinstance(value, dict) else _cut_to_bytes(value, HEAD_BYTES)
        for field, value in head.items()
    }


def _cut_to_bytes(text: str, room: int) -> str:
    """The text, or its beginning and an ellipsis: at most so many bytes as JSON; nothing if there is no room
    for some words."""
    shown = text
    while (over := json_bytes(shown) - room) > 0:
        # A character takes at most 4 bytes.
        left = len(shown.removesuffix(evidence.ELLIPSIS)) - max(1, over // 4)
        if left < MIN_TEXT:
            return ""
        shown = text[:left] + evidence.ELLIPSIS
    return shown


def _some_of(labels: Mapping[str, str], room: int) -> dict[str, str]:
    """Those of the labels that have room, in order."""
    some: dict[str, str] = {}
    for name, value in labels.items():
        took = json_bytes({name: value})
        if took <= room:
            room -= took
            some[name] = value
    return some


def samples(spec: PolicySpec, policy_namespace: str) -> int:
    """How many samples the requests of a policy show; one without a namespace is a ClusterStormPolicy."""
    if spec.evidence and spec.evidence.samples is not None:
        return spec.evidence.samples
    return MAX_SAMPLES if _at_home(spec, policy_namespace) else 0


def _at_home(spec: PolicySpec, policy_namespace: str) -> bool:
    """Whether the requests lie in the namespace of their signals."""
    return bool(policy_namespace) or spec.request_namespace is None


def showing(spec: PolicySpec, policy_namespace: str) -> Showing:
    """What a policy lets its requests show. What it does not say is shown if they lie in the namespace of
    their signals."""
    rules = spec.evidence or EvidenceRules()
    default: Sequence[str] = ALL if _at_home(spec, policy_namespace) else ()
    return Showing(
        samples(spec, policy_namespace),
        _names(default if rules.labels is None else rules.labels),
        _names(default if rules.annotations is None else rules.annotations),
        counts_names="name" not in spec.group_by,
        causes=counted_causes(spec, policy_namespace),
    )


def NO_NAMES(name: str) -> str:  # noqa: N802
    """No name may be shown."""
    return ""


def _names(globs: Sequence[str]) -> Names:
    pattern = glob_pattern(globs)
    if pattern is None:
        return NO_NAMES

    @lru_cache(NAMES_REMEMBERED)
    def shown(name: str) -> str:
        may_be = not evidence.is_secret(name) and pattern.match(name) is not None
        return harmless(name) if may_be else ""

    return shown


NOTHING = Showing(0, _names(()), _names(()))
"""Nothing beyond numbers and names."""
