"""Labels of an alert as its sender wrote them → text within bounds (pure).

No alert is lost for its labels: what is no text becomes text, what is too long is cut where everybody sees
it, and what is too much is left out. Two texts that differ stay apart, also where both are cut: a digest of
the whole ends them.
"""

from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

MAX_NAME = 253
"""Characters of an alertname."""
MAX_LABELS = 64
MAX_KEY = 128
"""Characters of a label's name."""
MAX_VALUE = 256
"""Characters of a value."""
TOO_DEEP = "(nested too deeply)"
"""The text of a value that is nested in more than 254 lists or objects: it cannot be written as JSON."""
KEPT_FIRST = ("alertname", "severity", "namespace")
"""Labels that are kept where there are too many, behind those that policies use."""


class Kept(NamedTuple):
    """Labels within the bounds."""

    labels: dict[str, str]
    left_out: int
    """How many there were beyond `MAX_LABELS`."""
    cut: int
    """How many of those that are kept have a name or a value that was cut."""


def texts(sent: Mapping[str, Any], known: dict[str, str]) -> dict[str, str]:
    """The labels as text: numbers, booleans and what is nested as JSON writes them.

    A label that is empty, null or without a name is none, by Prometheus' own rule. A text that is `known`
    already is kept once: most values of a body are those of many of its alerts.
    """
    return {
        key: known.setdefault(text, text)
        for key, value in sent.items()
        if (text := value if type(value) is str else text_of(value)) and key
    }


def text_of(value: Any) -> str:
    """A value of JSON as text; null is empty, and what is nested too deeply is `TOO_DEEP`."""
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return TOO_DEEP


def digest(text: str) -> str:
    """16 hex digits that stand for a text."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


def cut(text: str, most: int) -> str:
    """The text, or its beginning, an ellipsis and the digest of the whole: at most so many characters."""
    if len(text) <= most:
        return text
    end = digest(text)
    return f"{text[: most - len(end) - 1]}…{end}"


def bounded(labels: dict[str, str], used: Collection[str]) -> Kept:
    """The labels within the bounds. Where there are too many, those that are `used` are kept first, then
    `KEPT_FIRST`, then the others in alphabetical order: so the same ones each time."""
    left_out = max(0, len(labels) - MAX_LABELS)
    if not left_out and max(map(len, labels)) <= MAX_KEY and max(map(len, labels.values())) <= MAX_NAME:
        return Kept(labels, 0, 0)  # as nearly all are
    if left_out:
        order = sorted(labels, key=lambda key: (key not in used, key not in KEPT_FIRST, key))
        labels = {key: labels[key] for key in order[:MAX_LABELS]}
    kept: dict[str, str] = {}
    shortened = 0
    for key, value in labels.items():
        short = cut(key, MAX_KEY), cut(value, MAX_NAME if key == "alertname" else MAX_VALUE)
        shortened += short != (key, value)
        kept[short[0]] = short[1]
    return Kept(kept, left_out, shortened)
