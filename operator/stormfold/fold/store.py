"""StormStore: the storms in Redis, and the only caller of the scripts.

Every method may raise `StoreUnavailableError` (no answer, whether it was done is not known: all of them may
be repeated), `StoreFullError` and `StoreConfigError`.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from secrets import token_hex, token_urlsafe
from typing import Any

from stormfold.fold import keys, scripts
from stormfold.fold.arguments import Fold, Piece, piece_args, pieces_of
from stormfold.fold.closed_alerts import ClosedStorms
from stormfold.fold.connection import Connection, Memory
from stormfold.fold.errors import StoreConfigError
from stormfold.fold.groups import Groups
from stormfold.fold.replies import (
    AckWord,
    CloseWord,
    Folded,
    FoldWord,
    FreezeWord,
    folded_of,
    joined,
)
from stormfold.model.arrival import Stream
from stormfold.model.group import PARTITIONS, partition
from stormfold.model.limits import KNOWN_SIGNALS
from stormfold.model.storm import Snapshot

CLAIM_MS = 10_000
"""How long a claimed storm is hidden from other replicas; what is not settled by then is due again."""
DUE_AT_ONCE = 4096
"""The most storms of a partition that a look finds due: those of one namespace must hide no other's."""
SCRATCH_SECONDS = 60
"""How long what is made to try a server stays there, if it cannot be deleted."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a look at all partitions found."""

    due: Mapping[int, list[str]]
    """Partition → group_hashes that are due, the earliest first."""
    lost: frozenset[int]
    """Partitions that Redis has lost: their mark is missing."""


