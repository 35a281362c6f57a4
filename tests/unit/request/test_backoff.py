"""When requests that the API server does not take are tried again."""

from __future__ import annotations

import pytest

from stormfold.request.backoff import FAILING, JITTER, LONGEST_SECONDS, RETRY_SECONDS, Backoff, Line

FRESH, REFUSED = Line("shop", refused=False), Line("shop", refused=True)


class Scene:
    """Lines that fail, each time as soon as they may be tried."""

    def __init__(self, *, chance: float = 0.0) -> None:
        self.now = 0.0
        self.chance = chance
        self.backoff = Backoff()
        self.failures = 0

    def fail(self, line: Line, *, refused: bool = True) -> None:
        self.failures = self.backoff.failed(line, refused=refused, now=self.now, chance=self.chance)

    def begin(self, *, refused: bool = True) -> None:
        """Let the first tries of so many groups fail together."""
        for _ in range(FAILING):
            self.fail(FRESH, refused=refused)

    def wait(self, line: Line = REFUSED) -> float:
        """Let pass what it has to wait, in tenths of a second; gives how long that is."""
        before = self.now
        while self.backoff.is_failing(line) and not self.backoff.may_try(line, now=self.now):
            self.now = round(self.now + 0.1, 1)
        return round(self.now - before, 1)

    def waits(self, count: int, line: Line = REFUSED, *, refused: bool = True) -> list[float]:
        """How long it waits each time, while each try fails."""
        found = []
        for _ in range(count):
            found.append(self.wait(line))
            self.fail(line, refused=refused)
        return found


def test_waits_of_refused_groups_double_up_to_half_a_minute() -> None:
    scene = Scene()
    scene.begin()
    assert scene.waits(8) == [1, 2, 4, 8, 16, 30, 30, 30]
    assert (RETRY_SECONDS, LONGEST_SECONDS, scene.failures) == (1, 30, FAILING + 8)


def test_chance_shortens_a_wait_by_a_quarter_at_most() -> None:
    scene = Scene(chance=1.0)
    scene.begin()
    assert scene.waits(7) == [0.8, 1.5, 3, 6, 12, 22.5, 22.5]
    assert JITTER == 0.25


def test_failures_of_one_moment_lengthen_nothing() -> None:
    scene = Scene()
    scene.begin()
    for _ in range(FAILING):
        scene.fail(REFUSED)
    assert scene.waits(3) == [1, 2, 4]


def test_first_tries_of_groups_do_not_wait_and_do_not_delay_those_that_were_refused() -> None:
    scene = Scene()
    scene.begin()
    assert scene.waits(5) == [1, 2, 4, 8, 16]
    scene.begin()
    assert (scene.backoff.is_failing(FRESH), scene.waits(2)) == (False, [30, 30])


@pytest.mark.parametrize("line", [FRESH, REFUSED], ids=["fresh", "refused"])
def test_api_server_that_is_away_is_tried_each_second(line: Line) -> None:
    scene = Scene()
    scene.begin()
    scene.waits(4)
    scene.begin(refused=False)
    scene.wait(line)
    scene.fail(line, refused=False)
    assert scene.waits(4, line, refused=False) == [1, 1, 1, 1]


def test_write_of_a_refused_group_frees_all_of_them_at_once() -> None:
    scene = Scene()
    scene.begin()
    scene.waits(6)
    scene.backoff.written(REFUSED, made=False)
    assert (scene.backoff.is_failing(REFUSED), scene.wait()) == (False, 0)
    scene.fail(REFUSED)
    assert scene.waits(2) == [1, 2]


@pytest.mark.parametrize(
    ("made", "wait"), [pytest.param(True, 0, id="made"), pytest.param(False, 8, id="written to")]
)
def test_request_that_is_made_frees_refused_groups_and_a_write_to_one_does_not(made: bool, wait: int) -> None:
    scene = Scene()
    scene.begin()
    scene.waits(3)
    scene.backoff.written(FRESH, made=made)
    assert (scene.backoff.is_failing(FRESH), scene.wait()) == (False, wait)


@pytest.mark.parametrize("line", [Line("bank", refused=False), Line("bank", refused=True)])
def test_other_namespace_does_not_wait(line: Line) -> None:
    scene = Scene()
    scene.begin()
    assert not scene.backoff.is_failing(line)


def test_namespace_is_failing_after_eight_failures_in_a_row() -> None:
    scene = Scene()
    for _ in range(FAILING - 1):
        scene.fail(FRESH, refused=False)
    assert not scene.backoff.is_failing(FRESH)
    scene.fail(FRESH, refused=False)
    assert scene.backoff.is_failing(FRESH)
    assert not scene.backoff.is_failing(REFUSED)
