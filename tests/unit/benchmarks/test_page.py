"""The page of benchmarks: written from results alone, judged by aims that stand in the code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.page import page, read, verdict
from benchmarks.part import Aim, Bars, Lines, Measured, Part, Result, Table

MACHINE = {
    "date": "2026-11-24T18:05:00+00:00",
    "commit": "0123456789",
    "changed": False,
    "cpu": "Example CPU",
    "cores": 2,
    "memory_mb": 24_000,
    "kernel": "6.1",
    "load_before": 0.25,
    "versions": {"python": "3.11.7"},
}
AIM = Aim("speed", "signals a second", "/s", at_least=100, reason="it is slow")


def measure(_: object) -> Measured:
    """Nothing."""
    raise AssertionError


PART = Part("store", "The store", "How it is done.", measure, (AIM,))
RESULT = Result(
    "store",
    MACHINE,
    12.34,
    Measured(
        {"speed": 250.0},
        tables=[Table("Times", ("way", "µs"), [["ours", 1.234], ["theirs", None]], "A note.")],
        plots=[Bars("cpu", "CPU", "µs", {"ours": 1.0}), Lines("size", "Size", "n", "B", {"ours": [(1, 2)]})],
        raw={"rounds": [1, 2]},
    ),
)
PAGE = """\
## Aims

| part | what | aim | measured |  |
|---|---|---|---|---|
| [store](#the-store) | signals a second | ≥ 100 /s | 250 /s | held |

## The store

How it is done.

*2026-11-24 18:05 UTC, commit 0123456789, in 12 s; 2 cores of Example CPU, 23 GB, load before 0.25; `python 3.11.7`*

### Times

| way | µs |
|---|---|
| ours | 1.23 |
| theirs | – |

A note.

![CPU](benchmarks/store-cpu.svg)

![Size](benchmarks/store-size.svg)

All figures: [store.json](benchmarks/store.json)
"""  # noqa: E501


def test_page_shows_aims_and_then_each_part() -> None:
    assert page([PART], [RESULT]).partition("## Aims")[2] == PAGE.partition("## Aims")[2]


def test_result_that_was_kept_gives_the_same_page(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(json.dumps(replace(RESULT, took_seconds=12.3).to_json()))
    assert page([PART], read(tmp_path)) == page([PART], [RESULT])


def test_part_that_was_not_measured_is_left_out() -> None:
    later = replace(PART, name="growth", title="Growth")
    assert page([PART, later], [RESULT]) == page([PART], [RESULT])


@pytest.mark.parametrize(
    ("aim", "measured", "said"),
    [
        pytest.param(AIM, 100.0, "held", id="just held"),
        pytest.param(AIM, 99.9, "**fell short**: it is slow", id="too little"),
        pytest.param(
            replace(AIM, at_least=None, at_most=5), 5.1, "**fell short**: it is slow", id="too much"
        ),
        pytest.param(replace(AIM, reason=""), 1.0, "**fell short**", id="no reason known"),
        pytest.param(AIM, None, "not measured", id="missing"),
    ],
)
def test_aim_is_judged_by_the_figure_alone(aim: Aim, measured: float | None, said: str) -> None:
    assert verdict(aim, measured) == said
