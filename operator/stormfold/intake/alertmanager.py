"""Alertmanager's webhook body, payload version 4 → arrivals (pure).

Each alert is checked by itself: one that cannot be used is rejected by its index, the others go on. The bounds are
those of `SignalSpec`; what is over one is rejected, never cut. Annotations are not kept, and so not checked.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import orjson

from stormfold.api.conditions import Reason
from stormfold.api.signal import Severity
from stormfold.intake.targets import target_and_namespace
from stormfold.model.arrival import AlertRef, AlertWaiter, Arrival

SOURCE = "alertmanager"
"""The source of every arrival from here."""
PAYLOAD_VERSION = "4"
MAX_ALERTS = 5000
"""Alerts in one body; a body of 1 MiB that holds more holds no real ones."""
MAX_NAME = 253
MAX_LABELS = 64
MAX_KEY = 128
MAX_VALUE = 256
MAX_FINGERPRINT = 128
FUTURE_MS = 5 * 60 * 1000
"""How far `startsAt` may lie ahead: clocks differ."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
SHOWN = 64
"""Characters of a wrong value that a message shows."""

_STATES = {"firing": True, "resolved": False}
_SEVERITIES = {severity.value: severity for severity in Severity}
_RFC_3339 = re.compile(
    r"[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


class BodyError(Exception):
    """The body as a whole cannot be used."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class _AlertError(Exception):
    """An alert cannot be used; the arguments are the reason and the message."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An alert that is not taken, by its index in the body."""

    index: int
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Body:
    """What a body says."""

    arrivals: list[Arrival]
    refusals: list[Refusal]
    truncated: int
    """Alerts that Alertmanager left out of it, for its `max_alerts`."""


class AlertParser:
    """Reads bodies. `operator_namespace` is what an alert speaks for that names no namespace."""

    def __init__(self, operator_namespace: str) -> None:
        self._operator_namespace = operator_namespace

    def __call__(self, body: bytes | bytearray, *, waiter: AlertWaiter, now_ms: int) -> Body:
        """Read one that came at `now_ms`; `waiter` is who waits for its alerts.

        Raises:
            BodyError: it is no JSON, not of this version, or has too many alerts.
        """
        alerts, truncated = _alerts(body)
        arrivals: list[Arrival] = []
        refusals: list[Refusal] = []
        for index, alert in enumerate(alerts):
            try:
                arrivals.append(self._arrival(alert, waiter, index, now_ms))
            except _AlertError as exc:
                refusals.append(Refusal(index, *exc.args))
        return Body(arrivals, refusals, truncated)

    def _arrival(self, alert: Any, waiter: AlertWaiter, index: int, now_ms: int) -> Arrival:
        if not isinstance(alert, dict):
            raise _invalid("must be an object")
        status = alert.get("status")
        firing = _STATES.get(status) if isinstance(status, str) else None
        if firing is None:
            raise _invalid(f"status: must be firing or resolved, not {_shown(status)}")
        labels = _labels(alert.get("labels"))
        name = labels.get("alertname")
        if not name:
            raise _invalid("labels: must have an alertname")
        fingerprint = alert.get("fingerprint")
        if fingerprint is None or fingerprint == "":
            fingerprint = fingerprint_of(labels)
        elif not isinstance(fingerprint, str) or len(fingerprint) > MAX_FINGERPRINT:
            raise _invalid(f"fingerprint: must be text of at most {MAX_FINGERPRINT} characters")
        starts_ms = _milliseconds(alert.get("startsAt"))
        if starts_ms > now_ms + FUTURE_MS:
            raise _AlertError(
                Reason.STARTS_IN_FUTURE,
                f"startsAt: {alert['startsAt']} must not lie more than 5 minutes ahead",
            )
        written = labels.get("severity", "")
        severity = _SEVERITIES.get(written) or _SEVERITIES.get(written.lower())
        target, namespace = target_and_namespace(labels)
        return Arrival(
            AlertRef(waiter, index, starts_ms),
            name,
            namespace or self._operator_namespace,
            severity or Severity.UNKNOWN,
            firing,
            target,
            labels,
            SOURCE,
            now_ms,
            fingerprint,
            "" if severity else written,
        )


def fingerprint_of(labels: dict[str, str]) -> str:
    """What stands for the fingerprint of an alert that has none: 16 hex digits over its labels."""
    text = orjson.dumps(labels, option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=8).hexdigest()


def _alerts(body: bytes | bytearray) -> tuple[list[Any], int]:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BodyError(Reason.INVALID_BODY, f"must be JSON in UTF-8: {exc}") from None
    if not isinstance(message, dict):
        raise BodyError(Reason.INVALID_BODY, "must be an object")
    if message.get("version") != PAYLOAD_VERSION:
        raise BodyError(
            Reason.UNSUPPORTED_PAYLOAD_VERSION,
            f'version: must be "{PAYLOAD_VERSION}", not {_shown(message.get("version"))}',
        )
    alerts = message.get("alerts")
    if not isinstance(alerts, list):
        raise BodyError(Reason.INVALID_BODY, "alerts: must be a list")
    if len(alerts) > MAX_ALERTS:
        raise BodyError(
            Reason.TOO_MANY_ALERTS,
            f"alerts: must have at most {MAX_ALERTS}, not {len(alerts)}: group by more labels in the route",
        )
    truncated = message.get("truncatedAlerts")
    return alerts, truncated if type(truncated) is int and truncated > 0 else 0


def _labels(labels: Any) -> dict[str, str]:
    if not isinstance(labels, dict):
        raise _invalid("labels: must be an object")
    if len(labels) > MAX_LABELS:
        raise _invalid(f"labels: must have at most {MAX_LABELS}, not {len(labels)}")
    if fault := _fault(labels):
        raise _invalid(f"labels: {fault}")
    if len(labels.get("alertname", "")) > MAX_NAME:
        raise _invalid(f"labels: 'alertname' must be text of at most {MAX_NAME} characters")
    return labels


def _fault(labels: dict[str, Any]) -> str | None:
    """What is wrong with the first label that is over a bound."""
    for key, value in labels.items():
        if not 0 < len(key) <= MAX_KEY:
            return f"the name {_shown(key)} must have 1 to {MAX_KEY} characters"
        if not isinstance(value, str) or len(value) > MAX_VALUE:
            most = MAX_NAME if key == "alertname" else MAX_VALUE
            return f"{_shown(key)} must be text of at most {most} characters"
    return None


def _milliseconds(text: Any) -> int:
    if isinstance(text, str) and _RFC_3339.fullmatch(text):
        try:
            return (datetime.fromisoformat(text) - EPOCH) // MILLISECOND
        except ValueError:
            pass  # such as the 31st of February
    raise _invalid(f"startsAt: must be a time of RFC 3339, not {_shown(text)}")


def _invalid(message: str) -> _AlertError:
    return _AlertError(Reason.INVALID_ALERT, message)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
