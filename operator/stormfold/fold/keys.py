"""Every key name, and the fields of a storm.

All keys of a partition share a hash tag, so that one script may touch them on Redis Cluster. A storm is a map
of MessagePack in one string (docs/decisions/0026). Field names are short because a storm is kept small; this
table is their only other name.

A number that is missing is 0, and a missing text is empty; a missing `ws` is `o`. An open storm has `rs` and
`o`.

| field | what |
|---|---|
| e s | epoch; state: o open, x closing, c closed |
| g og | incarnation; what it was continued from |
| t n nf | signals counted; further changes, such as the end of an alert; signals that said Firing |
| f r | instances of Signals and Events tracked: firing, resolved |
| na af ar | alerts counted; those whose latest start fires, or is resolved |
| ls | the latest beginning of an alert counted, in this storm or an earlier one, ms by the clock of whoever says so |
| la mb ab | alerts that began up to then may have been counted before Redis lost which were, ms; alerts counted since that may be among them; 1 if some are only estimated |
| xf xr xa | instances that are only estimated: firing, resolved; how many of the firing ones are alerts |
| lo | the most alerts that a sender says it has left out of a post |
| v | highest severity, as a rank |
| o | opened, ms by the operator's clock |
| a z l | ms from then to firstSeen, to lastSeen, to the last arrival |
| y | ms by which the latest signal happened before the last arrival: all that came since are Events met late |
| ws wc d | the threshold's window: begin, firing signals in it, which threshold was reached |
| m c0 c1 | a minute of the clock, counted from that of the opening; signals in it, signals in the one before |
| rc tr hb | resources listed, 1 if there are more, least count of all |
| b | base: the first listed resource, at most 64 bytes of it |
| rs | map: each listed resource, as what differs from the base: signals about it |
| w lw q re | folded (t + n) that the request holds, when it was written, 1 if settled, how often it was reopened |
| p | resourceVersion of the newest Signal counted |
| fl | the floor at or below which no Signal is counted |
| pe fle | the same for Events |
| ds dr | of the last group that was discarded: which server has what was discarded, and what its signals are told |
| k | the terms of the policy |
| cr ct | why and when it began to close |

The values of the hash `counted`: of an Event how often it occurred; of an alert `f` or `r`, firing or
resolved, the `o` of the storm that counts it, and its latest starts, the newest first, each with `c` if an
earlier storm counted it and `d` if it was discarded: `f1767225610000,1767225600000,1767225500000c`.
"""  # noqa: E501

PREFIX = "sf:"


def due(partition: int) -> str:
    """Sorted set of deadlines: member group_hash, score Unix ms."""
    return f"{PREFIX}{{p{partition}}}:due"


def checkpoint(partition: int) -> str:
    """Hash: `signals`, the resourceVersion at or below which fold refuses; `trimmed`, that up to which ids
    are forgotten; `cluster`, whose the keys are."""
    return f"{PREFIX}{{p{partition}}}:checkpoint"


def storm(partition: int, group_hash: str) -> str:
    """String: the metadata of a storm."""
    return f"{PREFIX}{{p{partition}}}:storm:{group_hash}"


def ids(partition: int, group_hash: str) -> str:
    """Sorted set: ids of the signals counted and not yet forgotten, a digest of uid/generation, by
    resourceVersion; of those that were discarded by the resourceVersion below 0."""
    return f"{PREFIX}{{p{partition}}}:ids:{group_hash}"


def hll(partition: int, group_hash: str) -> str:
    """HyperLogLog of resources, made when there are more than are listed."""
    return f"{PREFIX}{{p{partition}}}:hll:{group_hash}"


def instances(partition: int, group_hash: str) -> str:
    """Set of integers: 2i + 1 while instance i fires, 2i once it has resolved."""
    return f"{PREFIX}{{p{partition}}}:instances:{group_hash}"


def counted(partition: int, group_hash: str) -> str:
    """Hash: what is known of the group's alerts and Events one by one, by the digest of fingerprint or
    uid."""
    return f"{PREFIX}{{p{partition}}}:counted:{group_hash}"


def beyond(partition: int, group_hash: str) -> str:
    """HyperLogLog of alerts for which `counted` has no room."""
    return f"{PREFIX}{{p{partition}}}:beyond:{group_hash}"


def opening(partition: int, group_hash: str) -> str:
    """String: what the request says of the signal that opened the storm."""
    return f"{PREFIX}{{p{partition}}}:opening:{group_hash}"


def of_group(partition: int, group_hash: str) -> tuple[str, ...]:
    """All that a group has, that of its storm first, in the order in which fold.lua and close.lua take
    them."""
    return (
        storm(partition, group_hash),
        ids(partition, group_hash),
        hll(partition, group_hash),
        instances(partition, group_hash),
        opening(partition, group_hash),
        counted(partition, group_hash),
        beyond(partition, group_hash),
    )


def scratch(partition: int) -> tuple[str, ...]:
    """What `try.lua` makes and deletes, in its order; nobody keeps anything there."""
    names = ("text", "sorted", "hash", "numbers", "loglog")
    return tuple(f"{PREFIX}{{p{partition}}}:try:{name}" for name in names)
