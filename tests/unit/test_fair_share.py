"""Room: whoever takes all that it may leaves some for the next one."""

from __future__ import annotations

from stormfold.fairness import FairShare


def filled(share: FairShare[str], namespace: str) -> int:
    """How many places a namespace gets that takes all it may."""
    while share.free(namespace):
        share.take(namespace)
    return share.of(namespace)


def test_each_namespace_gets_half_of_what_is_left() -> None:
    share = FairShare[str](16)
    assert [filled(share, name) for name in "abcdef"] == [8, 4, 2, 1, 1, 0]
    assert share.taken == 16


def test_fifty_thousand_places_are_not_full_after_ten_namespaces() -> None:
    share = FairShare[str](50_000)
    assert [filled(share, name) for name in "abc"] == [25_000, 12_500, 6_250]
    for name in "defghij":
        filled(share, name)
    assert share.free("k") == 24


def test_what_is_given_back_may_be_taken_by_others() -> None:
    share = FairShare[str](4)
    assert (filled(share, "a"), filled(share, "b"), share.free("c")) == (2, 1, 1)
    for _ in range(2):
        share.give("a")
    assert (share.free("a"), share.free("b"), share.free("c"), share.of("a")) == (2, 1, 2, 0)


def test_places_taken_beyond_what_is_left_count() -> None:
    share = FairShare[str](2)
    for _ in range(3):
        share.take("a")
    assert (share.free("a"), share.free("b"), share.of("a"), share.taken) == (0, 0, 3, 3)


def test_several_places_are_taken_and_given_back_at_once() -> None:
    share = FairShare[str](16)
    share.take("a", 6)
    assert (share.free("a"), share.free("b"), share.of("a"), share.taken) == (2, 5, 6, 6)
    share.give("a", 6)
    assert (share.free("a"), share.of("a"), share.taken) == (8, 0, 0)
