"""App: builds every part once and hands each what it works with."""

import asyncio
import logging
import signal as os_signal
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from typing import Any

from stormfold import __version__
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.enrich.enricher import Enricher
from stormfold.enrich.namespaces import Namespaces
from stormfold.enrich.owners import Owners
from stormfold.fold.connection import Connection
from stormfold.fold.elsewhere import Elsewhere
from stormfold.fold.folder import Folder
from stormfold.fold.patience import until_done
from stormfold.fold.preflight import preflight
from stormfold.fold.store import StormStore
from stormfold.fold.writes import Writes
from stormfold.gate.gates import GateIndex
from stormfold.gate.steering import Steering
from stormfold.gate.watching import GateWatch
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.recorder import Recorder
from stormfold.kube.reviews import Reviews
from stormfold.notify.alertmanager import Alertmanager
from stormfold.notify.notifier import Notifier
from stormfold.policy.router import Router
from stormfold.probes import Probes
from stormfold.readiness import Readiness
from stormfold.request.decisions import Decisions
from stormfold.request.index import RequestIndex
from stormfold.request.noting import Noter
from stormfold.request.places import Places
from stormfold.request.reconciler import Reconciler
from stormfold.request.remediation import Phases
from stormfold.request.reopening import Reopener
from stormfold.request.retention import RequestRetention
from stormfold.request.schedule import Schedule
from stormfold.request.writing import RequestWriter
from stormfold.settings import Settings
from stormfold.sources.alerts.receiver import WebhookOptions
from stormfold.sources.alerts.webhook import Webhook
from stormfold.sources.ingest import Ingest
from stormfold.sources.signals.keeping import SignalKeeper
from stormfold.watches.handlers import Listeners
from stormfold.watches.kopf_thread import KopfThread
from stormfold.watches.policies import PolicyIntake

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
CANCEL_SECONDS = 0.2
"""How long a part may take to end before it is told again."""


