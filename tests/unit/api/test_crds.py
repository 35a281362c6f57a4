"""The CustomResourceDefinitions say what the models say."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from stormfold.api.crd import crds, render
from stormfold.api.reasons.page import reasons_page
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import ApiModel, Resource
from stormfold.api.signal import Signal
from stormfold.api.stormgate import StormGate
from stormfold.api.stormpolicy import ClusterStormPolicy, PolicySpec, StormPolicy
from stormfold.api.structural import structural

ROOT = Path(__file__).parents[3]
CRDS = crds()
MODELS: dict[str, type[Resource]] = {
    model.__name__: model
    for model in (Signal, RemediationRequest, StormPolicy, ClusterStormPolicy, StormGate)
}
CASES = yaml.safe_load((ROOT / "tests/api/cases/schema.yaml").read_text())
ACCEPTED = [pytest.param(case["manifest"], id=case["name"]) for case in CASES if case["refused"] is None]
POLICY_RULES = {
    "reopenAfter.succeeded must be 23h or less",
    "reopenAfter.failed must be 23h or less",
    "window.idle must be greater than 0s",
    "window.maxDuration must be greater than 0s",
    "closeAfter must be greater than 0s",
    "staleAfter must be greater than 0s",
    "threshold.within must be greater than 0s",
    "window.idle must be less than or equal to window.maxDuration",
    "window.idle must be less than or equal to closeAfter",
    "groupWait must be less than or equal to threshold.within",
    "requestRetention must be 1h or more",
}


def schema_of(kind: str) -> dict[str, Any]:
    (version,) = CRDS[f"{MODELS[kind].plural}.yaml"]["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for keyword, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in schema:
            yield from nodes(schema[keyword], path + mark)


NODES = [
    pytest.param(node, id=path)
    for kind in MODELS
    for part in ("spec", "status")
    for path, node in nodes(schema_of(kind)["properties"][part], f"{kind}.{part}")
]


def defaulted(value: Any, schema: dict[str, Any]) -> Any:
    """The value as the API server stores it: absent fields filled with their defaults, from the outside
    in."""
    if isinstance(value, dict):
        filled = dict(value)
        for name, child in schema.get("properties", {}).items():
            if name not in filled and "default" in child:
                filled[name] = deepcopy(child["default"])
            if name in filled:
                filled[name] = defaulted(filled[name], child)
        return filled
    if isinstance(value, list):
        return [defaulted(item, schema["items"]) for item in value]
    return value


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        pruned = {name: without_empty(child) for name, child in value.items()}
        return {name: child for name, child in pruned.items() if child not in ("", [], {})}
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    return value


@pytest.mark.parametrize("name", CRDS)
def test_the_file_is_what_the_models_give(name: str) -> None:
    text = (ROOT / "crds" / name).read_text()
    assert text == render(CRDS[name])
    assert yaml.safe_load(text) == CRDS[name]


def test_crds_has_no_other_files() -> None:
    assert {path.name for path in (ROOT / "crds").iterdir()} == {*CRDS, "Kustomization"}


def test_the_page_of_reasons_is_what_the_enum_gives() -> None:
    assert (ROOT / "docs/reasons.md").read_text() == reasons_page()


@pytest.mark.parametrize("node", NODES)
def test_every_value_is_bounded(node: dict[str, Any]) -> None:
    match node["type"]:
        case "string":
            assert {"maxLength", "enum", "format"} & node.keys()
        case "integer":
            assert {"minimum", "maximum", "format"} <= node.keys()
        case "array":
            assert "maxItems" in node
        case "object":
            assert "properties" in node or "maxProperties" in node
        case other:
            assert other == "boolean"


@pytest.mark.parametrize("kind", MODELS)
def test_every_field_is_explained(kind: str) -> None:
    fields = [
        (path, node)
        for part in ("spec", "status")
        for path, node in nodes(schema_of(kind)["properties"][part], part)
        if not path.endswith(("[]", "{}"))
    ]
    assert [path for path, node in fields if not node.get("description", "").endswith(".")] == []


@pytest.mark.parametrize("manifest", ACCEPTED)
def test_models_and_schema_have_the_same_defaults(manifest: dict[str, Any]) -> None:
    kind = manifest["kind"]
    stored = defaulted(manifest, schema_of(kind))
    spec = MODELS[kind].model_validate(manifest).model_dump()["spec"]
    assert MODELS[kind].model_validate(stored).model_dump()["spec"] == spec
    written = MODELS[kind].model_validate(manifest).manifest()["spec"]
    if "startsAt" in written:
        written["startsAt"] = manifest["spec"]["startsAt"]
    assert without_empty(written) == without_empty(stored["spec"])


@pytest.mark.parametrize("kind", MODELS)
def test_nothing_is_defaulted_in_a_status(kind: str) -> None:
    status = schema_of(kind)["properties"]["status"]
    assert [path for path, node in nodes(status, "status") if "default" in node] == []


def test_the_default_policy_is_at_its_defaults() -> None:
    manifest = yaml.safe_load((ROOT / "manifests/base/default-policy.yaml").read_text())
    assert manifest["metadata"]["name"] == "default"
    assert ClusterStormPolicy.model_validate(manifest).spec == PolicySpec()


@pytest.mark.parametrize("kind", ["StormPolicy", "ClusterStormPolicy"])
def test_policies_are_held_to_the_rules(kind: str) -> None:
    rules = schema_of(kind)["properties"]["spec"]["x-kubernetes-validations"]
    own = {"requestNamespace must be set when groupBy does not contain namespace"}
    assert {rule["message"] for rule in rules} == POLICY_RULES | (
        own if kind == "ClusterStormPolicy" else set()
    )


def test_only_cluster_policies_reach_other_namespaces() -> None:
    def fields(kind: str) -> set[str]:
        return {path for path, _ in nodes(schema_of(kind)["properties"]["spec"], "spec")}

    beyond = fields("ClusterStormPolicy") - fields("StormPolicy")
    assert {path for path in beyond if not path.startswith("spec.match.namespaceSelector.")} == {
        "spec.requestNamespace",
        "spec.match.namespaceSelector",
    }


def test_a_request_is_held_to_no_rule_but_immutability() -> None:
    spec = schema_of("RemediationRequest")["properties"]["spec"]
    assert {
        path: [rule["rule"] for rule in node["x-kubernetes-validations"]]
        for path, node in nodes(spec, "spec")
        if "x-kubernetes-validations" in node
    } == {"spec": ["self == oldSelf"]}


class Amount(ApiModel):
    """A model of which a structural schema cannot be made."""

    exact: Annotated[int, Field(multiple_of=2, le=10)] = 2
    """A number."""


def test_what_a_structural_schema_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="a structural schema has no multipleOf"):
        structural(Amount.model_json_schema(), {})
