"""Structural schemas out of pydantic's: what the API server takes of a CRD.

References, unions with null, `propertyNames` and titles are resolved here.
"""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

RULES = "x-kubernetes-validations"
_ORDER = (
    "description type format enum default pattern minLength maxLength minimum maximum minItems maxItems "
    "items maxProperties "
    "additionalProperties required properties x-kubernetes-list-type x-kubernetes-list-map-keys "
    "x-kubernetes-map-type "
    f"x-kubernetes-preserve-unknown-fields {RULES}"
).split()
"""Every keyword that the models may lead to, in the order in which a person reads them."""

_RULE_ORDER = ("rule", "message", "fieldPath")


def structural(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The schema as a structural one, with everything that it refers to in place.

    Raises:
        ValueError: a model uses something that a structural schema cannot say.
    """
    node = _resolved(node, definitions)
    node.pop("title", None)
    if "description" in node:
        node["description"] = one_line(node["description"])
    match node.get("type"):
        case "object" if node.get("additionalProperties") is True:
            del node["additionalProperties"]
            node["x-kubernetes-preserve-unknown-fields"] = True
        case "object" if "additionalProperties" in node:
            node["additionalProperties"] = structural(node["additionalProperties"], definitions)
            _turn_key_lengths_into_a_rule(node)
        case "array":
            node["items"] = structural(node["items"], definitions)
        case "integer":
            node["format"] = "int32" if node.get("maximum", 2**63) < 2**31 else "int64"
    if "properties" in node:
        node["properties"] = _structural_properties(node, definitions)
    if node.get("default") in (None, "", [], {}):
        node.pop("default", None)
    if RULES in node:
        node[RULES] = [{word: rule[word] for word in _RULE_ORDER if word in rule} for rule in node[RULES]]
    if unknown := node.keys() - set(_ORDER):
        raise ValueError(f"a structural schema has no {', '.join(sorted(unknown))}")
    return _in_order(node)


def _in_order(node: Schema) -> Schema:
    return {keyword: node[keyword] for keyword in _ORDER if keyword in node}


def _structural_properties(node: Schema, definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    properties = {}
    for name, raw in node["properties"].items():
        properties[name] = structural(raw, definitions)
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
    node[RULES] = [
        {
            "rule": f"self.all(key, size(key) >= {low} && size(key) <= {high})",
            "message": f"keys must have {low} to {high} characters",
        }
    ]


def without_defaults(node: Schema) -> Schema:
    """The schema with no defaults in it, however deep."""
    node = {keyword: value for keyword, value in node.items() if keyword != "default"}
    if "properties" in node:
        node["properties"] = {name: without_defaults(child) for name, child in node["properties"].items()}
    if "items" in node:
        node["items"] = without_defaults(node["items"])
    return node


def drop_rules(node: Schema) -> None:
    """Take away all CEL rules, however deep."""
    node.pop(RULES, None)
    for child in (*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")):
        if child:
            drop_rules(child)


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())
