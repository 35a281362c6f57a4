"""Which values of attributes are the common causes of a storm."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import orjson
import pytest
from tests.harness.folding import signal
from tests.harness.judging import Table, cases, exactly, said_of
from tests.harness.mixtures import ATTRIBUTES, FAULTS

from stormfold.api.stormpolicy import PolicySpec
from stormfold.fold.causes import causes_arg
from stormfold.model.causes import Counted, digest_of
from stormfold.model.evidence import NameCount
from stormfold.policy.causes import counted_causes
from stormfold.request.causes import NOTHING_HELD, Cause, Found, Held, common_causes, decoded, find

ORDER = ("node", "owner", "labels.zone")
Counts = Mapping[str, int | tuple[int, int]]


def counted(values: Counts, *, floor: int = 0, signals: int = 0) -> Counted:
    """How many signals have each value, or at least how many and how many more at most."""
    counts = {
        value: NameCount(*count) if isinstance(count, tuple) else NameCount(count)
        for value, count in values.items()
    }
    return Counted(counts, floor, signals)


def causes(
    total: int,
    here: Mapping[str, Counted],
    elsewhere: Mapping[str, Counted] | None = None,
    held: tuple[tuple[str, str], ...] = (),
) -> list[Cause]:
    """Those of a storm."""
    return common_causes(ORDER, total, here, elsewhere or {}, held=held)


NODES = {f"n{n}": 10 for n in range(10)}
ELSEWHERE = {"node": counted(NODES, signals=100)}
"""Ten nodes, each with a tenth of what came."""


@pytest.mark.parametrize(
    ("total", "here", "elsewhere", "expected"),
    [
        pytest.param(100, {"n1": 60, "n2": 9}, ELSEWHERE, [(60, 60, 6)], id="60 of 100"),
        pytest.param(101, {"n1": 60, "n2": 9}, ELSEWHERE, [], id="59 in a hundred are too few"),
        pytest.param(6, {"n1": 5, "n2": 1}, ELSEWHERE, [(5, 83, 8)], id="5 signals"),
        pytest.param(4, {"n1": 4}, ELSEWHERE, [], id="4 signals are too few"),
        pytest.param(100, {"n1": 100}, ELSEWHERE, [(100, 100, 10)], id="all, where others are known"),
        pytest.param(100, {"n1": 100}, {}, [], id="only one value was ever seen"),
        pytest.param(
            100,
            {"n1": 100},
            {"node": counted({"n1": 80}, signals=80)},
            [],
            id="all signals of the cluster share it",
        ),
        pytest.param(
            100,
            {"n1": 90},
            {"node": counted({"n1": 50, "n2": 50}, signals=100)},
            [],
            id="every second signal elsewhere has it, too",
        ),
        pytest.param(
            100,
            {"n1": 90, "n2": 2, "n3": 2},
            {"node": counted({"n4": 49}, signals=49)},
            [(90, 90, None)],
            id="49 signals elsewhere do not say how common it is",
        ),
        pytest.param(
            100,
            {"n1": 90},
            {"node": counted({"n4": 50}, signals=50)},
            [(90, 90, 45)],
            id="one that never came elsewhere counts as one that came once",
        ),
        pytest.param(100, {"n1": 90, "n2": 10}, {}, [], id="of two values one is always frequent"),
        pytest.param(100, {"n1": 70, "n2": 15, "n3": 15}, {}, [(70, 70, None)], id="one of three"),
        pytest.param(8, {"n1": 6, "n2": 1, "n3": 1}, {}, [], id="one of three by chance"),
    ],
)
def test_value_is_a_cause_if_it_covers_the_storm_and_is_not_common(
    total: int,
    here: Counts,
    elsewhere: Mapping[str, Counted],
    expected: list[tuple[int, int, int | None]],
) -> None:
    found = causes(total, {"node": counted(here)}, elsewhere)
    assert [(c.signals, c.coverage, c.lift) for c in found] == expected
    assert all((c.attribute, c.value, c.approximate) == ("node", "n1", False) for c in found)


def test_what_is_sure_decides_and_an_estimate_says_so() -> None:
    assert causes(100, {"node": counted({"n1": (59, 40)}, floor=40)}, ELSEWHERE) == []
    assert causes(100, {"node": counted({"n1": (61, 3)}, floor=3)}, ELSEWHERE) == [
        Cause("node", "n1", 61, 61, 6, approximate=True)
    ]


def test_value_that_may_be_common_elsewhere_is_taken_to_be_so() -> None:
    here = {"node": counted({"n1": 90})}
    assert causes(100, here, {"node": counted({"n2": 10}, floor=50, signals=100)}) == []
    assert causes(100, here, {"node": counted({"n1": (1, 49)}, signals=100)}) == []
    assert causes(100, here, {"node": counted({"n2": 10}, floor=9, signals=100)})[0].lift == 10


def test_one_that_explains_more_comes_first_and_of_equals_the_first_of_the_policy() -> None:
    here = {
        "labels.zone": counted({"a": 80}),
        "owner": counted({"d": 70}),
        "node": counted({"n1": 70}),
    }
    zones = counted({"a": 33, "b": 33, "c": 34}, signals=100)
    few = counted({"other": 100}, signals=100)
    said = causes(100, here, {"labels.zone": zones, "owner": few, "node": few})
    assert [(c.attribute, c.lift) for c in said] == [("node", 70), ("owner", 70), ("labels.zone", 2)]


def test_cause_that_the_request_shows_stays_where_nothing_else_is_known() -> None:
    here = {"node": counted({"n1": 70})}
    assert causes(100, here) == []
    assert causes(100, here, held=(("node", "n1"),)) == [Cause("node", "n1", 70, 70)]
    assert causes(120, here, held=(("node", "n1"),)) == []
    assert causes(100, here, {"node": counted({"n1": 90}, signals=100)}, held=(("node", "n1"),)) == []


SEEDS = range(*(int(n) for n in os.environ.get("CAUSE_SEEDS", "0:10").split(":")))
"""`CAUSE_SEEDS=100:200` judges these seeds; `--junit-xml` has the table."""


def test_causes_are_told_among_noise_and_none_is_claimed_without_a_fault(
    record_property: Callable[[str, object], None],
) -> None:
    table = Table()
    for kind, of in cases(SEEDS):
        said = common_causes(ATTRIBUTES, len(of.signals), exactly(of.signals), exactly(of.elsewhere))
        table.rows[kind].note(of, said_of(said))
    record_property("causes", str(table))
    assert table.share("right", fault=True, noise=0.3) >= 90
    assert table.share("wrong", fault=False, noise=1.0) <= 2
    known = [
        row for (kind, loud, others), row in table.rows.items() if kind in FAULTS and others and not loud
    ]
    assert sum(row.right for row in known) >= 0.9 * sum(row.count for row in known)


# --- what a request holds


def piece(*nodes: str) -> str:
    """What signals on these nodes tell."""
    return causes_arg(NODES_COUNTED, [signal(n, node=node) for n, node in enumerate(nodes, 1)])


NODES_COUNTED = counted_causes(PolicySpec.model_validate({"causes": ["node"]}))


def test_what_came_since_the_request_was_written_is_counted_once() -> None:
    new = {4: piece(*"aaab"), 6: piece(*"aa")}
    first = find(new, ["node"], total=6, held=NOTHING_HELD, elsewhere={})
    assert orjson.loads(first.kept) == [[6, 0, digest_of("a"), 5, 0, digest_of("b"), 1, 0]]
    again = find(new, ["node"], total=6, held=Held(first.kept, 6), elsewhere={})
    assert again.kept == first.kept
    later = find(new | {7: piece("b")}, ["node"], total=7, held=Held(first.kept, 6), elsewhere={})
    assert orjson.loads(later.kept) == [[7, 0, digest_of("a"), 5, 0, digest_of("b"), 2, 0]]


def test_cause_is_called_by_its_value_also_after_that_was_written() -> None:
    new = {16: piece(*14 * "a", *"bc")}
    first = find(new, ["node"], total=16, held=NOTHING_HELD, elsewhere={})
    assert first.causes == [Cause("node", "a", 14, 87)]
    held = Held(first.kept, 16, [("node", "a")])
    assert find({}, ["node"], total=16, held=held, elsewhere={}).causes == first.causes


def test_signals_of_which_nothing_is_known_make_an_estimate() -> None:
    found = find({9: piece(*18 * "a", *"bc")}, ["node"], total=25, held=NOTHING_HELD, elsewhere={})
    assert found.causes == [Cause("node", "a", 18, 72, approximate=True)]
    assert orjson.loads(found.kept)[0][:5] == [25, 5, digest_of("a"), 18, 5]


@pytest.mark.parametrize(
    "kept",
    [
        *("x", "{}", "7", "[[1]]", "[[1,2],[3,4]]", '[["a","b"]]', '[[1,2,"a",3]]', '[[1,2,"a",3,-1]]'),
        *("[null]", '[{"a":1}]', '[[1,2,"a",1e400,0]]', '[[1,2,"a",[],0]]'),
    ],
)
def test_what_somebody_else_has_written_there_is_ignored(kept: str) -> None:
    assert decoded(kept, ["node"]) == {}


def test_node_that_all_signals_share_is_a_cause_if_pods_are_on_other_nodes_too() -> None:
    new = {9: piece(*9 * "a")}
    pods = {"node": Counted({digest_of("a"): NameCount(5), digest_of("b"): NameCount(95)}, signals=100)}
    assert find(new, ["node"], total=9, held=NOTHING_HELD, elsewhere={}).causes == []
    found = find(new, ["node"], total=9, held=NOTHING_HELD, elsewhere=pods)
    assert found.causes == [Cause("node", "a", 9, 100, lift=20)]


def test_policy_that_counts_nothing_has_no_causes() -> None:
    assert find({}, [], total=9, held=NOTHING_HELD, elsewhere={}) == Found([], "")
