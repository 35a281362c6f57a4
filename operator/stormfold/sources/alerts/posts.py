"""What becomes of a post: its alerts are waited for, its room is shared out, and its answer says what each
came to."""

import asyncio
import logging
from collections import Counter as Tally
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.reasons.webhook import WebhookReason
from stormfold.api.signal import SignalPhase
from stormfold.api.site import reason_page
from stormfold.fairness import FairShare
from stormfold.kube.reviews import Caller
from stormfold.model.arrival import AlertRef, Arrival, Verdict
from stormfold.model.evidence import cut
from stormfold.sources.alerts.parser import SOURCE, Refusal, Shortened
from stormfold.sources.signals.stream import DISCARDED, REJECTED

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 2
MAX_DELAY = 1024
"""Characters of what the API server says of a refused request: webhooks of others may answer at any
length."""
NAMED = 5
"""Namespaces that an answer names."""
LISTED = 100
"""Requests that an answer lists."""
BEYOND = ("", "", "")
"""Stands for the requests beyond."""


class Post:
    """Waits for the alerts of one body: what they come through.

    Arrivals may hold it for longer than anybody waits: it keeps no more than a flag for each alert, and once
    nobody waits, it only counts.
    """

    __slots__ = (
        "_ack_folded",
        "_delayed",
        "_done",
        "_open",
        "_waiting",
        "delay",
        "discarded",
        "no_place",
        "pending_alerts",
        "rejected",
        "requests",
    )

    def __init__(self, *, ack_folded: bool) -> None:
        self._ack_folded = ack_folded
        self._waiting = bytearray()
        self._open = 0
        self._done: asyncio.Future[None] | None = None
        self.delay = ""
        """Why a request is not written for which it waits, at most `MAX_DELAY` characters; empty: none is
        refused."""
        self._delayed = -1
        """The alert of that request."""
        self.no_place = ""
        """Why an alert must be posted again: its group waits until others are closed. Empty: none must."""
        self.rejected: list[Refusal] = []
        self.discarded: list[Refusal] = []
        self.pending_alerts: dict[int, Refusal] = {}
        """Those that Redis has counted and of whose groups no request is to be made so far, by index."""
        self.requests: dict[tuple[str, str, str], int] = {}
        """(namespace, name, policy) of a request → how many of the alerts it holds; those beyond `LISTED`
        requests are counted under empty names."""

    def expect(self, indices: Collection[int]) -> None:
        """These alerts are submitted next."""
        self._waiting = bytearray(max(indices, default=-1) + 1)
        for index in indices:
            self._waiting[index] = 1
        self._open = len(indices)

    async def wait(self) -> None:
        """Wait until every alert is taken, or is pending."""
        if self._open and not self.no_place:
            self._done = asyncio.get_running_loop().create_future()
            await self._done

    def leave(self) -> None:
        """Nobody waits any longer: nothing more is noted, and what was is forgotten."""
        self._done = None
        self._waiting = bytearray()
        self.rejected, self.discarded, self.pending_alerts, self.requests = [], [], {}, {}

    def current(self, arrival: Arrival) -> Arrival:
        """The same: an alert stays what it was when it came."""
        return arrival

    def folded(self, arrival: Arrival) -> None:
        """Redis has counted it, or knew it."""
        if self._ack_folded:
            self._take(index_of(arrival))

    def delayed(self, arrival: Arrival, why: str) -> None:
        """The request of one of them cannot be written now."""
        self.delay = cut(why, MAX_DELAY)
        self._delayed = index_of(arrival)

    def waits(self, arrival: Arrival, why: str) -> bool:
        """The post is not taken, unless it is enough that Redis has the alert."""
        if self._ack_folded:
            return False
        self.no_place = self.no_place or why
        if self._done and not self._done.done():
            self._done.set_result(None)
        return True

    def pending(self, arrival: Arrival, reason: Reason, message: str) -> bool:
        """It may be in no request for long, or never: the post does not wait for that. What becomes of it
        while the post waits for others is noted."""
        index = index_of(arrival)
        if self._take(index):
            self.pending_alerts[index] = Refusal(index, reason, message)
        return True

    def refused(self, arrival: Arrival, why: str) -> None:
        """Nothing more: `delayed` has told the post."""

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        """A request holds it, or none will."""
        index = index_of(arrival)
        notes = None
        if verdict.phase is SignalPhase.REJECTED:
            REJECTED.labels(source=SOURCE, reason=verdict.reason.value).inc()
            notes = self.rejected
        elif verdict.phase is SignalPhase.DISCARDED:
            DISCARDED.labels(source=SOURCE, reason=verdict.reason.value).inc()
            notes = self.discarded
        if not self._take(index) and self.pending_alerts.pop(index, None) is None:
            return
        if notes is not None:
            notes.append(Refusal(index, verdict.reason, verdict.message))
        elif not self._ack_folded:
            self._note(verdict)

    def _note(self, verdict: Verdict) -> None:
        request = (verdict.request_namespace, verdict.request_name, verdict.policy)
        if request not in self.requests and len(self.requests) >= LISTED:
            request = BEYOND
        self.requests[request] = self.requests.get(request, 0) + 1

    def _take(self, index: int) -> bool:
        """Whether somebody waits for it and had not been told."""
        if index >= len(self._waiting) or not self._waiting[index]:
            return False
        self._waiting[index] = 0
        if index == self._delayed:
            self.delay, self._delayed = "", -1
        self._open -= 1
        if not self._open and self._done and not self._done.done():
            self._done.set_result(None)
        return True


