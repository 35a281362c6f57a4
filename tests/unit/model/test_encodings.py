"""What Redis keeps of a storm comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import DEFAULT, NODE, POD

from stormfold.api.signal import Severity
from stormfold.model.arrival import Target
from stormfold.model.group import Group, PolicyId
from stormfold.model.opening import Opening
from stormfold.model.storm import request_name

NUMBER = st.integers(0, 2**53 - 1)
TARGETS = st.builds(Target, st.text(), st.text(), st.text(), st.none() | st.text())
GROUPS = st.builds(
    Group,
    st.builds(PolicyId, st.text(), st.text(), st.text()),
    st.lists(st.tuples(st.text(), st.none() | st.text())).map(tuple),
    st.text(),
)

OPENING = Opening(
    Group(DEFAULT, (("name", "PodDown"), ("labels.rack", None)), "shop"),
    "uid-default",
    3,
    '{"priority":1}',
    "PodDown",
    Severity.HIGH,
    NODE,
)


def test_opening_is_a_compact_text() -> None:
    assert OPENING.encoded() == (
        '[["ClusterStormPolicy","","default"],[["name","PodDown"],["labels.rack",null]],"shop",'
        '"uid-default",3,"{\\"priority\\":1}","PodDown","high",["v1","Node","worker-07",null]]'
    )


@given(
    st.builds(
        Opening,
        GROUPS,
        st.text(),
        NUMBER,
        st.text(),
        st.text(),
        st.sampled_from(Severity),
        st.none() | TARGETS,
    )
)
def test_opening_comes_back(opening: Opening) -> None:
    assert Opening.decoded(opening.encoded()) == opening


@pytest.mark.parametrize("target", [POD, None])
def test_group_of_an_opening_keeps_its_group_hash(target: Target | None) -> None:
    opening = Opening(OPENING.group, "u", 1, "{}", "n", Severity.INFO, target)
    assert Opening.decoded(opening.encoded()).group.group_hash == OPENING.group.group_hash


def test_request_is_named_by_group_and_epoch() -> None:
    assert request_name("0123456789abcdef", 3) == "storm-0123456789abcdef-3"
