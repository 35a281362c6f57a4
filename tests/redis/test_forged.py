"""What Redis holds of a group and nobody can read is deleted, as if Redis had lost it: nothing ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import GROUP_HASH, Group, alert, signal, signals
from tests.harness.values import T0

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.connection import Connection
from stormfold.fold.elsewhere import Elsewhere
from stormfold.fold.errors import StoreConfigError
from stormfold.fold.replies import AckWord, FoldWord, FreezeWord
from stormfold.model.group import partition

NUMBER = partition(GROUP_HASH)
ALL = {key.split(":")[3]: key for key in keys.of_group(NUMBER, GROUP_HASH)}
"""What each key of a group is of → the key."""
COUNTED_BY = {"storm", "resources", "ids", "instances"}
"""Keys without which nothing is counted."""
FIELDS = ("epoch", "state", "total", "written", "arrived_ms", "severity", "idle_ms", "minute", "sampled")
DELETED = "what Redis holds of storms cannot be read: it is deleted, and given back from their requests"


def forge(redis: Valkey, what: str, text: str = "forged") -> None:
    """Make a key of the group what none of them can be, or let a field of its storm say something else."""
    if what in ALL:
        redis.command("DEL", ALL[what])
        redis.command("XADD", ALL[what], "*", "forged", "1")
    else:
        redis.command("HSET", ALL["storm"], what, text)


def there(redis: Valkey) -> list[str]:
    """What the group has in Redis."""
    return [what for what, key in ALL.items() if redis.command("EXISTS", key)]


def deleted(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Groups of which the log says that they were deleted."""
    return [record.groupHash for record in caplog.records if record.message == DELETED]  # type: ignore[attr-defined]


@pytest.mark.parametrize("what", [*ALL, *FIELDS])
async def test_storm_that_cannot_be_looked_at_is_gone_and_counts_from_the_beginning(
    group: Group, redis: Valkey, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    await group.fold(*signals(1, 3))
    forge(redis, what)
    await group.store.make_due([GROUP_HASH], now_ms=T0 + 10)
    if await group.claim(at=10) is not None:
        assert what in {"ids", "events", "before", "beyond"}, "a look does not need them"
        return
    assert deleted(caplog) == [GROUP_HASH]
    assert there(redis) == []
    assert await group.claim(at=11) is None
    assert (await group.fold(signal(3), signal(4), at=20)).folded == 2
    assert (await group.look(at=30)).total == 2


@pytest.mark.parametrize("what", [*sorted(COUNTED_BY), "epoch", "total", "written", "severity", "minute"])
async def test_signals_are_counted_whatever_their_storm_says(
    group: Group, redis: Valkey, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    await group.fold(*signals(1, 3))
    forge(redis, what)
    answer = await group.fold(signal(3), signal(4), at=20)
    if answer.word is FoldWord.LOST:  # between the two calls of a fold: then all is folded again
        answer = await group.fold(signal(3), signal(4), at=20)
    assert (answer.word, answer.folded, answer.ordinals) == (FoldWord.COUNTED, 2, [1, 2])
    assert deleted(caplog) == [GROUP_HASH]
    assert (await group.look(at=30)).total == 2


async def test_storm_that_is_known_is_lost_and_no_other_of_the_partition_is_wrong(
    group: Group, redis: Valkey
) -> None:
    other = replace(group, group_hash="00000000000000e7")
    assert other.partition == group.partition
    before = [await one.fold(*signals(1, 3)) for one in (group, other)]
    forge(redis, "total")
    folds = [
        one.fold_of(signal(4), known=(said.epoch, said.folded), incarnation=said.incarnation)
        for one, said in zip((other, group), before, strict=True)
    ]
    answers = await group.store.fold(NUMBER, folds, now_ms=T0 + 10)
    assert [answer.word for answer in answers] == [FoldWord.LOST, FoldWord.LOST]


@pytest.mark.parametrize("text", ["1e400", "nan", "9007199254740993", "-9e18"])
async def test_number_that_no_storm_can_have_is_none(group: Group, redis: Valkey, text: str) -> None:
    await group.fold(*signals(1, 3))
    forge(redis, "alerts", text)
    await group.store.make_due([GROUP_HASH], now_ms=T0 + 10)
    assert await group.claim(at=10) is None
    assert there(redis) == []


async def test_steps_of_a_storm_that_has_become_unreadable_find_it_gone(group: Group, redis: Valkey) -> None:
    for what in ("storm", "total"):
        await group.fold(*signals(1, 3))
        storm = await group.look(at=10)
        forge(redis, what)
        assert await group.ack(storm, at=11) is AckWord.GONE
        assert there(redis) == []
        await group.fold(*signals(1, 3))
        storm = await group.look(at=10)
        forge(redis, what)
        assert await group.freeze(storm, at=11) == (FreezeWord.GONE, None)
        assert there(redis) == []


@pytest.mark.parametrize("text", ["", "forged", "f", "fx,1", "f1"])
async def test_closed_storm_whose_alerts_cannot_be_read_is_not_known(
    group: Group, redis: Valkey, text: str
) -> None:
    await group.fold(alert("one"))
    await group.freeze_and_close(at=10)
    redis.command("HSET", ALL["before"], "forged", text)
    known = await group.store.closed.alerts(GROUP_HASH, 1, stale_after_ms=1, now_ms=T0)
    assert known is None
    assert there(redis) == []


async def test_what_other_storms_tell_and_nobody_can_read_says_nothing(redis: Valkey) -> None:
    first, second = keys.seen(1, T0), keys.seen(2, T0)
    redis.command("XADD", first, "*", "forged", "1")
    texts = ("", "[]", "{", '{"node":7}', '{"node":[]}', '{"node":[1,0,"a",-1,0]}', '{"node":[1,0,[],1,0]}')
    for number, text in enumerate(texts):
        redis.command("HSET", second, f"{number:016}:1", text)
    redis.command("HSET", second, f"{'f' * 16}:1", '{"node":[5,0,"a",5,0]}')
    connection = Connection.from_url(redis.url)
    elsewhere = Elsewhere(connection)
    await elsewhere.refresh(now_ms=T0)
    assert {attribute: of.signals for attribute, of in elsewhere.than("0", 1).items()} == {"node": 5}
    await connection.close()


@pytest.mark.parametrize("key", [keys.due(NUMBER), keys.checkpoint(NUMBER)])
async def test_key_of_a_partition_that_is_none_stops_and_says_what_to_do(
    group: Group, redis: Valkey, key: str
) -> None:
    redis.command("DEL", key)
    redis.command("XADD", key, "*", "forged", "1")
    with pytest.raises(StoreConfigError, match="empty this Redis, and stormfold gives everything back"):
        await group.store.sweep(now_ms=T0)
