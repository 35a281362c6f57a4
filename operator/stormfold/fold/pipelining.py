"""Pipelined: calls that come while another is under way travel together.

A call of redis-py costs some hundred µs of CPU whatever it carries: a connection taken and given back, a
write, a wake-up, a read. In a storm many partitions fold at the same moment, so they share that cost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import PipelineCommand
from redis.exceptions import AskError, ClusterDownError, RedisError, SlotNotCoveredError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

from stormfold.fold.packing import packed_in_c

Command = tuple[str | int | bytes, ...]
Send = Callable[[Sequence[Command]], Awaitable[list[Any]]]
"""Sends commands together; gives for each its answer, or the exception that is its answer."""

NOT_THERE = (RedisConnectionError, AskError, ClusterDownError, TryAgainError)
"""What a node of a Cluster answers that does not have the slot (`MovedError` is an `AskError`), or not
now."""


class Pipelined:
    """Each command waits for those before it, and takes along what waits."""

    def __init__(self, send: Send, *, timeout_seconds: float) -> None:
        self._send_together = send
        self._timeout_seconds = timeout_seconds
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def execute_command(self, *args: str | int | bytes) -> Any:
        """Send one command; raises what redis-py raises for it, or for the pipeline that it was in."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((args, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="redis-pipeline")
        return await answer

    async def close(self) -> None:
        """End what is under way; whoever waits for it is cancelled."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _send(self) -> None:
        calls: list[tuple[Command, asyncio.Future[Any]]] = []
        try:
            while self._waiting:
                calls, self._waiting = self._waiting, []
                answers = await self._answers([args for args, _ in calls])
                for (_, answer), said in zip(calls, answers, strict=True):
                    if answer.done():
                        continue  # whoever asked has given up
                    if isinstance(said, BaseException):
                        answer.set_exception(said)
                    else:
                        answer.set_result(said)
        except asyncio.CancelledError:
            for _, answer in (*calls, *self._waiting):
                answer.cancel()
            self._waiting = []
            raise
        finally:
            self._sending = None

    async def _answers(self, commands: Sequence[Command]) -> list[Any]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._send_together(commands)
        except Exception as exc:  # each caller translates it
            return [exc] * len(commands)


def to_server(client: Redis) -> Send:
    """To one server."""
    client.connection_pool.connection_class = packed_in_c(client.connection_pool.connection_class)

    async def send(commands: Sequence[Command]) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for args in commands:
            pipeline.execute_command(*args)
        return list(await pipeline.execute(raise_on_error=False))

    return send


class PipelinedCluster:
    """A Cluster: what goes to one of its nodes travels together, and waits for no other node.

    redis-py's own pipeline of a Cluster is as old as its slowest node, and hashes every key of each command.
    """

    def __init__(self, client: RedisCluster, *, timeout_seconds: float) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._nodes: dict[str, Pipelined] = {}

    async def execute_command(self, *args: str | int | bytes) -> Any:
        """Run one script, `EVALSHA sha 1 key …`, all of whose keys are in one slot; raises what redis-py
        raises for it."""
        try:
            node = self._client.get_node_from_key(str(args[3]))
        except SlotNotCoveredError:
            node = None
        if node is None:  # the topology is not known yet, or not any more
            return await self._client.execute_command(*args)
        name = node.name
        if name not in self._nodes:
            self._nodes[name] = Pipelined(self._to_node(name), timeout_seconds=self._timeout_seconds)
        return await self._nodes[name].execute_command(*args)

    async def close(self) -> None:
        """See `Pipelined`."""
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    def _to_node(self, name: str) -> Send:
        async def send(commands: Sequence[Command]) -> list[Any]:
            answers = await self._answers(name, commands)
            return await asyncio.gather(*map(self._followed, commands, answers))

        return send

    async def _answers(self, name: str, commands: Sequence[Command]) -> list[Any]:
        node = self._client.get_node(node_name=name)
        if node is None:  # it has left the Cluster
            return [RedisConnectionError(f"no node {name}")] * len(commands)
        node.connection_class = packed_in_c(node.connection_class)
        together = [PipelineCommand(number, *args) for number, args in enumerate(commands)]
        try:
            await node.execute_pipeline(together)
        except RedisError as exc:
            return [exc] * len(commands)
        return [command.result for command in together]

    async def _followed(self, command: Command, answer: Any) -> Any:
        """The answer, or that of the node to which it leads: redis-py asks where that is."""
        if not isinstance(answer, NOT_THERE):
            return answer
        try:
            return await self._client.execute_command(*command)
        except RedisError as exc:
            return exc
