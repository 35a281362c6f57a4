"""Receiver: what becomes of one post, from its token to its answer.

A post is looked at from the outside in: whether we serve, whether the body is announced as one that we take,
whose token it is, whether the caller has its share left; only then is the body read. What was read is parsed,
each alert is held to the namespaces that the caller may report on, and the others are submitted. 200 is
answered when every alert is durable: its request holds it, or none will; or is pending: Redis has counted it,
and its group needs no request so far. Alertmanager posts again what was
answered by a 5xx, at growing intervals; what was answered by a 4xx it counts as failed, and posts again only
when the group is due for the next time.
"""

import asyncio
import hmac
import logging
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from aiohttp import web
from prometheus_client import Counter, Gauge

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.reasons.webhook import WebhookReason
from stormfold.api.site import page
from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.kube.errors import ApiError
from stormfold.kube.reviews import ALL_NAMESPACES, Caller
from stormfold.model.arrival import Arrival
from stormfold.model.moments import now_ms
from stormfold.sources.alerts.credentials import Secret
from stormfold.sources.alerts.heads import MAX_BODY, bearer_token, check_head, too_large
from stormfold.sources.alerts.parser import PIECE, SOURCE, AlertParser, Body, BodyError, Policies, Refusal
from stormfold.sources.alerts.posts import (
    Answer,
    Limit,
    Post,
    RefusalError,
    Reservation,
    index_of,
    listed,
    log_rejected,
    named,
    no_place,
    none_taken,
    over_limit,
    requests_of,
    shortened,
)
from stormfold.sources.alerts.refusals import (
    cut_short,
    not_allowed,
    not_durable,
    not_reviewed,
    too_slow,
    unknown_token,
)
from stormfold.sources.signals.stream import RECEIVED, REJECTED

log = logging.getLogger(__name__)

BODY_SECONDS = 5.0
"""How long a body may take to come."""
BYTES = 64 * 2**20
"""Bytes of bodies that are read, parsed or reviewed, and not yet offered to the folder, at most."""
REVIEWS_OF_A_POST = 4
"""Namespaces of a post that are asked about at once."""
NO_PLACE = frozenset((SignalReason.NAMESPACE_NOT_FOUND, SignalReason.REQUEST_NAMESPACE_NOT_FOUND))
"""Reasons why there is no place for a request: labels of the sender or policies must be changed."""
SECRET_HOLDER = Caller(b"", "the holder of the shared secret")
"""May speak for every namespace."""

IN_FLIGHT = Gauge("stormfold_webhook_posts_in_flight", "Posts that are read or wait for their answer.")
TRUNCATED = Counter(
    "stormfold_webhook_alerts_truncated_total",
    "Alerts that Alertmanager left out of its posts for its max_alerts.",
)
SHORTENED = Counter(
    "stormfold_webhook_labels_shortened_total",
    "Labels of alerts that were cut, or left out beyond 64 of an alert; each time that they are posted.",
    ["how"],
)


class Authorizer(Protocol):
    """Says whose token it is and what its owner may do; raises `ApiError` if it cannot tell."""

    async def caller(self, token: str) -> Caller | None:
        """Whose token it is; None if nobody's."""

    async def may_post(self, caller: Caller, namespace: str) -> bool:
        """Whether the caller may post alerts that speak for the namespace, or for `ALL_NAMESPACES`."""


class Serving(Protocol):
    """Whether the process is well enough to take posts."""

    def not_serving(self) -> str | None:
        """Why no post is taken now; None if posts are."""


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """What can be set; the settings tell what each means."""

    host: str
    port: int
    namespace: str
    """The operator's own."""
    ack: Literal["request", "redis"] = "request"
    wait_seconds: float = 8.0
    posts: int = 512
    secret_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""


