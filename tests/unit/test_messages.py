"""What stormfold says to people is what tests/golden holds, in words that docs follow too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scripts.prose import anchors, wrong_words
from tests.harness.said import GOLDEN, KINDS, texts

from stormfold.api.reasons.page import REASONS
from stormfold.api.site import SITE

ROOT = Path(__file__).parents[2]
SAID = texts()
WORDS = 25
"""Of a clause of a message."""


@pytest.mark.parametrize("name", sorted(SAID))
def test_messages_are_those_that_were_read_and_found_good(name: str) -> None:
    golden = (GOLDEN / name).read_text()
    assert SAID[name] == golden, "read what differs, then write it: python -m tests.harness.said"


def test_golden_holds_nothing_else() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == SAID.keys()


def test_each_reason_has_a_message_that_was_read() -> None:
    lines = "".join(text for name, text in SAID.items() if name != "help.txt")
    found = set(re.findall(r"^- (?:[0-9]+ )?(\w+):", lines, re.MULTILINE))
    assert {reason.value for reason in REASONS} - found == set()


@pytest.mark.parametrize("name", [f"{name}.txt" for name in KINDS])
def test_message_has_short_clauses_and_no_private_words(name: str) -> None:
    clauses = re.sub(r"[:;](?= )", ".", SAID[name])
    assert list(wrong_words(clauses, at_most=WORDS)) == []


def test_message_that_names_a_page_leads_to_it_and_to_a_heading_or_a_reason() -> None:
    linked = {link for text in SAID.values() for link in re.findall(rf"{SITE}(\w+)/(?:#([\w-]+))?", text)}
    assert linked
    for page, anchor in linked:
        text = (ROOT / "docs" / f"{page}.md").read_text()
        assert not anchor or anchor in anchors(text) or f'<a id="{anchor}"></a>' in text, (page, anchor)


def test_message_that_asks_somebody_to_act_ends_with_the_page_of_its_reason() -> None:
    silent = {"Valid", "RequestsMatch", "NoRequestMatches", "OpenStormsWithinLimit", "GroupValuesThere"}
    for line in (SAID["policies.txt"] + SAID["gates.txt"]).splitlines():
        reason, _, message = line.removeprefix("- ").partition(": ")
        assert (reason in silent) is (f"{SITE}reasons/#{reason}" not in message), line
