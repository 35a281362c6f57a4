"""The body that Alertmanager's webhook posts (payload version 4), or Grafana's (1) → arrivals (pure).

No alert is lost for its looks. Rejected, by its index, is only one without a name, a status or a start, and
one that stormfold has posted itself; the others go on. What an alert is, its fingerprint and its start, goes
by what was sent; its labels are brought within the bounds of `SignalSpec`, and what was cut or left out is
counted. Of its annotations so much is kept as a request may show.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Protocol

import orjson

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.reasons.webhook import WebhookReason
from stormfold.api.signal import Severity
from stormfold.model import evidence
from stormfold.model.arrival import STORM_MARK, AlertRef, Arrival, Source
from stormfold.sources.alerts.labels import MAX_NAME, MAX_VALUE, bounded, cut, digest, text_of, texts
from stormfold.sources.alerts.targets import target_and_namespace

SOURCE = "alertmanager"
"""The source of every arrival from here."""
PAYLOAD_VERSIONS = frozenset(("4", "1"))
"""Of Alertmanager, and of Grafana Alerting, whose alerts are the same."""
MAX_ALERTS = 20_000
"""Alerts in one body; a body of 8 MiB that holds more holds no real ones."""
MAX_OPENINGS = 400_000
"""Signs `{` and `[` in one body: each may be an object or a list, which takes up to 30 times its text in
memory. 20,000 alerts of Grafana have 80,000. Within this bound and the next, a body of 8 MiB took at most 157
MB, beyond them 257 MB."""
MAX_COMMAS = 1_000_000
"""Commas in one body: each may be followed by a value. 20,000 alerts with 40 labels each have fewer."""
MAX_FINGERPRINT = 128
MAX_LEFT_OUT = 10**9
"""Beyond it nobody is believed who says what was left out."""
FUTURE_MS = 5 * 60 * 1000
"""How far the `startsAt` of a Signal may lie ahead: clocks differ."""
PIECE = 256
"""Alerts that are read at once: a few milliseconds."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SHOWN = 64
"""Characters of a wrong value that a message shows."""
FOR_ALERTMANAGER = (
    "This is no Alertmanager. Let Prometheus, vmalert or a ruler send to an Alertmanager. In that "
    "Alertmanager, set the "
    "url of webhook_configs to http://<stormfold>:8090/v1/alertmanager. In Grafana, set it as the URL of a "
    "contact "
    "point of type Webhook."
)
"""What is said to a sender that takes us for an Alertmanager."""

URLS = {"generatorURL": "generator_url", "dashboardURL": "dashboard_url"}
"""Fields of an alert, of Prometheus and of Grafana, that are kept as annotations of these names."""

_STATES = {"firing": True, "resolved": False}
_SEVERITIES = {severity.value: severity for severity in Severity}
_TIME = re.compile(
    r"[12]\d{3}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,18})?([Zz]|[+-]([01]\d|2[0-3]):?[0-5]\d)", re.ASCII
)
"""RFC 3339, and what others make of it: small letters, a space, an offset without a colon."""


class BodyError(Exception):
    """The body as a whole cannot be used."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class _AlertError(Exception):
    """An alert cannot be used; the argument says why."""

    def __init__(self, message: str, reason: Reason = SignalReason.INVALID_ALERT) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """An alert that is not taken, by its index in the body."""

    index: int
    reason: Reason
    message: str
    name: str = ""
    """The alert's name, if it has one."""


@dataclass(slots=True)
class Shortened:
    """What was taken from alerts so that they keep within the bounds."""

    alerts: int = 0
    """Alerts of which something was."""
    labels_left_out: int = 0
    labels_cut: int = 0


@dataclass(slots=True)
class Body:
    """What a body says."""

    arrivals: list[Arrival]
    refusals: list[Refusal]
    truncated: int
    """Alerts that the sender left out of it, for its `max_alerts`."""
    shortened: Shortened


class Policies(Protocol):
    """The policies, as far as reading alerts asks for them."""

    @property
    def labels_used(self) -> Collection[str]:
        """Names of the labels by which they match and group."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What all alerts of a body have in common."""

    post: Source
    now_ms: int
    left_out: int
    used: Collection[str]
    known: dict[str, str]
    """The values seen so far."""
    shortened: Shortened


