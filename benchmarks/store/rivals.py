"""The other ways to keep a storm in Redis, as somebody would write them who knows Redis.

All of them share the client, the connection and its pipelining with stormfold (`fold.pipelining`). None does
what fold.lua does besides counting: knowing a signal that comes twice, windows, thresholds, deadlines, a
durable end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any

import orjson

from benchmarks.store.storms import LABELS, TROUBLE, Storm
from stormfold.model.arrival import Arrival

Json = dict[str, Any]

PAYLOAD_ALERTS = 13
"""In the webhook body that opened the storm."""
OBJECT_LUA = """#!lua
-- KEYS[1] a RemediationRequest as JSON; ARGV five for each signal: kind, namespace, name, when, severity.
local request = cjson.decode(redis.call('GET', KEYS[1]))
local storm = request.spec.stormAggregation
local places = {}
for i, resource in ipairs(storm.affectedResources) do
  places[resource.kind .. '/' .. resource.namespace .. '/' .. resource.name] = i
end
for a = 1, #ARGV, 5 do
  local id = ARGV[a] .. '/' .. ARGV[a + 1] .. '/' .. ARGV[a + 2]
  local place = places[id]
  if place then
    local resource = storm.affectedResources[place]
    resource.alertCount = resource.alertCount + 1
    resource.lastSeen = ARGV[a + 3]
    resource.severity = ARGV[a + 4]
  else
    places[id] = #storm.affectedResources + 1
    storm.affectedResources[places[id]] = {
      kind = ARGV[a], namespace = ARGV[a + 1], name = ARGV[a + 2], firstSeen = ARGV[a + 3], lastSeen = ARGV[a + 3],
      severity = ARGV[a + 4], alertCount = 1,
    }
  end
  storm.alertCount = storm.alertCount + 1
  storm.lastSeen = ARGV[a + 3]
end
redis.call('SET', KEYS[1], cjson.encode(request))
return storm.alertCount
"""  # noqa: E501
METADATA_LUA = """#!lua
-- KEYS[1] what is known of a storm as JSON; ARGV five for each signal: kind, namespace, name, when, severity.
local storm = cjson.decode(redis.call('GET', KEYS[1]))
for a = 1, #ARGV, 5 do
  local id = ARGV[a] .. '/' .. ARGV[a + 1] .. '/' .. ARGV[a + 2]
  storm.resources[id] = (storm.resources[id] or 0) + 1
  storm.alertCount = storm.alertCount + 1
  storm.lastSeen = ARGV[a + 3]
  storm.severity = ARGV[a + 4]
end
redis.call('SET', KEYS[1], cjson.encode(storm))
return storm.alertCount
"""


def moment(ms: int) -> str:
    """As Kubernetes writes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- what is kept


def request(storm: Storm, resources: int) -> Json:
    """The whole request as a Kubernetes object: about 30 KB at 25 resources.

    Its metadata with managedFields, what the first alert said, the webhook body that it came in, and of each
    resource what its own alert said: the parts, and about the shares, of such objects where they were kept in
    Redis.
    """
    pods = storm.pods(max(resources, PAYLOAD_ALERTS))
    spec = {
        "signalName": TROUBLE,
        "signalFingerprint": storm.group.group_hash * 4,
        "severity": "critical",
        "environment": "production",
        "priority": "P0",
        "signalType": "prometheus-alert",
        "signalSource": "alertmanager",
        "targetType": "kubernetes",
        "targetResource": {"kind": "Pod", "name": pods[0], "namespace": storm.namespace},
        "firingTime": moment(storm.version.generation),
        "receivedTime": moment(storm.version.generation),
        "signalLabels": alert(storm, pods[0])["labels"],
        "signalAnnotations": alert(storm, pods[0])["annotations"],
        "deduplication": {"firstSeen": moment(0), "lastSeen": moment(0), "occurrenceCount": resources},
        "originalPayload": orjson.dumps(
            {
                "version": "4",
                "status": "firing",
                "alerts": [alert(storm, pod) for pod in pods[:PAYLOAD_ALERTS]],
            }
        ).decode(),
        "stormAggregation": {
            "pattern": f"{TROUBLE} in namespace {storm.namespace}",
            "alertCount": resources,
            "stormType": "pattern",
            "firstSeen": moment(0),
            "lastSeen": moment(0),
            "affectedResources": [affected(storm, pod) for pod in pods[:resources]],
        },
    }
    status = {"overallPhase": "Pending", "message": "waiting for the storm to settle"}
    return {
        "apiVersion": "remediation.example.org/v1alpha1",
        "kind": "RemediationRequest",
        "metadata": {
            "name": f"rr-{storm.group.group_hash}",
            "namespace": storm.namespace,
            "uid": "0b5c2f0e-6c1d-4a52-8d7e-3f1f5c7f9a01",
            "resourceVersion": "48000000",
            "generation": 1,
            "creationTimestamp": moment(0),
            "labels": {f"example.org/{name}": str(value) for name, value in LABELS.items()},
            "annotations": alert(storm, pods[0])["annotations"],
            "managedFields": [managed("gateway", {"spec": spec}), managed("controller", {"status": status})],
        },
        "spec": spec,
        "status": status,
    }


