"""Whose turn is next."""

from __future__ import annotations

from stormfold.fairness import FairQueue


def turns(*names: str, limit: int = 100) -> FairQueue[str, str]:
    """Things that wait; the first letter of each is its namespace."""
    made: FairQueue[str, str] = FairQueue(limit)
    for name in names:
        made.add(name[0], name)
    return made


def order(waiting: FairQueue[str, str]) -> list[str]:
    return [waiting.pop() for _ in range(len(waiting))]


def test_namespaces_take_turns_and_each_gives_its_oldest() -> None:
    assert order(turns("a1", "a2", "a3", "b1", "c1", "b2")) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_newest_of_the_namespace_with_the_most_gives_way() -> None:
    waiting = turns("a1", "a2", "a3", "b1", limit=4)
    assert not waiting.add("b", "b2")
    assert order(waiting) == ["a1", "b1", "a2", "b2"]


def test_flood_gives_way_to_itself() -> None:
    waiting = turns("a1", "a2", "b1", limit=3)
    assert not waiting.add("a", "a3")
    assert order(waiting) == ["a1", "b1", "a2"]


def test_namespaces_with_equally_many_give_way_to_none() -> None:
    waiting = turns("a1", "b1", limit=2)
    assert not waiting.add("c", "c1")
    assert order(waiting) == ["a1", "b1"]


def test_what_is_put_back_is_the_next_of_its_namespace() -> None:
    waiting = turns("a1", "a2", "b1")
    waiting.put_back("a", waiting.pop())
    assert order(waiting) == ["b1", "a1", "a2"]


def test_namespace_that_may_not_have_its_turn_keeps_it() -> None:
    waiting = turns("a1", "b1", "a2", "b2")
    assert waiting.pop_if(lambda namespace: namespace == "b") == ("b", "b1")
    assert waiting.pop_if(lambda namespace: namespace == "c") is None
    assert order(waiting) == ["a1", "b2", "a2"]
