"""Resources as texts, and as fields of a storm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import NODE, POD

from stormfold.fold.resources import (
    SEPARATOR,
    decoded_resource,
    encoded_resource,
    resource_field,
    resource_of_field,
    shared_prefix,
)
from stormfold.model.arrival import Target, address_target

TEXT = st.text(st.sampled_from("a/.-|1é"), max_size=6) | st.text(max_size=6)
VERSION = st.sampled_from(["", "v1"]) | TEXT
TARGETS = st.builds(Target, VERSION, TEXT, TEXT, st.none() | TEXT.filter(bool))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (None, ""),
        (POD, "|Pod|shop|web-0"),
        (NODE, "|Node||worker-07"),
        (replace(POD, api_version="apps/v1", kind="Deployment"), "apps/v1|Deployment|shop|web-0"),
        (address_target("10.0.0.27:9100"), "v1|Instance||10.0.0.27:9100"),
    ],
)
def test_resource_is_a_short_text(target: Target | None, text: str) -> None:
    assert encoded_resource(target) == text


def plain(target: Target) -> Target:
    """The target without the sign between the parts of its text; its name, the last part, may have it."""
    return Target(
        target.api_version.replace(SEPARATOR, " "),
        target.kind.replace(SEPARATOR, " "),
        target.name,
        target.namespace and target.namespace.replace(SEPARATOR, " "),
    )


@given(TARGETS)
def test_resource_comes_back_whatever_its_names_are(target: Target) -> None:
    assert decoded_resource(encoded_resource(target)) == plain(target)


@given(TARGETS, TARGETS)
def test_two_resources_have_two_texts(one: Target, other: Target) -> None:
    assert (encoded_resource(one) == encoded_resource(other)) == (plain(one) == plain(other))


@given(st.text(), st.text())
def test_field_of_a_resource_gives_it_back(resource: str, prefix: str) -> None:
    assert resource_of_field(resource_field(resource, prefix), prefix) == resource


def test_field_of_a_resource_is_what_follows_the_prefix_or_all_of_it() -> None:
    assert resource_field("|Pod|shop|web-0", "|Pod|shop|web-") == "+0"
    assert resource_field("|Pod|shop|web-", "|Pod|shop|web-") == "+"
    assert resource_field("|Node||worker-07", "|Pod|shop|web-") == "=|Node||worker-07"


@pytest.mark.parametrize(
    ("texts", "prefix"),
    [
        ([], ""),
        (["|Pod|shop|web-7d9f-x2"], "|Pod|shop|web-7d9f-"),
        (["|Node||worker"], "|Node||"),
        (["web-0", "web-1", "web-10"], "web-"),
        (["web", "web-0"], "web"),
        (["web-é", "web-è"], "web-"),
        (["web-0", "api-0"], ""),
        (["", "web-0"], ""),
    ],
)
def test_prefix_is_what_all_begin_with_or_one_up_to_its_last_part(texts: list[str], prefix: str) -> None:
    assert shared_prefix(texts) == prefix