def alert(storm: Storm, pod: str) -> Json:
    """As Alertmanager posts it."""
    return {
        "status": "firing",
        "labels": {
            "alertname": TROUBLE,
            "cluster": "eu-central-1",
            "instance": "10.42.0.17:8080",
            "namespace": storm.namespace,
            "pod": pod,
            "prometheus": "monitoring/k8s",
            "reason": "CrashLoopBackOff",
            "severity": "critical",
            "uid": "5b1c2f0e-6c1d-4a52-8d7e-3f1f5c7f9a01",
            **LABELS,
        },
        "annotations": {
            "summary": "Pod is crash looping.",
            "description": f"Pod {storm.namespace}/{pod} (api) is in waiting state (reason: "
            f"CrashLoopBackOff).",
            "runbook_url": f"https://runbooks.example.org/kubernetes/{TROUBLE.lower()}",
        },
        "startsAt": "2026-01-01T00:00:00.000Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "https://prometheus.example.org/graph?g0.expr=rate(restarts_total%5B5m%5D)+%3E+0&g0.tab=1",
        "fingerprint": "5ef77f1f8a3ecf8d",
    }


def affected(storm: Storm, pod: str) -> Json:
    """What is kept of one resource: what its alert says beside what all have in common."""
    said = alert(storm, pod)
    return {
        "kind": "Pod",
        "namespace": storm.namespace,
        "name": pod,
        "firstSeen": moment(0),
        "lastSeen": moment(0),
        "severity": "critical",
        "alertCount": 1,
        "labels": {name: said["labels"][name] for name in ("container", "instance", "reason", "team", "uid")},
        "description": said["annotations"]["description"],
        "generatorURL": said["generatorURL"],
        "fingerprint": said["fingerprint"],
    }


def managed(manager: str, fields: Json) -> Json:
    """The entry of one manager that wrote these fields; lists are atomic."""

    def names(value: Any) -> Json:
        return {f"f:{name}": names(inner) for name, inner in value.items()} if isinstance(value, dict) else {}

    head = {"manager": manager, "operation": "Update", "apiVersion": "remediation.example.org/v1alpha1"}
    return head | {"time": moment(0), "fieldsType": "FieldsV1", "fieldsV1": names(fields)}


def metadata(storm: Storm, resources: int) -> Json:
    """What has to be known of a storm, and no more: about 2 KB at 25 resources."""
    return {
        "pattern": f"{TROUBLE} in namespace {storm.namespace}",
        "alertName": TROUBLE,
        "namespace": storm.namespace,
        "severity": "critical",
        "fingerprint": storm.group.group_hash * 4,
        "stormType": "pattern",
        "alertCount": resources,
        "firstSeen": moment(0),
        "lastSeen": moment(0),
        "labels": alert(storm, "")["labels"],
        "windowId": f"{storm.group.group_hash}-1",
        "resources": {f"Pod/{storm.namespace}/{pod}": 1 for pod in storm.pods(resources)},
    }


# --- how it is changed


def fields_of(arrival: Arrival) -> tuple[str, str, str, str, str]:
    """What the scripts are told of one signal."""
    target = arrival.target
    assert target is not None
    return target.kind, target.namespace or "", target.name, moment(arrival.seen_ms), arrival.severity.value


class GetModifySet:
    """GET, change the object in the client, SET; `loads` and `dumps` are those of a JSON library.

    Without WATCH, as it was done: with it, a signal costs another round trip, and two writers of one storm
    retry.
    """

    commands: Sequence[str] = ("get", "set")

    def __init__(self, client: Any, loads: Callable[[str], Any], dumps: Callable[[Any], bytes | str]) -> None:
        self._client = client
        self._loads = loads
        self._dumps = dumps

    async def fold(self, batch: Mapping[Storm, Sequence[Arrival]]) -> None:
        """Count signals of one storm."""
        for storm, arrivals in batch.items():
            key = f"request:{storm.group.group_hash}"
            found = self._loads(await self._client.execute_command("GET", key))
            self._change(found["spec"]["stormAggregation"], arrivals)
            await self._client.execute_command("SET", key, self._dumps(found))

    @staticmethod
    def _change(aggregation: Json, arrivals: Sequence[Arrival]) -> None:
        resources = aggregation["affectedResources"]
        known = {(r["kind"], r["namespace"], r["name"]): r for r in resources}
        for arrival in arrivals:
            kind, namespace, name, seen, severity = fields_of(arrival)
            resource = known.get((kind, namespace, name))
            if resource is None:
                resource = {"kind": kind, "namespace": namespace, "name": name}
                resource |= {"firstSeen": seen, "alertCount": 0}
                known[kind, namespace, name] = resource
                resources.append(resource)
            resource["alertCount"] += 1
            resource["severity"] = severity
            resource["lastSeen"] = aggregation["lastSeen"] = seen
            aggregation["alertCount"] += 1


class InLua:
    """The same, or of less, in one script per storm, which decodes and encodes the JSON."""

    commands: Sequence[str] = ("evalsha",)

    def __init__(self, client: Any, kind: str, body: str) -> None:
        self._client = client
        self._kind = kind
        self._body = body
        self._sha = sha1(body.encode(), usedforsecurity=False).hexdigest()

    async def load(self) -> None:
        """Make the script known."""
        await self._client.execute_command("SCRIPT", "LOAD", self._body)

    async def fold(self, batch: Mapping[Storm, Sequence[Arrival]]) -> None:
        """Count signals of any storms; the calls of a batch travel together."""
        calls: list[Any] = []
        for storm, arrivals in batch.items():
            args = [field for arrival in arrivals for field in fields_of(arrival)]
            key = f"{self._kind}:{storm.group.group_hash}"
            calls.append(("EVALSHA", self._sha, 1, key, *args))
        for call in await gathered([self._client.execute_command(*call) for call in calls]):
            assert int(call) > 0


async def gathered(calls: Sequence[Any]) -> list[Any]:
    """All answers; a single call needs no task."""
    return [await calls[0]] if len(calls) == 1 else list(await asyncio.gather(*calls))
