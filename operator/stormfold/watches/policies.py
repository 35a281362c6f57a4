"""Policies in: resources → PolicyVersions in force."""

import asyncio
import logging
from typing import Any

from prometheus_client import Gauge

from stormfold.enrich.namespaces import Namespaces
from stormfold.enrich.owners import Owners
from stormfold.fold.storms import Storms
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError
from stormfold.kube.recorder import Recorder
from stormfold.model.evidence import cut
from stormfold.policy.caveats import Rivals, looks_like_regex, request_namespace_not_found
from stormfold.policy.matching import Labels
from stormfold.policy.router import Router
from stormfold.policy.validation import Fault
from stormfold.policy.version import PolicyVersion
from stormfold.request.index import RequestIndex
from stormfold.request.places import Places
from stormfold.request.refusals import LONGEST_WORDS
from stormfold.sources.ingest import Ingest
from stormfold.watches.policy import KINDS, Accepted, Kind, Policy
from stormfold.watches.reporting import PolicyReporter

log = logging.getLogger(__name__)

RESYNC_SECONDS = 60.0
"""How often policies are read without an event: deletions may be missed while disconnected."""
RETRY_SECONDS = 1.0
"""When it is tried again to read them, or to write statuses: those, after twice as long each time."""
GATHER_SECONDS = 0.1
"""How long events are gathered: `kubectl apply` of many policies is one change."""
POLICIES = Gauge("stormfold_policies", "Policies by whether they are in force.", ["accepted"])


class PolicyIntake:
    """Reads all policies whenever one may have changed."""

    def __init__(
        self,
        client: KubeClient,
        recorder: Recorder,
        *,
        router: Router,
        namespaces: Namespaces,
        owners: Owners,
        storms: Storms,
        places: Places,
        requests: RequestIndex,
        ingest: Ingest,
        changed: asyncio.Event,
    ) -> None:
        """`changed` is set when some policy may have changed, or what is to be said of one."""
        self._client = client
        self._reporter = PolicyReporter(client, recorder, router=router, places=places, changed=changed)
        self._router = router
        self._namespaces = namespaces
        self._owners = owners
        self._storms = storms
        self._requests = requests
        self._ingest = ingest
        self._changed = changed
        self._rivals = Rivals()

    def changed(self) -> None:
        """Some policy may have changed."""
        self._changed.set()

    def namespace_changed(self, name: str, labels: Labels | None) -> None:
        """A namespace has other labels, or None: it is gone."""
        self._router.namespace_changed(name, labels)
        if name in self._router.request_namespaces:
            self._changed.set()

    async def run(self) -> None:
        """Follow changes for ever."""
        wait, retry = RESYNC_SECONDS, RETRY_SECONDS
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(GATHER_SECONDS)
            self._changed.clear()
            try:
                said = await self.sync()
            except ApiError as exc:
                error = cut(str(exc), LONGEST_WORDS)
                log.warning("policies not read, trying again", extra={"error": error})
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            wait = RESYNC_SECONDS if said else retry
            retry = RETRY_SECONDS if said else min(2 * retry, RESYNC_SECONDS)

    async def sync(self) -> bool:
        """Read all policies, put the accepted ones in force, then write what each one's status should say;
        whether all say it."""
        found: list[Policy] = []
        accepted = Accepted()
        for kind in KINDS:

            def read(body: dict[str, Any], kind: Kind = kind) -> Policy:
                policy = Policy.read(kind, body)
                accepted.add(policy)
                return policy

            policies, _ = await self._client.list_all(paths.collection(kind.plural), read)
            found += policies
        versions = accepted.versions
        self._router.hold(() if self._ingest.caught_up else self._requests.versions())
        self._router.update(versions, self._storms.versions_in_use())
        in_use = self._router.versions
        self._owners.want(any(version.wants_owners for version in in_use))
        self._ingest.want_events(any(version.takes_events for version in in_use))
        POLICIES.labels(accepted="true").set(len(versions))
        POLICIES.labels(accepted="false").set(len(found) - len(versions))
        if not self._ingest.leading:
            return True
        self._rivals.update(versions)
        await self._namespaces.know(self._router.request_namespaces)
        return await self._reporter.report(found, self._caveats)

    def _caveats(self, policy: Policy) -> list[Fault]:
        """What a policy that is in force must be told, the worst first."""
        version = policy.version
        if version is None:
            return []
        found = (
            self._without_namespace(version),
            self._owners.caveat(version),
            looks_like_regex(version),
            self._rivals.caveat(version),
        )
        return [caveat for caveat in found if caveat]

    def _without_namespace(self, version: PolicyVersion) -> Fault | None:
        named = None if version.id.namespace else version.spec.request_namespace
        if not named or self._router.knows_namespace(named):
            return None
        return request_namespace_not_found(named)
