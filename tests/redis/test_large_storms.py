"""What a storm shows is bounded, however much comes: 5,000 names, 5,000 pods, labels of 256 characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from tests.harness.folding import Group, pod, signal
from tests.harness.values import T0, version

from lab.valkey import Valkey
from stormfold.api.remediationrequest import RemediationRequestSpec, RequestPhase
from stormfold.fold import keys
from stormfold.fold.arguments import Fold
from stormfold.fold.showing import NOTHING_TOLD, Told, shown
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival
from stormfold.model.evidence import MAX_RUNBOOKS, SHOWN_NAME_BYTES
from stormfold.model.limits import COUNTED_NAMES
from stormfold.model.opening import Opening
from stormfold.request import evidence, rendering
from stormfold.request.causes import Held, find

SIGNALS, BATCH = 5000, 250
STATUS_BYTES, SHOWN_BYTES = 16 * 1024, 4 * 1024
DECISION = "x" * 1000
"""As long as what gates write of a request may be."""
POLICY = version(groupBy=["namespace"])
CAUSES = POLICY.counted_attributes


def large(number: int, fill: str) -> Arrival:
    """A signal of its own name, about a pod of its own, with labels, texts and URLs of the greatest length,
    which are made of one character; it has much in common with the others."""
    end = f"{number:05}"
    several = number % MAX_RUNBOOKS
    url = "u" if fill == '"' else fill  # no URL has a quotation mark
    return signal(
        number,
        pod(f"{'p' * 57}-{end}" if fill == "x" else f"{fill * 247}-{end}"),
        name=f"{fill * 248}{end}",
        node=f"{fill * 247}-{end}",
        owner=f"Deployment/shop/{fill * 230}-{end}",
        labels={f"label-{n:02}": f"{n}{fill * 248}-{end}" for n in range(30)}
        | {f"same-{n:02}": fill * 20 for n in range(30)}
        | {"image": f"{fill * 250}-{end}", "zone": f"{fill * 250}-{number % 7}"},
        annotations={
            "summary": fill * 1024,
            "description": f"{fill * 1019}{end}",
            "runbook_url": f"https://{several}.example/{url * 490 if url == 'u' else url * 124}",
            "dashboard_url": f"https://{end}.example/{url * 900}",
            "generator_url": f"https://{end}.example/{url * 900}",
        }
        | {f"same-{n}": fill * 40 for n in range(20)},
    )


class Written:
    """A storm whose request is written now and then, and what that says."""

    def __init__(self, store: StormStore, fill: str) -> None:
        self.store, self.fill = store, fill
        first = large(1, fill)
        self.opening = POLICY.opening(POLICY.group(first), first)
        self.group = Group(store, POLICY.group(first).group_hash, POLICY.terms)
        self.told: Told = NOTHING_TOLD
        self.status: dict[str, Any] = {}
        self.held = Held()

    async def count(self, first: int) -> None:
        """Count a batch."""
        arrivals = [large(number, self.fill) for number in range(first, first + BATCH)]
        telling = shown(POLICY.showing, self.told, arrivals)
        fold = Fold(self.group.group_hash, POLICY.terms, self.opening.encoded(), arrivals, shown=telling)
        await self.store.fold(self.group.partition, [fold], now_ms=T0 + first)
        self.told = telling.telling

    async def write(self, at: int) -> None:
        """Let the request say all, as a merge patch would."""
        storm = await self.group.look(at=at)
        found = find(storm.evidence.causes, CAUSES, total=storm.total, held=self.held, elsewhere={})
        spec = rendering.manifest(storm, Opening.decoded(storm.opening))["spec"]
        held = {field: self.status[field] for field in evidence.FIELDS if field in self.status}
        status = rendering.status(
            storm,
            RequestPhase.OPEN,
            closed_for=None,
            spec=RemediationRequestSpec.model_validate(spec),
            namespace="shop",
            before=(),
            reported={},
            generation=1,
            now_ms=T0 + at,
            shown=orjson.dumps(held) if self.status else None,
            sampled=self.held_sampled,
            found=found,
        )
        self.status = merged(self.status, status)
        self.held = Held(found.kept, storm.folded)
        await self.group.ack(storm, at=at, trim=storm.through)

    @property
    def held_sampled(self) -> int:
        """How many samples had been taken when the request was written."""
        continuation: Mapping[str, int] = self.status.get("continuation", {})
        return continuation.get("sampled", 0)


def merged(before: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """What the API server makes of a merge patch."""
    after = dict(before)
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        elif isinstance(value, dict):
            old = after.get(name)
            after[name] = merged(old if isinstance(old, dict) else {}, value)
        else:
            after[name] = value
    return after


@dataclass(frozen=True)
class Size:
    """What a storm takes when its request has just been written."""

    status: int
    """Bytes of the status as JSON, without its list of alerts."""
    names: int
    """Bytes of the names that Redis counts and of their counts: what an allocator adds is left out."""

    @classmethod
    def of(cls, storm: Written, redis: Valkey) -> Size:
        """Its size; Redis has the names in its packed form, and nothing else of what is shown."""
        number, group_hash = storm.group.partition, storm.group.group_hash
        names, evidence_key = keys.names(number, group_hash), keys.evidence(number, group_hash)
        used = redis.command("MEMORY", "USAGE", names, "SAMPLES", 0)
        assert redis.command("OBJECT", "ENCODING", names) == "listpack"
        assert redis.command("EXISTS", evidence_key) == 0
        assert isinstance(used, int)
        assert used <= SHOWN_BYTES
        held = redis.command("HGETALL", names)
        assert isinstance(held, list)
        status = {name: value for name, value in storm.status.items() if name != "withAlerts"}
        return cls(
            len(orjson.dumps(status | {"decision": DECISION})), sum(len(str(text).encode()) for text in held)
        )


@pytest.mark.parametrize(
    "fill", ["x", "\U0001f525", '"'], ids=["letters", "characters of 4 bytes", "quotation marks"]
)
@pytest.mark.parametrize("writes", [1, 4])
async def test_what_a_storm_shows_is_bounded_and_does_not_grow(
    store: StormStore, redis: Valkey, writes: int, fill: str
) -> None:
    storm = Written(store, fill)
    sizes: list[Size] = []
    for first in range(1, SIGNALS, BATCH):
        await storm.count(first)
        if (first // BATCH) % writes == writes - 1:
            await storm.write(at=first)
            sizes.append(Size.of(storm, redis))
    assert storm.status["signals"]["total"] == SIGNALS
    assert len(storm.status["samples"]) == 5
    assert not storm.status.get("commonCauses")
    middle, last = sizes[len(sizes) // 2], sizes[-1]
    assert max(size.status for size in sizes) <= STATUS_BYTES, sizes
    assert last.status - middle.status <= 64, sizes  # larger numbers have more digits
    assert last.names == middle.names == COUNTED_NAMES * (SHOWN_NAME_BYTES + len("251 250")), sizes
