"""Each script does what its header says: KEYS, and every word of Returns, provoked on a real server."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from redis.asyncio import Redis
from tests.harness.folding import GROUP_HASH, OPENED, T0, Group, signal

from stormfold.fold import scripts
from stormfold.fold.arguments import pieces_of
from stormfold.fold.scripts import ACK, CLAIM, CLOSE, FOLD, FREEZE, TRY, Script

SCRIPTS = [pytest.param(script, id=script.name) for script in (FOLD, CLAIM, ACK, FREEZE, CLOSE, TRY)]


def words_of(script: Script) -> set[str]:
    """The words that the header names under Returns."""
    text = scripts.header(script.body)
    returns = re.search(r"^  Returns(.*?)^  Guarantees", text, re.MULTILINE | re.DOTALL)
    assert returns is not None
    return set(re.findall(r"'([a-z-]+)'", returns[1]))


async def counted(group: Group) -> str:
    return (await group.fold(signal(1))).word


async def apart(group: Group) -> str:
    await group.fold(signal(1))
    pieces = list(pieces_of(group.fold_of(signal(1), signal(2), known=(1, 1))))
    return (await group.store.fold_pieces(group.partition, pieces, T0))[0].word


async def lost(group: Group) -> str:
    return (await group.fold(signal(2), known=(1, 1))).word


async def closing_fold(group: Group) -> str:
    await group.fold(signal(1))
    await group.freeze(await group.look(at=10), at=10)
    return (await group.fold(signal(2), known=(1, 1))).word


async def acked(group: Group) -> str:
    await group.fold(signal(1))
    return await group.ack(await group.look(at=10), at=10)


async def more(group: Group) -> str:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    await group.fold(signal(2), known=(1, 1))
    return await group.ack(storm, at=10)


async def ack_gone(group: Group) -> str:
    return await group.ack(OPENED, at=10)


async def ack_newer_epoch(group: Group) -> str:
    await two_epochs(group)
    return await group.ack(OPENED, at=30)


async def closing(group: Group) -> str:
    await group.fold(signal(1))
    return (await group.freeze(await group.look(at=10), at=10))[0]


async def freeze_moved(group: Group) -> str:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    await group.fold(signal(2), known=(1, 1))
    return (await group.freeze(storm, at=10, only_at_total=True))[0]


async def freeze_gone(group: Group) -> str:
    return (await group.freeze(OPENED, at=10))[0]


async def freeze_newer_epoch(group: Group) -> str:
    await two_epochs(group)
    return (await group.freeze(OPENED, at=30))[0]


async def closed(group: Group) -> str:
    await group.fold(signal(1))
    return await group.discard(await group.look(at=10))


async def close_moved(group: Group) -> str:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    await group.fold(signal(2), known=(1, 1))
    return await group.discard(storm)


async def close_lost(group: Group) -> str:
    await group.fold(signal(1))
    group.note_another_server("incarnation")
    return await group.discard(await group.look(at=10))


async def close_claimed(group: Group) -> str:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    assert group.server is not None
    group.server.command("HSET", group.storm_key, "claimed_by", "another")
    return await group.discard(storm)


async def close_gone(group: Group) -> str:
    return await group.store.close_storm(OPENED)


async def close_newer_epoch(group: Group) -> str:
    await two_epochs(group)
    return await group.store.close_storm(OPENED)


async def two_epochs(group: Group) -> None:
    await group.fold(signal(1))
    await group.freeze_and_close(at=10)
    await group.fold(signal(2), at=20)


PROVOKED: dict[str, dict[str, Callable[[Group], Awaitable[str]]]] = {
    "fold": {"counted": counted, "apart": apart, "lost": lost, "closing": closing_fold},
    "claim": {},
    "ack": {"acked": acked, "more": more, "gone": ack_gone, "newer-epoch": ack_newer_epoch},
    "freeze": {
        "closing": closing,
        "moved": freeze_moved,
        "gone": freeze_gone,
        "newer-epoch": freeze_newer_epoch,
    },
    "close": {
        "closed": closed,
        "moved": close_moved,
        "claimed": close_claimed,
        "gone": close_gone,
        "lost": close_lost,
        "newer-epoch": close_newer_epoch,
    },
    "try": {},
}
CASES = [
    pytest.param(word, provoke, id=f"{script} {word}")
    for script, words in PROVOKED.items()
    for word, provoke in words.items()
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_word_of_a_header_is_provoked(script: Script) -> None:
    assert words_of(script) == set(PROVOKED[script.name])


@pytest.mark.parametrize(("word", "provoke"), CASES)
async def test_script_gives_the_word(
    group: Group, word: str, provoke: Callable[[Group], Awaitable[str]]
) -> None:
    assert await provoke(group) == word


async def test_claim_gives_nothing_of_a_storm_that_is_gone_or_not_due(group: Group) -> None:
    assert await group.claim(at=10) is None
    await group.fold(signal(1))
    assert await group.claim(at=999) is None


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_key_of_a_header_is_used(script: Script) -> None:
    text = scripts.header(script.body)
    names = re.findall(r"^  KEYS\[\d+\]  (\w+)", text, re.MULTILINE)
    assert len(names) == script.keys
    code = script.body.replace(text, "")
    unused = [name for name in names if len(re.findall(rf"\b{name}(?:_key)?\b", code)) < 2]
    assert unused == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_argument_of_a_header_is_read(script: Script) -> None:
    text = scripts.header(script.body)
    numbers = [int(n) for n in re.findall(r"^  ARGV\[(\d+)\]", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    code = script.body.replace(text, "")
    read = {int(n) for n in re.findall(r"ARGV\[(\d+)\]", code)}
    repeated = {FOLD: set(), CLAIM: {4, 5}}.get(script, set())
    assert read | repeated == set(numbers)


@pytest.mark.parametrize("script", SCRIPTS)
async def test_wrong_number_of_keys_is_refused_before_it_is_sent(script: Script) -> None:
    with pytest.raises(
        ValueError, match=f"{script.name}.lua takes {script.keys} keys, not {script.keys + 1}"
    ):
        await script(Redis(), ["sf:{p1}:k"] * (script.keys + 1), [])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param("--[[\n  No shebang.\n]]\n", "begins with #!lua", id="no #!lua"),
        pytest.param("#!lua\nreturn 1\n", "begins with #!lua and its header", id="no header"),
    ],
)
def test_script_without_a_header_is_refused(body: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scripts.header(body)


async def test_answers_of_a_repeated_call_are_the_same(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    assert await group.freeze(storm, at=10) == await group.freeze(storm, at=20)
    word, frozen = await group.freeze(storm, at=30)
    assert (word, frozen.closed_ms if frozen else None) == ("closing", OPENED.opened_ms + 10)
    words = [await group.store.close_storm(replace(storm, group_hash=GROUP_HASH)) for _ in range(2)]
    assert words == ["closed", "gone"]
