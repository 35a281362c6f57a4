"""Every key name, and the fields of a storm.

All keys of a partition share a hash tag, so that one script may touch them on Redis Cluster. They carry the
number of their layout: those of another one are left alone, and most of them expire.

`HGETALL` of a storm shows these fields. A number that is missing is 0, a missing text is empty; a missing
`window_ms` is `opened_ms`. Of a storm that is closed there are only those of the last block.

| field | what |
|---|---|
| epoch state incarnation | which storm of the group it is; open, closing or closed; see docs/decisions/0013 |
| origin | what it was continued from |
| threshold_signals … stale_after_ms | the terms of the policy as it was when the storm opened |
| opened_ms arrived_ms | when it opened, when something last came, by the operator's clock |
| first_ms last_ms | firstSeen, lastSeen |
| late_ms late_at_ms | by how much the latest signal happened before it came, if `arrived_ms` is still `late_at_ms`: Events met late |
| total changes | signals counted; further changes, such as the end of an alert |
| firing_signals severity | signals that said Firing; the highest severity, as a rank |
| minute minute_count minute_before_count | a minute of the clock; signals in it, signals in the one before |
| window_ms window_count detected | the threshold's window: begin, firing signals in it; which threshold was reached |
| resource_prefix | what most fields of the hash of resources begin with |
| truncated resources_at_least | 1 if there are more; least count of all |
| instances_resolved | of the instances of Signals and Events that are followed, how many have resolved |
| alerts alerts_firing alerts_resolved alerts_stale | alerts counted; those that fire, are resolved, or fired and were not heard of for `stale_after_ms` |
| stale_look_ms | when the alerts that fire are next looked through for such; at or before the time at which the first may be one |
| alerts_last | total + changes at the last change of an alert: up to there the request must hold the list |
| alerts_unknown | alerts of this storm and of those before it that nobody knows one by one, since a data loss less than a day ago |
| alerts_beyond | alerts counted for which `alerts` had no room: an estimate |
| estimated_firing estimated_resolved | instances that are only estimated |
| estimated_firing_alerts | how many of those that fire are alerts |
| left_out | the most alerts that a sender says it has left out of a post |
| names_floor | how often a name may have come that is not among `names` |
| sampled | how many samples were taken of its signals |
| written written_ms | how much of total + changes the request holds; when it was written |
| claimed_by claimed_ms | who may be making the first request of a storm, and until when by the server's clock |
| settled reopened | 1 if it has settled; how often it was reopened |
| signals_last events_last | the resourceVersions of the newest Signal and the newest Event counted |
| still_firing | 1 if it opened since alerts of the request before still fire, 2 if one fires again |
| close_reason closing_ms | why and when it began to close |
| epoch state | also of a storm that is closed |
| heard_ms | alerts count as heard of then, if not later: since a data loss nobody knows when the last word of them came |
| signals_floor events_floor | the resourceVersion at or below which nothing is counted |
| severity_before | the highest severity of the last request of the group, if alerts fired in it |
| discarded_by discarded_as | of the last group that was discarded: which server has what was discarded; what its signals are told |

A value of the hashes `alerts` and `before`: `f`, `r` or `s`, firing, resolved or stale, its latest start in seconds, and when the
last word of it came, in ms; behind that `d` if it was discarded: `f1767225600,1767225605123`.

The hash `evidence` has what the signals show, until the request holds it: `sample_1` … `sample_3`, of the first ones, and
`latest_0` and `latest_1`, of those with an even and an odd number; `labels` and `annotations`, JSON objects of those that
all have in common; `runbook_urls`, one a line; `started_ms`, when the first of them began; `causes_<total + changes>`, which
values those have of attributes that were counted up to there, as `fold.causes` writes it.
"""  # noqa: E501

PREFIX = "sf:2:"
SEEN_MS = 1_800_000
"""What was told in the last two of these spans counts: that of half an hour to an hour."""


