"""Each script is what its header says; a key has one form."""

from __future__ import annotations

from typing import cast

import pytest

from stormfold.fold import keys
from stormfold.fold.scripts import (
    ACK,
    CLAIM,
    CLOSE,
    FOLD,
    FREEZE,
    Client,
    Script,
    header,
    load,
)


@pytest.mark.parametrize(
    ("script", "number", "repeated"),
    [
        (FOLD, 9, 7),
        (CLAIM, 4, 3),
        (ACK, 4, 0),
        (FREEZE, 3, 0),
        (CLOSE, 8, 0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_header_says_how_many_keys_a_script_takes(script: Script, number: int, repeated: int) -> None:
    assert (script.keys, script.repeated_keys) == (number, repeated)


@pytest.mark.parametrize(
    ("script", "number"),
    [(FOLD, 8), (FOLD, 10), (FOLD, 15), (CLAIM, 3), (CLAIM, 6), (FREEZE, 2), (FREEZE, 4), (FREEZE, 6)],
    ids=lambda value: getattr(value, "name", None),
)
async def test_other_number_of_keys_is_refused_before_anything_is_sent(script: Script, number: int) -> None:
    nobody = cast("Client", None)
    with pytest.raises(ValueError, match=rf"{script.name}\.lua takes {script.keys} keys, not {number}"):
        await script(nobody, ["key"] * number, [])


def test_header_is_the_comment_at_the_top() -> None:
    assert header("#!lua\n--[[\n  Does it.\n]]\nreturn 1\n") == "  Does it."
    assert header("#!lua flags=no-writes\n--[[\n  Reads it.\n]]\nreturn 1\n") == "  Reads it."


@pytest.mark.parametrize(
    "body", ["", "return 1\n", "--[[\n  Does it.\n]]\n", "#!lua\nreturn 1\n", "\n#!lua\n--[[\n  It.\n]]\n"]
)
def test_script_without_shebang_and_header_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match="begins with #!lua and its header"):
        header(body)


def test_script_is_named_by_its_digest() -> None:
    assert Script("f", "return 1", 0, 0).sha == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"


def test_script_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        load("../fold")


def test_keys_of_a_partition_share_its_hash_tag() -> None:
    assert [
        keys.due(17),
        keys.checkpoint(17),
        keys.storm(17, "g"),
        keys.ids(17, "g"),
        keys.hll(17, "g"),
        keys.instances(17, "g"),
        keys.opening(17, "g"),
        keys.counted(17, "g"),
        keys.beyond(17, "g"),
    ] == [
        "sf:{p17}:due",
        "sf:{p17}:checkpoint",
        "sf:{p17}:storm:g",
        "sf:{p17}:ids:g",
        "sf:{p17}:hll:g",
        "sf:{p17}:instances:g",
        "sf:{p17}:opening:g",
        "sf:{p17}:counted:g",
        "sf:{p17}:beyond:g",
    ]