class StormStore:
    """The storms of one cluster."""

    def __init__(self, connection: Connection, *, cluster: str) -> None:
        self._connection = connection
        self._cluster = cluster
        self._claimer = token_hex(4)
        self._groups = Groups(connection)
        self.closed = ClosedStorms(connection, self._groups)
        """What is known of alerts of closed storms."""
        self.blind = False
        """Whether scripts may not ask the server who it is: a fail-over then shows only by what it has
        lost."""

    async def _run(
        self, doing: str, script: scripts.Script, key_names: list[str], args: list[str | int]
    ) -> Any:
        return await self._groups.run(doing, script.blind if self.blind else script, key_names, args)

    async def fold(self, number: int, folds: Sequence[Fold], *, now_ms: int) -> list[Folded]:
        """Count a batch into storms of partition `number`; one answer for each storm, in order.

        What is counted of a storm in one call is counted atomically. Signals of which some may be known are
        sent again, each as a piece of its own, in a second call.
        """
        of_folds = [list(pieces_of(fold)) for fold in folds]
        pieces = list(chain.from_iterable(of_folds))
        answers = await self.fold_pieces(number, pieces, now_ms)
        apart = {
            place: pieces[place].apart(known=answer)
            for place, answer in enumerate(answers)
            if answer.word is FoldWord.APART
        }
        if apart:
            told = iter(await self.fold_pieces(number, list(chain.from_iterable(apart.values())), now_ms))
            for place, each in apart.items():
                answers[place] = joined(list(islice(told, len(each))))
        of_each = iter(answers)
        return [joined(list(islice(of_each, len(some)))) for some in of_folds]

    async def fold_pieces(self, number: int, pieces: Sequence[Piece], now_ms: int) -> list[Folded]:
        """One call of fold.lua: what it says of each piece."""
        incarnation = token_urlsafe(3)
        key_names = [keys.checkpoint(number), keys.due(number)]
        args: list[str | int] = [now_ms, incarnation, len(pieces)]
        for piece in pieces:
            key_names += keys.of_group(number, piece.fold.group_hash)
            args += piece_args(piece)
        replies = await self._run(f"folding into partition {number}", scripts.FOLD, key_names, args)
        return [folded_of(piece, reply) for piece, reply in zip(pieces, replies, strict=True)]

    async def claim(
        self, number: int, group_hashes: Sequence[str], *, now_ms: int, without_request: Collection[str] = ()
    ) -> list[Snapshot]:
        """Take those of the storms that are due, and hide them from other replicas for `CLAIM_MS`; what is
        not settled by then is claimed again. `without_request` are those of which all alerts are wanted."""
        key_names = [keys.due(number)]
        args: list[str | int] = [now_ms, CLAIM_MS, self._claimer]
        for group_hash in group_hashes:
            key_names += keys.of_snapshot(number, group_hash)
            args += group_hash, int(group_hash in without_request)
        replies = await self._run(f"claiming in partition {number}", scripts.CLAIM, key_names, args)
        told = {one: reply for one, reply in zip(group_hashes, replies, strict=True) if reply}
        return await self._groups.snapshots(told, now_ms)

    async def ack(
        self,
        snapshot: Snapshot,
        *,
        written: bool,
        settled: bool,
        deadline_ms: int,
        now_ms: int,
        trim: int,
        seen: str = "",
    ) -> AckWord:
        """Note that the storm was looked at, whether its request holds the snapshot, and when to look again.

        `settled` says that this very write made the request say so. `trim` is the resourceVersion up to which
        ids may be forgotten, as the leader says, or 0: they are refused from then on. `seen` is what other
        storms are to know of this one.
        """
        group_hash, number = snapshot.group_hash, partition(snapshot.group_hash)
        word = await self._run(
            f"acknowledging storm {group_hash}",
            scripts.ACK,
            [
                keys.storm(number, group_hash),
                keys.due(number),
                keys.ids(number, group_hash),
                keys.checkpoint(number),
                keys.evidence(number, group_hash),
                keys.seen(number, now_ms),
            ],
            [
                group_hash,
                snapshot.epoch,
                snapshot.incarnation,
                snapshot.folded,
                int(written),
                int(settled),
                deadline_ms,
                now_ms,
                trim,
                snapshot.through,
                KNOWN_SIGNALS,
                seen,
                self._claimer,
            ],
        )
        return AckWord(word)

    async def freeze(
        self, snapshot: Snapshot, *, reason: str, expected_folded: int | None, now_ms: int
    ) -> tuple[FreezeWord, Snapshot | None]:
        """Freeze a storm that is to be closed; with `closing` comes its last snapshot, with all alerts if
        `snapshot` has them. With `expected_folded`, a storm that has grown meanwhile is left open."""
        group_hash, number = snapshot.group_hash, partition(snapshot.group_hash)
        reply = await self._run(
            f"freezing storm {group_hash}",
            scripts.FREEZE,
            list(keys.of_snapshot(number, group_hash)),
            [
                snapshot.epoch,
                snapshot.incarnation,
                -1 if expected_folded is None else expected_folded,
                reason,
                now_ms,
                int(snapshot.tracked_alerts is not None),
            ],
        )
        word = FreezeWord(reply[0])
        if word is not FreezeWord.CLOSING:
            return word, None
        found = await self._groups.snapshots({group_hash: reply[1:]}, now_ms)
        return (word, found[0]) if found else (FreezeWord.GONE, None)

    async def _close(self, snapshot: Snapshot, why: str, told: str = "") -> CloseWord:
        group_hash, number = snapshot.group_hash, partition(snapshot.group_hash)
        storm, *others = keys.of_group(number, group_hash)
        word = await self._run(
            f"closing storm {group_hash}",
            scripts.CLOSE,
            [storm, keys.due(number), *others],
            [
                group_hash,
                snapshot.epoch,
                snapshot.incarnation,
                why,
                snapshot.folded,
                snapshot.written,
                told,
                self._claimer,
                CLAIM_MS,
            ],
        )
        return CloseWord(word)

    async def close_storm(self, snapshot: Snapshot) -> CloseWord:
        """Drop a frozen storm whose request is closed; its epoch is remembered for a week."""
        return await self._close(snapshot, "closed")

    async def discard(self, snapshot: Snapshot, told: str, *, forget_alerts: bool = False) -> CloseWord:
        """Drop a group that makes no request, unless it has grown since the snapshot; whoever folds its
        signals again hears that they were discarded, and what they are to be told. With `forget_alerts`, that
        holds for its Signals and Events alone. Not while another store may be making its request."""
        return await self._close(snapshot, "forgotten" if forget_alerts else "discarded", told)

    async def make_due(self, group_hashes: Collection[str], *, now_ms: int) -> None:
        """Make storms due now, those that there are."""
        async with self._connection.calling("making storms due"):
            pipeline = self._connection.pipeline()
            for group_hash in group_hashes:
                pipeline.zadd(keys.due(partition(group_hash)), {group_hash: now_ms}, xx=True, lt=True)
            await pipeline.execute()

    async def sweep(self, *, now_ms: int, fenced: bool = False) -> Sweep:
        """Look at all partitions: which storms are due, and which partitions Redis has lost.

        One is lost also if it lacks the checkpoint, where the caller has `fenced` it.
        """
        async with self._connection.calling("looking for due storms"):
            pipeline = self._connection.pipeline()
            for number in range(PARTITIONS):
                pipeline.zrangebyscore(keys.due(number), "-inf", now_ms, start=0, num=DUE_AT_ONCE)
                pipeline.hmget(keys.checkpoint(number), "cluster", *((Stream.SIGNALS,) if fenced else ()))
            answers = await pipeline.execute()
        return Sweep(
            due={
                number: group_hashes for number in range(PARTITIONS) if (group_hashes := answers[2 * number])
            },
            lost=frozenset(number for number in range(PARTITIONS) if None in answers[2 * number + 1]),
        )

    async def due(self, numbers: Sequence[int], *, now_ms: int) -> dict[int, list[str]]:
        """Partition → group_hashes that are due there, the earliest first, at most `DUE_AT_ONCE` each."""
        async with self._connection.calling("looking for due storms"):
            pipeline = self._connection.pipeline()
            for number in numbers:
                pipeline.zrangebyscore(keys.due(number), "-inf", now_ms, start=0, num=DUE_AT_ONCE)
            answers = await pipeline.execute()
        return {
            number: group_hashes
            for number, group_hashes in zip(numbers, answers, strict=True)
            if group_hashes
        }

    async def open_groups(self) -> set[str]:
        """The groups that have a storm, or wait for one."""
        async with self._connection.calling("reading the open storms"):
            pipeline = self._connection.pipeline()
            for number in range(PARTITIONS):
                pipeline.zrange(keys.due(number), 0, -1)
            return {group_hash for group_hashes in await pipeline.execute() for group_hash in group_hashes}

    async def with_request(self, group_hashes: Sequence[str]) -> list[str]:
        """Those of the groups whose storm was written into a request."""
        async with self._connection.calling("asking which storms have a request"):
            pipeline = self._connection.pipeline()
            for group_hash in group_hashes:
                pipeline.hget(keys.storm(partition(group_hash), group_hash), "written")
            written = await pipeline.execute()
        return [group_hash for group_hash, much in zip(group_hashes, written, strict=True) if int(much or 0)]

    async def check_owner(self) -> None:
        """Make sure that all partitions are this cluster's, or nobody's.

        Raises:
            StoreConfigError: they hold the storms of another cluster.
        """
        await self._checkpoints(range(PARTITIONS))

    async def _checkpoints(self, partitions: Sequence[int]) -> list[int]:
        """The checkpoint in each partition, 0 for none; raises like `check_owner`."""
        async with self._connection.calling("asking whose the partitions are"):
            pipeline = self._connection.pipeline()
            for number in partitions:
                pipeline.hmget(keys.checkpoint(number), "cluster", Stream.SIGNALS)
            answers = await pipeline.execute()
        strangers = {owner for owner, _ in answers if owner} - {self._cluster}
        if strangers:
            raise StoreConfigError(
                f"Redis holds the storms of another cluster ({', '.join(sorted(strangers))}): "
                "give each cluster its own database or server"
            )
        return [int(version or 0) for _, version in answers]

    async def fence(self, partitions: Sequence[int], checkpoint: int) -> None:
        """Mark partitions as this cluster's, and refuse there what is at or below the checkpoint.

        Only who leads calls it, with what its Lease says: nothing is trimmed above that.

        Raises:
            StoreConfigError: they hold the storms of another cluster.
        """
        before = await self._checkpoints(partitions)
        async with self._connection.calling("fencing the partitions"):
            pipeline = self._connection.pipeline()
            for number, refused in zip(partitions, before, strict=True):
                kept = {"cluster": self._cluster, Stream.SIGNALS: max(checkpoint, refused)}
                pipeline.hset(keys.checkpoint(number), mapping=kept)
            await pipeline.execute()

    async def memory(self) -> Memory:
        """How full the fullest server is; all zero where servers do not tell."""
        return await self._connection.memory()

    async def servers(self) -> list[int]:
        """A partition of each server that has any."""
        return await self._connection.one_of_each({n: keys.checkpoint(n) for n in range(PARTITIONS)})

    async def try_all(self, number: int) -> dict[str, str]:
        """What the server of partition `number` lacks that scripts need, and why.

        Nothing that is there is changed. What it says to a script as a whole is raised.
        """
        names = keys.scratch(number)
        async with self._connection.calling("trying what scripts need"):
            # Not by its name, under which the server may know it from others: who lacks EVAL is to be found
            # out.
            call = self._connection.scripts.execute_command
            answer = await call("EVAL", scripts.TRY.body, len(names), *names, SCRATCH_SECONDS)
        return {name: why for name, _, why in (line.partition(" ") for line in answer)}

    async def try_script(self, number: int, script: scripts.Script, key_count: int, *args: str | int) -> None:
        """Run a script in partition `number` on keys that nothing has."""
        names = [name for name, _ in zip(cycle(keys.scratch(number)), range(key_count), strict=False)]
        await self._run(f"trying {script.name}.lua", script, names, list(args))

    async def prove_writes(self) -> None:
        """Make sure that every primary takes writes; it is asked by a script that may write, and writes
        nothing."""
        numbers = await self.servers()
        await asyncio.gather(
            *(
                self._run("asking whether writes are taken", scripts.TRY, list(keys.scratch(n)), [0])
                for n in numbers
            )
        )
