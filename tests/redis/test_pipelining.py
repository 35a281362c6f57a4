"""Calls that travel together: each has its own answer."""

from __future__ import annotations

import asyncio

from redis.exceptions import ResponseError
from tests.harness.redis_proxy import RedisProxy

from stormfold.demo.valkey import Valkey
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreUnavailableError


def clients(server: Valkey) -> int:
    """How many sockets the server has, but for the one that asks."""
    return str(server.command("CLIENT", "LIST")).count("id=") - 1


async def test_calls_of_one_moment_share_a_socket_and_each_has_its_answer(server: Valkey) -> None:
    connection = Connection.from_url(server.url)
    before = clients(server)
    texts = [f"word {n} ŝ" for n in range(50)]
    answers = await asyncio.gather(*(connection.scripts.execute_command("ECHO", text) for text in texts))
    assert (answers, clients(server) - before) == (texts, 1)
    await connection.close()


async def test_error_of_one_call_is_not_that_of_its_neighbours(server: Valkey) -> None:
    connection = Connection.from_url(server.url)
    calls = (("ECHO", "before"), ("NO-SUCH-COMMAND",), ("ECHO", 7), ("ECHO", b"after"))
    before, error, number, after = await asyncio.gather(
        *(connection.scripts.execute_command(*call) for call in calls), return_exceptions=True
    )
    assert (before, type(error), number, after) == ("before", ResponseError, "7", "after")
    await connection.close()


async def test_caller_that_gives_up_takes_nobody_along(server: Valkey) -> None:
    connection = Connection.from_url(server.url)
    hasty = asyncio.create_task(connection.scripts.execute_command("ECHO", "hasty"))
    patient = asyncio.create_task(connection.scripts.execute_command("ECHO", "patient"))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient == "patient"
    assert await connection.scripts.execute_command("ECHO", "later") == "later"
    await connection.close()


async def test_all_that_travel_together_fail_together_and_the_next_do_not(
    valkey: Valkey, redis_proxy: RedisProxy
) -> None:
    connection = Connection.from_url(redis_proxy.url)
    await connection.memory()
    redis_proxy.cut("ECHO", when="before")

    async def echo(text: str) -> object:
        async with connection.calling("echoing"):
            return await connection.scripts.execute_command("ECHO", text)

    answers = await asyncio.gather(echo("one"), echo("two"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailableError, StoreUnavailableError]
    assert await echo("three") == "three"
    await connection.close()


async def test_name_of_a_command_may_have_two_words(server: Valkey) -> None:
    connection = Connection.from_url(server.url)
    answer = await connection.client.execute_command("CONFIG GET", "maxmemory-policy")
    assert answer == {"maxmemory-policy": "noeviction"}
    await connection.close()
