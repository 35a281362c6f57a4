"""The API server's JSON, however deep somebody has nested it.

orjson reads 1,024 levels, Python's own reader fewer, the API server takes 10,000; and whoever may write an
object may put as many into its `managedFields`, a consumer into `status.remediation`. One such object would
make every list and watch of its kind unreadable. Nothing that we read lies deeper than `DEEPEST`, so what
does becomes null.
"""

import re
from typing import Any

import orjson

DEEPEST = 64
"""Levels that are read; our own kinds have 12, a list of them 14."""

_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_TEXT_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"|[][{}]', re.DOTALL)


def read_json(data: bytes | bytearray) -> Any:
    """What the text says.

    Raises:
        orjson.JSONDecodeError: it is no JSON, or cut short.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return orjson.loads(shallow(data))


def shallow(data: bytes | bytearray) -> bytes:
    """The text with null for what lies deeper than `DEEPEST`; what is no JSON stays none."""
    if _is_shallow(data):
        return bytes(data)
    kept: list[bytes | bytearray] = []
    level = since = 0
    for found in _TEXT_OR_BRACKET.finditer(data):
        match found[0]:
            case b"{" | b"[":
                level += 1
                if level == DEEPEST + 1:
                    kept += (data[since : found.start()], b"null")
                    since = len(data)
            case b"}" | b"]":
                if level == DEEPEST + 1:
                    since = found.end()
                level -= 1
    kept.append(data[since:])
    return b"".join(kept)


def _is_shallow(data: bytes | bytearray) -> bool:
    """Whether nothing lies deeper than `DEEPEST`, for a tenth of what it takes to look at one bracket after
    the other."""
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(plain.split(b'"')[::2]).translate(None, _NO_BRACKET)
    for _ in range(DEEPEST):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")  # the innermost of all
        if not brackets:
            return True
    return False
