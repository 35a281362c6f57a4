"""The CustomResourceDefinitions of all kinds, made from the models.

What pydantic calls a schema is not yet a structural one: references, unions with null, `propertyNames` and
titles are resolved here. A default is declared to the API server if it says something: absent, empty text,
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

Schema = dict[str, Any]

_RULES = "x-kubernetes-validations"
_ORDER = (
    "description type format enum default pattern minLength maxLength minimum maximum minItems maxItems "
    "items maxProperties "
    "additionalProperties required properties x-kubernetes-list-type x-kubernetes-list-map-keys "
    "x-kubernetes-map-type "
    f"x-kubernetes-preserve-unknown-fields {_RULES}"
).split()
"""Every keyword that the models may lead to, in the order in which a person reads them."""

_RULE_ORDER = ("rule", "message", "fieldPath")

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
            _Column("Held by", "string", ".spec.holds[*].by"),
            _Column("Why", "string", ".spec.holds[*].reason", wide=True),
            _Column("Breaker", "string", ".status.message", wide=True),
            _Column("Accepted", "string", _condition("Accepted"), wide=True),
            _AGE,
        ),
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
    spec = _structural(whole["properties"]["spec"], definitions)
    status = _without_defaults(_structural(whole["properties"]["status"], definitions))
    schema: Schema = {
        "description": _one_line(whole["description"]),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": "Group and version of the kind.", "type": "string"},
            "kind": {"description": "The kind of this object.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    for path in kind.without:
        parent, _, name = path.rpartition(".")
        del _at(schema, parent)["properties"][name]
    for path in kind.unruled:
        _drop_rules(_at(schema, path))
    for path, rules in kind.rules.items():
        node = _at(schema, path)
        node[_RULES] = [*node.get(_RULES, ()), *rules[_RULES]]
    return schema


def _at(schema: Schema, path: str) -> Schema:
    for name in path.split("."):
        schema = schema["properties"][name]
    return schema


def _structural(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The schema as a structural one, with everything that it refers to in place.

    Raises:
        ValueError: a model uses something that a structural schema cannot say.
    """
    node = _resolved(node, definitions)
    node.pop("title", None)
    if "description" in node:
        node["description"] = _one_line(node["description"])
    match node.get("type"):
        case "object" if node.get("additionalProperties") is True:
            del node["additionalProperties"]
            node["x-kubernetes-preserve-unknown-fields"] = True
        case "object" if "additionalProperties" in node:
            node["additionalProperties"] = _structural(node["additionalProperties"], definitions)
            _turn_key_lengths_into_a_rule(node)
        case "array":
            node["items"] = _structural(node["items"], definitions)
        case "integer":
            node["format"] = "int32" if node.get("maximum", 2**63) < 2**31 else "int64"
    if "properties" in node:
        node["properties"] = _structural_properties(node, definitions)
    if node.get("default") in (None, "", [], {}):
        node.pop("default", None)
    if _RULES in node:
        node[_RULES] = [{word: rule[word] for word in _RULE_ORDER if word in rule} for rule in node[_RULES]]
    if unknown := node.keys() - set(_ORDER):
        raise ValueError(f"a structural schema has no {', '.join(sorted(unknown))}")
    return _in_order(node)


def _in_order(node: Schema) -> Schema:
    return {keyword: node[keyword] for keyword in _ORDER if keyword in node}


def _structural_properties(node: Schema, definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    properties = {}
    for name, raw in node["properties"].items():
        properties[name] = _structural(raw, definitions)
        given_or_absent = name in node.get("required", ()) or "anyOf" in raw
        if "properties" in properties[name] and not given_or_absent:
            # An object left out is then filled with the defaults of its fields, and `kubectl get` shows them.
            properties[name] = _in_order({**properties[name], "default": {}})
    return properties


def _resolved(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The node with its reference, or the one alternative to null, in place; what stands beside a reference
    prevails."""
    node = dict(node)
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            inner = definitions[node.pop("$ref").rpartition("/")[2]]
        else:
            (inner,) = (alternative for alternative in node.pop("anyOf") if alternative.get("type") != "null")
        node = {**inner, **node}
    return node


def _turn_key_lengths_into_a_rule(node: Schema) -> None:
    keys = node.pop("propertyNames", {})
    low, high = keys.get("minLength", 0), keys["maxLength"]
    node[_RULES] = [
        {
            "rule": f"self.all(key, size(key) >= {low} && size(key) <= {high})",
            "message": f"keys must have {low} to {high} characters",
        }
    ]


def _without_defaults(node: Schema) -> Schema:
    """The schema with no defaults in it, however deep."""
    node = {keyword: value for keyword, value in node.items() if keyword != "default"}
    if "properties" in node:
        node["properties"] = {name: _without_defaults(child) for name, child in node["properties"].items()}
    if "items" in node:
        node["items"] = _without_defaults(node["items"])
    return node


def _drop_rules(node: Schema) -> None:
    node.pop(_RULES, None)
    for child in (*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")):
        if child:
            _drop_rules(child)


def _one_line(text: str) -> str:
    return " ".join(text.split())
