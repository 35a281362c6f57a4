"""App: builds every part once and connects the rooms."""

import asyncio
import logging
import signal as os_signal
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from itertools import islice
from typing import Any

from pydantic import ValidationError

from stormfold.api.conditions import Reason
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import API_VERSION
from stormfold.api.signal import SignalPhase
from stormfold.fold.batching import Folder
from stormfold.fold.connection import Connection
from stormfold.fold.holding import Held
from stormfold.fold.patience import until_done
from stormfold.fold.preflight import preflight
from stormfold.fold.store import StormStore
from stormfold.fold.writes import Writes
from stormfold.handlers.startup import Handover, KopfThread
from stormfold.intake.alertmanager import PIECE
from stormfold.intake.namespaces import Namespaces
from stormfold.intake.owners import Owners
from stormfold.intake.policies import PolicyIntake
from stormfold.intake.rest import Left
from stormfold.intake.shard import Shard
from stormfold.intake.signals import Seen, SignalIntake
from stormfold.intake.webhook import Webhook, WebhookOptions
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.lease import Lease
from stormfold.kube.recorder import About, Recorder
from stormfold.kube.reviews import Reviews
from stormfold.model.arrival import AlertRef, Arrival, EventRef, SignalRef, Verdict
from stormfold.model.segment import segment, segments_of
from stormfold.model.storm import request_name
from stormfold.policy.router import Router
from stormfold.policy.version import PolicyVersion
from stormfold.probes import Probes
from stormfold.request.index import Request, RequestIndex, version_of
from stormfold.request.marking import Marker
from stormfold.request.reconciler import Reconciler
from stormfold.request.retention import Retention
from stormfold.request.writing import RequestWriter
from stormfold.settings import Settings

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
TOLD = 1000
"""How many of a group hear at once that its request cannot be written: the newest, for which somebody may wait."""
CANCEL_SECONDS = 0.2
"""How long a part may take to end before it is told again."""


