"""What requests show of signals, and what a policy says of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from stormfold.api.resource import AS_SET, ApiModel, Count, Namespace
from stormfold.api.signal import Severity

Globs = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=128)], ...],
    Field(max_length=32, json_schema_extra=AS_SET),
]


class EvidenceRules(ApiModel):
    """What requests may show of signals beside names and numbers. A label or an annotation is never shown if
    its name contains token, passw, secret, key or credential, also if a glob matches it."""

    labels: Globs | None = None
    """Names of labels, as globs. Left out: all, if the requests lie in the namespace of their signals, else
    none."""
    annotations: Globs | None = None
    """Names of annotations, as globs; generator_url is the URL where an alert was made. Left out: as for
    labels."""
    samples: Annotated[int, Field(ge=0, le=5)] | None = None
    """How many signals a request shows one by one: up to 3 of its first ones, the others of its latest. Left
    out: 5, if the requests lie in the namespace of their signals, else 0."""


class SignalName(ApiModel):
    """A name that signals of the storm have."""

    name: Annotated[str, Field(max_length=63)]
    """The name; of one with more than 63 bytes the beginning, … and a digest."""
    signals: Count
    """How many signals have it."""
    approximate: bool = False
    """True: at least so many have it, since not all names are counted one by one, or Redis has lost data."""


class CommonCause(ApiModel):
    """A value that most signals of the storm have, and that is rarer elsewhere."""

    attribute: Annotated[str, Field(max_length=135)]
    """What it is a value of, as the policy's causes name it."""
    value: Annotated[str, Field(max_length=63)]
    """The value; of one with more than 63 bytes the beginning, … and a digest."""
    signals: Count
    """How many signals have it."""
    coverage: Annotated[int, Field(ge=0, le=100)]
    """Percent of all signals, rounded down: at least 60."""
    lift: Count | None = None
    """How many times as frequent it is as in other storms of the last hour, rounded down, by an estimate. Of
    a node: as among the cluster's pods, if they are read. Absent: too little is known to tell."""
    approximate: bool = False
    """True: at least so many have it. Values are counted by space-saving, and of some nothing may be known,
    since Redis has lost data."""


Shared = Annotated[
    dict[Annotated[str, Field(max_length=128)], Annotated[str, Field(max_length=1024)]], Field(max_length=32)
]
"""What all signals have in common: the shortest texts first, at most 768 bytes in all."""
RunbookUrl = Annotated[str, Field(max_length=512)]
Url = Annotated[str, Field(max_length=1024)]


class SampleTarget(ApiModel):
    """The object that a signal was about."""

    api_version: Annotated[str, Field(max_length=100)] = ""
    """API group and version of the object. Empty for an Instance."""
    kind: Annotated[str, Field(max_length=63)] = ""
    """Kind of the object."""
    namespace: Namespace | None = None
    """Namespace of the object, if it has one."""
    name: Annotated[str, Field(max_length=253)]
    """Name of the object, or address of the Instance."""


class Sample(ApiModel):
    """One signal of the storm. Control characters, tags of HTML and the like are left out of its texts."""

    name: Annotated[str, Field(max_length=253)]
    """What is wrong."""
    severity: Severity
    """How bad it is, as the policy maps it."""
    target: SampleTarget | None = None
    """The object that is in trouble, if the signal names one."""
    starts_at: AwareDatetime
    """When the trouble began, as the source says."""
    labels: Annotated[
        dict[Annotated[str, Field(max_length=128)], Annotated[str, Field(max_length=256)]],
        Field(max_length=16),
    ] = Field(default_factory=dict)
    """Labels of the signal."""
    summary: Annotated[str, Field(max_length=512)] | None = None
    """Its annotation summary."""
    description: Annotated[str, Field(max_length=1024)] | None = None
    """Its annotation description or message; the message of an Event."""
    runbook_url: Annotated[Url | None, Field(alias="runbookURL")] = None
    """Its annotation runbook_url, if that is a URL of http or https."""
    dashboard_url: Annotated[Url | None, Field(alias="dashboardURL")] = None
    """Its annotation dashboard_url, or the dashboardURL of an alert of Grafana, if that is such a URL."""
    generator_url: Annotated[Url | None, Field(alias="generatorURL")] = None
    """Where the alert was made: its generatorURL, if that is such a URL."""
    truncated: bool = False
    """True: something of it was cut, and ends in …, or was left out: a sample has at most 1,536 bytes."""