class Receiver:
    """Takes posts in. One whose client goes is cancelled: what has not been offered to the folder by then is
    not taken."""

    def __init__(
        self,
        options: WebhookOptions,
        *,
        secret: Secret,
        enricher: Enricher,
        folder: Folder,
        authorizer: Authorizer,
        serving: Serving,
        policies: Policies,
    ) -> None:
        self._options = options
        self._secret = secret
        self._enricher = enricher
        self._folder = folder
        self._authorizer = authorizer
        self._serving = serving
        self._parser = AlertParser(options.namespace, policies)
        self._parsing = asyncio.Lock()
        """Bodies are parsed one after the other: what is parsed takes several times the memory of its
        text."""
        self._posts = Limit(options.posts, "posts")
        self._bytes = Limit(BYTES, "bytes of bodies")

    async def receive(self, request: web.Request) -> Answer:
        """What is answered to a post whose alerts are taken.

        Raises:
            RefusalError: what is answered to another.
        """
        # What waits here for its token, its body or its turn must not overrule what is posted meanwhile.
        arrived_ms = now_ms()
        problem = self._serving.not_serving()
        if problem:
            raise RefusalError(503, WebhookReason.NOT_SERVING, problem)
        token = bearer_token(request)
        check_head(request)
        post = Post(ack_folded=self._options.ack == "redis")
        try:
            async with asyncio.timeout(self._options.wait_seconds):
                caller = await self._caller(token)
            with self._under_way(caller) as held:
                data = await self._read(request, held)
                async with asyncio.timeout(self._options.wait_seconds):
                    body = await self._parsed(data, post, arrived_ms)
                    del data  # it may take a while until `held` ends
                    answer = await self._take(body, post, caller, held)
        except TimeoutError:
            raise not_durable(self._options.wait_seconds, post.delay) from None
        except ApiError as exc:
            log.debug("token or rights not reviewed", extra={"error": str(exc)})
            raise not_reviewed() from exc
        return answer

    async def _caller(self, token: str) -> Caller:
        text = token.encode("utf-8", "surrogateescape")
        if self._secret.text and hmac.compare_digest(text, self._secret.text):
            return SECRET_HOLDER
        # What is no ASCII is nobody's, and cannot even be asked about.
        caller = await self._authorizer.caller(token) if token.isascii() else None
        if caller is None:
            raise unknown_token()
        return caller

    @contextmanager
    def _under_way(self, caller: Caller) -> Iterator[Reservation]:
        self._posts.take(caller, 1)
        IN_FLIGHT.inc()
        held = Reservation(self._bytes, caller)
        try:
            yield held
        finally:
            held.give()
            IN_FLIGHT.dec()
            self._posts.give(caller, 1)

    async def _read(self, request: web.Request, held: Reservation) -> bytearray:
        """The body, if it is not too large and comes in time."""
        data = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.content.iter_any():
                    if len(data) + len(part) > MAX_BODY:
                        raise too_large()
                    held.take(len(part))
                    data += part
        except TimeoutError:
            raise too_slow(BODY_SECONDS) from None
        except web.RequestPayloadError as exc:
            raise cut_short(str(exc)) from None
        return data

    async def _parsed(self, data: bytearray, post: Post, arrived_ms: int) -> Body:
        """What the body says."""
        try:
            async with self._parsing:
                pieces = self._parser.pieces(data, post=post, now_ms=arrived_ms)
                body = next(pieces)
                for _ in pieces:  # the same body, with more in it
                    await asyncio.sleep(0)  # nobody waits longer than for a piece
        except BodyError as exc:
            code = 413 if exc.reason is WebhookReason.TOO_MANY_ALERTS else 400
            raise RefusalError(code, exc.reason, exc.message) from None
        return body

    async def _take(self, body: Body, post: Post, caller: Caller, held: Reservation) -> Answer:
        TRUNCATED.inc(body.truncated)
        SHORTENED.labels(how="cut").inc(body.shortened.labels_cut)
        SHORTENED.labels(how="left-out").inc(body.shortened.labels_left_out)
        arrivals, refusals = await self._allowed(body, caller)
        for reason, number in Tally(refusal.reason for refusal in refusals).items():
            REJECTED.labels(source=SOURCE, reason=reason.value).inc(number)
        # What stormfold has posted itself comes back again and again: that is no error of the sender.
        faulty = any(refusal.reason is not SignalReason.LOOP_DETECTED for refusal in refusals)
        if faulty and not arrivals:
            refusal = none_taken(refusals)
            if refusal.answer.code != 403:  # anybody with a token could fill the log
                log_rejected(refusals)
            raise refusal
        post.expect([index_of(arrival) for arrival in arrivals])
        try:
            refused = await self._offer(arrivals) if arrivals else []
            held.give()  # from here on the folder counts what it holds
            RECEIVED.labels(source=SOURCE).inc(len(arrivals) - len(refused))
            if refused:
                raise over_limit(refused)
            await post.wait()
            if post.no_place:
                raise RefusalError(503, SignalReason.OPEN_STORMS_REACHED, no_place(post.no_place))
            return _answer(body, post, arrivals, refusals)
        finally:
            post.leave()

    async def _offer(self, arrivals: list[Arrival]) -> list[Arrival]:
        """Hand alerts on to the folder; gives those for which there is no room."""
        enriched = await self._enricher.all_enriched(arrivals)
        refused: list[Arrival] = []
        for first in range(0, len(enriched), PIECE):
            if first:
                await asyncio.sleep(0)  # a large post must not keep the others from their turn
            refused += self._folder.offer(enriched[first : first + PIECE])
        return refused

    async def _allowed(self, body: Body, caller: Caller) -> tuple[list[Arrival], list[Refusal]]:
        """What the caller may post, and all that is refused."""
        if caller is SECRET_HOLDER or not body.arrivals:
            return body.arrivals, body.refusals
        if await self._authorizer.may_post(caller, ALL_NAMESPACES):
            return body.arrivals, body.refusals
        gate = asyncio.Semaphore(REVIEWS_OF_A_POST)

        async def may_post(namespace: str) -> bool:
            async with gate:
                return await self._authorizer.may_post(caller, namespace)

        namespaces = {arrival.namespace for arrival in body.arrivals}
        answers = await asyncio.gather(*(may_post(namespace) for namespace in namespaces))
        allowed = {namespace for namespace, may in zip(namespaces, answers, strict=True) if may}
        refusals = body.refusals + [
            Refusal(
                index_of(arrival),
                SignalReason.NAMESPACE_NOT_ALLOWED,
                not_allowed(caller.name, arrival.namespace),
                arrival.name,
            )
            for arrival in body.arrivals
            if arrival.namespace not in allowed
        ]
        return [arrival for arrival in body.arrivals if arrival.namespace in allowed], refusals


def _answer(body: Body, post: Post, arrivals: list[Arrival], refusals: list[Refusal]) -> Answer:
    """What is answered to a post of whose alerts nothing is waited for any more."""
    rejected = sorted([*refusals, *named(post.rejected, arrivals)], key=lambda refusal: refusal.index)
    log_rejected(rejected)
    neither = len(post.discarded) + len(post.pending_alerts)
    accepted = len(arrivals) - len(post.rejected) - neither
    if not (accepted or neither) and any(refusal.reason in NO_PLACE for refusal in rejected):
        raise none_taken(rejected)  # by a 200 nobody would hear of it
    return Answer(
        200,
        {
            "accepted": accepted,
            **requests_of(post),
            "rejected": [listed(refusal) for refusal in rejected],
            "discarded": [listed(refusal) for refusal in post.discarded],
            "pending": [listed(refusal) for _, refusal in sorted(post.pending_alerts.items())],
            **shortened(body.shortened),
            **({"docs": page("reasons")} if rejected else {}),
        },
    )
