"""Resources as texts, and as fields of a storm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import NODE, POD

from stormfold.fold.resources import (
    BASE_BYTES,
    SEPARATOR,
    common_prefix,
    decoded_resource,
    encoded_resource,
    resource_base,
    resource_field,
    resource_of_field,
)
from stormfold.model.arrival import Target, address_target

TEXT = st.text(st.sampled_from("a/.\x1e\x1f1é"), max_size=6) | st.text(max_size=6)
VERSION = st.sampled_from(["", "v1"]) | TEXT
TARGETS = st.builds(Target, VERSION, TEXT, TEXT, st.none() | TEXT.filter(bool))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (None, ""),
        (POD, "\x1fPod\x1fshop\x1fweb-0"),
        (NODE, "\x1fNode\x1f\x1fworker-07"),
        (replace(POD, api_version="apps/v1", kind="Deployment"), "apps/v1\x1fDeployment\x1fshop\x1fweb-0"),
        (address_target("10.0.0.27:9100"), "v1\x1fInstance\x1f\x1f10.0.0.27:9100"),
    ],
)
def test_resource_is_a_short_text(target: Target | None, text: str) -> None:
    assert encoded_resource(target) == text


def plain(target: Target) -> Target:
    """The target without the sign that separates the parts of its text."""
    return Target(
        *(part and part.replace(SEPARATOR, " ") for part in (target.api_version, target.kind, target.name)),
        target.namespace and target.namespace.replace(SEPARATOR, " "),
    )


@given(TARGETS)
def test_resource_comes_back_whatever_its_names_are(target: Target) -> None:
    assert decoded_resource(encoded_resource(target)) == plain(target)


@given(TARGETS, TARGETS)
def test_two_resources_have_two_texts(one: Target, other: Target) -> None:
    assert (encoded_resource(one) == encoded_resource(other)) == (plain(one) == plain(other))


@given(st.text(), st.text())
def test_field_of_a_resource_gives_it_back(resource: str, first: str) -> None:
    base = resource_base(first)
    assert len(base.encode()) <= BASE_BYTES
    assert first.startswith(base)
    field = resource_field(resource, base)
    assert resource_of_field(field, base) == resource


def test_field_of_a_resource_keeps_what_differs_from_the_base() -> None:
    base = resource_base(encoded_resource(POD))
    assert resource_field(encoded_resource(replace(POD, name="web-1")), base) == ".1"
    assert resource_field(encoded_resource(POD), base) == "/"


@pytest.mark.parametrize(
    ("texts", "prefix"),
    [
        ([], ""),
        (["web-0"], "web-0"),
        (["web-0", "web-1", "web-10"], "web-"),
        (["web", "web-0"], "web"),
        (["web-é", "web-è"], "web-"),
        (["web-0", "api-0"], ""),
        (["", "web-0"], ""),
    ],
)
def test_prefix_is_what_all_begin_with(texts: list[str], prefix: str) -> None:
    assert common_prefix(texts) == prefix
