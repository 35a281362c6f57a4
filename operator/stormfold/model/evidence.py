"""Evidence: what arrivals show people, made harmless and kept within bounds (pure)."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import orjson

MAX_ANNOTATIONS = 32
MAX_NAME = 128
"""Characters of an annotation's name; one with a longer name is not kept."""
MAX_TEXT = 1024
"""Characters of a description or a URL. One more is kept, so that it shows that there were more."""
KEPT_CHARACTERS = 4096
"""Of all annotations of an arrival, their names included."""
MAX_SHARED = 32
"""Labels, and annotations, that are shown of those that all signals have in common."""
SHARED_BYTES = 768
"""Of all these labels, and of all these annotations, with their names, as JSON."""
TOLD_BYTES = 2 * SHARED_BYTES
"""Of those that Redis is told: more, since what is common to a batch need not be so to the storm, and must
not take the room of what is."""
MAX_RUNBOOKS = 3
RUNBOOK_URL_BYTES = 512
"""Of a URL where those of the storm are listed; a longer one is in its sample alone."""
SHOWN_NAME_BYTES = 63
"""Of the name of a signal where many are shown, as UTF-8. Redis packs names if none has more than 64."""
ELLIPSIS = "…"
SUMMARY, DESCRIPTION = ("summary",), ("description", "message")
RUNBOOK_URL = ("runbook_url", "runbook", "runbookURL")
DASHBOARD_URL = ("dashboard_url", "dashboard", "dashboardURL")
GENERATOR_URL = ("generator_url",)
"""Names under which annotations have what a sample has fields for, the most usual first."""
KEPT_FIRST = frozenset((*SUMMARY, *DESCRIPTION, *RUNBOOK_URL, *DASHBOARD_URL, *GENERATOR_URL))

_SECRET = re.compile("token|passw|secret|key|credential", re.IGNORECASE)
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?", re.DOTALL)
"""What a terminal takes for a command: CSI and OSC sequences, and shorter ones."""
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_SCRIPT = re.compile(r"(script)\s*:", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/?#\s]*@")
"""The user, and the password, of an address in a text."""
_URL = re.compile(r"https?://(?![^/?#]*@)[^\s/?#<>\"'`\\][^\s<>\"'`\\]*", re.IGNORECASE)
"""An address of the web without the name or the password of a user."""


@lru_cache(4096)
def is_secret(name: str) -> bool:
    """Whether a label or an annotation of this name looks like a secret: it is never shown."""
    return _SECRET.search(name) is not None


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    return " " if char.isspace() or unicodedata.category(char)[0] == "Z" else ""


def harmless(text: str) -> str:
    """The text as one line of printable characters, without what a terminal, a browser or an eye takes for
    anything else: no escape sequence, no mark that turns the direction, no tag of HTML, no `javascript:`; and
    without the user and the password of an address."""
    if not text.isprintable():
        text = _ESCAPE.sub("", text)
        text = " ".join("".join(map(_shown, text)).split())
    if "<" in text:
        text = _TAG.sub("‹", text)
    if ":" in text:
        text = _SCRIPT.sub(r"\1 :", text)
        if "@" in text:
            text = _LOGIN.sub("", text)
    return text


@lru_cache(4096)
def short_name(name: str) -> str:
    """The name of a signal as it is counted and shown: harmless, and at most `SHOWN_NAME_BYTES`. Two that
    differ stay apart, since a digest of the whole ends what is cut."""
    shown = harmless(name) or "?"
    if len(shown.encode()) <= SHOWN_NAME_BYTES:
        return shown
    end = ELLIPSIS + blake2b(name.encode(errors="replace"), digest_size=8).hexdigest()
    return first_bytes(shown, SHOWN_NAME_BYTES - len(end.encode())) + end


def first_bytes(text: str, most: int) -> str:
    """The characters that the text begins with: at most so many bytes as UTF-8."""
    return text.encode()[:most].decode(errors="ignore")


def cut(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis: at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}{ELLIPSIS}"


def was_cut(text: str) -> bool:
    """Whether a name or a value was cut when it was read: it ends in an ellipsis and a digest."""
    return text[-17:-16] == ELLIPSIS


def web_address(text: str) -> str:
    """The text if it is a URL that people may follow: http or https, and no user in it. Else nothing."""
    text = text.strip()
    return text if text.isprintable() and _URL.fullmatch(text) else ""


def kept(sent: Mapping[str, str]) -> dict[str, str]:
    """The annotations of an arrival that are kept: none that looks like a secret. Where there are too many,
    those that a sample has fields for are kept first, then the others in alphabetical order."""
    if len(sent) <= MAX_ANNOTATIONS and _characters(sent) <= KEPT_CHARACTERS:
        return {name: text for name, text in sent.items() if len(name) <= MAX_NAME and not is_secret(name)}
    room = KEPT_CHARACTERS
    some: dict[str, str] = {}
    for name in sorted(sent, key=lambda name: (name not in KEPT_FIRST, name)):
        text = sent[name][: MAX_TEXT + 1]
        fits = len(name) <= MAX_NAME and len(name) + len(text) <= room and len(some) < MAX_ANNOTATIONS
        if fits and not is_secret(name):
            some[name] = text
            room -= len(name) + len(text)
    return some


def fitting(texts: Mapping[str, str], room: int) -> dict[str, str]:
    """Those of the texts that have room, which is in bytes of a JSON object: the shortest first."""
    size = {name: json_bytes(name) + json_bytes(text) + 2 for name, text in texts.items()}
    some: dict[str, str] = {}
    for name in sorted(texts, key=lambda name: (size[name], name)):
        if size[name] > room:
            break
        room -= size[name]
        some[name] = texts[name]
    return dict(sorted(some.items()))


def _characters(texts: Mapping[str, str]) -> int:
    return sum(map(len, texts)) + sum(map(len, texts.values()))


def annotation(annotations: Mapping[str, str], names: tuple[str, ...]) -> str:
    """The text of the first of these annotations that is there; empty if none is."""
    return next((annotations[name] for name in names if annotations.get(name)), "")


class NameCount(NamedTuple):
    """How often a name has come."""

    signals: int
    """At least so often."""
    others: int = 0
    """If above 0, it may have come so much more often."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the signals of a storm show that its request may not hold yet, as Redis has it."""

    sampled: int = 0
    """How many samples were taken, ever."""
    samples: Mapping[int, str] = field(default_factory=dict)
    """Those that are there, each a JSON object, by their number: of the first signals and of the latest."""
    labels: Mapping[str, str] | None = None
    """Those that all signals have in common of which the request does not hold that; None: nothing came."""
    annotations: Mapping[str, str] | None = None
    """The same."""
    runbook_urls: tuple[str, ...] = ()
    """Some that the request may not have."""
    started_ms: int | None = None
    """When the trouble of the first of them began."""
    names: Mapping[str, NameCount] = field(default_factory=dict)
    """The most frequent names of its signals, those that come most often first; none if all have the same."""
    causes: Mapping[int, str] = field(default_factory=dict)
    """Which values its signals have of attributes, as `fold.causes` writes it, by how much the storm had
    counted then."""


NOTHING_SHOWN = Evidence()


def json_bytes(value: object) -> int:
    """How many bytes a value takes in a JSON text."""
    return len(orjson.dumps(value))
