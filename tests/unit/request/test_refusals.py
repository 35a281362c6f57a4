"""What is said of requests that are not written."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest
from tests.harness.request_bodies import STORM

from stormfold.kube.errors import RefusedError
from stormfold.request.refusals import LONGEST_WORDS, Refusals


class Folder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def delayed(self, group_hash: str, why: str, *, lasts: bool) -> None:
        self.told.append(why)


@pytest.mark.parametrize(
    ("words", "told"),
    [("no " * 10, "no " * 10), ("w" * LONGEST_WORDS, "w" * 1024), ("w" * 1_000_000, "w" * 1023 + "…")],
    ids=["short", "the longest", "a megabyte"],
)
def test_words_of_the_api_server_are_cut(words: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = Folder()
    with caplog.at_level(logging.WARNING):
        Refusals(cast("Any", folder)).note(STORM, "shop", RefusedError("POST", 403, "Forbidden", words), 1)
    [sentence] = folder.told
    assert f" is not written: {told}. Its signals are kept" in sentence
    assert len(cast("Any", caplog.records[0]).error) <= 1024