def due(partition: int) -> str:
    """Sorted set of deadlines: member group_hash, score Unix ms."""
    return f"{PREFIX}{{p{partition}}}:due"


def checkpoint(partition: int) -> str:
    """Hash: `signals`, the resourceVersion at or below which fold refuses; `trimmed`, that up to which ids
    are forgotten; `cluster`, whose the keys are."""
    return f"{PREFIX}{{p{partition}}}:checkpoint"


def storm(partition: int, group_hash: str) -> str:
    """Hash: the metadata of a storm."""
    return f"{PREFIX}{{p{partition}}}:storm:{group_hash}"


def resources(partition: int, group_hash: str) -> str:
    """Hash: the listed resources of a storm, as `fold.resources` names them: signals about each."""
    return f"{PREFIX}{{p{partition}}}:resources:{group_hash}"


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


def events(partition: int, group_hash: str) -> str:
    """Hash: how often each Event of the group has occurred, by the digest of its uid."""
    return f"{PREFIX}{{p{partition}}}:events:{group_hash}"


def alerts(partition: int, group_hash: str) -> str:
    """Hash: what is known of the storm's alerts one by one, by the digest of namespace and fingerprint."""
    return f"{PREFIX}{{p{partition}}}:alerts:{group_hash}"


def before(partition: int, group_hash: str) -> str:
    """Hash: the same of the group's request before this one, and of what was discarded."""
    return f"{PREFIX}{{p{partition}}}:before:{group_hash}"


def beyond(partition: int, group_hash: str) -> str:
    """Bitmap: a Bloom filter of the alerts for which those have no room."""
    return f"{PREFIX}{{p{partition}}}:beyond:{group_hash}"


def evidence(partition: int, group_hash: str) -> str:
    """Hash: what the storm's signals show that its request does not hold yet."""
    return f"{PREFIX}{{p{partition}}}:evidence:{group_hash}"


def names(partition: int, group_hash: str) -> str:
    """Hash: how often each name of its signals has come, of the most frequent ones; see names.lua."""
    return f"{PREFIX}{{p{partition}}}:names:{group_hash}"


def seen(partition: int, now_ms: int) -> str:
    """Hash: what storms tell others of how common values are, by `group_hash:epoch`, in the half hour of a
    time. See `fold.causes`."""
    return f"{PREFIX}{{p{partition}}}:seen:{now_ms // SEEN_MS}"


def opening(partition: int, group_hash: str) -> str:
    """String: what the request says of the signal that opened the storm."""
    return f"{PREFIX}{{p{partition}}}:opening:{group_hash}"


def of_group(partition: int, group_hash: str) -> tuple[str, ...]:
    """All that a group has, that of its storm first, in the order in which fold.lua and close.lua take
    them."""
    return (
        storm(partition, group_hash),
        resources(partition, group_hash),
        ids(partition, group_hash),
        hll(partition, group_hash),
        instances(partition, group_hash),
        opening(partition, group_hash),
        events(partition, group_hash),
        alerts(partition, group_hash),
        before(partition, group_hash),
        beyond(partition, group_hash),
        evidence(partition, group_hash),
        names(partition, group_hash),
    )


def of_snapshot(partition: int, group_hash: str) -> tuple[str, ...]:
    """What a request is written from, in the order in which snapshot.lua takes it."""
    return (
        storm(partition, group_hash),
        resources(partition, group_hash),
        hll(partition, group_hash),
        instances(partition, group_hash),
        opening(partition, group_hash),
        alerts(partition, group_hash),
        evidence(partition, group_hash),
        names(partition, group_hash),
    )


def scratch(partition: int) -> tuple[str, ...]:
    """What `try.lua` makes and deletes, in its order; nobody keeps anything there."""
    names = ("text", "sorted", "hash", "numbers", "loglog")
    return tuple(f"{PREFIX}{{p{partition}}}:try:{name}" for name in names)