class App:
    """One operator process."""

    def __init__(self, settings: Settings, client: KubeClient, connection: Connection, cluster: str) -> None:
        self._settings = settings
        self._client = client
        self._connection = connection
        self._store = store = StormStore(connection, cluster=cluster)
        self._writes = writes = Writes(store)
        self._recorder = recorder = Recorder(client, identity=settings.identity)
        policies_changed = asyncio.Event()
        self._router = router = Router(policies_changed.set)

        self._schedule = schedule = Schedule(store)
        self._index = index = RequestIndex(schedule)
        self._folder = folder = Folder(store, router, index, schedule)
        index.subscribe(folder)

        self._owners = owners = Owners(client, policies_changed)
        namespaces = Namespaces(client, router)
        enricher = Enricher(namespaces, owners, router)
        self._keeper = keeper = SignalKeeper(
            client,
            router,
            per_second=settings.marks_per_second,
            per_namespace=settings.signals_per_namespace,
        )
        self._ingest = ingest = Ingest(
            client,
            store,
            settings,
            enricher=enricher,
            folder=folder,
            keeper=keeper,
            recorder=recorder,
            deadlines=schedule,
            policies_changed=policies_changed,
            first_leader=self._say_started,
        )
        gates = GateIndex(settings.namespace)
        self._steering = steering = Steering(client, gates, Decisions(client, index), ingest)
        gates.subscribe(steering)
        self._gate_watch = GateWatch(client, gates)
        index.subscribe(steering)
        phases = Phases.of(settings.terminal_phases, settings.active_phases)
        places = Places(index, router, deadlines=schedule, ingest=ingest, changed=policies_changed)
        index.subscribe(places)
        self._reopener = Reopener(store, index, router, phases=phases, deadlines=schedule)
        index.subscribe(self._reopener)
        self._noter = Noter(client, store, index, ingest)
        index.subscribe(self._noter)
        index.subscribe_to_deletions(self._noter)
        elsewhere = Elsewhere(connection)
        self._reconciler = Reconciler(
            store,
            index,
            RequestWriter(
                client,
                index,
                recorder,
                phases=phases,
                gates=gates,
                elsewhere=elsewhere,
                census=owners.census,
            ),
            folder=folder,
            schedule=schedule,
            ingest=ingest,
            phases=phases,
            router=router,
            places=places,
            elsewhere=elsewhere,
        )
        self._request_retention = RequestRetention(
            client, index.closed, index, ingest, per_namespace=settings.requests_per_namespace
        )
        self._notifier = notifier = Notifier(
            [
                Alertmanager(url, token_file=settings.notify_token_file, ca_file=settings.notify_ca_file)
                for url in sorted(settings.notify_alertmanager_url)
            ],
            index,
            ingest,
        )
        if settings.notify_alertmanager_url:
            index.subscribe(notifier)
        self._policies = policies = PolicyIntake(
            client,
            recorder,
            router=router,
            namespaces=namespaces,
            owners=owners,
            storms=folder.storms,
            places=places,
            requests=index,
            ingest=ingest,
            changed=policies_changed,
        )
        self._kopf = KopfThread(Listeners(policies, index), client.access)
        self._readiness = readiness = Readiness(writes, client, ingest, self._kopf)
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
            enricher=enricher,
            folder=folder,
            authorizer=Reviews(client, audience=settings.webhook_audience),
            serving=readiness,
            policies=router,
        )
        self._probes = Probes(readiness, host=settings.http_host, port=settings.http_port)

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
            **self._keeper.parts(),
            **self._ingest.parts(),
            "reconcile": self._reconciler.run(),
            "request-retention": self._request_retention.run(),
            "reopen": self._reopener.run(),
            "note-ends": self._noter.run(),
            "policies": self._policies.run(),
            "gates": self._gate_watch.run(),
            "steering": self._steering.run(),
            "notify": self._notifier.run(),
            "events": self._recorder.run(),
            "kopf": self._kopf.run(),
            "owners": self._owners.run(),
            "webhook": self._webhook.run(),
        }
        return {name: asyncio.create_task(part, name=name) for name, part in parts.items()}

    async def _load(self) -> None:
        """Read what every replica must know before it folds or writes anything; Redis may refuse for a
        while."""
        await until_done(lambda: preflight(self._connection, self._store))
        await until_done(self._store.check_owner)
        namespaces, _ = await self._client.list_all(
            "/api/v1/namespaces",
            lambda item: (item["metadata"]["name"], item["metadata"].get("labels") or {}),
        )
        self._router.namespaces_listed(dict(namespaces))
        await self._client.list_all(paths.collection(RemediationRequest.plural), self._index.seen)
        await self._steering.load()
        opened = list(self._index.open_requests())
        groups = await until_done(self._store.open_groups)
        self._folder.adopt(groups, opened)
        without_request = groups - {request.group_hash for request in opened}
        await until_done(lambda: self._schedule.take_up(without_request))
        self._router.retain((request.version for request in opened), self._folder.storms.versions_in_use())
        await self._policies.sync()
        self._readiness.loaded = True

    def _say_started(self, leader: str) -> None:
        """Say what has started, once it is known who leads the intake."""
        settings = self._settings
        log.info(
            "stormfold runs",
            extra={
                "version": __version__,
                "identity": settings.identity,
                "httpPort": settings.http_port,
                "webhookPort": settings.webhook_port,
                "leading": leader == settings.identity,
                "leader": leader,
                "openRequests": sum(1 for _ in self._index.open_requests()),
            },
        )

    async def _drain(self, parts: dict[str, asyncio.Task[None]]) -> None:
        """Take nothing more in, write what was taken, keep the checkpoint, leave the Lease to the next."""
        log.info("stopping: writing what was accepted")
        self._readiness.stopping = True
        self._ingest.stop_taking()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.grace_seconds):
                while not self._folder.idle or self._folder.storms.can_become_durable():
                    self._reconciler.drain()
                    await asyncio.sleep(POLL_SECONDS)
        parts["ingest"].cancel()
        await self._ingest.release()


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
