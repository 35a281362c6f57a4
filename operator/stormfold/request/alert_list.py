"""The list of alerts that a request holds: who they are, since when, and whether they fire or are stale.

Ten bytes each, in base64: 48 bits of the digest, 30 bits with the seconds of the start since 2020, whether
it is stale and whether it fires. A start before 2020 or after 2053 is written as the nearest that there is.
"""

import struct
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Sequence

from stormfold.model.limits import LISTED_ALERTS
from stormfold.model.storm import TrackedAlert

FIRST_START_S = 1_577_836_800
"""The beginning of 2020."""
_LATEST = 2**30 - 1
_PACKED = struct.Struct(">6sI")


def encoded(alerts: Sequence[TrackedAlert]) -> str:
    """The list; of more than `LISTED_ALERTS` those that fire, and those that began last."""
    listed = sorted(alerts, key=lambda alert: (not alert.firing, -alert.starts_s, alert.id))[:LISTED_ALERTS]
    return b2a_base64(b"".join(sorted(map(_packed, listed))), newline=False).decode()


def decoded(text: str) -> tuple[TrackedAlert, ...] | None:
    """The alerts of a list; None if it is none that `encoded` has made."""
    packed = _unpacked(text)
    if packed is None:
        return None
    return tuple(
        TrackedAlert(
            b2a_base64(digest, newline=False).decode(),
            FIRST_START_S + (mark >> 2),
            firing=mark & 1 == 1,
            stale=mark & 2 == 2,
        )
        for digest, mark in packed
    )


def readable(text: str) -> bool:
    """Whether `encoded` has made the text: for less than `decoded` takes."""
    return _unpacked(text) is not None


def _unpacked(text: str) -> list[tuple[bytes, int]] | None:
    """Digest and mark of each alert."""
    try:
        packed = a2b_base64(text, strict_mode=True)
    except (Error, ValueError):
        return None
    if len(packed) % _PACKED.size or len(packed) > LISTED_ALERTS * _PACKED.size:
        return None
    alerts = list(_PACKED.iter_unpack(packed))
    return alerts if len({digest for digest, _ in alerts}) == len(alerts) else None


def _packed(alert: TrackedAlert) -> bytes:
    start = min(max(alert.starts_s - FIRST_START_S, 0), _LATEST)
    return _PACKED.pack(a2b_base64(alert.id), start << 2 | alert.stale << 1 | alert.firing)
