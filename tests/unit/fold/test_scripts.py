"""Each script is what its header says; a key has one form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import pytest

from stormfold.fold import keys, scripts
from stormfold.fold.scripts import (
    ACK,
    CLAIM,
    CLOSE,
    FOLD,
    FREEZE,
    TRY,
    Client,
    Script,
    assembled,
    header,
    load,
)


@pytest.mark.parametrize(
    ("script", "number", "repeated"),
    [
        (FOLD, 14, 12),
        (CLAIM, 9, 8),
        (ACK, 6, 0),
        (FREEZE, 8, 0),
        (CLOSE, 13, 0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_header_says_how_many_keys_a_script_takes(script: Script, number: int, repeated: int) -> None:
    assert (script.keys, script.repeated_keys) == (number, repeated)


@pytest.mark.parametrize(
    ("script", "number"),
    [(FOLD, 9), (FOLD, 11), (FOLD, 17), (CLAIM, 4), (CLAIM, 10), (FREEZE, 3), (FREEZE, 4), (FREEZE, 9)],
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
        keys.resources(17, "g"),
        keys.ids(17, "g"),
        keys.hll(17, "g"),
        keys.instances(17, "g"),
        keys.opening(17, "g"),
        keys.events(17, "g"),
        keys.alerts(17, "g"),
        keys.before(17, "g"),
        keys.beyond(17, "g"),
        keys.evidence(17, "g"),
        keys.names(17, "g"),
    ] == [
        "sf:2:{p17}:due",
        "sf:2:{p17}:checkpoint",
        "sf:2:{p17}:storm:g",
        "sf:2:{p17}:resources:g",
        "sf:2:{p17}:ids:g",
        "sf:2:{p17}:hll:g",
        "sf:2:{p17}:instances:g",
        "sf:2:{p17}:opening:g",
        "sf:2:{p17}:events:g",
        "sf:2:{p17}:alerts:g",
        "sf:2:{p17}:before:g",
        "sf:2:{p17}:beyond:g",
        "sf:2:{p17}:evidence:g",
        "sf:2:{p17}:names:g",
    ]


def test_parts_and_numbers_are_put_into_a_script() -> None:
    text = assembled("local n = MINUTE_MS\n-- @include server\n  -- @include server\nreturn 1\n")
    assert text.startswith("local n = 60000\n-- The server that runs this script")
    assert text.count("local function is_ours") == 1
    assert text.endswith("\n\nreturn 1\n")


def test_part_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        assembled("-- @include nothing\n")


def test_no_script_names_a_number_that_is_not_there() -> None:
    for script in (ACK, CLAIM, CLOSE, FOLD, FREEZE, TRY):
        code = script.body.replace(header(script.body), "")
        assert re.findall(r"\b[A-Z]+_[A-Z_]+\b", code) == []


def test_scripts_are_small_and_each_part_is_used() -> None:
    files = {path.name: path.read_text() for path in Path(str(scripts.LUA)).rglob("*.lua")}
    parts = {path.name for path in Path(str(scripts.LUA), "include").iterdir()}
    lines = {name: len(text.splitlines()) for name, text in files.items()}
    assert max(lines[name] for name in parts) <= 100
    assert max(lines.values()) <= 200
    assert max(len(line) for text in files.values() for line in text.splitlines()) <= 110
    assert parts == {
        f"{name}.lua" for text in files.values() for name in re.findall("-- @include (\\w+)", text)
    }
