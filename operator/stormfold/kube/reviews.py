"""Reviews: whose token it is, and what its owner may do, as the API server says; remembered for a short
while.

Who may create Signals in a namespace may post alerts for it. What a TokenReview or a SubjectAccessReview said
is remembered for `ALLOWED_SECONDS`, or for `DENIED_SECONDS` if it was no: so long may a right that was taken
away, or given, take to show. Tokens are not kept: a keyed digest stands for each.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from time import monotonic
from typing import Any, Generic, TypeVar

from prometheus_client import Counter

from stormfold.api.resource import GROUP
from stormfold.api.signal import Signal
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiUnavailableError

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ALLOWED_SECONDS = 60.0
"""How long a yes is remembered."""
DENIED_SECONDS = 10.0
"""How long a no is remembered."""
REMEMBERED = 4096
"""How many yeses, and how many noes, are remembered of each kind: made-up tokens push out no good ones."""
AT_ONCE = 16
"""Reviews of a kind under way, at most, and as many of those whose last answer was a yes; others wait, so
that the operator's own requests find a connection."""
WAITING = 1024
"""Reviews of a kind that are under way or wait, at most: whoever asked may be gone, and made-up tokens cost
nothing. Those whose last answer was a yes are not counted: there are no more of them than are remembered."""
ALL_NAMESPACES = ""

REVIEWS = Counter(
    "stormfold_reviews_total", "TokenReviews and SubjectAccessReviews by what was said.", ["kind", "outcome"]
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token it is."""

    key: bytes
    """Stands for the token."""
    name: str
    user: Mapping[str, Any] = field(default_factory=dict)
    """What the TokenReview says of the user."""


class Memory(Generic[T]):
    """What was answered, by key, asked for once however many want to know it; a falsy answer is a no."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._yes: dict[Hashable, tuple[float, T]] = {}
        self._no: dict[Hashable, tuple[float, T]] = {}
        self._asking: dict[Hashable, asyncio.Task[T]] = {}
        self._strangers = 0
        """Keys that are being asked about and have no yes."""
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._gate_of_the_known = asyncio.Semaphore(AT_ONCE)

    async def answer(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """What is remembered, or what `ask` gives. What it raises is raised for all who wait, and not
        remembered.

        Raises:
            ApiUnavailableError: as many as may wait already.
        """
        now = monotonic()
        for remembered in (self._yes, self._no):
            found = remembered.get(key)
            if found and found[0] > now:
                return found[1]
        task = self._asking.get(key)
        if task is None:
            known = key in self._yes
            if not known and self._strangers >= WAITING:
                REVIEWS.labels(kind=self._kind, outcome="refused").inc()
                raise ApiUnavailableError("asking for a review", 0, "TooMany", f"{WAITING} others wait")
            task = self._asking[key] = asyncio.create_task(self._ask(key, ask, known=known))
            task.add_done_callback(_hear)
        # Whoever asked first may go away; the others still want to know.
        return await asyncio.shield(task)

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[T]], *, known: bool) -> T:
        outcome = "failed"
        self._strangers += not known
        try:
            async with self._gate_of_the_known if known else self._gate:
                said = await ask()
            outcome = "yes" if said else "no"
        finally:
            self._strangers -= not known
            del self._asking[key]
            REVIEWS.labels(kind=self._kind, outcome=outcome).inc()
        self._yes.pop(key, None)
        self._no.pop(key, None)
        remembered, seconds = (self._yes, ALLOWED_SECONDS) if said else (self._no, DENIED_SECONDS)
        remembered[key] = (monotonic() + seconds, said)
        if len(remembered) > REMEMBERED:
            del remembered[next(iter(remembered))]
        return said


def _hear(task: asyncio.Task[Any]) -> None:
    """Whoever waited may be gone: an error that nobody hears is no news."""
    if not task.cancelled():
        task.exception()


class Reviews:
    """Asks the API server. Both questions raise the errors of `kube.errors`."""

    def __init__(self, client: KubeClient, *, audience: str) -> None:
        """`audience` is what tokens must be made for; empty: for the API server."""
        self._client = client
        self._audience = audience
        self._secret = secrets.token_bytes(32)
        self._callers: Memory[Caller | None] = Memory("token")
        self._rights: Memory[bool] = Memory("access")

    async def caller(self, token: str) -> Caller | None:
        """Whose token it is; None if the API server does not know it, or knows it for another audience."""
        key = blake2b(token.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=32).digest()
        return await self._callers.answer(key, lambda: self._review_token(key, token))

    async def _review_token(self, key: bytes, token: str) -> Caller | None:
        spec: dict[str, Any] = {"token": token}
        if self._audience:
            spec["audiences"] = [self._audience]
        status = (
            await self._client.create(
                TOKEN_REVIEWS,
                {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec},
            )
        ).get("status") or {}
        # An authenticator that knows no audiences leaves them out: its tokens are for the API server.
        if not status.get("authenticated") or (
            self._audience and self._audience not in (status.get("audiences") or ())
        ):
            return None
        user = status.get("user") or {}
        return Caller(key, str(user.get("username", "")), user)

    async def may_post(self, caller: Caller, namespace: str) -> bool:
        """Whether the caller may create Signals in the namespace, or in all (`ALL_NAMESPACES`)."""
        return await self._rights.answer(
            (caller.key, namespace), lambda: self._review_access(caller, namespace)
        )

    async def _review_access(self, caller: Caller, namespace: str) -> bool:
        user = caller.user
        attributes = {"verb": "create", "group": GROUP, "resource": Signal.plural, "namespace": namespace}
        spec = {
            "resourceAttributes": attributes,
            "user": caller.name,
            "uid": user.get("uid", ""),
            "groups": user.get("groups") or [],
            "extra": user.get("extra") or {},
        }
        status = (
            await self._client.create(
                ACCESS_REVIEWS,
                {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec},
            )
        ).get("status") or {}
        return bool(status.get("allowed"))
