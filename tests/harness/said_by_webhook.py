"""What the webhook answers, by its own code, for fixed inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from tests.harness.said_of_requests import Said
from tests.harness.values import ARRIVAL, DEFAULT, NOBODY, T0, version

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.reasons.webhook import WebhookReason
from stormfold.fold.folding import pending_message
from stormfold.kube.reviews import Caller
from stormfold.model.arrival import AlertRef
from stormfold.policy.router import Router
from stormfold.readiness import Readiness
from stormfold.request.places import all_taken
from stormfold.request.refusals import not_written
from stormfold.sources.alerts import heads, posts, refusals
from stormfold.sources.alerts.parser import AlertParser, BodyError, Refusal

PARSE_ALERTS = AlertParser("stormfold-system", Router())


def alerts() -> Said:
    """What the webhook answers about one alert."""
    for reason in (SignalReason.BELOW_THRESHOLD, SignalReason.NOTHING_FIRING, SignalReason.GROUP_WAIT):
        yield reason, pending_message(reason, version(threshold={"signals": 5, "resources": 3}))
    labels = {"alertname": "PodDown", "namespace": "shop"}
    alert = {"status": "firing", "labels": labels, "startsAt": "2026-01-01T00:00:00Z"}
    wrong = [
        "text",
        alert | {"status": "on"},
        alert | {"labels": None},
        alert | {"labels": {"namespace": "shop"}},
        alert | {"startsAt": "yesterday"},
        alert | {"labels": labels | {"stormfold_storm": "true"}},
    ]
    for refusal in PARSE_ALERTS(_posted({"version": "4", "alerts": wrong}), post=NOBODY, now_ms=T0).refusals:
        yield refusal.reason, refusal.message
    yield "NamespaceNotAllowed", refusals.not_allowed("system:serviceaccount:monitoring:am", "shop")


def webhook() -> Said:
    """What the webhook answers about a post."""
    for code, message in (
        (400, b"text"),
        (400, b"[]"),
        (400, b"7"),
        (400, _posted({"version": "3"})),
        (400, _posted({"version": "4"})),
        (413, _posted({"version": "4", "alerts": [0] * 20_001})),
        (413, b"[" * 400_001),
    ):
        try:
            PARSE_ALERTS(message, post=NOBODY, now_ms=T0)
        except BodyError as exc:
            yield _answered(posts.RefusalError(code, exc.reason, exc.message))
    limit = posts.Limit(4, "posts")
    for name, number in (("robot", 2), ("robot", 1), ("other", 1), ("third", 1), ("fourth", 1)):
        yield from _refused(partial(limit.take, Caller(b"", name), number))
    request = cast("Any", SimpleNamespace)
    for head in (
        lambda: heads.bearer_token(request(headers={})),
        lambda: heads.check_head(
            request(headers={}, content_type="text/plain", charset=None, content_length=0)
        ),
        lambda: heads.check_head(
            request(headers={}, content_type="application/json", charset=None, content_length=9_000_000)
        ),
    ):
        yield from _refused(head)
    arrival = replace(ARRIVAL, ref=AlertRef(0, T0 // 1000))
    starting, stopping = Readiness(*[cast("Any", None)] * 2), Readiness(*[cast("Any", None)] * 2)
    stopping.stopping = True
    for serving in (starting, stopping):
        yield _answered(posts.RefusalError(503, WebhookReason.NOT_SERVING, serving.not_serving() or ""))
    refused = Refusal(0, SignalReason.INVALID_ALERT, "labels: must have an alertname")
    barred = Refusal(0, SignalReason.NAMESPACE_NOT_ALLOWED, refusals.not_allowed("robot", "shop"))
    for answer in (
        posts.RefusalError(404, WebhookReason.NO_SUCH_ENDPOINT, heads.not_served("/v1/alerts")),
        posts.RefusalError(404, WebhookReason.NO_SUCH_ENDPOINT, heads.not_served("/api/v2/alerts")),
        refusals.unknown_token(),
        refusals.not_reviewed(),
        refusals.too_slow(5),
        refusals.cut_short("connection closed"),
        refusals.not_durable(8, ""),
        refusals.not_durable(8, not_written("shop/storm-0123456789abcdef-2", "exceeded quota")),
        refusals.failed(),
        posts.over_limit([arrival]),
        posts.over_limit([arrival, replace(arrival, namespace="ops")]),
        posts.none_taken([refused]),
        posts.none_taken([barred]),
        posts.RefusalError(
            503, SignalReason.OPEN_STORMS_REACHED, posts.no_place(all_taken(DEFAULT, 500, "shop"))
        ),
    ):
        yield _answered(answer)


def _posted(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


def _answered(refusal: posts.RefusalError) -> tuple[str, str]:
    said = refusal.answer.body
    return f"{refusal.answer.code} {said['reason']}", str(said["message"])


def _refused(call: Callable[[], object]) -> Said:
    try:
        call()
    except posts.RefusalError as exc:
        yield _answered(exc)
