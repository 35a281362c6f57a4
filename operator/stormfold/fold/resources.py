"""The resources of a storm as short texts: what signals are about, and what is listed of them."""

from bisect import bisect_left
from collections.abc import Collection

from stormfold.model.arrival import Target

SEPARATOR = "|"
"""Between the parts of a resource."""
_SHORT = {"v1": "", "": "v1"}
"""Most objects are of v1; what is no object has no API version."""


def encoded_resource(target: Target | None) -> str:
    """The target as one text; '' for none."""
    if target is None:
        return ""
    api_version = _SHORT.get(target.api_version, target.api_version)
    parts = (api_version, target.kind, target.namespace or "")
    text = SEPARATOR.join(parts)
    if text.count(SEPARATOR) >= len(parts):  # whoever writes Signals may write the separator, too
        text = SEPARATOR.join(part.replace(SEPARATOR, " ") for part in parts)
    return f"{text}{SEPARATOR}{target.name}"


def decoded_resource(text: str) -> Target:
    """The target that `encoded_resource` wrote."""
    api_version, kind, namespace, name = text.split(SEPARATOR, 3)
    return Target(_SHORT.get(api_version, api_version), kind, name, namespace or None)


def resource_of_field(field: str, prefix: str) -> str:
    """The resource that a field of the hash of resources names, as resources.lua writes it: `+` and what
    follows the prefix, or `=` and all of it."""
    return (prefix if field[0] == "+" else "") + field[1:]


def resource_field(resource: str, prefix: str) -> str:
    """How the hash of resources names a resource."""
    return f"+{resource[len(prefix) :]}" if resource.startswith(prefix) else f"={resource}"


def shared_prefix(resources: Collection[str]) -> str:
    """What all of them begin with; of one alone, what those of the same owner are likely to."""
    if len(resources) < 2:
        resource = next(iter(resources), "")
        return resource[: 1 + max(resource.rfind("-"), resource.rfind(SEPARATOR))]
    first, last = min(resources), max(resources)
    return first[: bisect_left(range(1, len(first) + 1), True, key=lambda n: not last.startswith(first[:n]))]