@dataclass(slots=True)
class Answer:
    """What is answered."""

    code: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class RefusalError(Exception):
    """The post is not taken."""

    def __init__(self, code: int, reason: Reason, message: str, **more: Any) -> None:
        super().__init__(message)
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if code in (429, 503) else {}
        if code == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="stormfold"'
        said = {"reason": reason.value, "message": message, "docs": reason_page(reason)}
        self.answer = Answer(code, said | more, headers)


class Limit:
    """A limit of what is under way, of which callers have fair shares, whatever number of tokens each has."""

    def __init__(self, most: int, what: str) -> None:
        self._share: FairShare[str] = FairShare(most)
        self._what = what

    def take(self, caller: Caller, number: int) -> None:
        """Take so many.

        Raises:
            RefusalError: 429 if the caller has its share already, 503 if the others have the rest.
        """
        share, name = self._share, caller.name
        if number > share.free(name):
            most = max(1, share.places // 2)
            if share.of(name) + number > most:
                raise RefusalError(
                    429,
                    WebhookReason.TOO_MANY_POSTS_OF_CALLER,
                    f"{name} has {share.of(name)} {self._what} under way and may have {most}: send the post "
                    "again",
                )
            raise RefusalError(
                503,
                WebhookReason.TOO_MANY_POSTS,
                f"{share.taken} of {share.places} {self._what} are under way: send the post again",
            )
        share.take(name, number)

    def give(self, caller: Caller, number: int) -> None:
        """Give back what was taken."""
        if number:
            self._share.give(caller.name, number)


class Reservation:
    """Bytes of one body, out of the share of its caller."""

    def __init__(self, limit: Limit, caller: Caller) -> None:
        self._limit = limit
        self._caller = caller
        self._number = 0

    def take(self, number: int) -> None:
        """Take so many more, or raise that there are no more."""
        self._limit.take(self._caller, number)
        self._number += number

    def give(self) -> None:
        """Give all back."""
        self._limit.give(self._caller, self._number)
        self._number = 0


def over_limit(refused: Sequence[Arrival]) -> RefusalError:
    """The answer to a post of which some alerts are not taken: it is to be sent again, and the others count
    once."""
    namespaces = sorted({arrival.namespace for arrival in refused})
    alerts = "1 alert was" if len(refused) == 1 else f"{len(refused)} alerts were"
    have = "namespace {} has" if len(namespaces) == 1 else "namespaces {} have"
    full = f"{have.format(', '.join(namespaces[:NAMED]))} too many signals that wait for a request"
    return RefusalError(
        503,
        SignalReason.NO_ROOM,
        f"{alerts} not taken: {full}. Send the post again; alerts that were taken are not counted twice.",
    )


def no_place(why: str) -> str:
    """What is said to a post of which some alerts wait for a request."""
    return f"not taken: {why}. Send the post again; alerts that were taken are not counted twice."


def none_taken(refusals: list[Refusal]) -> RefusalError:
    """What is said to a body of which no alert is taken: 403 if it is for want of rights alone."""
    rejected = [listed(refusal) for refusal in refusals]
    if all(refusal.reason is SignalReason.NAMESPACE_NOT_ALLOWED for refusal in refusals):
        return RefusalError(
            403, SignalReason.NAMESPACE_NOT_ALLOWED, refusals[0].message, accepted=0, rejected=rejected
        )
    return RefusalError(
        400,
        WebhookReason.NO_ALERT_USABLE,
        f"no alert of {len(refusals)} can be used; the first: {refusals[0].message}",
        accepted=0,
        rejected=rejected,
    )


def listed(refusal: Refusal) -> dict[str, Any]:
    """An alert that is in no request, as the answer lists it."""
    return {"index": refusal.index, "reason": refusal.reason.value, "message": refusal.message}


def requests_of(post: Post) -> dict[str, Any]:
    """What the answer says of the requests that hold the alerts; nothing if they are only known to Redis."""
    held = post.requests.copy()
    beyond = held.pop(BEYOND, 0)
    listed_requests = [
        {"namespace": namespace, "name": name, "policy": policy, "alerts": alerts}
        for (namespace, name, policy), alerts in sorted(held.items())
    ]
    return {
        **({"requests": listed_requests} if listed_requests else {}),
        **({"inFurtherRequests": beyond} if beyond else {}),
    }


def index_of(arrival: Arrival) -> int:
    """Its index in the body."""
    assert isinstance(arrival.ref, AlertRef)
    return arrival.ref.index


def named(refusals: list[Refusal], arrivals: list[Arrival]) -> list[Refusal]:
    """The refusals with the names of their alerts."""
    if not refusals:
        return refusals
    names = {index_of(arrival): arrival.name for arrival in arrivals}
    return [replace(refusal, name=names[refusal.index]) for refusal in refusals]


def log_rejected(refusals: list[Refusal]) -> None:
    """Say once for a post which of its alerts are rejected."""
    if not refusals:
        return
    first, reasons = refusals[0], Tally(refusal.reason.value for refusal in refusals)
    log.warning(
        "alerts rejected",
        extra={
            "alerts": len(refusals),
            "reasons": dict(reasons),
            "alertname": first.name,
            "error": first.message,
        },
    )


def shortened(what: Shortened) -> dict[str, dict[str, int]]:
    """What the answer says of labels that were cut or left out; nothing if there were none."""
    if not what.alerts:
        return {}
    return {
        "shortened": {
            "alerts": what.alerts,
            "labelsCut": what.labels_cut,
            "labelsLeftOut": what.labels_left_out,
        }
    }
