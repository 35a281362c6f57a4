"""What a status may take, and what gives way where it would take more. Pure.

First what samples say gives way; then listed resources do, those with the fewest signals first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stormfold.api.conditions import ConditionType
from stormfold.model.evidence import json_bytes

STATUS_BYTES = 16_384
"""Of a status as JSON, without `withAlerts` and what others write into it."""
DECISION_BYTES = 1024
"""Of these, kept free for the decision and the condition `Proceed`, which gates write. They take less if few
gates hold a request."""
LISTED, RESOURCE_BYTES = 25, 320
"""It may take so much more for each resource that a policy lists beyond so many."""
BESIDE_BYTES = 3584
"""What is neither a listed resource nor shown of signals nor decided by gates takes less, unless texts that a
consumer writes are long, too."""
GIVES_WAY = (
    "generatorURL",
    "description",
    "dashboardURL",
    "labels",
    "runbookURL",
    "summary",
    "target",
)
"""What a sample says beside name, severity and time, what helps least first. Of a field, that of the latest
sample gives way first."""
COUNTED = set(ConditionType) - {ConditionType.PROCEED}
Fields = Mapping[str, Any]


def room(limit: int) -> int:
    """How many bytes a status may take, without its decision, whose policy lists so many resources."""
    return STATUS_BYTES - DECISION_BYTES + RESOURCE_BYTES * max(0, limit - LISTED)


def taken(status: Fields) -> int:
    """How many bytes of its room a status takes."""
    own = [one for one in status["conditions"] if one["type"] in COUNTED]
    return json_bytes({**status, "conditions": own, "withAlerts": None})


def within(resources: Sequence[Fields], shown: Fields, limit: int) -> Sequence[Fields]:
    """Those of the resources that have room, in order, in a status that shows this of its signals."""
    least = json_bytes({**shown, "samples": [_without(sample, GIVES_WAY) for sample in _samples(shown)]})
    left = room(limit) - BESIDE_BYTES - least
    if json_bytes(resources) <= left:
        return resources
    for number, resource in enumerate(resources):
        left -= json_bytes(resource) + 1
        if left < 0:
            return resources[:number]
    return resources


def cut(shown: Fields, left: int) -> Fields:
    """What is shown of signals, so that it takes at most this many bytes, if samples can give way so far."""
    over = json_bytes(shown) - left
    samples = list(_samples(shown))
    for field in GIVES_WAY:
        for number in range(len(samples) - 1, -1, -1):
            if over <= 0:
                return {**shown, "samples": samples}
            before = json_bytes(samples[number])
            samples[number] = _without(samples[number], (field,))
            over -= before - json_bytes(samples[number])
    return {**shown, "samples": samples}


def _samples(shown: Fields) -> Sequence[Fields]:
    samples: Sequence[Fields] = shown["samples"]
    return samples


def _without(sample: Fields, fields: Sequence[str]) -> Fields:
    """A sample without these, which says that something was left out."""
    if not any(field in sample for field in fields):
        return sample
    return {name: sample[name] for name in sample if name not in fields} | {"truncated": True}