class AlertParser:
    """Reads bodies. `operator_namespace` is what an alert speaks for that names no namespace."""

    def __init__(self, operator_namespace: str, policies: Policies) -> None:
        self._operator_namespace = operator_namespace
        self._policies = policies

    def __call__(self, body: bytes | bytearray, *, post: Source, now_ms: int) -> Body:
        """Read one that came at `now_ms`; `post` is what its alerts come through.

        Raises:
            BodyError: it is no JSON, not of a version that we know, or has too many alerts.
        """
        *_, whole = self.pieces(body, post=post, now_ms=now_ms)
        return whole

    def pieces(self, body: bytes | bytearray, *, post: Source, now_ms: int) -> Iterator[Body]:
        """The same, a `PIECE` at a time: gives what is read so far, in the end all. Raises like that at the
        beginning."""
        alerts, truncated = _alerts(body)
        read = Body([], [], truncated, Shortened())
        reading = _Reading(post, now_ms, truncated, self._policies.labels_used, {}, read.shortened)
        for index, alert in enumerate(alerts):
            if index and index % PIECE == 0:
                yield read
            alerts[index] = None  # its annotations are most of it
            try:
                read.arrivals.append(self._arrival(alert, index, reading))
            except _AlertError as exc:
                read.refusals.append(Refusal(index, exc.reason, str(exc), _name(alert)))
        yield read

    def _arrival(self, alert: Any, index: int, reading: "_Reading") -> Arrival:
        if not isinstance(alert, dict):
            raise _AlertError("must be an object")
        status = alert.get("status")
        firing = _STATES.get(status.lower()) if isinstance(status, str) else None
        if firing is None:
            raise _AlertError(f"status: must be firing or resolved, not {_shown(status)}")
        sent = alert.get("labels")
        if not isinstance(sent, dict):
            raise _AlertError("labels: must be an object")
        whole = texts(sent, reading.known)
        if STORM_MARK in whole:
            raise _AlertError(
                f"stormfold sent this alert itself (label {STORM_MARK}), so it counts in no storm: take "
                "stormfold out of its route",
                SignalReason.LOOP_DETECTED,
            )
        if "alertname" not in whole:
            raise _AlertError("labels: must have an alertname")
        ref = AlertRef(
            index,
            _seconds(alert, "startsAt"),
            0 if firing else _end(alert, reading.now_ms),
            reading.left_out,
        )
        fingerprint = text_of(alert.get("fingerprint")) or fingerprint_of(whole)
        written = cut(whole.get("severity", ""), MAX_VALUE)
        severity = _SEVERITIES.get(written) or _SEVERITIES.get(written.lower())
        target, namespace = target_and_namespace(whole)
        labels, left_out, shortened_labels = bounded(whole, reading.used)
        if left_out or shortened_labels:
            reading.shortened.alerts += 1
            reading.shortened.labels_left_out += left_out
            reading.shortened.labels_cut += shortened_labels
        return Arrival(
            ref,
            labels.get("alertname") or cut(whole["alertname"], MAX_NAME),
            namespace or self._operator_namespace,
            severity or Severity.UNKNOWN,
            firing,
            target,
            labels,
            SOURCE,
            reading.now_ms,
            fingerprint if len(fingerprint) <= MAX_FINGERPRINT else digest(fingerprint),
            reading.post,
            "" if severity else written,
            annotations=_annotations(alert, reading.known),
        )


def _annotations(alert: dict[str, Any], known: dict[str, str]) -> dict[str, str]:
    sent = alert.get("annotations")
    shown = texts(sent, known) if isinstance(sent, dict) else {}
    for field, name in URLS.items():
        if url := text_of(alert.get(field)):
            shown.setdefault(name, known.setdefault(url, url))
    return evidence.kept(shown)


def fingerprint_of(labels: dict[str, str]) -> str:
    """What stands for the fingerprint of an alert that has none: 16 hex digits over its labels as they were
    sent."""
    text = orjson.dumps(labels, option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=8).hexdigest()


def _alerts(body: bytes | bytearray) -> tuple[list[Any], int]:
    message = _message(body)
    if isinstance(message, list):
        raise BodyError(
            WebhookReason.INVALID_BODY, f"The body must be an object, and is a list. {FOR_ALERTMANAGER}"
        )
    if not isinstance(message, dict):
        raise BodyError(WebhookReason.INVALID_BODY, "must be an object")
    version = message.get("version")
    if type(version) not in (str, int) or str(version) not in PAYLOAD_VERSIONS:
        raise BodyError(
            WebhookReason.UNSUPPORTED_PAYLOAD_VERSION,
            f'version: must be "4" as Alertmanager says, or "1" as Grafana does, not {_shown(version)}',
        )
    alerts = message.get("alerts")
    if not isinstance(alerts, list):
        raise BodyError(WebhookReason.INVALID_BODY, "alerts: must be a list")
    if len(alerts) > MAX_ALERTS:
        raise BodyError(
            WebhookReason.TOO_MANY_ALERTS,
            f"alerts: must have at most {MAX_ALERTS}, not {len(alerts)}: group by more labels in the route",
        )
    truncated = message.get("truncatedAlerts")
    return alerts, min(truncated, MAX_LEFT_OUT) if type(truncated) is int and truncated > 0 else 0


def _message(body: bytes | bytearray) -> Any:
    """The body as JSON, unless it has so many values that they would take too much memory. The signs are
    counted also within texts: that is quick, and real alerts are far from the bounds."""
    if body.count(b"{") + body.count(b"[") > MAX_OPENINGS or body.count(b",") > MAX_COMMAS:
        raise BodyError(
            WebhookReason.TOO_MANY_ALERTS,
            f"The body has more than {MAX_OPENINGS} of the signs {{ and [, or more than {MAX_COMMAS} commas. "
            "Let the sender post fewer alerts in one body.",
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BodyError(WebhookReason.INVALID_BODY, f"must be JSON in UTF-8: {exc}") from None


def _seconds(alert: dict[str, Any], field: str) -> int:
    text = alert.get(field)
    if isinstance(text, str) and _TIME.fullmatch(text):
        try:
            return (datetime.fromisoformat(text.upper()) - EPOCH) // SECOND
        except ValueError:
            pass  # such as the 31st of February
    raise _AlertError(f"{field}: must be a time of RFC 3339, not {_shown(text)}")


def _end(alert: dict[str, Any], now_ms: int) -> int:
    """When a resolved alert ended, in seconds; one that says no time that can be read ends now."""
    with suppress(_AlertError):
        return _seconds(alert, "endsAt")
    return now_ms // 1000


def _name(alert: Any) -> str:
    labels = alert.get("labels") if isinstance(alert, dict) else None
    name = text_of(labels.get("alertname")) if isinstance(labels, dict) else ""
    return cut(name, MAX_NAME)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
