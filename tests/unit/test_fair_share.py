"""Room: whoever takes all that it may leaves some for the next one."""

from __future__ import annotations

from stormfold.fairness import FairShare


def filled(room: FairShare, namespace: str) -> int:
    """How many places a namespace gets that takes all it may."""
    while room.left(namespace):
        room.take(namespace)
    return room.of(namespace)


def test_each_namespace_gets_half_of_what_is_left() -> None:
    room = FairShare(16)
    assert [filled(room, name) for name in "abcdef"] == [8, 4, 2, 1, 1, 0]
    assert room.taken == 16


def test_fifty_thousand_places_are_not_full_after_ten_namespaces() -> None:
    room = FairShare(50_000)
    assert [filled(room, name) for name in "abc"] == [25_000, 12_500, 6_250]
    for name in "defghij":
        filled(room, name)
    assert room.left("k") == 24


def test_what_is_given_back_may_be_taken_by_others() -> None:
    room = FairShare(4)
    assert (filled(room, "a"), filled(room, "b"), room.left("c")) == (2, 1, 1)
    for _ in range(2):
        room.give("a")
    assert (room.left("a"), room.left("b"), room.left("c"), room.of("a")) == (2, 1, 2, 0)


def test_places_taken_beyond_what_is_left_count() -> None:
    room = FairShare(2)
    for _ in range(3):
        room.take("a")
    assert (room.left("a"), room.left("b"), room.of("a"), room.taken) == (0, 0, 3, 3)


def test_several_places_are_taken_and_given_back_at_once() -> None:
    room = FairShare(16)
    room.take("a", 6)
    assert (room.left("a"), room.left("b"), room.of("a"), room.taken) == (2, 5, 6, 6)
    room.give("a", 6)
    assert (room.left("a"), room.of("a"), room.taken) == (8, 0, 0)
