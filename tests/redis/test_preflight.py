"""What Redis must be able to do is found out at start: one line names the command or the feature that is
missing."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.harness.folding import CLUSTER, T0, Group, signal
from tests.harness.redis_proxy import RedisProxy

from lab.valkey import Valkey, ValkeyCluster
from stormfold.fold import scripts
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreConfigError, StoreUnavailableError
from stormfold.fold.preflight import IDLE, preflight
from stormfold.fold.replies import AckWord
from stormfold.fold.store import StormStore
from stormfold.model.group import PARTITIONS

ROOT = Path(__file__).parents[2]
ALL = range(PARTITIONS)
FOR_A_CLUSTER = ("+command", "+cluster|slots", "+asking")


def rights_of_the_docs() -> list[str]:
    """The line of docs/install.md that names the rights, from the password on."""
    text = (ROOT / "docs" / "install.md").read_text()
    (line,) = re.findall(r"^user stormfold on >password (.*)$", text, re.MULTILINE)
    return str(line).split()


def let_in(server: Valkey, *rights: str) -> str:
    server.command("ACL", "SETUSER", "stormfold", "on", ">secret", *rights)
    return f"redis://stormfold:secret@127.0.0.1:{server.port}/0"


@asynccontextmanager
async def store_on(url: str) -> AsyncIterator[StormStore]:
    """After the preflight."""
    connection = Connection.from_url(url)
    store = StormStore(connection, cluster=CLUSTER)
    try:
        await preflight(connection, store)
        yield store
    finally:
        await connection.close()


async def refusal(url: str) -> str:
    """The line with which the preflight ends."""
    with pytest.raises(StoreConfigError) as caught:
        async with store_on(url):
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def one_storm(store: StormStore) -> None:
    """All that is ever asked of Redis."""
    await store.check_owner()
    await store.fence(ALL, 0)
    await store.prove_writes()
    group = Group(store)
    assert (await group.fold(signal(1))).ordinals == [1]
    storm = await group.claim(at=1000)
    assert storm is not None
    assert await group.ack(storm, at=1000, trim=1) is AckWord.ACKED
    await store.make_due([group.group_hash], now_ms=T0)
    assert (await store.sweep(now_ms=T0 + 1)).due == {group.partition: [group.group_hash]}
    assert await store.due(ALL, now_ms=T0 + 1) == {group.partition: [group.group_hash]}
    assert await store.open_groups() == {group.group_hash}
    assert (await store.memory()).limit_bytes == 0
    assert (await group.freeze_and_close(at=2000)).total == 1


async def test_good_server_passes_without_a_word_and_nothing_is_left(
    redis: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with store_on(redis.url) as store:
        assert not store.blind
    assert (redis.command("DBSIZE"), caplog.records) == (0, [])


async def test_rights_of_the_docs_are_enough(server: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    async with store_on(let_in(server, *rights_of_the_docs())) as store:
        await one_storm(store)
    assert (server.command("ACL", "LOG"), caplog.records) == ([], [])


async def test_rights_of_the_docs_are_enough_for_another_database(server: Valkey) -> None:
    url = let_in(server, *rights_of_the_docs()).removesuffix("0") + "3"
    async with store_on(url) as store:
        await one_storm(store)
    assert server.command("ACL", "LOG") == []


async def test_rights_of_the_docs_are_enough_for_a_cluster(cluster: ValkeyCluster) -> None:
    for node in cluster.nodes:
        node.command("ACL", "LOG", "RESET")
        url = let_in(node, *rights_of_the_docs())
    try:
        async with store_on(url.replace("redis://", "redis+cluster://")) as store:
            await one_storm(store)
        assert [node.command("ACL", "LOG") for node in cluster.nodes] == [[], [], []]
    finally:
        for node in cluster.nodes:
            node.command("ACL", "DELUSER", "stormfold")


@pytest.mark.parametrize(
    "right", [it for it in rights_of_the_docs() if it[0] == "+" and it not in FOR_A_CLUSTER]
)
async def test_every_right_of_the_docs_is_needed(redis: Valkey, right: str) -> None:
    command = right.removeprefix("+").upper()
    url = let_in(redis, "reset", "on", ">secret", *(it for it in rights_of_the_docs() if it != right))
    if command == "INFO":
        async with store_on(url) as store:
            assert store.blind
    elif command == "SELECT":
        assert "'select' command" in await refusal(url.removesuffix("0") + "3")
    elif command in {"EVAL", "EVALSHA"}:
        assert f"'{command.lower()}' command" in await refusal(url)
    else:
        assert await refusal(url) == (
            f"Redis does not let its user run {command}: give its user the rights of https://stormfold.dev/install/#a-redis-of-your-own"
        )


async def test_node_of_a_cluster_that_lacks_a_right_is_found(cluster: ValkeyCluster) -> None:
    for node in cluster.nodes:
        url = let_in(node, *rights_of_the_docs(), *(["-persist"] if node is cluster.nodes[1] else []))
    try:
        assert await refusal(url.replace("redis://", "redis+cluster://")) == (
            "Redis does not let its user run PERSIST: give its user the rights of https://stormfold.dev/install/#a-redis-of-your-own"
        )
    finally:
        for node in cluster.nodes:
            node.command("ACL", "DELUSER", "stormfold")


async def test_user_who_may_not_touch_our_keys_is_refused(redis: Valkey) -> None:
    assert await refusal(let_in(redis, "reset", "on", ">secret", "~other:*", "+@all")) == (
        "trying what scripts need: NOPERM "
        + (
            "No permissions to access a key"
            if "valkey_version" in str(redis.command("INFO", "server"))
            else "this user has no permissions to access one of the keys used as arguments"
        )
        + "; give its user the rights of https://stormfold.dev/install/#a-redis-of-your-own"
    )


async def test_without_info_storms_are_counted_and_one_warning_says_what_is_not_seen(
    server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with store_on(let_in(server, "~sf:*", "resetchannels", "+@all", "-@dangerous", "-@admin")) as store:
        await one_storm(store)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.records[0].message.startswith(
        "Redis does not let us run INFO, so that version, memory and "
    )


def test_blind_scripts_ask_nobody_who_it_is() -> None:
    asking = {script.name for script, *_ in IDLE if "'INFO'" in script.body}
    assert asking == {"fold", "close"}
    for script, *_ in IDLE:
        assert "'INFO'" not in script.blind.body
        assert (script.blind.sha == script.sha) == (script.name not in asking)


# --- servers that are something else; a proxy changes what a real one hears or says


async def test_server_that_cannot_read_our_first_line_is_named(
    valkey: Valkey, redis_proxy: RedisProxy
) -> None:
    redis_proxy.refuse("EVALSHA", "NOSCRIPT No matching script. Please use EVAL.", times=None)
    words = "ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'"
    redis_proxy.refuse("EVAL", words, times=None)
    assert await refusal(redis_proxy.url) == (
        f'Redis cannot read scripts that begin with "#!lua" ({words.removeprefix("ERR ")}): '
        "stormfold needs Redis 7.0 or newer, or Valkey"
    )


async def test_command_that_the_server_does_not_know_is_named(server_binary: Path) -> None:
    with Valkey(server_binary, settings={"rename-command": 'PFCOUNT ""'}) as server:
        found = await refusal(server.url)
    assert re.fullmatch(
        r"Redis lacks what scripts need, PFCOUNT \(Unknown (Redis )?command called from script\): "
        r"stormfold needs Redis 7\.0 or newer, or Valkey",
        found,
    )


async def test_full_server_passes(server: Valkey) -> None:
    async with store_on(server.url):
        pass
    server.command("CONFIG", "SET", "maxmemory", "1")
    async with store_on(server.url) as store:
        await store.prove_writes()


@pytest.mark.parametrize("refused", ["NOREPLICAS", "BUSY"])
async def test_server_that_refuses_for_now_is_waited_for(server: Valkey, refused: str) -> None:
    if refused == "NOREPLICAS":
        server.command("CONFIG", "SET", "min-replicas-to-write", "1")
    else:
        server.command("CONFIG", "SET", "busy-reply-threshold", "1")
        with pytest.raises(TimeoutError):
            server.command("EVAL", "while true do end", 0)
    with pytest.raises(StoreUnavailableError) as caught:
        async with store_on(server.url):
            pass
    assert caught.value.words.startswith(refused)
    server.command(
        *(["SCRIPT", "KILL"] if refused == "BUSY" else ["CONFIG", "SET", "min-replicas-to-write", "0"])
    )
    async with store_on(server.url) as store:
        await one_storm(store)


def test_everything_that_scripts_and_pipelines_call_is_tried() -> None:
    called = set()
    for script, *_ in IDLE:
        called |= set(re.findall(r"redis\.p?call\('([A-Z]+)'", script.body))
    plain = (ROOT / "operator" / "stormfold" / "fold" / "store.py").read_text()
    called |= {name.upper() for name in re.findall(r"pipeline\.(\w+)\(", plain)} - {"EXECUTE"}
    tried = set(re.findall(r"try\('([A-Z]+)'", scripts.TRY.body))
    assert tried == called
    assert {script.name for script, *_ in IDLE} | {"try"} == set(scripts.NAMES)
