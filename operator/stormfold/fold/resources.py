"""The resources of a storm as short texts: what signals are about, and what is listed of them."""

from bisect import bisect_left
from collections.abc import Collection
from itertools import takewhile

from stormfold.model.arrival import Target

SEPARATOR = "\x1f"
"""Between the parts of a resource."""
_SHORT = {"v1": "", "": "v1"}
"""Most objects are of v1; what is no object has no API version."""


def encoded_resource(target: Target | None) -> str:
    """The target as one text; '' for none."""
    if target is None:
        return ""
    api_version = _SHORT.get(target.api_version, target.api_version)
    parts = (api_version, target.kind, target.namespace or "", target.name)
    text = SEPARATOR.join(parts)
    if text.count(SEPARATOR) >= len(parts):  # whoever writes Signals may write the separator, too
        text = SEPARATOR.join(part.replace(SEPARATOR, " ") for part in parts)
    return text


def decoded_resource(text: str) -> Target:
    """The target that `encoded_resource` wrote."""
    api_version, kind, namespace, name = text.split(SEPARATOR, 3)
    return Target(_SHORT.get(api_version, api_version), kind, name, namespace or None)


BASE_BYTES = 64
"""So many that one character says how many of them are shared."""


def resource_base(resource: str) -> str:
    """What the fields of a storm are shortened by, taken from an encoded resource; as fold.lua does it."""
    return resource.encode()[:BASE_BYTES].decode(errors="ignore")


def resource_field(resource: str, base: str) -> str:
    """How a storm names an encoded resource: a character for the bytes it shares with the base, and the
    rest."""
    pairs = zip(resource, base, strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return f"{chr(32 + len(base[:shared].encode()))}{resource[shared:]}"


def resource_of_field(field: str, base: str) -> str:
    """The encoded resource that `resource_field` made a field of."""
    return base.encode()[: ord(field[0]) - 32].decode() + field[1:]


def common_prefix(texts: Collection[str]) -> str:
    """What all of them begin with."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)
    return first[: bisect_left(range(1, len(first) + 1), True, key=lambda n: not last.startswith(first[:n]))]
