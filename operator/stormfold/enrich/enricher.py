"""Enricher: what an arrival does not say itself: the labels of its namespace, and its target's owner and
node."""

from collections.abc import Sequence

from stormfold.enrich.namespaces import Namespaces
from stormfold.enrich.owners import Owners
from stormfold.model.arrival import Arrival
from stormfold.policy.router import Router


class Enricher:
    """Makes arrivals ready to be routed."""

    def __init__(self, namespaces: Namespaces, owners: Owners, router: Router) -> None:
        """`router` says in which other namespaces requests are made, and what depends on owners."""
        self._namespaces = namespaces
        self._owners = owners
        self._router = router

    async def enriched(self, arrival: Arrival) -> Arrival:
        """The arrival with its owner and node, once its namespace is known."""
        await self._namespaces.know((arrival.namespace,))
        return await self._owners.resolve(arrival, self._router.needs_owner)

    async def all_enriched(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """The same for the alerts of a post, once those namespaces are known too in which their requests may
        be made."""
        await self._namespaces.know(
            {arrival.namespace for arrival in arrivals} | self._router.request_namespaces
        )
        if not self._owners.wanted:
            return list(arrivals)
        return [await self._owners.resolve(arrival, self._router.needs_owner) for arrival in arrivals]
