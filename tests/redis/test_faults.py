"""Servers that forget, vanish, are full or refuse: one error for each, and nothing half done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.harness.eventually import eventually
from tests.harness.folding import CLUSTER, OPENED, Group, signal, signals
from tests.harness.redis_proxy import RedisProxy

from lab.valkey import Valkey
from stormfold.fold.connection import Connection, Memory, check_version
from stormfold.fold.errors import StoreConfigError, StoreFullError, StoreMovedError, StoreUnavailableError
from stormfold.fold.replies import AckWord
from stormfold.fold.store import StormStore


@asynccontextmanager
async def connected(url: str, *, timeout_seconds: float = 5.0) -> AsyncIterator[Connection]:
    connection = Connection.from_url(url, timeout_seconds=timeout_seconds)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def group_on(url: str, *, timeout_seconds: float = 5.0) -> AsyncIterator[Group]:
    async with connected(url, timeout_seconds=timeout_seconds) as connection:
        yield Group(StormStore(connection, cluster=CLUSTER))


# --- servers that forget


async def test_flushed_scripts_are_sent_again(group: Group, redis: Valkey) -> None:
    await group.fold(signal(1))
    redis.command("SCRIPT", "FLUSH")
    answer = await group.fold(signal(1), signal(2), known=(1, 1))
    assert answer.ordinals == [1, 2]
    redis.command("SCRIPT", "FLUSH")
    storm = await group.look(at=10)
    redis.command("SCRIPT", "FLUSH")
    assert await group.ack(storm, at=10) is AckWord.ACKED


async def test_restarted_server_is_folded_into_as_an_empty_one(server: Valkey) -> None:
    async with group_on(server.url) as group:
        await group.fold(signal(1))
        server.restart()
        answer = await refolded(group)
        assert (answer, (await group.look(at=10)).total) == ("lost", 2)


async def refolded(group: Group) -> str:
    """What the first answer of a server is that was restarted; then what it lost is folded again."""

    async def fold() -> str:
        try:
            return (await group.fold(signal(2), known=(1, 1))).word
        except StoreUnavailableError:
            return ""

    word = await eventually(fold)
    await group.fold(signal(1), signal(2))
    return word


async def test_stopped_server_is_unavailable(server: Valkey) -> None:
    async with group_on(server.url) as group:
        await group.fold(signal(1))
        server.kill()
        with pytest.raises(StoreUnavailableError, match=r"^folding into partition 39: "):
            await group.fold(signal(2))
        with pytest.raises(StoreUnavailableError, match=r"^looking for due storms: "):
            await group.store.sweep(now_ms=0)


# --- answers that do not come


async def test_call_without_an_answer_times_out_and_may_be_repeated(
    valkey: Valkey, redis_proxy: RedisProxy
) -> None:
    async with group_on(redis_proxy.url, timeout_seconds=0.2) as group:
        await group.fold(signal(1))
        hold = redis_proxy.hold("EVALSHA", when="after")
        with pytest.raises(
            StoreUnavailableError,
            match=r"^folding into partition 39: no answer from 127.0.0.1:\d+ within 0\.2 s$",
        ):
            await group.fold(signal(2), known=(1, 1))
        hold.release()
        again = await group.fold(signal(2), known=(1, 1))
        assert (again.folded, again.ordinals) == (2, [2])


@pytest.mark.parametrize("when", ["before", "after"])
async def test_cut_call_is_unavailable_and_counts_once_when_repeated(
    valkey: Valkey, redis_proxy: RedisProxy, when: str
) -> None:
    async with group_on(redis_proxy.url) as group:
        await group.fold(signal(1))
        cut = redis_proxy.cut("EVALSHA", when=when)
        with pytest.raises(StoreUnavailableError):
            await group.fold(signal(2), known=(1, 1))
        again = await group.fold(signal(2), known=(1, 1))
        assert (again.folded, again.ordinals, cut.hits) == (2, [2], 1), "the client itself repeats nothing"


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ("LOADING Redis is loading the dataset in memory", StoreUnavailableError),
        ("BUSY Redis is busy running a script", StoreUnavailableError),
        ("CLUSTERDOWN The cluster is down", StoreUnavailableError),
        ("TRYAGAIN Multiple keys request during rehashing of slot", StoreUnavailableError),
        ("READONLY You can't write against a read only replica.", StoreMovedError),
        ("MASTERDOWN Link with MASTER is down", StoreMovedError),
        ("NOREPLICAS Not enough good replicas to write.", StoreUnavailableError),
        ("MISCONF Errors writing to the AOF file", StoreUnavailableError),
        ("UNBLOCKED force unblock from blocking operation", StoreUnavailableError),
        ("OOM command not allowed when used memory > 'maxmemory'.", StoreFullError),
        ("NOAUTH Authentication required.", StoreConfigError),
        ("NOPERM User default has no permissions", StoreConfigError),
        ("ERR unknown command 'EVALSHA'", StoreConfigError),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
async def test_refusal_of_redis_says_what_to_do(
    valkey: Valkey, redis_proxy: RedisProxy, refusal: str, error: type[Exception]
) -> None:
    async with group_on(redis_proxy.url) as group:
        redis_proxy.refuse("EVALSHA", refusal)
        with pytest.raises(error, match=r"^folding into partition 39: ") as raised:
            await group.fold(signal(1))
        assert type(raised.value) is error
        assert (await group.fold(signal(1))).ordinals == [1]


# --- full


@pytest.mark.usefixtures("one_incarnation")
async def test_full_server_refuses_a_fold_and_nothing_is_half_done(server: Valkey) -> None:
    async with group_on(server.url) as group:
        await group.fold(signal(1))
        server.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreFullError, match=r"^folding into partition 39: Redis is out of memory$"):
            await group.fold(*signals(2, 101), known=(1, 1))
        server.command("CONFIG", "SET", "maxmemory", "0")
        assert await group.claim(at=1000) == OPENED
        assert server.command("ZCARD", group.ids_key) == 1
        assert (await group.fold(*signals(2, 101), known=(1, 1))).folded == 101


@pytest.mark.usefixtures("one_incarnation")
async def test_full_server_still_lets_storms_be_written_and_closed(server: Valkey) -> None:
    async with group_on(server.url) as group:
        await group.fold(signal(1))
        server.command("CONFIG", "SET", "maxmemory", "1")
        storm = await group.claim(at=1000)
        assert storm == OPENED
        assert await group.ack(storm, at=1000, next_look=2000) is AckWord.ACKED
        word, frozen = await group.freeze(storm, at=2000)
        assert frozen is not None, word
        assert await group.store.close_storm(frozen) == "closed"
        assert (await group.store.memory()).ratio > 1


async def test_memory_says_how_full_the_server_is(server: Valkey) -> None:
    async with connected(server.url) as connection:
        assert (await connection.memory()).ratio == 0.0
        server.command("CONFIG", "SET", "maxmemory", "100mb")
        memory = await connection.memory()
        assert memory.limit_bytes == 100 * 2**20
        assert memory.ratio == memory.used_bytes / memory.limit_bytes


# --- set up in another way than we need


async def test_good_server_passes_the_check(redis: Valkey) -> None:
    async with connected(redis.url) as connection:
        assert await connection.check() == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_server_that_evicts_is_refused(server: Valkey, policy: str) -> None:
    server.command("CONFIG", "SET", "maxmemory-policy", policy)
    async with connected(server.url) as connection:
        with pytest.raises(StoreConfigError) as raised:
            await connection.check()
    assert str(raised.value) == (
        f"Redis evicts keys (maxmemory-policy is {policy}): a storm could vanish; "
        "run CONFIG SET maxmemory-policy noeviction, and set it in the server's configuration"
    )


NO_POLICY = "make sure that maxmemory-policy is noeviction, or storms may be lost"
NOTHING_TOLD = (
    f"Redis does not let us run INFO, so that version, memory and fail-overs cannot be seen: {NO_POLICY}"
)


def user_without(server: Valkey, *rights: str) -> str:
    server.command("ACL", "SETUSER", "stormfold", "on", ">secret", "~sf:*", "+@all", *rights)
    return f"redis://stormfold:secret@127.0.0.1:{server.port}/0"


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru"])
async def test_eviction_is_read_where_config_is_forbidden(server: Valkey, policy: str) -> None:
    server.command("CONFIG", "SET", "maxmemory-policy", policy)
    async with connected(user_without(server, "-config")) as connection:
        if policy == "noeviction":
            assert await connection.check() == []
        else:
            with pytest.raises(
                StoreConfigError, match=r"^Redis evicts keys \(maxmemory-policy is volatile-lru\)"
            ):
                await connection.check()


async def test_eviction_is_read_where_config_is_renamed(server_binary: Path) -> None:
    with Valkey(server_binary, settings={"rename-command": 'CONFIG ""'}) as server:
        async with connected(server.url) as connection:
            assert await connection.check() == []


async def test_forbidden_info_is_a_warning_and_memory_is_not_known(server: Valkey) -> None:
    async with connected(user_without(server, "-info")) as connection:
        assert await connection.check() == [NOTHING_TOLD]
        assert await connection.memory() == Memory(0, 0)


@pytest.mark.parametrize("told", [b"-ERR unknown command\r\n", b"$0\r\n\r\n"], ids=["unknown", "empty"])
async def test_hidden_info_is_a_warning(valkey: Valkey, redis_proxy: RedisProxy, told: bytes) -> None:
    redis_proxy.reply("INFO", told)
    async with connected(redis_proxy.url) as connection:
        assert await connection.check() == [NOTHING_TOLD]
        assert await connection.memory() == Memory(0, 0)


async def test_info_without_maxmemory_policy_is_a_warning(valkey: Valkey, redis_proxy: RedisProxy) -> None:
    redis_proxy.reply("INFO", b"$24\r\nredis_version:7.0.0\r\na:1\r\n")
    async with connected(redis_proxy.url) as connection:
        assert await connection.check() == [f"Redis does not let us read maxmemory-policy: {NO_POLICY}"]
        assert await connection.memory() == Memory(0, 0)


async def test_wrong_password_is_named(server_binary: Path) -> None:
    with Valkey(server_binary, password="right") as server:
        wrong = server.url.replace("right", "wrong")
        async with connected(wrong) as connection, group_on(wrong) as group:
            with pytest.raises(
                StoreConfigError, match=r"^asking Redis who it is: Redis refused the credentials"
            ):
                await connection.check()
            with pytest.raises(StoreConfigError, match=r"fix user and password in STORMFOLD_REDIS_URL$"):
                await group.fold(signal(1))
        async with group_on(server.url) as group:
            assert (await group.fold(signal(1))).ordinals == [1]


async def test_missing_password_is_named(server_binary: Path) -> None:
    with Valkey(server_binary, password="right") as server:
        async with connected(f"redis://127.0.0.1:{server.port}/0") as connection:
            with pytest.raises(StoreConfigError, match=r"fix user and password in STORMFOLD_REDIS_URL$"):
                await connection.check()


def may_not_run_scripts(server: Valkey) -> None:
    server.command("ACL", "SETUSER", "stormfold", "on", ">secret", "~sf:*", "+@all", "-@scripting")


def may_not_touch_our_keys(server: Valkey) -> None:
    server.command("ACL", "SETUSER", "stormfold", "on", ">secret", "~other:*", "+@all")


@pytest.mark.parametrize("restrict", [may_not_run_scripts, may_not_touch_our_keys])
async def test_missing_right_is_named(server: Valkey, restrict: Callable[[Valkey], None]) -> None:
    restrict(server)
    async with group_on(f"redis://stormfold:secret@127.0.0.1:{server.port}/0") as group:
        with pytest.raises(
            StoreConfigError,
            match=r"; give its user the rights of https://stormfold.dev/install/#a-redis-of-your-own$",
        ):
            await group.fold(signal(1))


async def test_keys_with_our_prefix_are_all_that_is_touched(server: Valkey) -> None:
    async with group_on(user_without(server, "-config")) as group:
        await group.fold(*signals(1, 40))
        await group.ack(await group.look(at=10), at=10, trim=40)
        await group.freeze_and_close(at=20)
        await group.store.fence([group.partition], 40)
        assert (await group.store.sweep(now_ms=0)).due == {}
    names = server.command("KEYS", "*")
    assert isinstance(names, list)
    assert [name for name in names if not str(name).startswith("sf:2:{p39}:")] == []


def test_redis_before_scripts_with_a_shebang_is_refused() -> None:
    with pytest.raises(StoreConfigError) as raised:
        check_version({"redis_version": "6.2.14"})
    assert str(raised.value) == "Redis is 6.2.14; stormfold needs Redis 7.0 or newer, or Valkey"
    check_version({"redis_version": "7.0.0"})
    check_version({"redis_version": "6.2.14", "valkey_version": "9.0.1"})


async def test_nobody_at_the_address_is_unavailable(server: Valkey) -> None:
    server.kill()
    async with connected(server.url) as connection:
        with pytest.raises(StoreUnavailableError, match=r"^asking Redis who it is: "):
            await connection.check()