class App:
    """One operator process."""

    def __init__(self, settings: Settings, client: KubeClient, connection: Connection, cluster: str) -> None:
        self._settings = settings
        self._client = client
        self._connection = connection
        self._store = StormStore(connection, cluster=cluster)
        self._writes = Writes(self._store)
        self._recorder = Recorder(client, identity=settings.identity)
        self._router = Router()
        self._namespaces = Namespaces(client, self._router)
        self._index = RequestIndex()
        self._reconciler = Reconciler(
            self._store,
            self._index,
            RequestWriter(client, self._index, self._recorder),
            terminal_phases=settings.terminal_phases,
            trim=lambda: self._of_shards(Shard.trim),
            fenced=lambda: self._of_shards(Shard.fenced),
            throttled=lambda: client.throttled,
            namespace_gone=lambda name: self._router.namespace_changed(name, None),
            refused=self._refused,
        )
        self._folder = Folder(
            self._store,
            route=self._router.route,
            continuation=self._index.continuation,
            held=self._held,
            closed_spans=self._index.closed_spans,
            leads=lambda arrival: self._shard_of(arrival).leading,
            renewed=lambda arrival: self._shard_of(arrival).events.renewed(arrival),
            tell=self._tell,
            safe_verdict=self._safe_verdict,
            hint=self._reconciler.hint,
        )
        self._reconciler.connect(self._folder)
        self._router.in_use = self._folder.versions_in_use
        self._index.observed = self._request_observed
        self._index.needs_look = self._reconciler.needs_look
        self._marker = Marker(
            client,
            per_second=settings.marks_per_second,
            marked=self._marked,
            refused=self._unmarkable,
        )
        self._retention = Retention(client, per_namespace=settings.signals_per_namespace)
        self._owners = Owners(client)
        self._policies = PolicyIntake(
            client,
            self._recorder,
            in_force=self._in_force,
            reports=lambda: self._shards[0].leading,
            caveat=self._owners.caveat,
            overflows=self._folder.overflows,
        )
        self._owners.changed = self._policies.changed
        self._folder.overflow_changed = self._policies.changed
        self._leases = [
            Lease(
                client,
                namespace=settings.namespace,
                shard=number,
                shards=settings.shards,
                identity=settings.identity,
                leads_others=lambda: any(lease.wanted for lease in self._leases),
            )
            for number in range(settings.shards)
        ]
        self._shards = [
            Shard(
                client,
                self._store,
                lease,
                segments_of(number, settings.shards),
                operator_namespace=settings.namespace,
                begins=self._take_over,
                room=self._folder.room,
                submit=self._submit,
                held_back=self._held_back,
                concluded=self._concluded,
                kept=self._keep_signal,
                changed=self._retention.changed,
                deleted=self._retention.forget,
            )
            for number, lease in enumerate(self._leases)
        ]
        self._webhook = Webhook(
            WebhookOptions(
                host=settings.webhook_host,
                port=settings.webhook_port,
                namespace=settings.namespace,
                ack=settings.webhook_ack,
                wait_seconds=settings.webhook_wait_seconds,
                posts=settings.webhook_posts,
                secret_file=settings.webhook_secret_file,
                tls_cert_file=settings.webhook_tls_cert_file,
                tls_key_file=settings.webhook_tls_key_file,
            ),
            submit=self._submit_alerts,
            authorizer=Reviews(client, audience=settings.webhook_audience),
            not_serving=self._not_serving,
            labels_used=lambda: self._router.labels_used,
        )
        self._loaded = self._stopping = False
        self._probes = Probes(host=settings.http_host, port=settings.http_port, not_ready=self.not_ready)
        self._kopf = KopfThread(
            Handover(
                policy_changed=self._policies.changed,
                namespace_changed=self._router.namespace_changed,
                request_changed=lambda body: self._observe(body, deleted=False),
                request_deleted=lambda body: self._observe(body, deleted=True),
            ),
            client.access,
        )

    # --- the words between rooms

    async def _submit(self, arrival: Arrival, waits: Callable[[str], bool]) -> str | None:
        await self._namespaces.know((arrival.namespace,))
        return await self._folder.submit(await self._owners.resolve(arrival), waits)

    def _held_back(self, namespace: str, left: Left) -> None:
        self._recorder.record_once(
            About(API_VERSION, "Signal", left.name, left.namespace, left.uid),
            "Warning",
            Reason.NO_ROOM,
            f"as many signals as may wait for requests in namespace {namespace}: this one and those after it stay in "
            "the cluster and are counted when there is room",
        )

    def _refused(self, gid: str, sentence: str, lasts: bool) -> None:
        """A request cannot be written: whoever waits for it hears why, and one of its Signals shows it."""
        signal = None
        for arrival in islice(self._folder.waiting(gid), TOLD):
            match arrival.ref:
                case AlertRef(waiter=waiter):
                    waiter.delayed(sentence)
                case SignalRef() as ref:
                    signal = ref
        if signal and lasts:
            about = About(API_VERSION, "Signal", signal.name, signal.namespace, signal.uid)
            self._recorder.record_once(about, "Warning", Reason.REQUEST_REFUSED, sentence)

    async def _submit_alerts(self, arrivals: list[Arrival]) -> list[Arrival]:
        await self._namespaces.know(
            {arrival.namespace for arrival in arrivals} | self._router.request_namespaces
        )
        if self._owners.wanted:
            arrivals = [await self._owners.resolve(arrival) for arrival in arrivals]
        refused: list[Arrival] = []
        for first in range(0, len(arrivals), PIECE):
            if first:
                await asyncio.sleep(0)  # a large post must not keep the others from their turn
            refused += self._folder.offer(arrivals[first : first + PIECE])
        return refused

    def _not_serving(self) -> str | None:
        """Why no post is taken now."""
        if self._stopping:
            return "this replica is stopping"
        if not self._loaded:
            return "this replica is starting"
        return self._writes.trouble()

    def _in_force(self, versions: list[PolicyVersion]) -> None:
        self._router.update(versions)
        self._note_wants()

    def _note_wants(self) -> None:
        self._owners.want(any(version.needs_owners for version in self._router.versions))
        wanted = any(version.takes_events for version in self._router.versions)
        for shard in self._shards:
            shard.want_events(wanted)

    def _tell(self, arrival: Arrival, verdict: Verdict) -> None:
        match arrival.ref:
            case SignalRef() as ref:
                self._shard_of(arrival).signals.conclude(ref, verdict)
            case AlertRef(waiter=waiter, index=index):
                waiter.concluded(index, verdict)
            case EventRef() as ref:
                self._shard_of(arrival).events.conclude(ref, verdict)

    def _shard_of(self, arrival: Arrival) -> Shard:
        return self._shards[arrival.segment % len(self._shards)]

    def _signals_of(self, ref: SignalRef) -> SignalIntake:
        return self._shards[segment(ref.namespace) % len(self._shards)].signals

    def _of_shards(self, tell: Callable[[Shard], dict[int, int]]) -> dict[int, int]:
        """What each shard says of its segments."""
        return {number: version for shard in self._shards for number, version in tell(shard).items()}

    def _marked(self, ref: SignalRef) -> None:
        self._signals_of(ref).marked(ref)

    def _unmarkable(self, ref: SignalRef) -> None:
        self._signals_of(ref).unmarkable(ref)

    def _safe_verdict(self, gid: str, epoch: int) -> Verdict:
        request = self._index.get(gid, epoch) or self._index.latest(gid)
        retention = request.resource.spec.policy.retention_ms if request else self._router.retention_ms(None)
        namespace = request.resource.metadata.namespace if request else ""
        name = request_name(gid, epoch)
        return Verdict(
            SignalPhase.FOLDED,
            Reason.COUNTED,
            f"counted in RemediationRequest {namespace}/{name}",
            namespace,
            name,
            retention,
        )

    def _concluded(self, ref: SignalRef, verdict: Verdict) -> None:
        self._marker.offer(ref, verdict)
        self._retention.keep(ref, verdict.retention_ms / 1000)
        if verdict.phase is SignalPhase.REJECTED:
            about = About(API_VERSION, "Signal", ref.name, ref.namespace, ref.uid)
            self._recorder.record_once(about, "Warning", verdict.reason, verdict.message)

    def _keep_signal(self, seen: Seen) -> None:
        arrival = None if isinstance(seen.outcome, Verdict) else seen.outcome
        age = time.time() - seen.created
        self._retention.keep(seen.ref, max(0.0, self._router.retention_ms(arrival) / 1000 - age))

    def _held(self, gid: str, epoch: int) -> Held | None:
        request = self._index.get(gid, epoch)
        return held_by(request) if request else None

    def _request_observed(self, request: Request) -> None:
        spec = request.resource.spec
        self._folder.observed(
            request.gid,
            held_by(request),
            version_of(spec),
            namespace=request.resource.metadata.namespace,
            overflow=spec.overflow,
            closed=request.closed,
            since=request.since,
        )

    def _observe(self, body: dict[str, Any], *, deleted: bool) -> None:
        if not deleted and self._index.knows(body):
            return
        try:
            request = self._index.read(body)
        except ValidationError as exc:
            log.warning(
                "RemediationRequest not understood, left alone",
                extra={"request": body.get("metadata", {}).get("name"), "error": str(exc.errors()[0]["msg"])},
            )
            return
        if deleted:
            self._index.observe_deleted(request)
        else:
            self._index.observe(request)

    def not_ready(self) -> dict[str, str]:
        """What keeps us from being ready."""
        problems = {}
        if trouble := self._writes.trouble():
            problems["redis"] = trouble
        if self._client.unauthorized:
            problems["credentials"] = self._client.unauthorized
        if not self._loaded:
            problems["start"] = "policies and requests have not been read yet"
            return problems
        for shard in self._shards:
            problems |= shard.not_ready()
        if self._kopf.failing:
            problems["kopf"] = "the watches of policies and requests end again and again: see the log"
        return problems

    # --- the life of the process

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then drain. Raises what ended a part."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (os_signal.SIGTERM, os_signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        async with AsyncExitStack() as stack:
            await self._probes.start()
            stack.push_async_callback(self._probes.stop)
            await self._webhook.start()
            stack.push_async_callback(self._webhook.stop)
            await self._run_parts(stopping)

    async def _run_parts(self, stopping: asyncio.Event) -> None:
        stop = asyncio.create_task(stopping.wait())
        load = asyncio.create_task(self._load(), name="load")
        # Before anything is known: what is loaded may wait for Redis.
        parts = {"load": load, "writes": asyncio.create_task(self._writes.run(), name="writes")}
        try:
            await asyncio.wait((stop, *parts.values()), return_when=asyncio.FIRST_COMPLETED)
            if load.done() and not load.exception():
                del parts["load"]
                parts |= self._start()
                await asyncio.wait((stop, *parts.values()), return_when=asyncio.FIRST_COMPLETED)
                if stop.done():
                    await self._drain(parts)
        finally:
            stop.cancel()
            await end_all(parts.values())
        for task in parts.values():
            if not task.cancelled():
                task.result()
        log.info("stopped")

    def _start(self) -> dict[str, asyncio.Task[None]]:
        """All that works from now on, by name."""
        parts = {
            **self._folder.parts(),
            **self._retention.parts(),
            "reconcile": self._reconciler.run(),
            "policies": self._policies.run(),
            "marks": self._marker.run(),
            "events": self._recorder.run(),
            "kopf": self._kopf.run(),
            "owners": self._owners.run(),
            "webhook": self._webhook.run(),
            **{f"shard-{number}": shard.run() for number, shard in enumerate(self._shards)},
        }
        return {name: asyncio.create_task(part, name=name) for name, part in parts.items()}

    async def _load(self) -> None:
        """Read what every replica must know before it folds or writes anything; Redis may refuse for a while."""
        await until_done(lambda: preflight(self._connection, self._store))
        await until_done(self._store.check_owner)
        namespaces, _ = await self._client.list_all(
            "/api/v1/namespaces",
            lambda item: (item["metadata"]["name"], item["metadata"].get("labels") or {}),
        )
        self._router.namespaces_listed(dict(namespaces))
        await self._policies.sync()
        await self._client.list_all(
            paths.collection(RemediationRequest.plural), lambda body: self._observe(body, deleted=False)
        )
        opened = {
            request.gid: (
                version_of(request.resource.spec),
                request.resource.metadata.namespace,
                request.resource.spec.overflow,
            )
            for request in self._index.open_requests()
        }
        self._folder.adopt(await until_done(self._store.open_gids), opened)
        self._router.retain(version for version, _, _ in opened.values())
        self._note_wants()
        self._loaded = True

    async def _take_over(self) -> None:
        """A shard is ours: look after what its last leader left."""
        gids = await until_done(self._store.open_gids)
        self._folder.adopt(gids, {})
        self._folder.count_since(await until_done(lambda: self._store.since(gids)))
        await until_done(self._reconciler.take_over)
        self._policies.changed()

    async def _drain(self, parts: dict[str, asyncio.Task[None]]) -> None:
        """Take nothing more in, write what was taken, keep the checkpoint, leave the Lease to the next."""
        log.info("stopping: writing what was taken in")
        self._stopping = True
        for shard in self._shards:
            shard.stop_taking()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.grace_seconds):
                while not self._folder.idle or self._folder.can_become_safe():
                    await self._reconciler.drain()
                    await asyncio.sleep(POLL_SECONDS)
        for number in range(len(self._shards)):
            parts[f"shard-{number}"].cancel()
        await asyncio.gather(*(shard.release() for shard in self._shards))


def held_by(request: Request) -> Held:
    """What a request holds, as the folder compares it."""
    return Held(request.epoch, request.incarnation, request.folded, request.origin)


async def end_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: Python 3.11's wait_for, which redis-py
    uses, loses one that comes as its call ends."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_SECONDS)
        for task in pending:
            log.debug("cancellation was lost, repeating it", extra={"task": task.get_name()})
