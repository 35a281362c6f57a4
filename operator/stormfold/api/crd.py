"""The CustomResourceDefinitions of all kinds, made from the models.

A default is declared to the API server if it says something: absent, empty text,
empty lists and empty maps mean the same without. In a status nothing is defaulted, since a status is what its
owner wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import GROUP, VERSION, Resource, cel
from stormfold.api.signal import Signal
from stormfold.api.stormgate import StormGate
from stormfold.api.stormpolicy import ClusterStormPolicy, StormPolicy
from stormfold.api.structural import RULES, Schema, drop_rules, one_line, structural, without_defaults

_HEADER = (
    "# Generated from the models in operator/stormfold/api: change them there, then run `make generate`.\n"
)


@dataclass(frozen=True)
class _Column:
    name: str
    type: str
    path: str
    wide: bool = False
    """Shown only by `kubectl get -o wide`."""

    def definition(self) -> dict[str, Any]:
        column = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return {**column, "priority": 1} if self.wide else column


def _condition(kind: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].status'


_CLOSED_UNCLAIMED = (
    "!has(self.phase) || self.phase != 'Closed' || !has(self.remediation) || !has(self.remediation.claim) || "
    "(has(oldSelf.remediation) && has(oldSelf.remediation.claim) && "
    "self.remediation.claim == oldSelf.remediation.claim)"
)
"""The claim that a request had when it closed may stay in it."""

_AGE = _Column("Age", "date", ".metadata.creationTimestamp")
_POLICY_COLUMNS = (
    _Column("Accepted", "string", _condition("Accepted")),
    _Column("Group by", "string", ".spec.groupBy"),
    _Column("Threshold", "integer", ".spec.threshold.signals"),
    _Column("Priority", "integer", ".spec.priority"),
    _AGE,
)


@dataclass(frozen=True)
class _Kind:
    model: type[Resource]
    short_name: str
    columns: tuple[_Column, ...]
    selectable: tuple[str, ...] = ()
    """Fields by which `--field-selector` selects."""
    without: tuple[str, ...] = ()
    """Fields of the model that this kind does not have."""
    unruled: tuple[str, ...] = ()
    """Fields below which no CEL rule is checked."""
    rules: Mapping[str, Schema] = field(default_factory=dict)
    """Further CEL rules, by field."""
    may_be_empty: bool = False
    """Whether the spec may be absent: server-side apply takes it away with the last field that anybody owned,
    as the only hold of a gate."""


_KINDS = (
    _Kind(
        Signal,
        "sig",
        columns=(
            _Column("Signal", "string", ".spec.name"),
            _Column("Severity", "string", ".spec.severity"),
            _Column("State", "string", ".spec.state", wide=True),
            _Column("Kind", "string", ".spec.target.kind", wide=True),
            _Column("Target", "string", ".spec.target.name", wide=True),
            _Column("Phase", "string", ".status.phase"),
            _Column("Request", "string", ".status.remediationRequest.name"),
            _AGE,
        ),
        selectable=(".spec.name", ".spec.severity", ".status.phase"),
    ),
    _Kind(
        RemediationRequest,
        "rreq",
        columns=(
            _Column("What", "string", ".status.display.what"),
            _Column("Group", "string", ".status.display.group"),
            _Column("Phase", "string", ".status.phase"),
            _Column("Firing", "integer", ".status.signals.firing"),
            _Column("Severity", "string", ".status.severity"),
            _Column("Remediation", "string", ".status.remediation.phase"),
            _Column("Decision", "string", ".status.decision.verdict", wide=True),
            _Column("Holder", "string", ".status.remediation.claim.holderIdentity", wide=True),
            _Column("Signal", "string", ".spec.name", wide=True),
            _Column("Storm", "string", _condition("StormDetected"), wide=True),
            _Column("Signals", "integer", ".status.signals.total", wide=True),
            _Column("Resources", "integer", ".status.affectedResourceCount", wide=True),
            _Column("Rate", "integer", ".status.ratePerMinute", wide=True),
            _Column("Last seen", "date", ".status.lastSeen", wide=True),
            _Column("Policy", "string", ".spec.policyRef.name", wide=True),
            _Column("Epoch", "integer", ".spec.epoch", wide=True),
            _Column("Summary", "string", ".status.summary", wide=True),
            _AGE,
        ),
        selectable=(".spec.groupHash", ".status.phase", ".status.decision.verdict"),
        # The copy was checked as a policy. A rule that a later release adds must not keep a storm under an
        # older policy from its request.
        unruled=("spec.policy",),
        rules={
            "spec": cel(("self == oldSelf", "spec is immutable", "")),
            "status": cel((_CLOSED_UNCLAIMED, "a closed request cannot be claimed", ".remediation.claim")),
        },
    ),
    _Kind(
        StormPolicy,
        "stormpol",
        _POLICY_COLUMNS,
        without=("spec.match.namespaceSelector", "spec.requestNamespace"),
    ),
    _Kind(
        ClusterStormPolicy,
        "cstormpol",
        _POLICY_COLUMNS,
        rules={
            "spec": cel(
                (
                    "has(self.requestNamespace) || 'namespace' in self.groupBy",
                    "requestNamespace must be set when groupBy does not contain namespace",
                    ".requestNamespace",
                )
            )
        },
    ),
    _Kind(
        StormGate,
        "sgate",
        columns=(
            _Column("Verdict", "string", ".status.verdict"),
            _Column("State", "string", ".status.state"),
            _Column("Requests", "integer", ".status.requests"),
            _Column("Held by", "string", ".status.heldBy"),
            _Column("Breaker", "string", ".status.message", wide=True),
            _Column("Accepted", "string", _condition("Accepted"), wide=True),
            _AGE,
        ),
        may_be_empty=True,
    ),
)


def crds() -> dict[str, dict[str, Any]]:
    """The CustomResourceDefinition of each kind, by the name of its file under `crds/`."""
    return {f"{kind.model.plural}.yaml": _definition(kind) for kind in _KINDS}


def render(crd: Mapping[str, Any]) -> str:
    """A CustomResourceDefinition as the YAML text of its file."""
    return _HEADER + yaml.dump(dict(crd), Dumper=_PlainDumper, sort_keys=False, width=100, allow_unicode=True)


class _PlainDumper(yaml.SafeDumper):
    """Writes values that occur twice twice: CRDs are read by people, who do not follow anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _definition(kind: _Kind) -> dict[str, Any]:
    name, plural = kind.model.__name__, kind.model.plural
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object_schema(kind)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.definition() for column in kind.columns],
        "selectableFields": [{"jsonPath": path} for path in kind.selectable],
    }
    if not kind.selectable:
        del version["selectableFields"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "stormfold", "app.kubernetes.io/part-of": "stormfold"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.model.namespaced else "Cluster",
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": plural,
                "singular": name.lower(),
                "shortNames": [kind.short_name],
                "categories": ["stormfold"],
            },
            "versions": [version],
        },
    }


def _object_schema(kind: _Kind) -> Schema:
    whole = kind.model.model_json_schema()
    definitions = whole.get("$defs", {})
    spec = structural(whole["properties"]["spec"], definitions)
    status = without_defaults(structural(whole["properties"]["status"], definitions))
    schema: Schema = {
        "description": one_line(whole["description"]),
        "type": "object",
        **({} if kind.may_be_empty else {"required": ["spec"]}),
        "properties": {
            "apiVersion": {"description": "Group and version of the kind.", "type": "string"},
            "kind": {"description": "The kind of this object.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": spec | ({"default": {}} if kind.may_be_empty else {}),
            "status": status,
        },
    }
    for path in kind.without:
        parent, _, name = path.rpartition(".")
        del _at(schema, parent)["properties"][name]
    for path in kind.unruled:
        drop_rules(_at(schema, path))
    for path, rules in kind.rules.items():
        node = _at(schema, path)
        node[RULES] = [*node.get(RULES, ()), *rules[RULES]]
    return schema


def _at(schema: Schema, path: str) -> Schema:
    for name in path.split("."):
        schema = schema["properties"][name]
    return schema
